"""The social graph manager on a store in memory, with a directory that is a fake."""

from collections.abc import Awaitable
from datetime import datetime, timedelta

import pytest

from pkg.object_model.errors import DelinkciousError
from pkg.object_model.events import FollowEvent
from pkg.object_model.types import Actor, FollowRequest, GetFollowRequest, NamePage
from pkg.social_graph_manager.manager import SocialGraphManager
from pkg.social_graph_manager.memory_store import MemorySocialGraphStore
from tests.fakes import FakeClock, FakeUserDirectory, SequentialIds

ALICE, BOB, CAROL = Actor(1, "Alice"), Actor(2, "bob"), Actor(3, "carol")
BOB_FOLLOWS_ALICE = FollowRequest(followed="alice", follower="bob")


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemorySocialGraphStore()
        self.directory = FakeUserDirectory([ALICE, BOB, CAROL])
        self.graph = SocialGraphManager(self.store, self.directory, self.clock, SequentialIds())

    async def add_fans(self, number: int) -> list[str]:
        """Followers of Alice; the names, the newest first."""
        fans = [self.directory.add(Actor(100 + count, f"fan{count}")) for count in range(number)]
        for count, fan in enumerate(fans):
            # Three at a time, so that times are equal within pages and across them.
            await self.let_follow(fan.user_id, self.clock.time + timedelta(seconds=count // 3))
        return [fan.name for fan in reversed(fans)]

    async def let_follow(self, user_id: int, since: datetime) -> None:
        """Has somebody follow Alice."""

        def tell(follower_id: int, time: datetime) -> FollowEvent:
            return FollowEvent(
                id=follower_id,
                follower_id=follower_id,
                follower="",
                followed_id=ALICE.user_id,
                followed=ALICE.name,
                timestamp=time,
                following=True,
            )

        await self.store.follow(user_id, ALICE.user_id, since, tell)

    async def followers(self, **request: object) -> NamePage:
        return await self.graph.get_followers(None, GetFollowRequest.model_validate({"username": "alice"} | request))


async def refusal(call: Awaitable[object], kind: type[DelinkciousError]) -> str:
    with pytest.raises(kind) as refused:
        await call
    return refused.value.code
