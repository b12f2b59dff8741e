"""How fast events get from the outbox into feeds: rows are put into a running system's outbox, and metrics watched."""

import asyncio
import re
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg

from pkg.events.outbox import insert_events
from pkg.object_model.events import LinkEvent, LinkEventType
from tests.e2e.stack import Stack
from tests.load.processor_time import processor_seconds

_AUTHORS: Final = 64
_FIRST_AUTHOR: Final = 10**12
_FIRST_FOLLOWER: Final = 10**13
#: Seconds; whatever is not through by then never will be.
_DEADLINE: Final = 120.0
_DONE: Final = re.compile(r'^delinkcious_events_handled_total\{consumer="news",outcome="done"\} (\S+)', re.MULTILINE)


@dataclass(frozen=True)
class EventRun:
    events: int
    seconds: float
    processor_seconds: float


async def measure_events(stack: Stack, password: str, events: int, followers: int) -> EventRun:
    """``followers`` is how many each author has."""
    graph = await _connect(stack, password, "social_graph_manager")
    links = await _connect(stack, password, "link_manager")
    try:
        await _follow(graph, followers)
        pids = list(stack.ready["pids"].values())
        done, spent, begun = _handled(stack), processor_seconds(pids), time.perf_counter()
        now = datetime.now(UTC)
        async with links.transaction():
            for first in range(0, events, 1_000):
                await insert_events(links, [_event(number, now) for number in range(first, min(first + 1_000, events))])
        deadline = begun + _DEADLINE
        while _handled(stack) < done + events:
            if time.perf_counter() > deadline:
                raise SystemExit(f"{done + events - _handled(stack):.0f} events did not come through")
            await asyncio.sleep(0.05)
        return EventRun(events, time.perf_counter() - begun, processor_seconds(pids) - spent)
    finally:
        await graph.close()
        await links.close()


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
        (_FIRST_AUTHOR + author, _FIRST_FOLLOWER + follower)
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
