"""What the social graph manager needs of a store. Users are ids here: who is called what is known elsewhere."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pkg.object_model import erasure
from pkg.object_model.errors import Conflict, NotFound
from pkg.object_model.events import FollowEvent
from pkg.object_model.types import FollowCounts, FollowState

#: Says, of two people, that the one with this id follows the other from this time on, or does no longer.
type Tell = Callable[[int, datetime], FollowEvent]


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """Somebody at the other end of a follow, a request or a block. Lists are ordered by this, the greatest first."""

    created_at: datetime
    user_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """What somebody is to another."""

    following: bool
    requested: bool
    #: Whom they have blocked, and by whom they are.
    blocked: bool
    blocked_by: bool

    @property
    def hidden(self) -> bool:
        """Neither of the two is to see the other."""
        return self.blocked or self.blocked_by


class SocialGraphStore(Protocol):
    """The two of a pair are never the same. Of two who follow, ask or block at once, each waits for the other.

    What changes in who follows is told: the event is kept with the change, or neither. Its time is ``now``, or as much
    later as it takes to be behind all that was told of the same follower before.
    """

    async def follow(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        """Whether this is new. If it is not, nothing changes, the time of the first included, and nothing is told.

        A request that waits is over with it.

        Raises:
            NotFound: the other has blocked the follower (``user_not_found``).
            Conflict: the follower has blocked the other (``user_blocked``).
        """

    async def request(self, follower_id: int, followed_id: int, now: datetime) -> FollowState:
        """Asks to follow, unless that was done before or is no longer needed. Raises as ``follow``."""

    async def accept(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        """Makes a follow of a request. Whether there is a follow now."""

    async def reject(self, follower_id: int, followed_id: int) -> bool:
        """Whether there was a request to end."""

    async def unfollow(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        """Whether there was anything to end: a follow, which is told, or a request."""

    async def block(self, user_id: int, blocked_id: int, now: datetime, tell: Tell) -> bool:
        """Ends what either is to the other. Whether this is new."""

    async def unblock(self, user_id: int, blocked_id: int) -> bool:
        """Whether there was anything to end."""

    async def list_followers(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """The newest first, at most ``limit``, beginning behind ``after``."""

    async def list_following(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """As ``list_followers``."""

    async def list_incoming(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """Those who have asked, likewise."""

    async def list_outgoing(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """Those who were asked, likewise."""

    async def list_blocked(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """Likewise."""

    async def list_mutuals(self, user_id: int, other_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """Those whom the user follows and who follow the other; in the order in which the user follows them, likewise.

        The other may be the user.
        """

    async def list_follower_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        """The lowest first, at most ``limit``, beginning behind ``after``; ids are positive."""

    async def list_followed_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        """As ``list_follower_ids``."""

    async def get_counts(self, user_id: int) -> FollowCounts: ...
    async def get_ties(self, user_id: int, other_id: int) -> Ties: ...

    async def find_hidden(self, user_id: int, other_ids: Collection[int]) -> set[int]:
        """Those of the others who have blocked the user, or whom the user has blocked."""

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        """Removes some of what the user is to others and others to the user, untold; and then, from ``after`` on, what
        was told of it.

        Where to go on, beginning at ``erasure.START``; None when nothing is left. Nobody may be adding to it.
        """


def check_may_follow(ties: Ties) -> None:
    """Raises NotFound or Conflict, as ``SocialGraphStore.follow``."""
    if ties.blocked_by:
        raise user_not_found()
    if ties.blocked:
        raise Conflict("you have blocked this user; unblock them first", code="user_blocked")


def user_not_found() -> NotFound:
    """The same for those who do not exist and for those who do not want to be seen."""
    return NotFound("there is no such user; check the name", code="user_not_found")
