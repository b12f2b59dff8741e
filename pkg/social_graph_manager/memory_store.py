"""The social graph in the memory of one process. Nothing here waits, so each method is one step for everybody else."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import nlargest, nsmallest

from pkg.object_model.events import Event, FollowEvent
from pkg.object_model.types import FollowCounts
from pkg.social_graph_manager.store import Edge, SocialGraphStore


class MemorySocialGraphStore(SocialGraphStore):
    def __init__(self, events: list[Event] | None = None) -> None:
        #: What was told, in order.
        self.events: list[Event] = [] if events is None else events
        #: User -> the one at the other end -> since when.
        self._followers: defaultdict[int, dict[int, datetime]] = defaultdict(dict)
        self._following: defaultdict[int, dict[int, datetime]] = defaultdict(dict)

    async def follow(self, follower_id: int, followed_id: int, now: datetime, event: FollowEvent) -> bool:
        if followed_id in self._following[follower_id]:
            return False
        self._following[follower_id][followed_id] = now
        self._followers[followed_id][follower_id] = now
        self.events.append(event)
        return True

    async def unfollow(self, follower_id: int, followed_id: int, event: FollowEvent) -> bool:
        if not await self.is_following(follower_id, followed_id):
            return False
        del self._following[follower_id][followed_id], self._followers[followed_id][follower_id]
        self.events.append(event)
        return True

    async def list_followers(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return _newest(self._followers.get(user_id, {}), after, limit)

    async def list_following(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return _newest(self._following.get(user_id, {}), after, limit)

    async def list_follower_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        return nsmallest(
            limit, (follower_id for follower_id in self._followers.get(user_id, {}) if follower_id > after)
        )

    async def get_counts(self, user_id: int) -> FollowCounts:
        return FollowCounts(
            followers=len(self._followers.get(user_id, {})), following=len(self._following.get(user_id, {}))
        )

    async def is_following(self, follower_id: int, followed_id: int) -> bool:
        return followed_id in self._following.get(follower_id, {})


def _newest(others: Mapping[int, datetime], after: Edge | None, limit: int) -> list[Edge]:
    edges = (Edge(created_at, user_id) for user_id, created_at in others.items())
    return nlargest(limit, (edge for edge in edges if after is None or edge < after))
