"""What a feed costs, in processor time of this process and of Valkey: ``python -m tests.load.news``.

Fan-out by the store beside the barest script that could do it (push, trim, expire); a page of twenty entries beside
its two commands, with and without timelines to take from; the memory of an entry in a feed. Wall time would measure the
machine's other work as well; p99 is given nevertheless.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched, count
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import uvloop
from redis.asyncio import Redis

from pkg.news_manager.entry_ids import group_of_user, make_entry_id
from pkg.news_manager.redis_keys import entry_key, feed_key, reader_key
from pkg.news_manager.redis_store import FEEDS_AT_ONCE, RedisNewsStore
from pkg.news_manager.store import Entry, Stretch
from pkg.object_model.erasure import START
from pkg.object_model.types import LinkStatus, NewsEvent, NewsEventType
from pkg.runtime.redis import ask, connect_redis
from tests.conftest import TestValkey, running_valkey
from tests.load.processor_time import processor_seconds

AUTHOR: Final = 7
FIRST_AUTHOR: Final = 100
READERS: Final = 50
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
LONG_BEFORE: Final = NOW - timedelta(days=1)
MONTH: Final = 30 * 24 * 3600 * 1000

BARE: Final = """
for i = 1, #KEYS do
    if redis.call('LPUSH', KEYS[i], ARGV[1]) > 1000 then redis.call('LTRIM', KEYS[i], 0, 999) end
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
"""


def entry(number: int, author_id: int = AUTHOR) -> Entry:
    timestamp = NOW + timedelta(seconds=number)
    event = NewsEvent(
        id=make_entry_id(timestamp, number, author_id),
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
    return Entry(author_id=author_id, link_id=number, event=event)


class Meter:
    def __init__(self, *pids: int) -> None:
        self._pids = pids

    async def measure(self, name: str, units: int, work: Callable[[], Awaitable[None]]) -> None:
        """Prints microseconds for one of ``units``."""
        self.report(name, await self.spend(units, work))

    async def spend(self, units: int, work: Callable[[], Awaitable[None]]) -> float:
        """Microseconds for one of ``units``."""
        before = time.process_time() + processor_seconds(self._pids)
        await work()
        return (time.process_time() + processor_seconds(self._pids) - before) / units * 1e6

    def report(self, name: str, spent: float, seconds: Sequence[float] = (), than: float = 0.0) -> None:
        p99 = f"   p99 {quantiles(seconds, n=100)[98] * 1e6:8.0f} µs" if seconds else ""
        times = f"   {spent / than:5.2f} times" if than else ""
        print(f"{name:<64}{spent:12.2f} µs{times}{p99}", flush=True)


async def measure_fan_out(store: RedisNewsStore, redis: Redis, meter: Meter, followers: int, saves: int) -> None:
    readers = list(range(10**15, 10**15 + followers))

    await open_feeds(redis, readers)

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
    await meter.measure(f"fan-out to {followers:,}: more", units, lambda: ours(1 + saves))
    for reader in range(64 * 10):
        # Somebody of every group has left, as somebody always has.
        await store.erase_user(reader, START)
    await meter.measure(f"fan-out to {followers:,}: some users gone", units, lambda: ours(1 + 2 * saves))
    await meter.measure(f"fan-out to {followers:,}: a repeat", units, lambda: ours(1 + 2 * saves))
    await meter.measure(f"fan-out to {followers:,}: the bare script", units, bare)


async def open_feeds(redis: Redis, readers: Iterable[int]) -> None:
    """As if each had been read before."""
    for some in batched(readers, 10_000):
        pipeline = redis.pipeline(transaction=False)
        for reader in some:
            pipeline.hset(reader_key(reader), "state", "built")
            pipeline.pexpire(reader_key(reader), MONTH)
        await pipeline.execute()


async def measure_pages(store: RedisNewsStore, valkey: TestValkey, redis: Redis, meter: Meter, rounds: int) -> None:
    """In turn: what else the machine does is then in all of them."""
    plain, taking = range(1, 1 + READERS), range(1_001, 1_001 + READERS)
    numbers = count(1_000_000)
    seconds: defaultdict[str, list[float]] = defaultdict(list)

    async def read(name: str, readers: Iterable[int], stretch: Stretch) -> None:
        for reader in readers:
            began = time.perf_counter()
            assert len(await store.read_feed_json(reader, stretch, 20)) == 20
            seconds[name].append(time.perf_counter() - began)

    async def bare() -> None:
        for reader in plain:
            ids = await ask(redis, "LRANGE", feed_key(reader), 0, 19)
            await redis.mget([entry_key(int(one)) for one in ids])

    async def note(authors: Iterable[int]) -> None:
        for author in authors:
            one = entry(next(numbers), author)
            await store.change_entries([one], LONG_BEFORE)
            assert await store.note_in_timeline(author, [one.id])

    for followed, timelines in ((10, 1), (10, 10), (100, 10), (5_000, 1), (5_000, 10), (5_000, 100)):
        await valkey.empty()
        await fill(store, redis, followed, [*plain, *taking])
        middle = Stretch(below=(await store.read_feed(plain[0], Stretch(), 1_000))[500].id)
        authors = range(FIRST_AUTHOR, FIRST_AUTHOR + timelines)
        for author in authors:
            await store.open_timeline(author)
            await store.join_timeline(author, taking)
        await note(authors)
        await read("", taking, Stretch())
        print(f"a page of 20, {followed:,} followed, {timelines} of them with timelines")
        works: dict[str, tuple[Callable[[], Awaitable[None]] | None, Callable[[], Awaitable[None]]]] = {
            "its two commands": (None, bare),
            "no timelines": (None, partial(read, "no timelines", plain, Stretch())),
            "from the middle": (None, partial(read, "from the middle", plain, middle)),
            "nothing new": (None, partial(read, "nothing new", taking, Stretch())),
            "one new entry": (partial(note, authors[:1]), partial(read, "one new entry", taking, Stretch())),
            "one of each": (partial(note, authors), partial(read, "one of each", taking, Stretch())),
        }
        spent: defaultdict[str, list[float]] = defaultdict(list)
        seconds.clear()
        for _ in range(rounds):
            for name, (before, work) in works.items():
                if before is not None:
                    await before()
                spent[name].append(await meter.spend(READERS, work))
        for name in works:
            meter.report(f"    {name}", median(spent[name]), seconds[name], median(spent["no timelines"]))


async def fill(store: RedisNewsStore, redis: Redis, followed: int, readers: Sequence[int]) -> None:
    """A thousand entries of so many."""
    await open_feeds(redis, readers)
    entries = [entry(number, FIRST_AUTHOR + number % followed) for number in range(1, 1_001)]
    for some in batched(entries, 100):
        await store.change_entries(some, LONG_BEFORE)
    for one in entries:
        await store.push(one.author_id, [one.id], [], readers)


async def measure_memory(store: RedisNewsStore, redis: Redis, valkey: TestValkey) -> None:
    readers = range(10**15, 10**15 + 2_000)
    await open_feeds(redis, readers)

    async def used() -> int:
        async with valkey.administrator() as administrator:
            return int((await administrator.info("memory"))["used_memory"])

    entries = [entry(number, FIRST_AUTHOR + number % 50) for number in range(500)]
    before = await used()
    for some in batched(entries, 100):
        await store.change_entries(some, LONG_BEFORE)
    kept = await used()
    for one in entries:
        await store.push(one.author_id, [one.id], [], readers)
    pushed = await used()
    print(f"memory of an entry, kept once{(kept - before) / len(entries):>36.0f} bytes")
    print(f"memory of an entry in a feed of 500{(pushed - kept) / len(entries) / len(readers):>30.1f} bytes")


async def run(followers: int, saves: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_valkey(Path(folder), {}) as valkey, connect_redis(valkey.address()) as redis:
            store, meter = RedisNewsStore(redis), Meter(valkey.pid)
            for some in sorted({10, 1_000, followers}):
                await measure_fan_out(store, redis, meter, some, max(saves, 20_000 // some))
                await valkey.empty()
            await measure_pages(store, valkey, redis, meter, rounds)
            await valkey.empty()
            await measure_memory(store, redis, valkey)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=10_000)
    parser.add_argument("--saves", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    uvloop.run(run(options.followers, options.saves, options.rounds))


if __name__ == "__main__":
    main()
