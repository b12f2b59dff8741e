"""What is in the outbox is published: all of it, in each user's order, whoever fails meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import pytest

from pkg.events import outbox_reader
from pkg.events.bus import Publisher
from pkg.events.memory_bus import MemoryBus
from pkg.events.messages import LINK_EVENTS, PARTITIONS, STREAM, Message, partition_of, read_event
from pkg.events.nats_bus import open_bus
from pkg.events.outbox import insert_events
from pkg.events.outbox_reader import OutboxReader, replay
from pkg.events.relay import Relay
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import TooLarge, Unavailable
from pkg.object_model.events import LinkEvent
from tests.conftest import running_nats
from tests.contract.outbox.conftest import (
    SOURCE,
    all_published,
    count_waiting,
    event_of,
    eventually,
    running,
    save,
)
from tests.fakes import FakeClock

USERS = range(1, 41)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(SystemClock())


def by_user(messages: Sequence[Message]) -> dict[int, list[int]]:
    """User -> ids of events, as they came."""
    found: dict[int, list[int]] = {}
    for message in messages:
        event = read_event(message)
        found.setdefault(event.user_id, []).append(event.id)
    return found


def expected(events: Sequence[LinkEvent]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for event in events:
        found.setdefault(event.user_id, []).append(event.id)
    return found


class FailingPublisher(Publisher):
    """Keeps the first part of what it is given, and then fails, as often as it is told."""

    def __init__(self, publisher: Publisher, *, times: int, keeps: int) -> None:
        self._publisher = publisher
        self._times = times
        self._keeps = keeps

    async def publish(self, messages: Sequence[Message]) -> None:
        if self._times and len(messages) > self._keeps:
            self._times -= 1
            await self._publisher.publish(messages[: self._keeps])
            raise Unavailable("the bus is away", code="bus_unavailable")
        await self._publisher.publish(messages)


class NarrowPublisher(Publisher):
    """Takes nothing large."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if len(message.body) > 1_000:
                raise TooLarge("too large", code="event_too_large")
            await self._publisher.publish([message])


