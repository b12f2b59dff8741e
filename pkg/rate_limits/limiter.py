"""Who may go on: decided in this process as long as it has tokens of the shared buckets, which it takes in advance.

Asking the store costs more than a short request does by itself. So a process takes a tenth of what is left in a bucket
at once, and spends it without asking again (see docs/adr/028). More than the bucket gives is never spent: all that can
happen is that a process holds tokens, for a few seconds, that somebody misses elsewhere.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pkg.object_model.errors import Unavailable
from pkg.rate_limits.metrics import REFUSALS, STORE_FAILURES
from pkg.rate_limits.store import Bucket, Limit, LimitStore, Taken
from pkg.runtime.logs import describe_exception, get_logger

#: What a process takes at once of what is left in a bucket: the fuller it is, the less often it is asked.
TAKEN_AT_ONCE: Final = 0.1
#: Seconds for which tokens are good that were taken in advance.
GOOD_FOR: Final = 10.0
#: Buckets of which a process knows something.
MAX_KNOWN: Final = 20_000
#: Seconds for which a store that failed is not asked again: most would wait in vain.
PAUSE: Final = 1.0
#: Seconds between two lines of log that say that it is away.
_SILENCE: Final = 10.0

_log = get_logger(__name__)


class Standing(NamedTuple):
    limit: Limit
    #: Tokens that there are still, as far as this process knows.
    remaining: int
    #: Seconds until there is a token. 0 for who got one.
    wait: float


@dataclass(slots=True)
class _Known:
    #: Taken in advance, and not spent yet.
    tokens: int = 0
    #: In the bucket when it was last asked.
    left: int = 0
    #: On the scale of ``now``, like the next.
    good_until: float = 0.0
    empty_until: float = 0.0


class RateLimiter:
    """While the store is away everybody may go on; metrics and logs tell."""

    def __init__(
        self,
        store: LimitStore,
        *,
        now: Callable[[], float] = time.monotonic,
        taken_at_once: float = TAKEN_AT_ONCE,
        max_known: int = MAX_KNOWN,
    ) -> None:
        """``now`` is in seconds."""
        self._store = store
        self._now = now
        self._taken_at_once = taken_at_once
        self._max_known = max_known
        self._known: OrderedDict[Bucket, _Known] = OrderedDict()
        self._paused_until = -math.inf
        self._silent_until = -math.inf

    async def spend(self, buckets: Sequence[Bucket]) -> Standing | None:
        """Takes a token of each, or, if one is empty, of none.

        Returns how it stands with the one that is empty, or else with the first; None if nobody can tell.
        """
        now = self._now()
        asked = []
        for bucket in buckets:
            known = self._known.get(bucket)
            if known is not None and now < known.empty_until:
                return self._refuse(bucket, known, now)
            if known is None or not known.tokens or now >= known.good_until:
                asked.append(bucket)
        if asked and not await self._ask(asked):
            return None
        now = self._now()
        spent = []
        for bucket in buckets:
            # Somebody else may have pushed it out, or spent what was held, while the store was asked about another.
            known = self._known.get(bucket)
            if known is None:
                return None
            if now < known.empty_until:
                return self._refuse(bucket, known, now)
            spent.append(known)
        for bucket, known in zip(buckets, spent, strict=True):
            known.tokens = max(known.tokens - 1, 0)
            self._known.move_to_end(bucket)
        return Standing(buckets[0].limit, spent[0].tokens + spent[0].left, 0.0) if spent else None

    def wait_for(self, bucket: Bucket) -> float:
        """Seconds, if it was found empty a moment ago; otherwise 0. Asks nobody."""
        known = self._known.get(bucket)
        return max(known.empty_until - self._now(), 0.0) if known is not None else 0.0

    async def _ask(self, buckets: Sequence[Bucket]) -> bool:
        """Whether there was an answer."""
        if self._now() < self._paused_until:
            STORE_FAILURES.inc()
            return False
        try:
            answers = await self._store.take(buckets, self._taken_at_once)
        except Unavailable as away:
            STORE_FAILURES.inc()
            now = self._now()
            self._paused_until = now + PAUSE
            if now >= self._silent_until:
                self._silent_until = now + _SILENCE
                _log.warning("limits are not kept: their store is away", exception=describe_exception(away))
            return False
        now = self._now()
        for bucket, taken in zip(buckets, answers, strict=True):
            self._note(bucket, taken, now)
        return True

    def _note(self, bucket: Bucket, taken: Taken, now: float) -> None:
        known = self._known.setdefault(bucket, _Known())
        if now >= known.good_until:
            known.tokens = 0
        # Another request may have brought some meanwhile.
        known.tokens += taken.tokens
        known.left = taken.left
        known.good_until = now + GOOD_FOR
        known.empty_until = 0.0 if known.tokens else now + taken.wait
        if len(self._known) > self._max_known:
            self._known.popitem(last=False)

    def _refuse(self, bucket: Bucket, known: _Known, now: float) -> Standing:
        REFUSALS.labels(bucket.limit.name).inc()
        return Standing(bucket.limit, 0, known.empty_until - now)
