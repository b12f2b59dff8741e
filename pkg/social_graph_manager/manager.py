"""The rules of who follows whom."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.clock import Clock
from pkg.object_model.errors import InvalidArgument, NotFound, PermissionDenied
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
    NamePage,
    Relationship,
)
from pkg.social_graph_manager.store import Edge, SocialGraphStore

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

type _List = Callable[[int, Edge | None, int], Awaitable[Sequence[Edge]]]


class SocialGraphManager(interfaces.SocialGraphManager):
    def __init__(self, store: SocialGraphStore, users: interfaces.UserDirectory, clock: Clock) -> None:
        self._store = store
        self._users = users
        self._clock = clock

    async def follow(self, actor: Actor | None, request: FollowRequest) -> FollowState:
        """To follow somebody again changes nothing.

        Raises:
            PermissionDenied: the follower is not the actor (``not_yours``).
            InvalidArgument: ``cannot_follow_yourself``.
            NotFound: nobody is called like the one to follow (``user_not_found``).
        """
        follower = _check_follower(actor, request)
        followed_id = await self._find_id(actor, request.followed)
        if followed_id == follower.user_id:
            raise InvalidArgument("you cannot follow yourself; name somebody else", code="cannot_follow_yourself")
        await self._store.follow(follower.user_id, followed_id, self._clock.now())
        return FollowState.FOLLOWING

    async def unfollow(self, actor: Actor | None, request: FollowRequest) -> None:
        """Not to have followed is no error.

        Raises:
            PermissionDenied: the follower is not the actor (``not_yours``).
            NotFound: nobody is called like the one followed (``user_not_found``).
        """
        follower = _check_follower(actor, request)
        await self._store.unfollow(follower.user_id, await self._find_id(actor, request.followed))

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

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        return await self._store.get_counts(user_id)

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        if viewer_id == user_id:
            return Relationship.SELF
        if await self._store.is_following(viewer_id, user_id):
            return Relationship.FOLLOWING
        return Relationship.NONE

    async def _find_id(self, actor: Actor | None, name: str) -> int:
        if actor is not None and name.casefold() == actor.name.casefold():
            return actor.user_id
        # What cannot be a name is nobody's: no need to ask.
        found = await self._users.find_users([name]) if USER_NAME_PATTERN.fullmatch(name) else {}
        if name not in found:
            raise NotFound("there is no such user; check the name", code="user_not_found")
        return found[name].user_id

    async def _page(self, operation: str, read: _List, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        limit = _check_limit(request)
        user_id = await self._find_id(actor, request.username)
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
