"""How fast events get from the outbox into feeds: rows are put into a running system's outbox, and metrics watched.

Beside it, what JetStream takes by itself: as many events of the same size, published by 100 and fetched by 500.
"""

import asyncio
import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import nats
import uvloop
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from pkg.clients.news_client import NewsClient
from pkg.events.messages import write_message
from pkg.events.operator import nats_of_stack
from pkg.events.outbox import insert_events
from pkg.local_stack.data_folder import DataFolder
from pkg.news_manager.redis_store import RedisNewsStore
from pkg.object_model.clock import SystemClock
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Actor, GetNewsRequest, LinkStatus
from pkg.runtime.access import API_GATEWAY, NEWS_MANAGER
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.mutual_auth import load_mutual_auth
from pkg.runtime.redis import RedisAddress, connect_redis
from pkg.runtime.secret import passwords_of
from tests.e2e.stack import Stack
from tests.load.processor_time import processor_seconds

_AUTHORS: Final = 64
_FIRST_AUTHOR: Final = 10**12
_FIRST_FOLLOWER: Final = 10**13
_MOST_FOLLOWERS: Final = 10**6
#: Entries of a feed that are looked at.
_READ: Final = 20
SITE: Final = "https://example.com"
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

    @property
    def micros(self) -> float:
        """Of processor time an event, over all processes."""
        return sum(self.processor_seconds.values()) / self.events * 1e6


async def measure_events(stack: Stack, password: str, events: int, followers: int) -> EventRun:
    """``followers`` is how many each author has, each of them a reader of that one alone."""
    graph = await connect(stack, password, "social_graph_manager")
    links = await connect(stack, password, "link_manager")
    try:
        await follow(graph, followers)
        await have_feeds(stack, followers)
        before, done, begun = _spent(stack), handled(stack), time.perf_counter()
        # Looked at already: the link checker hears of them, and has nothing to do.
        made = make_events(events, status=LinkStatus.VALID)
        await insert(links, made)
        deadline = begun + _DEADLINE
        while handled(stack) < done + events:
            if time.perf_counter() > deadline:
                raise SystemExit(f"{done + events - handled(stack):.0f} events did not come through")
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - begun
        run = EventRun(events, seconds, {name: spent - before[name] for name, spent in _spent(stack).items()})
        await _check_feeds(stack, made, followers)
        return run
    finally:
        await graph.close()
        await links.close()


async def measure_delay(stack: Stack, password: str, repeats: int) -> float:
    """Seconds from the commit of one event, while nothing else is going on, to its place in a feed; their median."""
    graph = await connect(stack, password, "social_graph_manager")
    links = await connect(stack, password, "link_manager")
    try:
        await follow(graph, 1)
        await have_feeds(stack, 1)
        delays = []
        for _ in range(repeats):
            done = handled(stack)
            await insert(links, make_events(1))
            committed = time.perf_counter()
            while handled(stack) == done:  # noqa: ASYNC110  # it is another process's count
                await asyncio.sleep(0.001)
            delays.append(time.perf_counter() - committed)
        return median(delays)
    finally:
        await graph.close()
        await links.close()


async def measure_stream(stack: Stack, events: int) -> EventRun:
    """The same events through a stream of their own and nothing else: kept, fetched, acknowledged."""
    # On the loop that services have.
    return await asyncio.to_thread(lambda: uvloop.run(_stream(stack, make_events(events))))


async def _stream(stack: Stack, events: list[LinkEvent]) -> EventRun:
    address = nats_of_stack(stack.ready)
    messages = [write_message(event, "bench") for event in events]
    client = await nats.connect(address.url, user=address.user, password=passwords_of(address.password)[0])
    try:
        await client.jetstream().add_stream(StreamConfig(name="bench", subjects=["bench"]))
        await client.jetstream().add_consumer("bench", durable_name="bench", max_ack_pending=10_000)
        heard: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = client.new_inbox()
        await client.subscribe(inbox, cb=heard.put)
        server = [stack.ready["pids"]["nats"]]
        # The system is our child, so that what our process and all below it have spent would be everything.
        spent_before, own_before, begun = processor_seconds(server), time.process_time(), time.perf_counter()
        for window in batched(messages, 100):
            for message in window:
                await client.publish("bench", message.body, reply=inbox, headers=message.headers())
            for _ in window:
                assert b"error" not in (await heard.get()).data
        left = len(messages)
        while left:
            some = min(500, left)
            await client.publish("$JS.API.CONSUMER.MSG.NEXT.bench.bench", b'{"batch": %d}' % some, reply=inbox)
            for _ in range(some):
                await client.publish((await heard.get()).reply, b"+ACK")
            left -= some
        await client.flush()
        seconds = time.perf_counter() - begun
        spent = {
            "client": time.process_time() - own_before,
            "nats": processor_seconds(server) - spent_before,
        }
        await client.jetstream().delete_stream("bench")
        return EventRun(len(messages), seconds, spent)
    finally:
        await client.close()


