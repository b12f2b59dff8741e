"""Stand-ins for what a manager is given: peers, time and ids. Each keeps its Protocol, and does the least it can."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from pkg.object_model.errors import DelinkciousError, NotFound, Unavailable
from pkg.object_model.interfaces import SocialGraphManager, UserDirectory
from pkg.object_model.types import (
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


class FakeClock:
    """Stands still until it is told to go on; ``step`` is added after each look."""

    def __init__(self, now: datetime | None = None, *, step: timedelta = timedelta(0)) -> None:
        self.time = now or datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
        self.step = step

    def now(self) -> datetime:
        seen = self.time
        self.time += self.step
        return seen

    def advance(self, seconds: float = 1) -> None:
        self.time += timedelta(seconds=seconds)


class SequentialIds:
    def __init__(self, first: int = 1) -> None:
        self._next = first

    def new_id(self) -> int:
        current = self._next
        self._next += 1
        return current


class FakeUserDirectory(UserDirectory):
    """Knows those it was told of. ``asked`` counts the calls; ``fault`` is raised by each while it is set."""

    def __init__(self, users: Iterable[Actor] = ()) -> None:
        self._by_name: dict[str, Actor] = {}
        #: Ids of those whose account is private.
        self.private: set[int] = set()
        self.asked = 0
        self.fault: DelinkciousError | None = None
        for user in users:
            self.add(user)

    def add(self, user: Actor) -> Actor:
        self._by_name[user.name.lower()] = user
        return user

    def rename(self, old: str, new: str) -> Actor:
        return self.add(Actor(self._by_name.pop(old.lower()).user_id, new))

    def remove(self, name: str) -> None:
        del self._by_name[name.lower()]

    async def find_users(self, names: Collection[str]) -> dict[str, DirectoryEntry]:
        self._look()
        return {
            name: DirectoryEntry(user.user_id, user.name, user.user_id in self.private)
            for name in names
            if (user := self._by_name.get(name.lower()))
        }

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        self._look()
        wanted = set(user_ids)
        return {user.user_id: user.name for user in self._by_name.values() if user.user_id in wanted}

    def _look(self) -> None:
        self.asked += 1
        if self.fault is not None:
            raise self.fault


class FakeSocialGraph(SocialGraphManager):
    """Who follows whom and who has blocked whom, by id. Nobody is asked before they are followed. Names come from the
    directory; ``asked`` counts questions for a relationship."""

    def __init__(self, directory: UserDirectory | None = None) -> None:
        self._directory = directory or FakeUserDirectory()
        self._follows: dict[tuple[int, int], None] = {}
        self._blocks: dict[tuple[int, int], None] = {}
        self.asked = 0
        self.fault: DelinkciousError | None = None

    def set_following(self, follower_id: int, followed_id: int, following: bool = True) -> None:
        if following:
            self._follows[follower_id, followed_id] = None
        else:
            self._follows.pop((follower_id, followed_id), None)

    async def follow(self, actor: Actor | None, request: FollowRequest) -> FollowState:
        self.set_following(*await self._ids(request))
        return FollowState.FOLLOWING

    async def unfollow(self, actor: Actor | None, request: FollowRequest) -> None:
        self.set_following(*await self._ids(request), following=False)

    async def accept_follow_request(self, actor: Actor | None, request: FollowRequest) -> None:
        self.set_following(*await self._ids(request))

    async def reject_follow_request(self, actor: Actor | None, request: FollowRequest) -> None:
        pass

    async def kick_follower(self, actor: Actor | None, request: FollowRequest) -> None:
        self.set_following(*await self._ids(request), following=False)

    async def block(self, actor: Actor | None, name: str) -> None:
        user_id, other_id = await self._ids(FollowRequest(follower=actor.name if actor else "", followed=name))
        self._blocks[user_id, other_id] = None
        self.set_following(user_id, other_id, following=False)
        self.set_following(other_id, user_id, following=False)

    async def unblock(self, actor: Actor | None, name: str) -> None:
        self._blocks.pop(await self._ids(FollowRequest(follower=actor.name if actor else "", followed=name)), None)

    async def get_followers(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        user = (await self._directory.find_users([request.username]))[request.username]
        return await self._page([pair[0] for pair in self._follows if pair[1] == user.user_id])

    async def get_following(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        user = (await self._directory.find_users([request.username]))[request.username]
        return await self._page([pair[1] for pair in self._follows if pair[0] == user.user_id])

    async def get_incoming_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return NamePage([], "")

    async def get_outgoing_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return NamePage([], "")

    async def get_mutuals(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        raise NotImplementedError

    async def get_blocked(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        user = (await self._directory.find_users([request.username]))[request.username]
        return await self._page([pair[1] for pair in self._blocks if pair[0] == user.user_id])

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        if self.fault is not None:
            raise self.fault
        followers = sorted(follower for follower, followed in self._follows if followed == user_id)
        rest = [follower for follower in followers if follower > int(start_token or 0)]
        return IdPage(rest[:limit], str(rest[limit - 1]) if len(rest) > limit else "")

    async def get_followed(self, user_id: int, start_token: str, limit: int) -> UserPage:
        if self.fault is not None:
            raise self.fault
        followed = sorted(followed for follower, followed in self._follows if follower == user_id)
        rest = [one for one in followed if one > int(start_token or 0)]
        names = await self._directory.find_names(rest[:limit])
        users = [Actor(one, names[one]) for one in rest[:limit] if one in names]
        return UserPage(users, str(rest[limit - 1]) if len(rest) > limit else "")

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        return FollowCounts(
            followers=sum(followed == user_id for _, followed in self._follows),
            following=sum(follower == user_id for follower, _ in self._follows),
        )

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        if viewer_id == user_id:
            return Relationship.SELF
        if (viewer_id, user_id) in self._blocks or (user_id, viewer_id) in self._blocks:
            raise NotFound("there is no such user; check the name", code="user_not_found")
        return Relationship.FOLLOWING if (viewer_id, user_id) in self._follows else Relationship.NONE

    async def erase_user(self, user_id: int, start_token: str) -> str:
        for pairs in (self._follows, self._blocks):
            for pair in [pair for pair in pairs if user_id in pair]:
                del pairs[pair]
        return ""

    async def _ids(self, request: FollowRequest) -> tuple[int, int]:
        found = await self._directory.find_users([request.follower, request.followed])
        return found[request.follower].user_id, found[request.followed].user_id

    async def _page(self, user_ids: list[int]) -> NamePage:
        names = await self._directory.find_names(user_ids)
        return NamePage([names[user_id] for user_id in reversed(user_ids) if user_id in names], "")


def away(service: str = "social-graph-manager") -> Unavailable:
    """What a client raises when the service it stands for cannot be reached."""
    return Unavailable(f"{service} cannot be reached", code=f"{service.replace('-', '_')}_unavailable", retry_after=1)
