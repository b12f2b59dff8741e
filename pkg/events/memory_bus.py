"""Events in memory: the semantics of ``nats_bus``, for one process."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkg.events.bus import ConsumerSpec, Delivery
from pkg.events.messages import DEDUPLICATION_HEADER, DUPLICATE_WINDOW, Message, read_message
from pkg.object_model.clock import Clock
from pkg.object_model.errors import Unavailable

#: Seconds between two looks at the clock for what is to be delivered again.
_LOOK: Final = 0.05


@dataclass(frozen=True, slots=True)
class KeptMessage:
    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes


class MemoryBus:
    """A ``Publisher`` and ``Announcer``, and where subscriptions and announcements come from.

    It keeps all that it is given. ``away`` makes it behave like a server that cannot be reached.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log: list[KeptMessage] = []
        self._seen: dict[str, datetime] = {}
        self._consumers: dict[str, _MemoryConsumer] = {}
        self._changed = asyncio.Event()
        self._listeners: list[tuple[str, Callable[[bytes], None], Callable[[], None]]] = []
        self._away = False

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        was_away, self._away = self._away, away
        if was_away and not away:
            for _, _, missed in self._listeners:
                missed()

    async def publish(self, messages: Sequence[Message]) -> None:
        self.check_there()
        now = self._clock.now()
        for message in messages:
            headers = message.headers()
            name = headers[DEDUPLICATION_HEADER]
            seen = self._seen.get(name)
            if seen is None or now - seen >= timedelta(seconds=DUPLICATE_WINDOW):
                self._seen[name] = now
                self._log.append(KeptMessage(len(self._log) + 1, message.subject, headers, message.body))
        self._changed.set()

    def subscribe(self, spec: ConsumerSpec) -> "MemorySubscription":
        return MemorySubscription(self, self._consumer(spec))

    async def announce(self, subject: str, body: bytes) -> None:
        self.check_there()
        for wanted, heard, _ in self._listeners:
            if matches(wanted, subject):
                heard(body)

    async def listen(self, subject: str, heard: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        self._listeners.append((subject, heard, missed))
        if not self._away:
            missed()

    async def check(self) -> None:
        """
        Raises:
            Unavailable: it is away.
        """
        self.check_there()

    def kept(self, subject: str = ">") -> list[KeptMessage]:
        """What is kept of the subjects that match, oldest first."""
        return [kept for kept in self._log if matches(subject, kept.subject)]

    def published(self, subject: str = ">") -> list[Message]:
        """The same, as events."""
        return [read_message(kept.subject, kept.headers, kept.body) for kept in self.kept(subject)]

    def unacknowledged(self, spec: ConsumerSpec) -> int:
        """How many messages a consumer has not yet acknowledged, delivered or not."""
        return self._consumer(spec).count_unacknowledged()

    def check_there(self) -> None:
        if self.away:
            raise Unavailable("the bus is away; try again shortly", code="bus_unavailable", retry_after=1)

    def _consumer(self, spec: ConsumerSpec) -> "_MemoryConsumer":
        if spec.name not in self._consumers:
            self._consumers[spec.name] = _MemoryConsumer(spec, self._log, self._clock)
        return self._consumers[spec.name]

    async def wait_for_change(self, seconds: float) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), min(seconds, _LOOK))


class MemorySubscription:
    def __init__(self, bus: MemoryBus, consumer: "_MemoryConsumer") -> None:
        self._bus = bus
        self._consumer = consumer

    async def fetch(self, limit: int, wait: float) -> list[Delivery]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            self._bus.check_there()
            found = self._consumer.take(limit)
            left = until - loop.time()
            if found or left <= 0:
                return [MemoryDelivery(self._bus, self._consumer, *taken) for taken in found]
            await self._bus.wait_for_change(left)


class MemoryDelivery:
    def __init__(
        self, bus: MemoryBus, consumer: "_MemoryConsumer", kept: KeptMessage, attempt: int, behind: int
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self.subject = kept.subject
        self.headers: Mapping[str, str] = kept.headers
        self.body = kept.body
        self.sequence = kept.sequence
        self.attempt = attempt
        self.behind = behind

    @property
    def message(self) -> Message:
        return read_message(self.subject, self.headers, self.body)

    async def ack(self) -> None:
        self._bus.check_there()
        self._consumer.forget(self.sequence)

    async def retry(self, delay: float) -> None:
        self._bus.check_there()
        self._consumer.postpone(self.sequence, delay)

    async def extend(self) -> None:
        self._bus.check_there()
        self._consumer.postpone(self.sequence, self._consumer.spec.ack_wait)


class _MemoryConsumer:
    """A durable consumer: where it is in the log, and what waits for its acknowledgement."""

    def __init__(self, spec: ConsumerSpec, log: list[KeptMessage], clock: Clock) -> None:
        self.spec = spec
        self._log = log
        self._clock = clock
        self._read = 0
        #: Sequence -> when it is delivered again, and how often it was.
        self._pending: dict[int, tuple[datetime, int]] = {}

    def take(self, limit: int) -> list[tuple[KeptMessage, int, int]]:
        now = self._clock.now()
        again = now + timedelta(seconds=self.spec.ack_wait)
        taken: list[tuple[KeptMessage, int]] = []
        for sequence, (due, attempts) in sorted(self._pending.items()):
            if due <= now and len(taken) < limit:
                self._pending[sequence] = (again, attempts + 1)
                taken.append((self._log[sequence - 1], attempts + 1))
        while len(taken) < limit and len(self._pending) < self.spec.max_pending and self._read < len(self._log):
            kept = self._log[self._read]
            self._read += 1
            if any(matches(subject, kept.subject) for subject in self.spec.subjects):
                self._pending[kept.sequence] = (again, 1)
                taken.append((kept, 1))
        behind = len(self._log) - self._read
        return [(kept, attempt, behind) for kept, attempt in taken]

    def count_unacknowledged(self) -> int:
        subjects = self.spec.subjects
        unread = sum(any(matches(subject, kept.subject) for subject in subjects) for kept in self._log[self._read :])
        return len(self._pending) + unread

    def forget(self, sequence: int) -> None:
        self._pending.pop(sequence, None)

    def postpone(self, sequence: int, seconds: float) -> None:
        if sequence in self._pending:
            _, attempts = self._pending[sequence]
            self._pending[sequence] = (self._clock.now() + timedelta(seconds=seconds), attempts)


def matches(pattern: str, subject: str) -> bool:
    """As NATS has it: ``*`` stands for one part, ``>`` at the end for one or more."""
    wanted, parts = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(parts) <= len(wanted):
            return False
        parts = parts[: len(wanted)]
    return len(wanted) == len(parts) and all(one in ("*", part) for one, part in zip(wanted, parts, strict=True))
