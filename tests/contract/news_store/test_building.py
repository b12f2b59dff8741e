"""A feed that is built: begun by one, filled while what is new is pushed, and not read before."""

from datetime import timedelta

import pytest
from redis.asyncio import Redis

from pkg.news_manager.memory_store import MemoryNewsStore
from pkg.news_manager.redis_keys import reader_key
from pkg.news_manager.redis_store import RedisNewsStore
from pkg.news_manager.store import BUILDING, LIFETIME, Beginning, FeedNotBuiltError, FollowOrder, Share, Stretch
from tests.contract.news_store.conftest import MakeStore
from tests.contract.news_store.entries import ALICE, BOB, CAROL, DAVE, NOW, entry, numbers, publish, save
from tests.fakes import FakeClock


async def test_from_nothing_to_a_feed(make_store: MakeStore) -> None:
    store = make_store()
    for one in (entry(1), entry(3), entry(5, author_id=CAROL)):
        await save(store, one)
    assert not await store.has_feed(BOB)
    with pytest.raises(FeedNotBuiltError):
        await store.read_feed(BOB, Stretch(), 10)
    await store.push(ALICE, [entry(1).id], [], [BOB])
    assert not await store.has_feed(BOB), "nothing is pushed to who does not read"

    assert await store.begin_feed(BOB, "one") is Beginning.BEGUN
    assert await store.begin_feed(BOB, "another") is Beginning.BUSY
    assert await store.has_feed(BOB)
    await save(store, entry(4))
    await store.push(ALICE, [entry(4).id], [], [BOB])
    with pytest.raises(FeedNotBuiltError):
        await store.read_feed_json(BOB, Stretch(), 10)
    shares = [
        Share(ALICE, [entry(3).id, entry(1).id], timeline=False),
        Share(CAROL, [entry(5, author_id=CAROL).id], timeline=False),
    ]
    for _ in range(2):
        assert await store.fill_feed(BOB, "one", shares)
    assert not await store.fill_feed(BOB, "another", [Share(DAVE, [entry(1).id], timeline=False)])
    assert not await store.finish_feed(BOB, "another")
    assert await store.finish_feed(BOB, "one")
    assert not await store.finish_feed(BOB, "one")
    assert await store.begin_feed(BOB, "another") is Beginning.BUILT
    assert await numbers(store) == [5, 4, 3, 1]


async def test_many_shares(make_store: MakeStore) -> None:
    store = make_store(max_length=100)
    authors = range(1_000, 1_120)
    shares = []
    for author_id in authors:
        some = [entry(number, author_id=author_id, link_id=number) for number in range(author_id, author_id + 3)]
        assert await store.find_or_save_entries(some) == [one.id for one in some]
        shares.append(Share(author_id, [one.id for one in some], timeline=False))
    assert await store.begin_feed(BOB, "one") is Beginning.BEGUN
    assert await store.fill_feed(BOB, "one", shares)
    assert await store.finish_feed(BOB, "one")
    newest = sorted((number for author_id in authors for number in range(author_id, author_id + 3)), reverse=True)
    assert await numbers(store) == newest[:100]


async def test_who_is_left_meanwhile_has_no_share(make_store: MakeStore) -> None:
    store = make_store()
    await save(store, entry(1))
    await store.open_timeline(ALICE)
    assert await store.note_in_timeline(ALICE, [entry(1).id])
    await store.begin_feed(BOB, "one")
    await store.set_following(BOB, ALICE, FollowOrder(NOW, 1), False)
    await store.drop_author(BOB, ALICE, FollowOrder(NOW, 1))
    await store.fill_feed(BOB, "one", [Share(ALICE, [entry(1).id], timeline=True)])
    await store.finish_feed(BOB, "one")
    assert await numbers(store) == []


async def test_a_feed_that_is_given_up(make_store: MakeStore) -> None:
    store = make_store()
    await store.begin_feed(BOB, "one")
    await publish(store, entry(1), to=(CAROL,))
    await store.push(ALICE, [entry(1).id], [], [BOB])
    await store.abandon_feed(BOB, "another")
    assert await store.has_feed(BOB)
    await store.abandon_feed(BOB, "one")
    assert not await store.has_feed(BOB)
    assert await store.begin_feed(BOB, "another") is Beginning.BEGUN
    await store.finish_feed(BOB, "another")
    await store.abandon_feed(BOB, "another")
    assert await numbers(store) == [], "what was pushed before went with it"


async def test_a_builder_that_does_nothing_loses_the_feed() -> None:
    clock = FakeClock()
    store = MemoryNewsStore(clock)
    assert await store.begin_feed(BOB, "one") is Beginning.BEGUN
    clock.advance(BUILDING.total_seconds() - 1)
    assert await store.fill_feed(BOB, "one", [])
    clock.advance(BUILDING.total_seconds() - 1)
    assert await store.begin_feed(BOB, "another") is Beginning.BUSY
    clock.advance(1)
    assert await store.begin_feed(BOB, "another") is Beginning.BEGUN
    assert not await store.fill_feed(BOB, "one", [])


async def test_the_store_forgets_an_idle_builder(redis: Redis) -> None:
    store = RedisNewsStore(redis)
    await store.begin_feed(BOB, "one")
    key = reader_key(BOB)
    left = BUILDING // timedelta(milliseconds=1)
    assert 0 < await redis.pttl(key) <= left
    await redis.pexpire(key, 9_000)
    await store.fill_feed(BOB, "one", [])
    assert await redis.pttl(key) > 9_000
    await store.finish_feed(BOB, "one")
    assert await redis.pttl(key) > left


async def test_a_feed_that_nobody_reads_ends() -> None:
    clock = FakeClock()
    store = MemoryNewsStore(clock)
    await publish(store, entry(1))
    assert await numbers(store) == [1]
    for _ in range(3):
        clock.advance(LIFETIME.total_seconds() - 1)
        await store.read_feed(BOB, Stretch(), 1)
    clock.advance(LIFETIME.total_seconds())
    with pytest.raises(FeedNotBuiltError):
        await store.read_feed(BOB, Stretch(), 1)
