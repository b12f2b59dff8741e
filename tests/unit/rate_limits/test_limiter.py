"""Tokens that are taken in advance, waiting, and a store that is away."""

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

import pytest

from pkg.object_model.errors import Unavailable
from pkg.rate_limits.limiter import GOOD_FOR, PAUSE, RateLimiter
from pkg.rate_limits.memory_store import MemoryLimitStore
from pkg.rate_limits.metrics import STORE_FAILURES
from pkg.rate_limits.store import Bucket, Limit, LimitStore, Taken
from pkg.runtime.logs import logs_written_to
from tests.metric_values import value_of

READS = Limit("reads", 100, 100)
WRITES = Limit("writes", 5, 100)
ALICE = Bucket(READS, "alice")
ALICE_WRITES = Bucket(WRITES, "alice")
BOB = Bucket(READS, "bob")


class Time:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class WatchedStore(LimitStore):
    """Counts what it is asked; ``during`` happens while it is."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.buckets = MemoryLimitStore(now)
        self.asked: list[list[Bucket]] = []
        self.away = False

    async def take(self, buckets: Sequence[Bucket], share: float) -> list[Taken]:
        self.asked.append(list(buckets))
        if self.away:
            raise Unavailable("away")
        return await self.buckets.take(buckets, share)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(time: Time) -> WatchedStore:
    return WatchedStore(time)


@pytest.fixture
def limiter(time: Time, store: WatchedStore) -> RateLimiter:
    return RateLimiter(store, now=time)


async def allowed(limiter: RateLimiter, *buckets: Bucket) -> bool:
    standing = await limiter.spend(buckets)
    return standing is None or standing.wait == 0


async def test_everybody_gets_exactly_what_there_is(limiter: RateLimiter, store: WatchedStore) -> None:
    assert [await allowed(limiter, ALICE) for _ in range(110)] == [True] * 100 + [False] * 10
    assert len(store.asked) < 40, "most tokens are taken in advance, and who has to wait asks nobody"


async def test_what_remains_is_told(limiter: RateLimiter, time: Time) -> None:
    remaining = []
    while (standing := await limiter.spend([ALICE])) is not None and not standing.wait:
        remaining.append(standing.remaining)
    assert remaining == list(range(99, -1, -1))
    assert standing is not None
    assert (standing.limit, standing.remaining) == (READS, 0)
    assert standing.wait == pytest.approx(1.0)


async def test_who_has_to_wait_may_go_on_afterwards(limiter: RateLimiter, time: Time) -> None:
    while await allowed(limiter, ALICE):
        pass
    time.now += 0.5
    assert not await allowed(limiter, ALICE)
    assert limiter.wait_for(ALICE) == pytest.approx(0.5)
    time.now += 0.6
    assert limiter.wait_for(ALICE) == limiter.wait_for(BOB) == 0
    assert await allowed(limiter, ALICE)
    assert not await allowed(limiter, ALICE)


async def test_all_buckets_in_one_question_and_the_first_is_told(limiter: RateLimiter, store: WatchedStore) -> None:
    standing = await limiter.spend([ALICE, ALICE_WRITES])
    assert store.asked == [[ALICE, ALICE_WRITES]]
    assert standing is not None
    assert standing.limit is READS


async def test_one_that_is_empty_refuses_and_the_others_pay_nothing(limiter: RateLimiter) -> None:
    while await allowed(limiter, ALICE_WRITES):
        pass
    before = await limiter.spend([ALICE])
    assert before is not None
    refused = await limiter.spend([ALICE, ALICE_WRITES])
    assert refused is not None
    assert (refused.limit, refused.wait > 0) == (WRITES, True)
    after = await limiter.spend([ALICE])
    assert after is not None
    assert before.remaining - after.remaining == 1


async def test_one_found_empty_only_now_refuses_as_well(limiter: RateLimiter, store: WatchedStore, time: Time) -> None:
    """Another process has emptied it."""
    await store.buckets.take([ALICE_WRITES], 1.0)
    refused = await limiter.spend([ALICE, ALICE_WRITES])
    assert refused is not None
    assert (refused.limit, refused.wait > 0) == (WRITES, True)
    assert [await allowed(limiter, ALICE) for _ in range(101)].count(True) == 100


async def test_two_processes_spend_no_more_than_one(time: Time, store: WatchedStore) -> None:
    limiters = [RateLimiter(store, now=time) for _ in range(2)]
    spent = sum([await allowed(limiters[number % 2], ALICE) for number in range(300)])
    assert spent == 100


async def test_tokens_taken_in_advance_do_not_keep_for_ever(
    limiter: RateLimiter, store: WatchedStore, time: Time
) -> None:
    await limiter.spend([ALICE])
    time.now += GOOD_FOR
    await limiter.spend([ALICE])
    assert len(store.asked) == 2
    # What was held is lost; what has come back meanwhile makes up for it.
    assert store.buckets._full_at[ALICE] - time.now <= 10


async def test_what_is_remembered_is_bounded(time: Time, store: WatchedStore) -> None:
    limiter = RateLimiter(store, now=time, max_known=10)
    for number in range(1_000):
        assert await allowed(limiter, Bucket(READS, str(number)), Bucket(WRITES, str(number)))
    assert len(limiter._known) == 10


async def test_no_buckets_no_limits(limiter: RateLimiter, store: WatchedStore) -> None:
    assert await limiter.spend([]) is None
    assert store.asked == []


# --- a store that is away ---------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[Callable[[], int]]:
    """How many lines there are that say so."""
    stream = BytesIO()
    with logs_written_to(stream):
        yield lambda: stream.getvalue().count(b"limits are not kept")


def failures() -> float:
    return value_of(STORE_FAILURES)


async def test_without_its_store_nobody_is_refused(
    limiter: RateLimiter, store: WatchedStore, time: Time, log: Callable[[], int]
) -> None:
    store.away = True
    before = failures()
    assert [await limiter.spend([ALICE, ALICE_WRITES]) for _ in range(200)] == [None] * 200
    assert failures() - before == 200, "each is counted"
    assert log() == 1
    assert len(store.asked) == 1, "and nobody waits for a store that just failed"
    time.now += PAUSE
    await limiter.spend([BOB])
    assert (len(store.asked), log()) == (2, 1)
    time.now += 10
    await limiter.spend([BOB])
    assert (len(store.asked), log()) == (3, 2)


async def test_what_is_held_is_spent_while_the_store_is_away(limiter: RateLimiter, store: WatchedStore) -> None:
    await limiter.spend([ALICE])
    store.away = True
    standing = await limiter.spend([ALICE])
    assert standing is not None
    assert standing.remaining == 98
    assert len(store.asked) == 1


async def test_limits_hold_again_when_the_store_is_back(limiter: RateLimiter, store: WatchedStore, time: Time) -> None:
    store.away = True
    for _ in range(20):
        assert await allowed(limiter, ALICE_WRITES)
    store.away = False
    time.now += PAUSE
    assert [await allowed(limiter, ALICE_WRITES) for _ in range(6)] == [True] * 5 + [False]
