"""How fast events get from the outbox into feeds: rows are put into a running system's outbox, and metrics watched."""

import asyncio
import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final

import asyncpg

from pkg.events.outbox import insert_events
from pkg.object_model.events import LinkEvent, LinkEventType
from tests.e2e.stack import Stack
from tests.load.processor_time import processor_seconds

_AUTHORS: Final = 64
_FIRST_AUTHOR: Final = 10**12
_FIRST_FOLLOWER: Final = 10**13
_MOST_FOLLOWERS: Final = 10**6
_MILLISECOND: Final = timedelta(milliseconds=1)
#: Seconds; whatever is not through by then never will be.
_DEADLINE: Final = 300.0
_DONE: Final = re.compile(r'^delinkcious_events_handled_total\{consumer="news",outcome="done"\} (\S+)', re.MULTILINE)


@dataclass(frozen=True)
class EventRun:
    events: int
    seconds: float
    #: By process: the services, the database, the bus and the store.
    processor_seconds: Mapping[str, float]


async def measure_events(stack: Stack, password: str, events: int, followers: int) -> EventRun:
    """``followers`` is how many each author has, each of them a reader of that one alone."""
    graph = await _connect(stack, password, "social_graph_manager")
    links = await _connect(stack, password, "link_manager")
    try:
        await _follow(graph, followers)
        before, done, begun = _spent(stack), _handled(stack), time.perf_counter()
        made = _events(events)
        async with links.transaction():
            for first in range(0, events, 1_000):
                await insert_events(links, made[first : first + 1_000])
        deadline = begun + _DEADLINE
        while _handled(stack) < done + events:
            if time.perf_counter() > deadline:
                raise SystemExit(f"{done + events - _handled(stack):.0f} events did not come through")
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - begun
        return EventRun(events, seconds, {name: spent - before[name] for name, spent in _spent(stack).items()})
    finally:
        await graph.close()
        await links.close()


async def measure_delay(stack: Stack, password: str, repeats: int) -> float:
    """Seconds from the commit of one event, while nothing else is going on, to its place in a feed; their median."""
    graph = await _connect(stack, password, "social_graph_manager")
    links = await _connect(stack, password, "link_manager")
    try:
        await _follow(graph, 1)
        delays = []
        for _ in range(repeats):
            done = _handled(stack)
            async with links.transaction():
                await insert_events(links, _events(1))
            committed = time.perf_counter()
            while _handled(stack) == done:  # noqa: ASYNC110  # it is another process's count
                await asyncio.sleep(0.001)
            delays.append(time.perf_counter() - committed)
        return median(delays)
    finally:
        await graph.close()
        await links.close()


def _spent(stack: Stack) -> dict[str, float]:
    return {name: processor_seconds([pid]) for name, pid in stack.ready["pids"].items()}


def _events(count: int) -> list[LinkEvent]:
    """A millisecond apart, as if they had waited."""
    now = datetime.now(UTC)
    return [_event(number, now - (count - 1 - number) * _MILLISECOND) for number in range(count)]


def _event(number: int, now: datetime) -> LinkEvent:
    author = number % _AUTHORS
    event_id = int(now.timestamp() * 1000) * 2**20 + number
    return LinkEvent(
        id=event_id,
        type=LinkEventType.ADDED,
        user_id=_FIRST_AUTHOR + author,
        username=f"author{author}",
        timestamp=now,
        url=f"https://example.com/{number}",
        # New in each run: a version that is known already is no news, and would be measured as nothing.
        link_id=event_id,
        version=1,
        title="A title of the usual length, which is about sixty characters",
        tags=("python", "databases"),
    )


async def _follow(graph: asyncpg.Connection, followers: int) -> None:
    pairs = [
        (_FIRST_AUTHOR + author, _FIRST_FOLLOWER + author * _MOST_FOLLOWERS + follower)
        for author in range(_AUTHORS)
        for follower in range(followers)
    ]
    columns = [list(column) for column in zip(*pairs, strict=True)]
    await graph.execute(
        "INSERT INTO followers (user_id, follower_id, created_at)"
        " SELECT *, now() FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING",
        *columns,
    )


async def _connect(stack: Stack, password: str, database: str) -> asyncpg.Connection:
    postgres = stack.ready["postgres"]
    return await asyncpg.connect(
        host=postgres["host"],
        port=postgres["port"],
        user=postgres["user"],
        database=database,
        password=password,
    )


def _handled(stack: Stack) -> float:
    with urllib.request.urlopen(f"{stack.ready['services']['news-manager']}/metrics", timeout=10) as page:  # noqa: S310  # ours
        found = _DONE.search(page.read().decode())
    return float(found[1]) if found else 0.0
