"""The rules of who follows whom."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.clock import Clock, IdGenerator
from pkg.object_model.errors import InvalidArgument, NotFound, PermissionDenied
from pkg.object_model.events import FollowEvent
from pkg.object_model.paging import check_page_limit, decode_page_token, encode_page_token
from pkg.object_model.types import (
    MAX_PAGE_LIMIT,
    MAX_WHOLE_MAP,
    USER_NAME_PATTERN,
    Actor,
    FollowCounts,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    IdPage,
    NamePage,
    Relationship,
)
from pkg.social_graph_manager.store import Edge, SocialGraphStore

#: The most ids of one page.
MAX_FOLLOWER_IDS: Final = 10_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

type _List = Callable[[int, Edge | None, int], Awaitable[Sequence[Edge]]]


class SocialGraphManager(interfaces.SocialGraphManager):
    def __init__(
        self, store: SocialGraphStore, users: interfaces.UserDirectory, clock: Clock, ids: IdGenerator
    ) -> None:
        self._store = store
        self._users = users
        self._clock = clock
        self._ids = ids

    async def follow(self, actor: Actor | None, request: FollowRequest) -> FollowState:
        """To follow somebody again changes nothing.

        Raises:
            PermissionDenied: the follower is not the actor (``not_yours``).
            InvalidArgument: ``cannot_follow_yourself``.
            NotFound: nobody is called like the one to follow (``user_not_found``).
        """
        follower = _check_follower(actor, request)
        followed = await self._find(actor, request.followed)
        if followed.user_id == follower.user_id:
            raise InvalidArgument("you cannot follow yourself; name somebody else", code="cannot_follow_yourself")
        now = self._clock.now()
        event = self._tell(follower, followed, now, following=True)
        await self._store.follow(follower.user_id, followed.user_id, now, event)
        return FollowState.FOLLOWING

    async def unfollow(self, actor: Actor | None, request: FollowRequest) -> None:
        """Not to have followed is no error.

        Raises:
            PermissionDenied: the follower is not the actor (``not_yours``).
            NotFound: nobody is called like the one followed (``user_not_found``).
        """
        follower = _check_follower(actor, request)
        followed = await self._find(actor, request.followed)
        event = self._tell(follower, followed, self._clock.now(), following=False)
        await self._store.unfollow(follower.user_id, followed.user_id, event)

    async def get_followers(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """Newest first. Those who have no name any more are left out.

        Raises:
            InvalidArgument: ``invalid_limit`` or ``invalid_start_token``; or ``limit_required``: without one the whole
                list is wanted, and there are more than MAX_WHOLE_MAP or a token says where to begin.
            NotFound: there is no such user (``user_not_found``).
        """
        return await self._page("followers", self._store.list_followers, actor, request)

    async def get_following(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """As ``get_followers``."""
        return await self._page("following", self._store.list_following, actor, request)

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        """By id, so that whoever follows in the meantime moves nobody to another page.

        Raises:
            InvalidArgument: ``invalid_limit`` outside 1 to MAX_FOLLOWER_IDS, or ``invalid_start_token``.
        """
        if not 1 <= limit <= MAX_FOLLOWER_IDS:
            raise InvalidArgument(f"limit must be between 1 and {MAX_FOLLOWER_IDS}, not {limit}", code="invalid_limit")
        scope = ("follower-ids", user_id)
        position = decode_page_token(start_token, scope, (int,))
        after = int(position[0]) if position else 0
        user_ids = list(await self._store.list_follower_ids(user_id, after, limit + 1))
        token = ""
        if len(user_ids) > limit:
            del user_ids[limit:]
            token = encode_page_token(scope, (user_ids[-1],))
        return IdPage(user_ids, token)

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        return await self._store.get_counts(user_id)

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        if viewer_id == user_id:
            return Relationship.SELF
        if await self._store.is_following(viewer_id, user_id):
            return Relationship.FOLLOWING
        return Relationship.NONE

    def _tell(self, follower: Actor, followed: Actor, now: datetime, *, following: bool) -> FollowEvent:
        return FollowEvent(
            id=self._ids.new_id(),
            follower_id=follower.user_id,
            follower=follower.name,
            followed_id=followed.user_id,
            followed=followed.name,
            timestamp=now,
            following=following,
        )

    async def _find(self, actor: Actor | None, name: str) -> Actor:
        if actor is not None and name.casefold() == actor.name.casefold():
            return actor
        # What cannot be a name is nobody's: no need to ask.
        found = await self._users.find_users([name]) if USER_NAME_PATTERN.fullmatch(name) else {}
        if name not in found:
            raise NotFound("there is no such user; check the name", code="user_not_found")
        return found[name].ref

    async def _page(self, operation: str, read: _List, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        limit = _check_limit(request)
        user_id = (await self._find(actor, request.username)).user_id
        scope = (operation, user_id)
        edges = await read(user_id, _read_edge(request.start_token, scope), limit + 1)
        token = ""
        if len(edges) > limit:
            if request.limit is None:
                raise _limit_required(f"there are more than {limit}")
            edges = edges[:limit]
            token = encode_page_token(scope, _position(edges[-1]))
        names = await self._users.find_names([edge.user_id for edge in edges]) if edges else {}
        return NamePage([names[edge.user_id] for edge in edges if edge.user_id in names], token)


def _check_follower(actor: Actor | None, request: FollowRequest) -> Actor:
    if actor is None or actor.name.casefold() != request.follower.casefold():
        raise PermissionDenied("you can follow and unfollow in your own name only", code="not_yours")
    return actor


def _check_limit(request: GetFollowRequest) -> int:
    if request.limit is not None:
        return check_page_limit(request.limit)
    if request.start_token:
        raise _limit_required("a start_token is for a list in pages")
    return MAX_WHOLE_MAP


def _limit_required(why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{why}; send limit (1 to {MAX_PAGE_LIMIT}), and the NextPageToken of a page as start_token to get the next",
        code="limit_required",
    )


def _position(edge: Edge) -> tuple[int, int]:
    return (edge.created_at - _EPOCH) // _MICROSECOND, edge.user_id


def _read_edge(token: str, scope: tuple[object, ...]) -> Edge | None:
    position = decode_page_token(token, scope, (int, int))
    if position is None:
        return None
    microseconds, user_id = map(int, position)
    try:
        return Edge(_EPOCH + timedelta(microseconds=microseconds), user_id)
    except OverflowError:
        raise InvalidArgument("start_token is damaged; leave it out", code="invalid_start_token") from None
