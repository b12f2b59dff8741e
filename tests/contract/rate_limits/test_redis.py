"""What only the store in Valkey promises: bounds that the server keeps, rights, and faults that become ours."""

import os
import signal
import time

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from pkg.object_model.errors import Unavailable
from pkg.rate_limits.redis_store import RedisLimitStore
from pkg.rate_limits.store import Bucket, Limit
from pkg.runtime.access import API_GATEWAY
from pkg.runtime.redis import RedisAddress, connect_redis
from tests.conftest import TestValkey
from tests.contract.rate_limits.conftest import TIMEOUT

MINUTE = Limit("reads", 60)


async def test_every_key_has_a_prefix_a_slot_and_an_end(redis: Redis, valkey: TestValkey) -> None:
    owners = ["17", "203.0.113.7", "2001:db8::"]
    await RedisLimitStore(redis, timeout=TIMEOUT).take([Bucket(MINUTE, owner) for owner in owners], 0.1)
    async with valkey.administrator() as administrator:
        kept = {key.decode(): await administrator.pttl(key) async for key in administrator.scan_iter()}
    assert len(kept) == 3
    for name, left in kept.items():
        assert name.startswith("limit:{") and "}:reads:" in name
        # Six of sixty tokens are missing.
        assert 0 < left <= 6_000


async def test_two_processes_have_one_bucket(redis: Redis, valkey: TestValkey) -> None:
    bucket = Bucket(Limit("reads", 2, 3_600), "alice")
    async with connect_redis(valkey.address(API_GATEWAY)) as other:
        stores = [RedisLimitStore(one, timeout=TIMEOUT) for one in (redis, other, redis)]
        assert [(await store.take([bucket], 0))[0].tokens for store in stores] == [1, 1, 0]


async def test_a_restart_that_forgets_the_scripts(redis: Redis, valkey: TestValkey) -> None:
    store = RedisLimitStore(redis, timeout=TIMEOUT)
    await store.take([Bucket(MINUTE, "alice")], 0)
    async with valkey.administrator() as administrator:
        await administrator.script_flush()
    assert (await store.take([Bucket(MINUTE, "alice")], 0))[0].left == 58


async def test_away(redis: Redis, valkey: TestValkey) -> None:
    store = RedisLimitStore(redis, timeout=TIMEOUT)
    valkey.stop()
    try:
        with pytest.raises(Unavailable) as away:
            await store.take([Bucket(MINUTE, "alice")], 0)
        assert away.value.code == "limit_store_unavailable"
    finally:
        valkey.start()
    assert (await store.take([Bucket(MINUTE, "alice")], 0))[0].tokens == 1


async def test_silence_ends_soon_and_leaves_no_answer_to_others(redis: Redis, valkey: TestValkey) -> None:
    store = RedisLimitStore(redis, timeout=0.1)
    patient = RedisLimitStore(redis, timeout=TIMEOUT)
    await patient.take([Bucket(MINUTE, "alice")], 0)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await store.take([Bucket(MINUTE, "alice"), Bucket(Limit("writes", 7), "bob")], 1.0)
        assert time.monotonic() - began < 5
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert (await patient.take([Bucket(Limit("files", 1_000, 3_600), "carol")], 0))[0].left == 999


async def test_a_wrong_password_is_unavailable(valkey: TestValkey) -> None:
    given = valkey.address(API_GATEWAY)
    async with connect_redis(RedisAddress(given.host, given.port, given.user, "wrong")) as client:
        with pytest.raises(Unavailable):
            await RedisLimitStore(client, timeout=TIMEOUT).take([Bucket(MINUTE, "alice")], 0)


async def test_the_gateway_may_touch_its_own_keys_only(redis: Redis) -> None:
    for command in (("GET", "feed:{1}:1"), ("DEL", "limit:{1}:reads:1"), ("KEYS", "*"), ("FLUSHALL",)):
        with pytest.raises(NoPermissionError):
            await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # it has no types
