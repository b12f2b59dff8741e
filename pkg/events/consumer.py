"""Works on events: in order for one key, at once for many, until it is told to stop.

Delivery is at least once, so a handler must not mind hearing an event again. An event is acknowledged after its effect.
While a store or a service that the work needs is away, the work waits where it is for a while, in its order (see
docs/adr/044). One that fails otherwise is tried again later, and what came after it goes first then: whoever cares
compares versions.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pkg.events.bus import ConsumerSpec, Delivery, Publisher, Subscription
from pkg.events.dead_letters import dead_letter
from pkg.events.messages import Message, read_event
from pkg.events.metrics import BEHIND, EVENT_AGE, HANDLED, HANDLING_SECONDS
from pkg.object_model.clock import Clock, SystemClock
from pkg.object_model.errors import DeadlineExceeded, DelinkciousError, InvalidArgument, Unavailable
from pkg.runtime.context import RequestContext, use_context
from pkg.runtime.logs import describe_exception, get_logger
from pkg.runtime.tracing import child_traceparent, is_sampled

#: Deliveries that are held at once, waiting for their turn or worked on.
MAX_IN_HAND: Final = 400
#: Bytes of their bodies, after which no more are asked for.
MAX_BYTES_IN_HAND: Final = 16 * 1024**2
#: Messages of one run.
MAX_RUN: Final = 250
#: Seconds that a handler may take for one run.
HANDLE_TIMEOUT: Final = 120.0
#: Seconds that work in hand gets to end when the consumer is told to stop.
STOP_GRACE: Final = 10.0
#: Seconds that work waits in hand for what it needs and what is away, before it is given back.
PATIENCE: Final = 30.0

#: Seconds to wait for events before asking anew. A stop takes as long, at most, where nothing is to be done.
_WAIT: Final = 1.0
#: Seconds until the second attempt; four times as long with each further one. Eight attempts take half an hour.
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 900.0
#: Seconds between two attempts to fetch while the bus is away.
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
#: Seconds between two attempts at work that waits in hand.
_LONGEST_WAIT_IN_HAND: Final = 2.0

#: Gets consecutive events of one key, in order; has worked on all of them when it returns. InvalidArgument says that
#: one can never be worked on, any other error that it may be tried again.
type Handle = Callable[[Sequence[Message]], Awaitable[None]]

_log = get_logger(__name__)


class Consumer:
    def __init__(
        self,
        subscription: Subscription,
        spec: ConsumerSpec,
        handle: Handle,
        dead_letters: Publisher,
        *,
        key_of: Callable[[Delivery], str] | None = None,
        concurrency: int = 8,
        max_in_hand: int = MAX_IN_HAND,
        wait: float = _WAIT,
        first_delay: float = _FIRST_DELAY,
        stop_grace: float = STOP_GRACE,
        patience: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        """``key_of``: what must be worked on in order; a partition or a user, unless it says otherwise.

        ``max_in_hand``: more of them make longer runs, and keep more from others who share the consumer.
        ``patience``: seconds that a run waits in hand while what it needs is away; see ``PATIENCE``.
        """
        self._subscription = subscription
        self._spec = spec
        self._handle = handle
        self._dead_letters = dead_letters
        self._key_of = key_of or _key_of
        self._slots = asyncio.Semaphore(concurrency)
        self._max_in_hand = max_in_hand
        self._wait = wait
        self._first_delay = first_delay
        self._stop_grace = stop_grace
        self._patience = patience
        self._stopping = asyncio.Event()
        self._clock = clock or SystemClock()
        #: By key, what waits for the run before it.
        self._waiting: dict[str, list[Delivery]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._in_hand: dict[int, Delivery] = {}
        self._bytes_in_hand = 0
        name = spec.name
        self._done = HANDLED.labels(name, "done")
        self._retried = HANDLED.labels(name, "retried")
        self._dead = HANDLED.labels(name, "dead")
        self._seconds = HANDLING_SECONDS.labels(name)
        self._age = EVENT_AGE.labels(name)
        self._behind = BEHIND.labels(name)

    async def run(self) -> None:
        """Works until it is cancelled; what is in hand is then finished, or given back when that takes too long."""
        extending = asyncio.create_task(self._extend_for_ever(), name=f"{self._spec.name}: extending")
        pause = _FIRST_PAUSE
        try:
            while True:
                if len(self._in_hand) >= self._max_in_hand or self._bytes_in_hand >= MAX_BYTES_IN_HAND:
                    await asyncio.wait(self._workers, return_when=asyncio.FIRST_COMPLETED)
                    continue
                try:
                    await self._fetch()
                except Unavailable as error:
                    _log.debug("events cannot be fetched", consumer=self._spec.name, code=error.code)
                    await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # not a secret
                    pause = min(_LONGEST_PAUSE, pause * 2)
                    continue
                pause = _FIRST_PAUSE
        finally:
            await self._finish()
            extending.cancel()

    async def _fetch(self) -> None:
        room = min(MAX_RUN, self._max_in_hand - len(self._in_hand))
        fetching = asyncio.ensure_future(self._subscription.fetch(room, self._wait))
        try:
            self._take(await asyncio.shield(fetching))
        except asyncio.CancelledError:
            with contextlib.suppress(Unavailable):
                self._take(await fetching)
            raise

    def _take(self, found: Sequence[Delivery]) -> None:
        self._behind.set(found[-1].behind if found else 0)
        for delivery in found:
            self._in_hand[id(delivery)] = delivery
            self._bytes_in_hand += len(delivery.body)
            key = self._key_of(delivery)
            if key in self._waiting:
                self._waiting[key].append(delivery)
                continue
            self._waiting[key] = [delivery]
            worker = asyncio.create_task(self._work_on(key), name=f"{self._spec.name}: {key}")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work_on(self, key: str) -> None:
        waiting = self._waiting[key]
        try:
            while waiting:
                async with self._slots:
                    run = waiting[:MAX_RUN]
                    del waiting[:MAX_RUN]
                    await self._work_on_run(run)
                # Not where this is cancelled: what is still in hand then is given back.
                for delivery in run:
                    del self._in_hand[id(delivery)]
                    self._bytes_in_hand -= len(delivery.body)
        finally:
            del self._waiting[key]

    async def _work_on_run(self, run: Sequence[Delivery]) -> None:
        began = time.perf_counter()
        if not await self._try(run) and len(run) > 1:
            # One of them may be at fault. The others must not go its way.
            for position, delivery in enumerate(run, 1):
                if not await self._try([delivery], rest=run[position:]):
                    break
        self._seconds.observe(time.perf_counter() - began)

    async def _try(self, run: Sequence[Delivery], rest: Sequence[Delivery] = ()) -> bool:
        """False if the run failed and is to be split, or ``rest`` has no chance now and was put off."""
        try:
            messages = [delivery.message for delivery in run]
            with use_context(_context_of(next(filter(_is_traced, messages), messages[0]))):
                await self._call(messages)
        except Exception as fault:  # noqa: BLE001  # whatever a handler raises, the event is tried again or kept
            if len(run) > 1:
                return False
            await self._settle_failed(run[0], fault)
            # Not the event's fault, and the next ones would only fail out of their order.
            if rest and isinstance(fault, Unavailable | DeadlineExceeded | TimeoutError):
                for delivery in rest:
                    await self._put_off(delivery, fault)
                return False
            return True
        now = self._clock.now()
        self._done.inc(len(run))
        for delivery, message in zip(run, messages, strict=True):
            self._age.observe(max(0.0, (now - message.time).total_seconds()))
            if _is_traced(message):
                # A trace that somebody asked for ends here. Of every event a line would cost a fifth of the work on it.
                with use_context(_context_of(message)):
                    _log.info("an event is worked on", consumer=self._spec.name, event_id=message.id, type=message.type)
            with contextlib.suppress(Unavailable):
                await delivery.ack()
        return True

    async def _call(self, messages: Sequence[Message]) -> None:
        until, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(HANDLE_TIMEOUT):
                    return await self._handle(messages)
            except (Unavailable, DeadlineExceeded):
                # No fault of the events, which would come late and out of their order if they were given back.
                if self._stopping.is_set() or time.monotonic() + pause > until:
                    raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), random.uniform(pause / 2, pause))  # noqa: S311  # likewise
            pause = min(_LONGEST_WAIT_IN_HAND, pause * 2)

    async def _settle_failed(self, delivery: Delivery, fault: Exception) -> None:
        if not isinstance(fault, InvalidArgument) and delivery.attempt < self._spec.max_deliver:
            await self._put_off(delivery, fault)
            return
        reason = f"{fault.code}: {fault.message}" if isinstance(fault, DelinkciousError) else type(fault).__name__
        try:
            await self._dead_letters.publish([dead_letter(delivery, self._spec.name, reason)])
            await delivery.ack()
        except DelinkciousError as error:
            # It is delivered again, and dies then.
            _log.warning("a dead letter cannot be kept yet", consumer=self._spec.name, code=error.code)
            return
        self._dead.inc()
        _log.error("an event is dead", **self._about(delivery, fault))

    async def _put_off(self, delivery: Delivery, fault: Exception) -> None:
        delay = min(_LONGEST_DELAY, self._first_delay * 4.0 ** min(delivery.attempt - 1, 10))
        self._retried.inc()
        _log.warning("an event is tried again later", delay=delay, **self._about(delivery, fault))
        with contextlib.suppress(Unavailable):
            await delivery.retry(delay)

    def _about(self, delivery: Delivery, fault: Exception) -> dict[str, object]:
        about: dict[str, object] = {
            "consumer": self._spec.name,
            "subject": delivery.subject,
            "event_id": delivery.headers.get("ce-id"),
            "attempt": delivery.attempt,
        }
        if isinstance(fault, DelinkciousError):
            return {**about, "code": fault.code}
        return {**about, "exception": describe_exception(fault)}

    async def _extend_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._spec.ack_wait / 3)
            for delivery in list(self._in_hand.values()):
                with contextlib.suppress(Unavailable):
                    await delivery.extend()

    async def _finish(self) -> None:
        self._stopping.set()
        if self._workers:
            _, late = await asyncio.wait(set(self._workers), timeout=self._stop_grace)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for delivery in self._in_hand.values():
            with contextlib.suppress(Unavailable):
                await delivery.retry(0)
        self._in_hand.clear()


def _key_of(delivery: Delivery) -> str:
    """What must be worked on in order: a partition, or where there are none, a user."""
    if "." in delivery.subject:
        return delivery.subject
    try:
        return f"user {read_event(delivery.message).user_id}"
    except InvalidArgument:
        return "malformed"


def _is_traced(message: Message) -> bool:
    return is_sampled(message.traceparent)


def _context_of(message: Message) -> RequestContext:
    return RequestContext(message.request_id, child_traceparent(message.traceparent or None), None)
