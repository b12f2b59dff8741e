"""What the social graph manager needs of a store. Users are ids here: who is called what is known elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pkg.object_model.events import FollowEvent
from pkg.object_model.types import FollowCounts


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """Somebody at the other end of a follow. Lists are ordered by this, the greatest first."""

    created_at: datetime
    user_id: int


class SocialGraphStore(Protocol):
    """Follower and followed are never the same. What changes is told: the event is kept with the change, or neither."""

    async def follow(self, follower_id: int, followed_id: int, now: datetime, event: FollowEvent) -> bool:
        """Whether this is new. If it is not, nothing changes, the time of the first included, and nothing is told."""

    async def unfollow(self, follower_id: int, followed_id: int, event: FollowEvent) -> bool:
        """Whether there was anything to end, and to tell."""

    async def list_followers(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """The newest first, at most ``limit``, beginning behind ``after``."""

    async def list_following(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """As ``list_followers``."""

    async def list_follower_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        """The lowest first, at most ``limit``, beginning behind ``after``; ids are positive."""

    async def get_counts(self, user_id: int) -> FollowCounts: ...
    async def is_following(self, follower_id: int, followed_id: int) -> bool: ...
