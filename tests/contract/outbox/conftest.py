"""An outbox of these tests' own, in a database that only they use."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count

import asyncpg
import pytest

from pkg.events.bus import Publisher
from pkg.events.outbox import insert_events
from pkg.events.relay import Relay
from pkg.object_model.clock import Clock, SystemClock
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.provisioning.databases import ServiceDatabase
from pkg.runtime.background import run_in_background
from pkg.runtime.postgres import open_pool
from tests.conftest import TestPostgres

DATABASE = ServiceDatabase("outbox_tests", "pkg.social_graph_manager.migrations", "OUTBOX_TESTS_DB")
SOURCE = "tests"
DEADLINE = 30.0
#: Seconds between two looks of a relay in these tests.
POLL = 0.1

_ids = count(1)


@pytest.fixture(scope="session")
async def outbox_pool(postgres: TestPostgres) -> AsyncIterator[asyncpg.Pool]:
    postgres.make(DATABASE)
    address = postgres.address(DATABASE, DATABASE.service)
    async with await open_pool(address, application_name="tests", max_size=20, statement_timeout=10) as pool:
        yield pool


@pytest.fixture
async def pool(outbox_pool: asyncpg.Pool) -> asyncpg.Pool:
    await outbox_pool.execute("DELETE FROM outbox")
    return outbox_pool


def event_of(user_id: int, *, title: str = "") -> LinkEvent:
    return LinkEvent(
        id=next(_ids),
        type=LinkEventType.ADDED,
        user_id=user_id,
        username=f"user{user_id}",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        url="https://example.com/",
        title=title,
    )


async def save(pool: asyncpg.Pool, events: Sequence[LinkEvent]) -> None:
    """In one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        await insert_events(connection, events)


async def count_waiting(pool: asyncpg.Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"))


async def eventually(check: Callable[[], Awaitable[bool]], what: str, seconds: float = DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


async def all_published(pool: asyncpg.Pool, seconds: float = DEADLINE) -> None:
    async def nothing_waits() -> bool:
        return await count_waiting(pool) == 0

    await eventually(nothing_waits, "everything is published", seconds)


@asynccontextmanager
async def running(
    pool: asyncpg.Pool, publisher: Publisher, workers: int = 1, clock: Clock | None = None, *, poll: float = POLL
) -> AsyncIterator[list[Relay]]:
    relays = [Relay(pool, publisher, SOURCE, clock or SystemClock(), poll=poll) for _ in range(workers)]
    async with run_in_background(*(relay.run() for relay in relays)):
        yield relays
