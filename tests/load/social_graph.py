"""What reading the social graph costs with ten followers and with a million: ``python -m tests.load.social_graph``.

Each question that the store is asked, in processor time of this process and of Postgres. Wall time would measure the
machine's other work as well.
"""

import argparse
import os
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import uvloop

from pkg.provisioning.databases import DATABASES
from pkg.runtime.postgres import open_pool
from pkg.social_graph_manager.sql_store import SqlSocialGraphStore
from pkg.social_graph_manager.store import Edge
from tests.conftest import TestPostgres, running_postgres, service_pool
from tests.load.processor_time import processor_seconds

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: Follows a thousand, of whom those with the lowest ids follow everybody who is asked about.
READER: Final = 5
FOLLOWED: Final = 1_000
FIRST_FAN: Final = 1_000_000
AT_ONCE: Final = 50_000

ROWS: Final = """
    SELECT $1, $2 + n, $3::timestamptz - n * interval '1 second' FROM generate_series(0, $4::int - 1) AS n
"""
FOLLOWERS: Final = f"INSERT INTO followers {ROWS}"
FOLLOWING: Final = f"INSERT INTO following {ROWS}"


async def fill(pool: asyncpg.Pool, user_id: int, followers: int) -> None:
    for first in range(0, followers, AT_ONCE):
        some = min(AT_ONCE, followers - first)
        await pool.execute(FOLLOWERS, user_id, FIRST_FAN + first, NOW - timedelta(seconds=first), some)
    await pool.execute("INSERT INTO follow_counts VALUES ($1, $2, 0)", user_id, followers)


async def analyse(postgres: TestPostgres) -> None:
    """As Postgres does by itself, sooner or later."""
    database = next(database for database in DATABASES if database.name == "social_graph_manager")
    owner = postgres.address(database, database.migrator)
    async with await open_pool(owner, application_name="bench", max_size=1, statement_timeout=600) as pool:
        await pool.execute("VACUUM ANALYZE")


async def measure(name: str, ask: Callable[[], Awaitable[object]], times: int) -> None:
    await ask()
    before = processor_seconds([os.getpid()])
    for _ in range(times):
        await ask()
    print(f"    {name:<32} {(processor_seconds([os.getpid()]) - before) / times * 1e6:>9,.0f} µs", flush=True)


async def run(most: int, times: int) -> None:
    with tempfile.TemporaryDirectory() as folder, running_postgres(Path(folder)) as postgres:
        async with service_pool(postgres, "social_graph_manager") as pool:
            store = SqlSocialGraphStore(pool)
            await pool.execute(FOLLOWING, READER, FIRST_FAN, NOW, FOLLOWED)
            for user_id, followers in enumerate((10, 1_000, most), 100):
                await fill(pool, user_id, followers)
            await analyse(postgres)
            for user_id, followers in enumerate((10, 1_000, most), 100):
                print(f"{followers:,} followers")
                middle = Edge(NOW, FIRST_FAN + followers // 2)
                for name, ask in (
                    ("a page of 20", lambda user=user_id: store.list_followers(user, None, 20)),
                    ("a page of 20 behind some", lambda user=user_id, at=middle: store.list_followers(user, at, 20)),
                    ("20 ids", lambda user=user_id, at=middle: store.list_follower_ids(user, at.user_id - 20, 20)),
                    ("counts", lambda user=user_id: store.get_counts(user)),
                    (
                        "20 in common, of 1,000 followed",
                        lambda user=user_id: store.list_mutuals(READER, user, None, 20),
                    ),
                ):
                    await measure(name, ask, times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000, help="followers of the one with the most (%(default)s)")
    parser.add_argument("--times", type=int, default=500, help="that each is asked (%(default)s)")
    options = parser.parse_args()
    uvloop.run(run(options.most, options.times))


if __name__ == "__main__":
    main()
