"""What every store of buckets promises. Windows are an hour where nothing may come back while a test runs."""

import asyncio
import time

import pytest

from pkg.rate_limits.store import Bucket, Limit, LimitStore, Taken

HOUR = 3_600
DEADLINE = 20.0


async def take(store: LimitStore, bucket: Bucket, share: float = 0.0) -> Taken:
    (taken,) = await store.take([bucket], share)
    return taken


async def test_a_bucket_begins_full_and_ends_empty(store: LimitStore) -> None:
    bucket = Bucket(Limit("reads", 3, HOUR), "alice")
    assert [await take(store, bucket) for _ in range(3)] == [Taken(1, 2, 0), Taken(1, 1, 0), Taken(1, 0, 0)]
    refused = await take(store, bucket)
    assert (refused.tokens, refused.left) == (0, 0)
    assert 0 < refused.wait <= HOUR / 3


async def test_who_is_refused_pays_nothing(store: LimitStore) -> None:
    bucket = Bucket(Limit("reads", 1, HOUR), "alice")
    await take(store, bucket)
    first = await take(store, bucket)
    later = [await take(store, bucket) for _ in range(20)]
    assert all(taken.tokens == 0 and taken.wait <= first.wait for taken in later)


async def test_a_share_is_taken_of_what_is_left(store: LimitStore) -> None:
    bucket = Bucket(Limit("reads", 100, HOUR), "alice")
    assert await take(store, bucket, 0.1) == Taken(10, 90, 0)
    assert await take(store, bucket, 0.1) == Taken(9, 81, 0)
    assert await take(store, bucket, 1.0) == Taken(81, 0, 0)
    assert (await take(store, bucket, 1.0)).tokens == 0


async def test_everybody_has_a_bucket_of_their_own_for_everything(store: LimitStore) -> None:
    reads, writes = Limit("reads", 1, HOUR), Limit("writes", 1, HOUR)
    buckets = [Bucket(limit, owner) for limit in (reads, writes) for owner in ("alice", "bob", "2001:db8::")]
    assert [taken.tokens for taken in await store.take(buckets, 0)] == [1] * 6
    assert [taken.tokens for taken in await store.take(buckets, 0)] == [0] * 6


async def test_answers_are_in_the_order_of_the_questions(store: LimitStore) -> None:
    owners = [str(number) for number in range(100)]
    buckets = [Bucket(Limit("reads", 200 + number, HOUR), owner) for number, owner in enumerate(owners)]
    assert [taken.left for taken in await store.take(buckets, 0)] == [199 + number for number in range(100)]


async def test_tokens_come_back_one_by_one(store: LimitStore) -> None:
    bucket = Bucket(Limit("reads", 4, 2), "alice")
    began = time.monotonic()
    assert (await take(store, bucket, 1.0)).tokens == 4
    got = 0
    while got < 4:
        taken = await take(store, bucket)
        got += taken.tokens
        # One every half a second, and none before.
        assert got <= (time.monotonic() - began) / 0.5
        assert time.monotonic() - began < DEADLINE
        await asyncio.sleep(min(taken.wait, 0.1))


async def test_the_wait_that_was_told_is_enough(store: LimitStore) -> None:
    bucket = Bucket(Limit("reads", 10, 1), "alice")
    for _ in range(5):
        while not (refused := await take(store, bucket, 1.0)).wait:
            pass
        assert refused.wait <= 0.1
        await asyncio.sleep(refused.wait + 0.001)
        assert (await take(store, bucket)).tokens == 1


async def test_a_bucket_is_never_more_than_full(store: LimitStore) -> None:
    limit = Limit("reads", 5, 1)
    bucket, drained = Bucket(limit, "alice"), Bucket(limit, "bob")
    await store.take([bucket, drained], 1.0)
    back = 0
    while back < 7:
        taken = await take(store, drained)
        back += taken.tokens
        await asyncio.sleep(taken.wait)
    assert (await take(store, bucket, 1.0)).tokens == 5


async def test_a_bucket_too_large_to_be_emptied(store: LimitStore) -> None:
    bucket = Bucket(Limit("reads", 10**12), "alice")
    assert [(await take(store, bucket)).tokens for _ in range(3)] == [1, 1, 1]
    assert (await take(store, bucket, 0.1)).tokens == pytest.approx(10**11, rel=0.01)


async def test_many_at_once_get_no_more_than_there_is(store: LimitStore) -> None:
    bucket = Bucket(Limit("reads", 50, HOUR), "alice")
    taken = await asyncio.gather(*(take(store, bucket) for _ in range(80)))
    assert sum(one.tokens for one in taken) == 50
