"""What a save costs, by authors with ten to a million followers: ``python -m tests.load.saves``.

The managers in this process, on a real Postgres and a real Valkey; processor time of all three. A tenth of the
followers read their news.
"""

import argparse
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import asyncpg
import uvloop

from pkg.link_manager.manager import LinkManager
from pkg.link_manager.sql_store import SqlLinkStore
from pkg.news_manager.feed_writer import PUSH_THRESHOLD, FeedWriter
from pkg.news_manager.redis_store import RedisNewsStore
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Actor, AddLinkRequest
from pkg.runtime.redis import connect_redis
from pkg.runtime.secret import passwords_of
from pkg.social_graph_manager.manager import SocialGraphManager
from pkg.social_graph_manager.sql_store import SqlSocialGraphStore
from tests.conftest import TestPostgres, running_postgres, running_valkey, service_pool
from tests.fakes import FakeUserDirectory
from tests.load.news import Meter, open_feeds

FIRST_READER: Final = 10**15
READERS: Final = 10


async def seed(postgres: TestPostgres, author_id: int, followers: int) -> None:
    """By SQL: to follow a million times would take an hour."""
    superuser = postgres.superuser
    connection = await asyncpg.connect(
        host=superuser.host,
        port=superuser.port,
        user=superuser.user,
        password=passwords_of(superuser.password)[0],
        database="social_graph_manager",
    )
    try:
        await connection.execute(
            "INSERT INTO followers (user_id, follower_id, created_at)"
            " SELECT $1, $2::bigint + number, now() FROM generate_series(0, $3 - 1) AS number",
            author_id,
            FIRST_READER,
            followers,
        )
        await connection.execute(
            "INSERT INTO follow_counts (user_id, followers, following, told_at) VALUES ($1, $2, 0, now())",
            author_id,
            followers,
        )
        await connection.execute("VACUUM ANALYZE followers")
    finally:
        await connection.close()


def pid_of(folder: Path) -> int:
    """Of the Postgres that lies there."""
    (file,) = folder.rglob("postmaster.pid")
    return int(file.read_text().split()[0])


async def repeat(times: int, work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(times):
        await work()


async def run(saves: int, most: int) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(running_postgres(folder))
        valkey = await stack.enter_async_context(running_valkey(folder, {}))
        redis = await stack.enter_async_context(connect_redis(valkey.address()))
        graph_pool = await stack.enter_async_context(service_pool(postgres, "social_graph_manager"))
        link_pool = await stack.enter_async_context(service_pool(postgres, "link_manager"))
        meter = Meter(pid_of(folder), valkey.pid)

        clock, people = SystemClock(), FakeUserDirectory()
        ids = TimeOrderedIds(clock)
        graph = SocialGraphManager(SqlSocialGraphStore(graph_pool), people, clock, ids)
        links = LinkManager(SqlLinkStore(link_pool), people, graph, clock, ids)
        writer = FeedWriter(RedisNewsStore(redis), graph, links, clock)
        await open_feeds(redis, range(FIRST_READER, FIRST_READER + most, READERS))
        urls = count()

        async def save(author: Actor) -> None:
            request = AddLinkRequest(url=f"https://{next(urls)}.example/", username=author.name, title="A title")
            await links.add_link(author, request)

        async def hear(author: Actor) -> None:
            number = next(urls)
            await writer.handle(
                [
                    LinkEvent(
                        id=number,
                        type=LinkEventType.ADDED,
                        user_id=author.user_id,
                        username=author.name,
                        timestamp=datetime.now(UTC),
                        url=f"https://{number}.example/",
                        link_id=number,
                        version=1,
                        title="A title",
                    )
                ]
            )

        for author_id, followers in enumerate(sorted({10, 1_000, PUSH_THRESHOLD, most}), 1):
            author = Actor(author_id, f"author{author_id}")
            await seed(postgres, author_id, followers)
            name = f"{followers:,} followers"
            saving, hearing = partial(save, author), partial(hear, author)
            await repeat(20, saving)
            await meter.measure(f"{name}: a save, at the link manager", saves, partial(repeat, saves, saving))
            await meter.measure(f"{name}: the first event", 1, hearing)
            heard = max(10, min(saves, 100_000 // followers))
            await meter.measure(f"{name}: an event, to the feeds", heard, partial(repeat, heard, hearing))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=500)
    parser.add_argument("--most", type=int, default=1_000_000)
    options = parser.parse_args()
    uvloop.run(run(options.saves, options.most))


if __name__ == "__main__":
    main()
