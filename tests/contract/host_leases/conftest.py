import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from pkg.link_checker.host_leases import HostLeases
from pkg.link_checker.memory_host_leases import MemoryHostLeases
from pkg.link_checker.redis_host_leases import RedisHostLeases
from pkg.runtime.access import LINK_CHECK_FUNCTION
from pkg.runtime.redis import connect_redis
from tests.conftest import TestValkey

TIMEOUT = 10.0


@pytest.fixture
async def redis(valkey: TestValkey) -> AsyncIterator[Redis]:
    async with connect_redis(valkey.address(LINK_CHECK_FUNCTION)) as client:
        yield client


@pytest.fixture
async def redis_cluster(valkey_cluster: TestValkey) -> AsyncIterator[Redis]:
    async with connect_redis(valkey_cluster.address(LINK_CHECK_FUNCTION)) as client:
        yield client


@pytest.fixture(params=["memory", "redis", "redis_cluster"])
def leases(request: pytest.FixtureRequest) -> HostLeases:
    """None is taken."""
    if request.param == "memory":
        return MemoryHostLeases(time.monotonic)
    return RedisHostLeases(request.getfixturevalue(request.param), timeout=TIMEOUT)
