"""Work on events: order within a key, many keys at once, poison that takes nobody along, a stop in good order."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest

from pkg.events.bus import ConsumerSpec, Delivery, Subscription
from pkg.events.consumer import MAX_BYTES_IN_HAND, MAX_IN_HAND, MAX_RUN, Consumer, Handle
from pkg.events.memory_bus import MemoryBus
from pkg.events.messages import LINK_CHECK_EVENTS, LINK_EVENTS, Message, write_message
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import InvalidArgument, Unavailable
from pkg.object_model.events import LinkCheckedEvent
from pkg.object_model.types import LinkStatus
from pkg.runtime.background import run_in_background
from pkg.runtime.context import current_context
from pkg.runtime.logs import logs_written_to

SPEC = ConsumerSpec(name="tests", service="tests", subjects=(f"{LINK_EVENTS}.>", LINK_CHECK_EVENTS), max_deliver=3)
DEADLINE = 10.0
#: Seconds until the second attempt.
SOON = 0.01
DEAD = "dead-letters.tests"

_ids = count(1)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(SystemClock())


def message(partition: int = 0, body: bytes = b"{}") -> Message:
    return Message(
        id=str(next(_ids)),
        source="tests",
        type="link.added",
        subject=f"{LINK_EVENTS}.{partition}",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        body=body,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        request_id="the-request",
    )


def verdict(user_id: int) -> Message:
    event = LinkCheckedEvent(
        id=next(_ids),
        user_id=user_id,
        username="alice",
        url="https://example.com/",
        status=LinkStatus.VALID,
        checked_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return write_message(event, "tests")


async def eventually(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not check():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def consuming(
    bus: MemoryBus,
    handle: Handle,
    *,
    spec: ConsumerSpec = SPEC,
    concurrency: int = 8,
    stop_grace: float = 5.0,
    patience: float = 0.0,
) -> AsyncIterator[None]:
    consumer = Consumer(
        bus.subscribe(spec),
        spec,
        handle,
        bus,
        concurrency=concurrency,
        wait=0.1,
        first_delay=SOON,
        stop_grace=stop_grace,
        patience=patience,
    )
    async with run_in_background(consumer.run()):
        yield


async def everything_acknowledged(bus: MemoryBus, spec: ConsumerSpec = SPEC) -> None:
    await eventually(lambda: bus.unacknowledged(spec) == 0, "everything is acknowledged")


class Recorder:
    """Keeps runs as they come. ``fail`` is asked about each message, and may raise."""

    def __init__(self, fail: Callable[[Message], None] = lambda _: None) -> None:
        self.runs: list[list[Message]] = []
        self.done: list[Message] = []
        self._fail = fail

    async def __call__(self, messages: Sequence[Message]) -> None:
        self.runs.append(list(messages))
        await asyncio.sleep(0)
        for message in messages:
            self._fail(message)
        self.done += messages


class Counting:
    """Another subscription, and how much of it was fetched."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self.fetched = 0

    async def fetch(self, limit: int, wait: float) -> list[Delivery]:
        found = await self._subscription.fetch(limit, wait)
        self.fetched += len(found)
        return found


async def test_events_of_one_key_come_in_order_and_in_runs(bus: MemoryBus) -> None:
    sent = [message(number % 3) for number in range(300)]
    await bus.publish(sent)
    recorder = Recorder()
    async with consuming(bus, recorder):
        await everything_acknowledged(bus)
    for partition in range(3):
        subject = f"{LINK_EVENTS}.{partition}"
        assert [one.id for one in recorder.done if one.subject == subject] == [
            one.id for one in sent if one.subject == subject
        ]
    assert all(len({one.subject for one in run}) == 1 for run in recorder.runs)
    assert len(recorder.runs) < len(sent) / 5


async def test_without_partitions_the_key_is_the_user(bus: MemoryBus) -> None:
    await bus.publish([verdict(number % 2) for number in range(20)])
    recorder = Recorder()
    async with consuming(bus, recorder):
        await everything_acknowledged(bus)
    assert len(recorder.done) == 20
    assert all(len({json.loads(one.body)["UserId"] for one in run}) == 1 for run in recorder.runs)


