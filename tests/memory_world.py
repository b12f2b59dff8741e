"""The three managers on in-memory stores, wired to each other as the services are; time and ids are the test's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pkg.link_manager.manager import LinkManager
from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.object_model.types import Actor, RegisterRequest
from pkg.social_graph_manager.manager import SocialGraphManager
from pkg.social_graph_manager.memory_store import MemorySocialGraphStore
from pkg.user_manager.manager import UserManager
from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.providers import LocalProvider


class SteppedClock:
    """Each look is a second later, so that orders by time are plain."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


class CountedIds:
    def __init__(self) -> None:
        self._last = 1_000

    def new_id(self) -> int:
        self._last += 1
        return self._last


@dataclass(frozen=True)
class MemoryWorld:
    users: UserManager
    graph: SocialGraphManager
    links: LinkManager

    async def person(self, name: str) -> Actor:
        """A registered user."""
        user = await self.users.register(None, RegisterRequest(name=name, email=f"{name}@mail.example"))
        return user.ref


def build_world(*, max_links_per_user: int = 100) -> MemoryWorld:
    clock = SteppedClock()
    ids = CountedIds()
    users = UserManager(MemoryUserStore(), clock, ids, provider=LocalProvider())
    graph = SocialGraphManager(MemorySocialGraphStore(), users, clock)
    links = LinkManager(MemoryLinkStore(), users, graph, clock, ids, max_links_per_user=max_links_per_user)
    return MemoryWorld(users, graph, links)
