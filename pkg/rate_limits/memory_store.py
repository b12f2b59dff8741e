"""Buckets in this process's memory: for tests, and for whoever runs one process."""

import math
from collections.abc import Callable, Sequence

from pkg.rate_limits.store import Bucket, LimitStore, Taken

#: With so many buckets, those that are full again are thrown out.
_MANY = 1_000


class MemoryLimitStore(LimitStore):
    def __init__(self, now: Callable[[], float]) -> None:
        """``now`` is in seconds."""
        self._now = now
        #: When each will be full again.
        self._full_at: dict[Bucket, float] = {}
        self._sweep_at = _MANY

    async def take(self, buckets: Sequence[Bucket], share: float) -> list[Taken]:
        now = self._now()
        if len(self._full_at) >= self._sweep_at:
            self._full_at = {bucket: full_at for bucket, full_at in self._full_at.items() if full_at > now}
            self._sweep_at = max(_MANY, 2 * len(self._full_at))
        return [self._take(bucket, share, now) for bucket in buckets]

    def _take(self, bucket: Bucket, share: float, now: float) -> Taken:
        limit = bucket.limit
        missing = max(self._full_at.get(bucket, now) - now, 0.0) / limit.interval
        # A token that is there but for a rounding error is there.
        available = math.floor(limit.quota - missing + 1e-6)
        if available < 1:
            return Taken(0, 0, (missing - limit.quota + 1) * limit.interval)
        tokens = max(1, math.floor(available * share))
        self._full_at[bucket] = now + (missing + tokens) * limit.interval
        return Taken(tokens, available - tokens, 0.0)
