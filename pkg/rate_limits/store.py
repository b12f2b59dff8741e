"""Token buckets, and what a store of them has to do.

A bucket begins full, holds ``quota`` tokens, and gets one back every ``window / quota`` seconds. Whoever finds none has
to wait for the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """Each is one of its own: two that say the same are two."""

    #: What is limited and by whom it is counted, in small letters, digits and hyphens.
    name: str
    quota: int
    #: Seconds in which an empty bucket is full again.
    window: int = 60

    @property
    def interval(self) -> float:
        """Seconds from one token to the next."""
        return self.window / self.quota


class Bucket(NamedTuple):
    limit: Limit
    #: Whose it is: a user's id, an address.
    owner: str


class Taken(NamedTuple):
    #: 0 if there was none.
    tokens: int
    #: Whole tokens that are still in the bucket.
    left: int
    #: Seconds until there is one more; 0 for who got some.
    wait: float


class LimitStore(Protocol):
    async def take(self, buckets: Sequence[Bucket], share: float) -> list[Taken]:
        """Takes ``share`` of what is in each of the buckets, and at least one token, if there is one.

        All processes see one clock, which is the store's. A bucket that is full again takes no room.

        Raises:
            Unavailable: the store is away.
        """