async def test_an_event_is_published_as_it_was_told(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    told = event_of(7, title="Grüße")
    async with running(pool, bus):
        await save(pool, [told])
        await all_published(pool)
    (message,) = bus.published()
    assert read_event(message) == told
    assert (message.id, message.source, message.type, message.subject, message.time) == (
        str(told.id),
        SOURCE,
        "link.added",
        f"{LINK_EVENTS}.{partition_of(7)}",
        told.timestamp,
    )


async def test_a_commit_wakes_the_relay(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    relay = Relay(pool, bus, SOURCE, SystemClock(), poll=60)
    running_relay = asyncio.create_task(relay.run())
    try:

        async def owns_all() -> bool:
            return len(relay.owned) == PARTITIONS

        await eventually(owns_all, "the relay has begun")
        began = time.monotonic()
        await save(pool, [event_of(1)])
        await all_published(pool)
        assert time.monotonic() - began < 10
    finally:
        running_relay.cancel()
        await asyncio.gather(running_relay, return_exceptions=True)


@pytest.mark.parametrize("workers", [1, 2, 3])
async def test_workers_share_the_partitions_and_keep_each_users_order(
    pool: asyncpg.Pool, bus: MemoryBus, workers: int
) -> None:
    told: list[LinkEvent] = []
    async with running(pool, bus, workers) as relays:
        for _ in range(25):
            events = [event_of(user) for user in USERS]
            told += events
            await save(pool, events)

        async def shared() -> bool:
            return sum(len(relay.owned) for relay in relays) == PARTITIONS and all(
                len(relay.owned) <= -(-PARTITIONS // workers) for relay in relays
            )

        await eventually(shared, "each has its share")
        assert len({partition for relay in relays for partition in relay.owned}) == PARTITIONS
        await all_published(pool)
    assert by_user(bus.published()) == expected(told)


async def test_the_share_of_a_worker_that_ends_is_taken_over(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    async with running(pool, bus) as (survivor,):
        async with running(pool, bus) as (other,):

            async def halves() -> bool:
                return len(survivor.owned) == len(other.owned) == PARTITIONS // 2

            await eventually(halves, "half each")

        async def all_of_them() -> bool:
            return len(survivor.owned) == PARTITIONS

        await eventually(all_of_them, "the survivor has all", 10)
        told = [event_of(user) for user in USERS]
        await save(pool, told)
        await all_published(pool)
    assert by_user(bus.published()) == expected(told)


async def test_a_worker_that_ends_publishes_what_nobody_else_does(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    """One that died a moment ago still counts; nobody has what was to be its share."""
    async with pool.acquire() as dying:
        await OutboxReader(dying, SOURCE).join()
        async with running(pool, bus, poll=60) as (relay,):

            async def has_its_share() -> bool:
                return len(relay.owned) == PARTITIONS // 2

            await eventually(has_its_share, "the relay has half")
            told = [event_of(user) for user in USERS]
            await save(pool, told)
        await OutboxReader(dying, SOURCE).leave()
    assert await count_waiting(pool) == 0
    assert by_user(bus.published()) == expected(told)


async def test_a_worker_that_ended_holds_nothing(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    for _ in range(5):
        async with running(pool, bus, poll=60) as (relay,):

            async def owns_all(relay: Relay = relay) -> bool:
                return len(relay.owned) == PARTITIONS

            await eventually(owns_all, "the relay has all at its first look")


async def test_workers_whose_connections_are_cut_begin_anew(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    told: list[LinkEvent] = []
    async with running(pool, bus, 2) as relays:
        for _ in range(3):
            cut = await pool.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
            )
            events = [event_of(user) for user in USERS]
            told += events
            await save(pool, events)
            await all_published(pool)

        async def shared() -> bool:
            return [len(relay.owned) for relay in relays] == [PARTITIONS // 2] * 2

        await eventually(shared, "both are back")
        assert cut
    assert by_user(bus.published()) == expected(told)


@pytest.mark.parametrize("keeps", [0, 1, 137])
async def test_order_is_kept_when_publishing_fails_in_the_middle(
    pool: asyncpg.Pool, bus: MemoryBus, keeps: int
) -> None:
    told = [event_of(user) for _ in range(10) for user in USERS]
    await save(pool, told)
    async with running(pool, FailingPublisher(bus, times=3, keeps=keeps)):
        await all_published(pool)
    assert by_user(bus.published()) == expected(told)


async def test_a_row_that_is_committed_late_is_not_skipped(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    late, early = event_of(1), event_of(1 + next(n for n in range(1, 999) if partition_of(1 + n) == partition_of(1)))
    async with running(pool, bus), pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await insert_events(connection, [late])
        await save(pool, [early])
        await all_published(pool)
        assert list(by_user(bus.published())) == [early.user_id]
        await transaction.commit()
        await all_published(pool)
    assert by_user(bus.published()) == expected([early, late])
    positions = await pool.fetch("SELECT id FROM outbox ORDER BY position")
    assert [row["id"] for row in positions] == [late.id, early.id]


async def test_while_the_bus_is_away_events_wait_and_none_is_lost(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    bus.away = True
    told = [event_of(user) for user in USERS]
    async with running(pool, bus):
        await save(pool, told)
        assert await count_waiting(pool) == len(told)
        bus.away = False
        await all_published(pool)
    assert by_user(bus.published()) == expected(told)


async def test_what_can_never_be_published_holds_up_nobody(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    before, too_large, after = event_of(1), event_of(1, title="x" * 2_000), event_of(1)
    await save(pool, [before, too_large, after])
    async with running(pool, NarrowPublisher(bus)):
        await all_published(pool)
    assert by_user(bus.published()) == expected([before, after])
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE id = $1", too_large.id) == 1


async def test_imports_do_not_keep_the_others_waiting(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    by_partition = {partition_of(user): user for user in USERS}
    *importers, other = list(by_partition.values())[:4]
    imported = [event_of(user) for user in importers for _ in range(1_500)]
    told = event_of(other)
    await save(pool, [*imported, told])
    async with running(pool, bus):
        await all_published(pool)
    assert by_user(bus.published()) == expected([*imported, told])
    place = [message.id for message in bus.published()].index(str(told.id))
    assert place <= 750, "somebody had a second share before it"


async def test_what_is_published_is_kept_for_a_while_and_then_removed(pool: asyncpg.Pool, bus: MemoryBus) -> None:
    clock = FakeClock()
    await save(pool, [event_of(user) for user in USERS])
    async with running(pool, bus, clock=clock):
        await all_published(pool)
    assert await pool.fetchval("SELECT count(*) FROM outbox") == len(USERS)
    clock.time += timedelta(days=7, seconds=1)
    waiting = event_of(1)
    bus.away = True
    await save(pool, [waiting])
    async with running(pool, bus, clock=clock):

        async def one_is_left() -> bool:
            return [row["id"] for row in await pool.fetch("SELECT id FROM outbox")] == [waiting.id]

        await eventually(one_is_left, "what is old is gone, and what waits stays")


async def test_a_span_of_time_is_published_again(pool: asyncpg.Pool) -> None:
    clock = FakeClock()
    first, second = [event_of(user) for user in USERS], [event_of(user) for user in USERS]
    began = clock.now()
    async with running(pool, MemoryBus(clock), clock=clock):
        await save(pool, first)
        await all_published(pool)
        clock.advance(60)
        await save(pool, second)
        await all_published(pool)
    after_the_loss = MemoryBus(clock)
    async with running(pool, after_the_loss, clock=clock):
        assert await replay(pool, began + timedelta(seconds=30), clock.now() + timedelta(seconds=1)) == len(second)
        await all_published(pool)
        assert by_user(after_the_loss.published()) == expected(second)


async def test_a_nats_that_goes_and_comes_back_gets_all_of_many_once(
    pool: asyncpg.Pool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with running_nats(tmp_path_factory.mktemp("outbox-nats")) as nats:
        told: list[LinkEvent] = []
        async with open_bus(nats.server.address("link-manager"), SOURCE) as bus, running(pool, bus, 2):
            for round_number in range(4):
                events = [event_of(user) for _ in range(125) for user in USERS]
                told += events
                await save(pool, events)
                if round_number == 1:
                    nats.stop()
                if round_number == 2:
                    assert await count_waiting(pool) > 0
                    nats.start()
            await all_published(pool)
        async with open_bus(nats.server.address("administrator"), SOURCE) as bus:
            state = (await bus.ask(f"STREAM.INFO.{STREAM}"))["state"]
            assert state["messages"] == len(told) == 20_000


async def test_however_long_the_outbox_is_the_relay_looks_only_at_what_it_wants(pool: asyncpg.Pool) -> None:
    now = SystemClock().now()
    async with pool.acquire() as connection, connection.transaction():
        # A small table is read whole, unless that is forbidden.
        await connection.execute("SET LOCAL enable_seqscan = off")
        for statement, arguments, index in (
            (outbox_reader._READ, (list(range(PARTITIONS)), 250, 500), "outbox_waiting"),
            (outbox_reader._OLDEST, ([3],), "outbox_waiting"),
            (outbox_reader._MARK, ([1] * 500, list(range(500)), now), "outbox_pkey"),
            (outbox_reader._REMOVE, (now, 5_000), "outbox_published"),
        ):
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *arguments))
            assert {word for word in plan.split() if word.startswith("outbox_") and word != "outbox_1"} == {index}, plan
            assert "Seq Scan" not in plan, plan