async def test_keys_are_worked_on_at_once_and_never_too_many(bus: MemoryBus) -> None:
    working, most, gate = set[str](), 0, asyncio.Event()

    async def handle(messages: Sequence[Message]) -> None:
        nonlocal most
        key = messages[0].subject
        assert key not in working, "two runs of one key at once"
        working.add(key)
        most = max(most, len(working))
        await gate.wait()
        working.discard(key)

    await bus.publish([message(number % 10) for number in range(50)])
    async with consuming(bus, handle, concurrency=4):
        await eventually(lambda: len(working) == 4, "four at once")
        gate.set()
        await everything_acknowledged(bus)
    assert most == 4


async def test_one_slow_key_does_not_hold_up_the_others(bus: MemoryBus) -> None:
    gate = asyncio.Event()
    done: list[Message] = []

    async def handle(messages: Sequence[Message]) -> None:
        if messages[0].subject.endswith(".0"):
            await gate.wait()
        done.extend(messages)

    async with consuming(bus, handle):
        await bus.publish([message(0), message(1)])
        await eventually(lambda: len(done) == 1, "the other key is done")
        await bus.publish([message(1)])
        await eventually(lambda: len(done) == 2, "what came later is done as well")
        gate.set()
        await everything_acknowledged(bus)


@pytest.mark.parametrize(("many", "size"), [(MAX_IN_HAND, 10), (MAX_RUN, MAX_BYTES_IN_HAND // MAX_RUN + 1)])
async def test_what_it_cannot_hold_is_left_to_others(bus: MemoryBus, many: int, size: int) -> None:
    handled, free = 0, asyncio.Event()

    async def handle(messages: Sequence[Message]) -> None:
        nonlocal handled
        await free.wait()
        handled += len(messages)

    rest = message(1)
    await bus.publish([*(message(body=b" " * size) for _ in range(many)), rest])
    subscription = Counting(bus.subscribe(SPEC))
    async with run_in_background(Consumer(subscription, SPEC, handle, bus, wait=0.1).run()):
        await eventually(lambda: subscription.fetched >= many, "as many as it can are held")
        (left,) = await bus.subscribe(SPEC).fetch(10, 1.0)
        assert left.message.id == rest.id
        await left.ack()
        free.set()
        await everything_acknowledged(bus)
        await bus.publish([message(), message(1)])
        await eventually(lambda: handled == many + 2, "there is room again")


async def test_an_event_is_acknowledged_after_its_effect(bus: MemoryBus) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def handle(messages: Sequence[Message]) -> None:
        begun.set()
        await gate.wait()

    await bus.publish([message()])
    async with consuming(bus, handle):
        await begun.wait()
        assert bus.unacknowledged(SPEC) == 1
        gate.set()
        await everything_acknowledged(bus)


async def test_work_carries_the_context_of_what_caused_it(bus: MemoryBus) -> None:
    seen = []

    async def handle(messages: Sequence[Message]) -> None:
        seen.append(current_context())

    await bus.publish([message()])
    async with consuming(bus, handle):
        await everything_acknowledged(bus)
    (context,) = seen
    assert context is not None
    assert context.request_id == "the-request"
    assert context.traceparent.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert "b7ad6b7169203331" not in context.traceparent
    assert context.traceparent.endswith("-01")
    assert context.deadline is None


async def test_a_trace_that_somebody_asked_for_ends_in_a_line_for_each_event(bus: MemoryBus) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    plain = replace(message(), traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    traced = [replace(message(), traceparent=f"00-{trace}-b7ad6b7169203331-01", request_id=f"r{n}") for n in range(2)]
    seen = []

    async def handle(messages: Sequence[Message]) -> None:
        seen.append(current_context())

    log = io.BytesIO()
    await bus.publish([plain, *traced])
    with logs_written_to(log, "info"):
        async with consuming(bus, handle):
            await everything_acknowledged(bus)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    told = [line for line in lines if line["event"] == "an event is worked on"]
    assert [(line["event_id"], line["trace_id"], line["request_id"]) for line in told] == [
        (one.id, trace, one.request_id) for one in traced
    ]
    # What the work asks of others is part of the trace as well.
    assert [context.traceparent[3:35] for context in seen if context] == [trace]


async def test_work_waits_in_hand_for_what_is_away_and_keeps_its_order(bus: MemoryBus) -> None:
    sent = [message() for _ in range(5)]
    away = asyncio.Event()
    attempts = 0

    def fail(_one: Message) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= SPEC.max_deliver + 1:
            away.set()
            raise Unavailable("away")

    await bus.publish(sent)
    recorder = Recorder(fail)
    async with consuming(bus, recorder, patience=60):
        await away.wait()
        # What comes meanwhile does not go first.
        late = message()
        await bus.publish([late])
        await everything_acknowledged(bus)
    assert [one.id for one in recorder.done] == [one.id for one in [*sent, late]]
    assert bus.published(DEAD) == []
    assert {len(run) for run in recorder.runs[: SPEC.max_deliver + 1]} == {5}, "it was given back"


async def test_work_that_waits_in_hand_keeps_nobody_from_stopping(bus: MemoryBus) -> None:
    tried = asyncio.Event()

    async def handle(messages: Sequence[Message]) -> None:
        tried.set()
        raise Unavailable("away")

    await bus.publish([message()])
    async with consuming(bus, handle, stop_grace=60, patience=600):
        await tried.wait()
        begun = time.monotonic()
    assert time.monotonic() - begun < DEADLINE
    recorder = Recorder()
    async with consuming(bus, recorder):
        await everything_acknowledged(bus)
    assert len(recorder.done) == 1


async def test_what_fails_is_tried_again(bus: MemoryBus) -> None:
    attempts = 0

    async def handle(messages: Sequence[Message]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Unavailable("the store is away")

    await bus.publish([message()])
    async with consuming(bus, handle):
        await everything_acknowledged(bus)
    assert attempts == 3
    assert bus.published(DEAD) == []


@pytest.mark.parametrize(
    ("fault", "attempts", "reason"),
    [
        (InvalidArgument("no such thing", code="nonsense"), 1, "nonsense: no such thing"),
        (Unavailable("the store is away", code="store_away"), 3, "store_away: the store is away"),
        (KeyError("secret"), 3, "KeyError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_what_fails_for_good_becomes_a_dead_letter(
    bus: MemoryBus, fault: Exception, attempts: int, reason: str
) -> None:
    tried = 0

    async def handle(messages: Sequence[Message]) -> None:
        nonlocal tried
        tried += 1
        raise fault

    poison = message(body=b'{"Title": "private"}')
    await bus.publish([poison])
    log = io.BytesIO()
    with logs_written_to(log):
        async with consuming(bus, handle):
            await everything_acknowledged(bus)
    assert tried == attempts
    (dead,) = bus.kept(DEAD)
    assert dead.body == poison.body
    assert dead.headers["ce-id"] == poison.id
    assert dead.headers["X-Request-ID"] == "the-request"
    assert dead.headers["Delinkcious-Dead-Letter-Reason"] == reason
    assert dead.headers["Delinkcious-Dead-Letter-Subject"] == poison.subject
    assert dead.headers["Delinkcious-Dead-Letter-Consumer"] == "tests"
    assert dead.headers["Delinkcious-Dead-Letter-Attempts"] == str(attempts)
    assert b"private" not in log.getvalue()
    assert b"secret" not in log.getvalue()


async def test_a_poison_message_does_not_take_its_neighbours_along(bus: MemoryBus) -> None:
    sent = [message() for _ in range(9)]
    poison, bug = sent[3].id, sent[6].id

    def fail(one: Message) -> None:
        if one.id == poison:
            raise InvalidArgument("no such thing")
        if one.id == bug:
            raise KeyError(one.id)

    await bus.publish(sent)
    recorder = Recorder(fail)
    async with consuming(bus, recorder):
        await everything_acknowledged(bus)
    assert {dead.headers["ce-id"] for dead in bus.kept(DEAD)} == {poison, bug}
    assert {one.id for one in recorder.done} == {one.id for one in sent} - {poison, bug}


async def test_what_cannot_be_read_is_a_dead_letter_as_it_came(bus: MemoryBus) -> None:
    strange = Message(
        id="x",
        source="tests",
        type="link.checked",
        subject=LINK_CHECK_EVENTS,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        body=b"\xff not JSON",
        extra_headers={"ce-time": "yesterday"},
    )
    good = verdict(1)
    await bus.publish([strange, good])
    recorder = Recorder()
    async with consuming(bus, recorder):
        await everything_acknowledged(bus)
    (dead,) = bus.kept(DEAD)
    assert (dead.body, dead.headers["ce-time"]) == (strange.body, "yesterday")
    assert dead.headers["Delinkcious-Dead-Letter-Reason"].startswith("malformed_event")
    assert [one.id for one in recorder.done] == [good.id]


async def test_a_dependency_that_comes_back_in_the_middle_changes_no_order(bus: MemoryBus) -> None:
    sent = [message() for _ in range(5)]
    failures = 2

    def fail(one: Message) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable("away")

    await bus.publish(sent)
    recorder = Recorder(fail)
    async with consuming(bus, recorder):
        await everything_acknowledged(bus)
    # The run, then its first alone. After that there is no use in trying the others before it.
    assert failures == 0
    assert [one.id for one in recorder.done] == [one.id for one in sent]


async def test_long_work_is_not_given_to_somebody_else(bus: MemoryBus) -> None:
    spec = ConsumerSpec(name="tests", service="tests", subjects=SPEC.subjects, ack_wait=0.3)
    runs = 0

    async def handle(messages: Sequence[Message]) -> None:
        nonlocal runs
        runs += 1
        # Three times as long as the bus waits for an acknowledgement.
        until = time.monotonic() + 1.0
        while time.monotonic() < until:  # noqa: ASYNC110  # it is the time that counts here
            await asyncio.sleep(0.02)

    await bus.publish([message()])
    async with consuming(bus, handle, spec=spec), consuming(bus, handle, spec=spec):
        await everything_acknowledged(bus, spec)
    assert runs == 1


async def test_a_stop_waits_for_what_is_worked_on(bus: MemoryBus) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    done: list[Message] = []

    async def handle(messages: Sequence[Message]) -> None:
        begun.set()
        await gate.wait()
        done.extend(messages)

    await bus.publish([message() for _ in range(3)])
    consumer = asyncio.create_task(Consumer(bus.subscribe(SPEC), SPEC, handle, bus).run())
    await begun.wait()
    consumer.cancel()
    finished, _ = await asyncio.wait((consumer,), timeout=0.1)
    assert not finished
    gate.set()
    await asyncio.wait((consumer,), timeout=DEADLINE)
    assert consumer.cancelled()
    assert len(done) == 3
    assert bus.unacknowledged(SPEC) == 0


async def test_what_does_not_end_in_time_is_given_back(bus: MemoryBus) -> None:
    begun = asyncio.Event()

    async def handle(messages: Sequence[Message]) -> None:
        begun.set()
        await asyncio.Event().wait()

    await bus.publish([message(), message(1)])
    async with consuming(bus, handle, stop_grace=0.05):
        await begun.wait()
    recorder = Recorder()
    async with consuming(bus, recorder):
        await everything_acknowledged(bus)
    assert len(recorder.done) == 2


async def test_a_bus_that_goes_and_comes_back_is_waited_for(bus: MemoryBus) -> None:
    recorder = Recorder()
    bus.away = True
    log = io.BytesIO()
    with logs_written_to(log):
        async with consuming(bus, recorder):
            await eventually(lambda: log.getvalue().count(b"cannot be fetched") >= 2, "it has asked twice")
            bus.away = False
            await bus.publish([message()])
            await everything_acknowledged(bus)
    assert len(recorder.done) == 1


async def test_a_dead_letter_that_cannot_be_kept_is_not_lost(bus: MemoryBus) -> None:
    class Away:
        """Refuses the first time."""

        refused = False

        async def publish(self, messages: Sequence[Message]) -> None:
            if not self.refused:
                self.refused = True
                raise Unavailable("away")
            await bus.publish(messages)

    async def handle(messages: Sequence[Message]) -> None:
        raise InvalidArgument("no such thing")

    spec = ConsumerSpec(name="tests", service="tests", subjects=SPEC.subjects, ack_wait=0.1)
    await bus.publish([message()])
    consumer = Consumer(bus.subscribe(spec), spec, handle, Away(), wait=0.1)
    async with run_in_background(consumer.run()):
        await everything_acknowledged(bus, spec)
    assert len(bus.kept(DEAD)) == 1
