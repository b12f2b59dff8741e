"""Leases of hosts in Valkey (see docs/adr/035).

::

    host:{b}:<digest of the host>    the token of who has it, or had it last    b: the digest's group

Each ends by itself. What is said is SET alone, with ``IFEQ`` of Valkey 8.1 and Redis 8.4: whoever fetches strangers'
pages gets no right to run a script, or to read anything, in a store that others need. Digests, because a list of hosts
that somebody saved in private has no business in the store's files.
"""

import asyncio
import hashlib
import secrets
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.link_checker.host_leases import HostLeases, Lease
from pkg.object_model.errors import Unavailable
from pkg.runtime.redis import ask

#: Hosts are dealt into so many groups, each in a slot of its own; the store can be a cluster.
GROUPS: Final = 64


class RedisHostLeases(HostLeases):
    def __init__(self, redis: Redis, *, timeout: float) -> None:
        """``timeout`` is in seconds, for one call."""
        self._redis = redis
        self._timeout = timeout

    async def close(self) -> None:
        await self._redis.aclose()

    async def take(self, host: str, lifetime: float) -> Lease | None:
        lease = Lease(host, secrets.token_hex(8))
        taken = await self._set(lease, lifetime, "NX")
        return lease if taken else None

    async def rest(self, lease: Lease, pause: float) -> None:
        await self._set(lease, pause, "IFEQ", lease.token)

    async def _set(self, lease: Lease, seconds: float, *condition: str) -> Any:  # noqa: ANN401  # true if it was set
        milliseconds = max(1, round(seconds * 1_000))
        try:
            async with asyncio.timeout(self._timeout):
                return await ask(self._redis, "SET", _key(lease.host), lease.token, *condition, "PX", milliseconds)
        except (RedisError, OSError) as fault:
            raise Unavailable("the store of leases cannot be used now", code="lease_store_unavailable") from fault


def _key(host: str) -> str:
    digest = hashlib.sha256(host.encode()).digest()
    return f"host:{{{digest[0] % GROUPS}}}:{digest[:16].hex()}"
