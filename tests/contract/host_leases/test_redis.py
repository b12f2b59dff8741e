"""What only the leases in Valkey promise: ends that the server keeps, few rights, and faults that become ours."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from pkg.link_checker.redis_host_leases import RedisHostLeases
from pkg.object_model.errors import Unavailable
from pkg.runtime.access import LINK_CHECK_FUNCTION
from pkg.runtime.redis import RedisAddress, connect_redis
from tests.conftest import TestValkey
from tests.contract.host_leases.conftest import TIMEOUT


async def test_every_key_has_a_slot_and_an_end_and_names_no_host(redis: Redis, valkey: TestValkey) -> None:
    leases = RedisHostLeases(redis, timeout=TIMEOUT)
    for host in ("secret.example", "2001:db8::1"):
        assert await leases.take(host, 5.0) is not None
    async with valkey.administrator() as administrator:
        kept = {key.decode(): await administrator.pttl(key) async for key in administrator.scan_iter()}
    assert len(kept) == 2
    for name, left in kept.items():
        assert name.startswith("host:{")
        assert "secret" not in name and "db8" not in name
        assert 0 < left <= 5_000


async def test_two_processes_have_one_host(redis: Redis, valkey: TestValkey) -> None:
    async with connect_redis(valkey.address(LINK_CHECK_FUNCTION)) as other:
        one, two = (RedisHostLeases(client, timeout=TIMEOUT) for client in (redis, other))
        assert await one.take("a.example", 60.0) is not None
        assert await two.take("a.example", 60.0) is None


async def test_away(redis: Redis, valkey: TestValkey) -> None:
    leases = RedisHostLeases(redis, timeout=TIMEOUT)
    lease = await leases.take("a.example", 60.0)
    assert lease is not None
    valkey.stop()
    try:
        for asking in (leases.take("b.example", 60.0), leases.rest(lease, 1.0)):
            with pytest.raises(Unavailable) as away:
                await asking
            assert away.value.code == "lease_store_unavailable"
    finally:
        valkey.start()
    assert await leases.take("b.example", 60.0) is not None


async def test_a_wrong_password_is_unavailable(valkey: TestValkey) -> None:
    given = valkey.address(LINK_CHECK_FUNCTION)
    async with connect_redis(RedisAddress(given.host, given.port, given.user, "wrong")) as client:
        with pytest.raises(Unavailable):
            await RedisHostLeases(client, timeout=TIMEOUT).take("a.example", 60.0)


async def test_the_function_may_say_set_of_its_own_keys_and_nothing_else(redis: Redis) -> None:
    for command in (
        ("GET", "host:{1}:a"),
        ("DEL", "host:{1}:a"),
        ("SET", "feed:{1}:1", "x"),
        ("SET", "limit:{1}:reads:1", "x"),
        ("EVAL", "return 1", "0"),
        ("KEYS", "*"),
        ("FLUSHALL",),
    ):
        with pytest.raises(NoPermissionError):
            await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # it has no types
