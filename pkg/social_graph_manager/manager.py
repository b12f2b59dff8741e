"""The rules of who follows whom, who has to be asked, and who is hidden from whom."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.clock import Clock, IdGenerator
from pkg.object_model.erasure import erase_part
from pkg.object_model.errors import InvalidArgument, NotFound, PermissionDenied
from pkg.object_model.events import FollowEvent
from pkg.object_model.paging import check_page_limit, decode_page_token, encode_page_token
from pkg.object_model.types import (
    MAX_PAGE_LIMIT,
    MAX_WHOLE_MAP,
    USER_NAME_PATTERN,
    Actor,
    DirectoryEntry,
    FollowCounts,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    IdPage,
    NamePage,
    Relationship,
    UserPage,
)
from pkg.social_graph_manager.store import Edge, SocialGraphStore, Tell, user_not_found

#: The most ids of one page.
MAX_FOLLOWER_IDS: Final = 10_000
#: The most people of one page.
MAX_FOLLOWED: Final = 1_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

type _ListIds = Callable[[int, int, int], Awaitable[Sequence[int]]]
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
        """A private account is asked. To follow or to ask again changes nothing.

        Raises:
            PermissionDenied: the follower is not the actor (``not_yours``).
            InvalidArgument: ``cannot_follow_yourself``.
            NotFound: nobody is called like the one to follow, or they have blocked the actor (``user_not_found``).
            Conflict: the actor has blocked them (``user_blocked``).
        """
        follower = _check_name(actor, request.follower, "follow and unfollow")
        followed = await self._find(actor, request.followed)
        if followed.user_id == follower.user_id:
            raise InvalidArgument("you cannot follow yourself; name somebody else", code="cannot_follow_yourself")
        now = self._clock.now()
        if followed.private:
            return await self._store.request(follower.user_id, followed.user_id, now)
        tell = self._teller(follower, followed.ref, following=True)
        await self._store.follow(follower.user_id, followed.user_id, now, tell)
        return FollowState.FOLLOWING

    async def unfollow(self, actor: Actor | None, request: FollowRequest) -> None:
        """Takes back a request as well. Neither to have followed nor to have asked is no error.

        Raises:
            PermissionDenied: the follower is not the actor (``not_yours``).
            NotFound: nobody is called like the one followed, or they have blocked the actor (``user_not_found``).
        """
        follower = _check_name(actor, request.follower, "follow and unfollow")
        followed = await self._find(actor, request.followed)
        tell = self._teller(follower, followed.ref, following=False)
        if not await self._store.unfollow(follower.user_id, followed.user_id, self._clock.now(), tell):
            await self._check_seen(follower, followed)

    async def accept_follow_request(self, actor: Actor | None, request: FollowRequest) -> None:
        """From now on the follower sees and hears what followers do. To accept again is no error.

        Raises:
            PermissionDenied: the one to be followed is not the actor (``not_yours``).
            NotFound: there is no such user (``user_not_found``), or they have not asked, or do no longer
                (``follow_request_not_found``).
        """
        followed = _check_name(actor, request.followed, "answer requests")
        follower = await self._find(actor, request.follower)
        tell = self._teller(follower.ref, followed, following=True)
        if not await self._store.accept(follower.user_id, followed.user_id, self._clock.now(), tell):
            await self._check_seen(followed, follower)
            raise NotFound(
                "this user does not ask to follow you, or does no longer; look at the requests again",
                code="follow_request_not_found",
            )

    async def reject_follow_request(self, actor: Actor | None, request: FollowRequest) -> None:
        """Nobody is told, and they may ask again. That there is no request is no error.

        Raises:
            PermissionDenied: the one to be followed is not the actor (``not_yours``).
            NotFound: there is no such user (``user_not_found``).
        """
        followed = _check_name(actor, request.followed, "answer requests")
        follower = await self._find(actor, request.follower)
        if not await self._store.reject(follower.user_id, followed.user_id):
            await self._check_seen(followed, follower)

    async def kick_follower(self, actor: Actor | None, request: FollowRequest) -> None:
        """Ends somebody's following of the actor, or their request. That they do not follow is no error.

        Raises:
            PermissionDenied: the one followed is not the actor (``not_yours``).
            NotFound: there is no such user (``user_not_found``).
        """
        followed = _check_name(actor, request.followed, "remove followers")
        follower = await self._find(actor, request.follower)
        tell = self._teller(follower.ref, followed, following=False)
        if not await self._store.unfollow(follower.user_id, followed.user_id, self._clock.now(), tell):
            await self._check_seen(followed, follower)

    async def block(self, actor: Actor | None, name: str) -> None:
        """Hides the two from each other, and ends what either was to the other. To block again is no error.

        Raises:
            PermissionDenied: nobody is asking (``not_yours``).
            InvalidArgument: ``cannot_block_yourself``.
            NotFound: there is no such user (``user_not_found``).
        """
        user = _check_actor(actor, "block")
        blocked = await self._find(actor, name)
        if blocked.user_id == user.user_id:
            raise InvalidArgument("you cannot block yourself; name somebody else", code="cannot_block_yourself")
        tell = self._teller(user, blocked.ref, following=False)
        await self._store.block(user.user_id, blocked.user_id, self._clock.now(), tell)

    async def unblock(self, actor: Actor | None, name: str) -> None:
        """Brings back nothing that the block ended. Not to have blocked is no error.

        Raises:
            PermissionDenied: nobody is asking (``not_yours``).
            NotFound: there is no such user (``user_not_found``).
        """
        user = _check_actor(actor, "unblock")
        blocked = await self._find(actor, name)
        if not await self._store.unblock(user.user_id, blocked.user_id):
            await self._check_seen(user, blocked)

    async def get_followers(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """Newest first. Those who have no name any more are left out, and those who are hidden from the actor.

        Nobody but the user and followers sees anybody in the list of a private account.

        Raises:
            InvalidArgument: ``invalid_limit`` or ``invalid_start_token``; or ``limit_required``: without one the whole
                list is wanted, and there are more than MAX_WHOLE_MAP or a token says where to begin.
            NotFound: there is no such user, or one of the two has blocked the other (``user_not_found``).
        """
        return await self._page_for_all("followers", self._store.list_followers, actor, request)

    async def get_following(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """As ``get_followers``."""
        return await self._page_for_all("following", self._store.list_following, actor, request)

    async def get_mutuals(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """Those whom the actor follows and who follow the user; of the actor themselves those who follow back.

        In the order in which the actor follows them, newest first. Of a private account that the actor does not follow
        there are none.

        Raises:
            PermissionDenied: nobody is asking (``not_yours``).
            InvalidArgument, NotFound: as ``get_followers``.
        """
        user = _check_actor(actor, "see whom you have in common with others")

        async def read(other_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
            return await self._store.list_mutuals(user.user_id, other_id, after, limit)

        # A token is good for one who asks: the order is theirs.
        return await self._page_for_all(f"mutuals of {user.user_id}", read, user, request)

    async def get_incoming_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """Those who ask to follow the actor, newest first.

        Raises:
            PermissionDenied: the list is somebody else's (``not_yours``).
            InvalidArgument: as ``get_followers``.
        """
        return await self._page_of_own("incoming", self._store.list_incoming, actor, request)

    async def get_outgoing_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """Those whom the actor asks to follow, likewise."""
        return await self._page_of_own("outgoing", self._store.list_outgoing, actor, request)

    async def get_blocked(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """Those whom the actor has blocked, likewise."""
        return await self._page_of_own("blocked", self._store.list_blocked, actor, request)

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        """By id, so that whoever follows in the meantime moves nobody to another page.

        Raises:
            InvalidArgument: ``invalid_limit`` outside 1 to MAX_FOLLOWER_IDS, or ``invalid_start_token``.
        """
        _check_id_limit(limit, MAX_FOLLOWER_IDS)
        return await _page_of_ids("follower-ids", self._store.list_follower_ids, user_id, start_token, limit)

    async def get_followed(self, user_id: int, start_token: str, limit: int) -> UserPage:
        """By id, likewise. Those who have no name any more are left out.

        Raises:
            InvalidArgument: ``invalid_limit`` outside 1 to MAX_FOLLOWED, or ``invalid_start_token``.
        """
        _check_id_limit(limit, MAX_FOLLOWED)
        page = await _page_of_ids("followed", self._store.list_followed_ids, user_id, start_token, limit)
        names = await self._users.find_names(page.user_ids) if page.user_ids else {}
        users = [Actor(user_id, names[user_id]) for user_id in page.user_ids if user_id in names]
        return UserPage(users, page.next_page_token)

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        return await self._store.get_counts(user_id)

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        """
        Raises:
            NotFound: one of the two has blocked the other; whoever asks must show nothing (``user_not_found``).
        """
        if viewer_id == user_id:
            return Relationship.SELF
        ties = await self._store.get_ties(viewer_id, user_id)
        if ties.hidden:
            raise user_not_found()
        if ties.following:
            return Relationship.FOLLOWING
        return Relationship.REQUESTED if ties.requested else Relationship.NONE

    async def erase_user(self, user_id: int, start_token: str) -> str:
        """Raises InvalidArgument (``invalid_start_token``)."""
        return await erase_part(self._store.erase_user, user_id, start_token)

    def _teller(self, one: Actor, other: Actor, *, following: bool) -> Tell:
        def tell(follower_id: int, time: datetime) -> FollowEvent:
            follower, followed = (one, other) if follower_id == one.user_id else (other, one)
            return FollowEvent(
                id=self._ids.new_id(),
                follower_id=follower.user_id,
                follower=follower.name,
                followed_id=followed.user_id,
                followed=followed.name,
                timestamp=time,
                following=following,
            )

        return tell

    async def _find(self, actor: Actor | None, name: str) -> DirectoryEntry:
        if actor is not None and name.casefold() == actor.name.casefold():
            # From themselves nobody hides anything.
            return DirectoryEntry(actor.user_id, actor.name)
        # What cannot be a name is nobody's: no need to ask.
        found = await self._users.find_users([name]) if USER_NAME_PATTERN.fullmatch(name) else {}
        if name not in found:
            raise user_not_found()
        return found[name]

    async def _check_seen(self, user: Actor, other: DirectoryEntry) -> None:
        """Of those who do not want to be seen, not even this is told: that there was nothing to do."""
        if (await self._store.get_ties(user.user_id, other.user_id)).blocked_by:
            raise user_not_found()

    # --- lists --------------------------------------------------------------------------------------------------------

    async def _page_for_all(
        self, operation: str, read: _List, actor: Actor | None, request: GetFollowRequest
    ) -> NamePage:
        limit = _check_limit(request)
        user = await self._find(actor, request.username)
        relationship = Relationship.NONE
        if actor is not None:
            relationship = await self.get_relationship(actor, actor.user_id, user.user_id)
        if user.private and relationship not in {Relationship.SELF, Relationship.FOLLOWING}:
            read = _list_nobody
        viewer = None if relationship is Relationship.SELF else actor
        return await self._page(operation, read, user.user_id, request, limit, viewer)

    async def _page_of_own(
        self, operation: str, read: _List, actor: Actor | None, request: GetFollowRequest
    ) -> NamePage:
        user = _check_name(actor, request.username, "see such lists")
        return await self._page(operation, read, user.user_id, request, _check_limit(request), None)

    async def _page(
        self,
        operation: str,
        read: _List,
        user_id: int,
        request: GetFollowRequest,
        limit: int,
        viewer: Actor | None,
    ) -> NamePage:
        """``viewer``: from whom some may be hidden."""
        scope = (operation, user_id)
        edges = await read(user_id, _read_edge(request.start_token, scope), limit + 1)
        token = ""
        if len(edges) > limit:
            if request.limit is None:
                raise _limit_required(f"there are more than {limit}")
            edges = edges[:limit]
            token = encode_page_token(scope, _position(edges[-1]))
        user_ids = [edge.user_id for edge in edges]
        if viewer is not None and user_ids:
            hidden = await self._store.find_hidden(viewer.user_id, user_ids)
            user_ids = [user_id for user_id in user_ids if user_id not in hidden]
        names = await self._users.find_names(user_ids) if user_ids else {}
        return NamePage([names[user_id] for user_id in user_ids if user_id in names], token)


def _check_id_limit(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise InvalidArgument(f"limit must be between 1 and {most}, not {limit}", code="invalid_limit")


async def _page_of_ids(operation: str, read: _ListIds, user_id: int, start_token: str, limit: int) -> IdPage:
    scope = (operation, user_id)
    position = decode_page_token(start_token, scope, (int,))
    user_ids = list(await read(user_id, int(position[0]) if position else 0, limit + 1))
    token = ""
    if len(user_ids) > limit:
        del user_ids[limit:]
        token = encode_page_token(scope, (user_ids[-1],))
    return IdPage(user_ids, token)


async def _list_nobody(_user_id: int, _after: Edge | None, _limit: int) -> Sequence[Edge]:
    return []


def _check_actor(actor: Actor | None, what: str) -> Actor:
    if actor is None:
        raise PermissionDenied(f"you can {what} in your own name only", code="not_yours")
    return actor


def _check_name(actor: Actor | None, name: str, what: str) -> Actor:
    """The actor, who must be called that."""
    user = _check_actor(actor, what)
    if user.name.casefold() != name.casefold():
        raise PermissionDenied(f"you can {what} in your own name only", code="not_yours")
    return user


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
