from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from pkg.news_manager.memory_store import MemoryNewsStore
from pkg.news_manager.redis_store import RedisNewsStore
from pkg.news_manager.store import LIFETIME, MAX_FEED_LENGTH, NewsStore
from pkg.object_model.clock import SystemClock
from pkg.runtime.redis import connect_redis
from tests.conftest import TestValkey
from tests.contract.news_store.entries import ALICE, BOB, CAROL, DAVE, open_feed

type MakeStore = Callable[..., NewsStore]


@pytest.fixture
async def redis(valkey: TestValkey) -> AsyncIterator[Redis]:
    async with connect_redis(valkey.address()) as client:
        yield client


@pytest.fixture
async def redis_cluster(valkey_cluster: TestValkey) -> AsyncIterator[Redis]:
    async with connect_redis(valkey_cluster.address()) as client:
        yield client


@pytest.fixture
async def redis_pair(valkey_pair: tuple[TestValkey, TestValkey]) -> AsyncIterator[Redis]:
    async with connect_redis(valkey_pair[0].address()) as client:
        yield client


@pytest.fixture(params=["memory", "redis", "redis_cluster", "redis_pair"])
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    """Makes the store of the test, which is empty, with bounds of the test's own."""
    client: Redis | None = None if request.param == "memory" else request.getfixturevalue(request.param)

    def make(max_length: int = MAX_FEED_LENGTH, lifetime: timedelta = LIFETIME) -> NewsStore:
        if client is None:
            return MemoryNewsStore(SystemClock(), max_length=max_length, lifetime=lifetime)
        replicas = int(request.param == "redis_pair")
        return RedisNewsStore(client, max_length=max_length, lifetime=lifetime, replicas=replicas)

    return make


@pytest.fixture
async def store(make_store: MakeStore) -> NewsStore:
    """With feeds that are there, and empty."""
    store = make_store()
    await open_feed(store, ALICE, BOB, CAROL, DAVE)
    return store
