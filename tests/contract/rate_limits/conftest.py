import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from pkg.rate_limits.memory_store import MemoryLimitStore
from pkg.rate_limits.redis_store import RedisLimitStore
from pkg.rate_limits.store import LimitStore
from pkg.runtime.access import API_GATEWAY
from pkg.runtime.redis import connect_redis
from tests.conftest import TestValkey

TIMEOUT = 10.0


@pytest.fixture
async def redis(valkey: TestValkey) -> AsyncIterator[Redis]:
    async with connect_redis(valkey.address(API_GATEWAY)) as client:
        yield client


@pytest.fixture
async def redis_cluster(valkey_cluster: TestValkey) -> AsyncIterator[Redis]:
    async with connect_redis(valkey_cluster.address(API_GATEWAY)) as client:
        yield client


@pytest.fixture(params=["memory", "redis", "redis_cluster"])
def store(request: pytest.FixtureRequest) -> LimitStore:
    """Empty."""
    if request.param == "memory":
        return MemoryLimitStore(time.monotonic)
    return RedisLimitStore(request.getfixturevalue(request.param), timeout=TIMEOUT)
