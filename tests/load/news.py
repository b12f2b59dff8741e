"""What a feed costs, in processor time of this process and of Valkey: ``python -m tests.load.news``.

Fan-out by the store beside the barest script that could do it (push, trim, expire), and a page of twenty entries beside
its two commands. Wall time would measure the machine's other work as well.
"""

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import Final

import uvloop
from redis.asyncio import Redis

from pkg.news_manager.entry_ids import group_of_entry, group_of_user, make_entry_id
from pkg.news_manager.redis_store import FEEDS_AT_ONCE, RedisNewsStore
from pkg.news_manager.store import Entry, Stretch
from pkg.object_model.erasure import START
from pkg.object_model.types import LinkStatus, NewsEvent, NewsEventType
from pkg.runtime.redis import connect_redis
from tests.conftest import TestValkey, running_valkey
from tests.load.processor_time import processor_seconds

AUTHOR: Final = 7
READER: Final = 1
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
MONTH: Final = 30 * 24 * 3600 * 1000

BARE: Final = """
for i = 1, #KEYS do
    if redis.call('LPUSH', KEYS[i], ARGV[1]) > 1000 then redis.call('LTRIM', KEYS[i], 0, 999) end
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
"""


def entry(number: int) -> Entry:
    timestamp = NOW + timedelta(seconds=number)
    event = NewsEvent(
        id=make_entry_id(timestamp, number, AUTHOR),
        event_type=NewsEventType.LINK_ADDED,
        username="alice",
        url=f"https://www.example.com/articles/{number}",
        timestamp=timestamp,
        title="A title of the usual length, which is about sixty characters",
        description="What it is about, in a sentence or two, as people write them.",
        tags=("python", "architecture", "databases"),
        status=LinkStatus.VALID,
        version=1,
    )
    return Entry(author_id=AUTHOR, link_id=number, event=event)


class Meter:
    def __init__(self, valkey: TestValkey) -> None:
        self._pid = valkey.pid

    async def measure(self, name: str, units: int, work: Callable[[], Awaitable[None]]) -> None:
        """Prints microseconds for one of ``units``."""
        here, there = time.process_time(), processor_seconds([self._pid])
        await work()
        client = (time.process_time() - here) / units * 1e6
        server = (processor_seconds([self._pid]) - there) / units * 1e6
        print(f"{name:<44} {client + server:8.2f} µs   client {client:8.2f}   Valkey {server:8.2f}", flush=True)


async def measure_fan_out(store: RedisNewsStore, redis: Redis, meter: Meter, followers: int, saves: int) -> None:
    readers = list(range(10**15, 10**15 + followers))

    async def ours(first: int) -> None:
        for number in range(first, first + saves):
            await store.push(AUTHOR, [entry(number).id], [], readers)

    async def bare() -> None:
        groups: dict[int, list[str]] = {}
        for reader in readers:
            groups.setdefault(group_of_user(reader), []).append(f"feed:{{{group_of_user(reader)}}}:{reader}")
        for number in range(saves):
            pipeline = redis.pipeline(transaction=False)
            for keys in groups.values():
                for some in batched(keys, FEEDS_AT_ONCE):
                    pipeline.eval(BARE, len(some), *some, entry(10**6 + number).id, MONTH)
            await pipeline.execute()

    units = followers * saves
    await meter.measure(f"fan-out to {followers:,}: first entry of a feed", units, lambda: ours(1))
    await meter.measure(f"fan-out to {followers:,}: more", units, lambda: ours(1_000))
    for reader in range(64 * 10):
        # Somebody of every group has left, as somebody always has.
        await store.erase_user(reader, START)
    await meter.measure(f"fan-out to {followers:,}: some users gone", units, lambda: ours(2_000))
    await meter.measure(f"fan-out to {followers:,}: a repeat", units, lambda: ours(2_000 + saves - 1))
    await meter.measure(f"fan-out to {followers:,}: the bare script", units, bare)


async def measure_pages(store: RedisNewsStore, redis: Redis, meter: Meter, pages: int) -> None:
    entries = [entry(number) for number in range(1, 1_001)]
    for some in batched(entries, 100):
        await store.find_or_save_entries(some)
        await store.push(AUTHOR, [one.id for one in some], [], [READER])
    feed = f"feed:{{{group_of_user(READER)}}}:{READER}"

    async def ours(after: int | None) -> None:
        for _ in range(pages):
            assert len(await store.read_feed(READER, Stretch(below=after), 20)) == 20

    async def bare() -> None:
        for _ in range(pages):
            pipeline = redis.pipeline(transaction=False)
            ids = (await pipeline.lrange(feed, 0, 19).execute())[0]  # type: ignore[union-attr]  # a pipeline gives itself
            await redis.mget([f"news:entry:{{{group_of_entry(int(one))}}}:{int(one)}" for one in ids])

    await meter.measure("page of 20: the first", pages, lambda: ours(None))
    await meter.measure("page of 20: behind entry 500", pages, lambda: ours(entries[500].id))
    await meter.measure("page of 20: its two commands", pages, bare)


async def run(followers: int, saves: int, pages: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_valkey(Path(folder), {}) as valkey, connect_redis(valkey.address()) as redis:
            store, meter = RedisNewsStore(redis), Meter(valkey)
            await measure_fan_out(store, redis, meter, followers, saves)
            await valkey.empty()
            await measure_pages(store, redis, meter, pages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=20_000)
    parser.add_argument("--saves", type=int, default=10)
    parser.add_argument("--pages", type=int, default=2_000)
    options = parser.parse_args()
    uvloop.run(run(options.followers, options.saves, options.pages))


if __name__ == "__main__":
    main()