async def have_feeds(stack: Stack, followers: int) -> None:
    """Nothing is pushed to whom does not read: each has read before, and found nothing."""
    valkey = stack.ready["redis"]
    place = urlsplit(valkey["url"])
    password = Path(valkey["password_files"][NEWS_MANAGER]).read_text(encoding="utf-8").strip()  # noqa: ASYNC240  # once
    address = RedisAddress(place.hostname or "", place.port or 0, NEWS_MANAGER, password)
    async with connect_redis(address) as redis:
        store = RedisNewsStore(redis)
        for author in range(_AUTHORS):
            for follower in range(followers):
                reader = _FIRST_FOLLOWER + author * _MOST_FOLLOWERS + follower
                await store.begin_feed(reader, "bench")
                await store.finish_feed(reader, "bench")


async def _check_feeds(stack: Stack, events: list[LinkEvent], followers: int) -> None:
    """A run whose events came to nothing would be fast, and mean nothing."""
    first = [event.url for event in events if event.user_id == _FIRST_AUTHOR]
    wanted = first[-_READ:]
    secret = load_mutual_auth(DataFolder(stack.data).config / API_GATEWAY / "mutual-auth.yaml").presents[NEWS_MANAGER]
    credentials = EdgeCredentials(API_GATEWAY, NEWS_MANAGER, secret, SystemClock())
    async with HttpSession() as session:
        news = NewsClient(ServiceHttpClient(session, stack.ready["services"][NEWS_MANAGER], credentials, timeout=10.0))
        for follower in {0, followers - 1}:
            reader = Actor(_FIRST_FOLLOWER + follower, f"reader{follower}")
            page = await news.get_news(reader, GetNewsRequest(username=reader.name, limit=_READ))
            if [event.url for event in page.events][: len(wanted)] != wanted[::-1]:
                raise SystemExit(f"the feed of {reader.name} does not hold what was told; the figures mean nothing")


def _spent(stack: Stack) -> dict[str, float]:
    return {name: processor_seconds([pid]) for name, pid in stack.ready["pids"].items()}


def make_events(count: int, *, status: LinkStatus = LinkStatus.PENDING, site: str = SITE) -> list[LinkEvent]:
    """A millisecond apart, as if they had waited."""
    now = datetime.now(UTC)
    return [_event(number, now - (count - 1 - number) * _MILLISECOND, status, site) for number in range(count)]


async def insert(links: asyncpg.Connection, events: list[LinkEvent]) -> None:
    """Into the outbox, as one transaction."""
    async with links.transaction():
        for some in batched(events, 1_000):
            await insert_events(links, some)


def _event(number: int, now: datetime, status: LinkStatus, site: str) -> LinkEvent:
    author = number % _AUTHORS
    event_id = int(now.timestamp() * 1000) * 2**20 + number
    return LinkEvent(
        id=event_id,
        type=LinkEventType.ADDED,
        user_id=_FIRST_AUTHOR + author,
        username=f"author{author}",
        timestamp=now,
        url=f"{site}/{event_id}",
        # New in each run: a version that is known already is no news, and would be measured as nothing.
        link_id=event_id,
        version=1,
        title="A title of the usual length, which is about sixty characters",
        tags=("python", "databases"),
        status=status,
    )


async def follow(graph: asyncpg.Connection, followers: int) -> None:
    """So many readers for each author."""
    pairs = [
        (_FIRST_AUTHOR + author, _FIRST_FOLLOWER + author * _MOST_FOLLOWERS + follower)
        for author in range(_AUTHORS)
        for follower in range(followers)
    ]
    columns = [list(column) for column in zip(*pairs, strict=True)]
    for table in ("followers (user_id, follower_id, created_at)", "following (followed_id, user_id, created_at)"):
        rows = "SELECT *, now() FROM unnest($1::bigint[], $2::bigint[])"
        await graph.execute(f"INSERT INTO {table} {rows} ON CONFLICT DO NOTHING", *columns)


async def connect(stack: Stack, password: str, database: str) -> asyncpg.Connection:
    postgres = stack.ready["postgres"]
    return await asyncpg.connect(
        host=postgres["host"],
        port=postgres["port"],
        user=postgres["user"],
        database=database,
        password=password,
    )


def handled(stack: Stack) -> float:
    """Events that news is done with."""
    with urllib.request.urlopen(f"{stack.ready['services']['news-manager']}/metrics", timeout=10) as page:  # noqa: S310  # ours
        found = _DONE.search(page.read().decode())
    return float(found[1]) if found else 0.0
