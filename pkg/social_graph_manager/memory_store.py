"""The social graph in the memory of one process. Nothing here waits, so each method is one step for everybody else."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import nlargest, nsmallest
from typing import Final

from pkg.object_model import erasure
from pkg.object_model.events import Event, FollowEvent
from pkg.object_model.types import FollowCounts, FollowState
from pkg.social_graph_manager.store import Edge, SocialGraphStore, Tell, Ties, check_may_follow

_MICROSECOND: Final = timedelta(microseconds=1)


class _Edges:
    """Who is tied to whom since when, to be read from either side."""

    def __init__(self) -> None:
        #: User -> the one at the other end -> since when.
        self._out: defaultdict[int, dict[int, datetime]] = defaultdict(dict)
        self._in: defaultdict[int, dict[int, datetime]] = defaultdict(dict)

    def add(self, user_id: int, other_id: int, now: datetime) -> bool:
        """Whether this is new."""
        if self.has(user_id, other_id):
            return False
        self._out[user_id][other_id] = self._in[other_id][user_id] = now
        return True

    def remove(self, user_id: int, other_id: int) -> bool:
        """Whether it was there."""
        if not self.has(user_id, other_id):
            return False
        del self._out[user_id][other_id], self._in[other_id][user_id]
        return True

    def erase(self, user_id: int) -> None:
        for other_id in [*self.outgoing(user_id)]:
            self.remove(user_id, other_id)
        for other_id in [*self.incoming(user_id)]:
            self.remove(other_id, user_id)

    def has(self, user_id: int, other_id: int) -> bool:
        return other_id in self._out.get(user_id, {})

    def outgoing(self, user_id: int) -> Mapping[int, datetime]:
        return self._out.get(user_id, {})

    def incoming(self, user_id: int) -> Mapping[int, datetime]:
        return self._in.get(user_id, {})


class MemorySocialGraphStore(SocialGraphStore):
    def __init__(self, events: list[Event] | None = None) -> None:
        #: What was told, in order.
        self.events: list[Event] = [] if events is None else events
        self._follows = _Edges()
        self._requests = _Edges()
        self._blocks = _Edges()
        #: When something was last told of a follower.
        self._told_at: dict[int, datetime] = {}

    async def follow(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        check_may_follow(await self.get_ties(follower_id, followed_id))
        self._requests.remove(follower_id, followed_id)
        if not self._follows.add(follower_id, followed_id, now):
            return False
        self._tell(follower_id, now, tell)
        return True

    async def request(self, follower_id: int, followed_id: int, now: datetime) -> FollowState:
        ties = await self.get_ties(follower_id, followed_id)
        check_may_follow(ties)
        if ties.following:
            return FollowState.FOLLOWING
        self._requests.add(follower_id, followed_id, now)
        return FollowState.REQUESTED

    async def accept(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        if self._requests.remove(follower_id, followed_id):
            return await self.follow(follower_id, followed_id, now, tell)
        return self._follows.has(follower_id, followed_id)

    async def reject(self, follower_id: int, followed_id: int) -> bool:
        return self._requests.remove(follower_id, followed_id)

    async def unfollow(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        if self._requests.remove(follower_id, followed_id):
            return True
        if not self._follows.remove(follower_id, followed_id):
            return False
        self._tell(follower_id, now, tell)
        return True

    async def block(self, user_id: int, blocked_id: int, now: datetime, tell: Tell) -> bool:
        if not self._blocks.add(user_id, blocked_id, now):
            return False
        await self.unfollow(user_id, blocked_id, now, tell)
        await self.unfollow(blocked_id, user_id, now, tell)
        return True

    async def unblock(self, user_id: int, blocked_id: int) -> bool:
        return self._blocks.remove(user_id, blocked_id)

    async def list_followers(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return _newest(self._follows.incoming(user_id), after, limit)

    async def list_following(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return _newest(self._follows.outgoing(user_id), after, limit)

    async def list_incoming(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return _newest(self._requests.incoming(user_id), after, limit)

    async def list_outgoing(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return _newest(self._requests.outgoing(user_id), after, limit)

    async def list_blocked(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return _newest(self._blocks.outgoing(user_id), after, limit)

    async def list_mutuals(self, user_id: int, other_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        followers = self._follows.incoming(other_id)
        mutuals = {each: since for each, since in self._follows.outgoing(user_id).items() if each in followers}
        return _newest(mutuals, after, limit)

    async def list_follower_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        return nsmallest(limit, (follower_id for follower_id in self._follows.incoming(user_id) if follower_id > after))

    async def list_followed_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        return nsmallest(limit, (followed_id for followed_id in self._follows.outgoing(user_id) if followed_id > after))

    async def get_counts(self, user_id: int) -> FollowCounts:
        return FollowCounts(
            followers=len(self._follows.incoming(user_id)), following=len(self._follows.outgoing(user_id))
        )

    async def get_ties(self, user_id: int, other_id: int) -> Ties:
        return Ties(
            following=self._follows.has(user_id, other_id),
            requested=self._requests.has(user_id, other_id),
            blocked=self._blocks.has(user_id, other_id),
            blocked_by=self._blocks.has(other_id, user_id),
        )

    async def find_hidden(self, user_id: int, other_ids: Collection[int]) -> set[int]:
        return {
            other_id
            for other_id in other_ids
            if self._blocks.has(user_id, other_id) or self._blocks.has(other_id, user_id)
        }

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        for edges in (self._follows, self._requests, self._blocks):
            edges.erase(user_id)
        self._told_at.pop(user_id, None)
        self.events[:] = [
            event
            for event in self.events
            if not (isinstance(event, FollowEvent) and user_id in (event.follower_id, event.followed_id))
        ]
        return None

    def _tell(self, follower_id: int, now: datetime, tell: Tell) -> None:
        last = self._told_at.get(follower_id)
        time = now if last is None else max(now, last + _MICROSECOND)
        self._told_at[follower_id] = time
        self.events.append(tell(follower_id, time))


def _newest(others: Mapping[int, datetime], after: Edge | None, limit: int) -> list[Edge]:
    edges = (Edge(created_at, user_id) for user_id, created_at in others.items())
    return nlargest(limit, (edge for edge in edges if after is None or edge < after))
