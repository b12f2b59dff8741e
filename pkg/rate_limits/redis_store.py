"""Buckets in Valkey (see docs/adr/028).

::

    limit:{b}:<limit>:<owner>    when the bucket is full again, in microseconds since 1970    b: the owner's group

One number says all of a bucket: what is missing is what comes back until then. The key ends at that moment, so that
full buckets take no room. It is the "theoretical arrival time" of the generic cell rate algorithm (ITU-T I.371), which
decides as a token bucket does.
"""

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.object_model.errors import Unavailable
from pkg.rate_limits.store import Bucket, LimitStore, Taken
from pkg.runtime.redis import Call, Script

#: Owners are dealt into so many groups. All buckets of one owner are in one slot; the store can be a cluster.
GROUPS: Final = 64

#: buckets; share, (quota, microseconds from token to token)... -> (taken, left, microseconds to the next)...
_TAKE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local told = {}
for i, key in ipairs(KEYS) do
    local quota, interval = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local full_at = math.max(tonumber(redis.call('GET', key)) or now, now)
    local available = math.floor(quota - (full_at - now) / interval)
    local taken, wait = 0, 0
    if available < 1 then
        wait = full_at - now - (quota - 1) * interval
    else
        taken = math.max(1, math.floor(available * ARGV[1]))
        available = available - taken
        full_at = full_at + taken * interval
        redis.call('SET', key, string.format('%.0f', full_at), 'PX', math.max(1, math.ceil((full_at - now) / 1000)))
    end
    told[3 * i - 2], told[3 * i - 1], told[3 * i] = taken, available, math.ceil(wait)
end
return told
""")


class RedisLimitStore(LimitStore):
    def __init__(self, redis: Redis, *, timeout: float) -> None:
        """``timeout`` is in seconds, for one call."""
        self._redis = redis
        self._timeout = timeout

    async def take(self, buckets: Sequence[Bucket], share: float) -> list[Taken]:
        by_group: defaultdict[int, list[int]] = defaultdict(list)
        for place, bucket in enumerate(buckets):
            by_group[_group_of(bucket.owner)].append(place)
        calls = [_call(group, share, [buckets[place] for place in places]) for group, places in by_group.items()]
        try:
            async with asyncio.timeout(self._timeout):
                replies = await _TAKE.run_all(self._redis, calls)
        except (RedisError, OSError) as fault:
            raise Unavailable("the store of rate limits cannot be used now", code="limit_store_unavailable") from fault
        taken: dict[int, Taken] = {}
        for places, reply in zip(by_group.values(), replies, strict=True):
            for number, place in enumerate(places):
                tokens, left, wait = reply[3 * number : 3 * number + 3]
                taken[place] = Taken(tokens, left, wait / 1_000_000)
        return [taken[place] for place in range(len(buckets))]


def _call(group: int, share: float, buckets: Sequence[Bucket]) -> Call:
    keys = [f"limit:{{{group}}}:{bucket.limit.name}:{bucket.owner}" for bucket in buckets]
    arguments: list[float] = [share]
    for bucket in buckets:
        arguments += [bucket.limit.quota, bucket.limit.interval * 1_000_000]
    return keys, arguments


def _group_of(owner: str) -> int:
    return zlib.crc32(owner.encode()) % GROUPS
