"""The managers on in-memory stores, wired to each other as the services are; time and ids are the test's."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pkg.link_manager.manager import LinkManager
from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.news_manager.feed_builder import FeedBuilder
from pkg.news_manager.feed_writer import FeedWriter
from pkg.news_manager.manager import NewsManager
from pkg.news_manager.memory_store import MemoryNewsStore
from pkg.object_model.events import Event, LinkCheckedEvent
from pkg.object_model.types import Actor, LinkStatus, RegisterRequest, UpdateUserRequest
from pkg.runtime.context import CLIENT_ADDRESS
from pkg.social_graph_manager.manager import SocialGraphManager
from pkg.social_graph_manager.memory_store import MemorySocialGraphStore
from pkg.user_manager.deletion_store import DeletionStep
from pkg.user_manager.deletions import AccountDeletions, DeletionWorker
from pkg.user_manager.manager import OnRevoked, UserManager
from pkg.user_manager.memory_deletion_store import MemoryDeletionStore
from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.providers import LocalProvider


class SteppedClock:
    """Each look is a second later, so that orders by time are plain."""

    def __init__(self, begins: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = begins

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
    news: NewsManager
    feeds: FeedWriter
    deletions: DeletionWorker
    clock: SteppedClock
    #: What all of them told, in order.
    events: list[Event] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)

    async def tell(self) -> None:
        """Has feeds written for what happened since the last time."""
        known = {event.id for event in self.told}
        new = [event for event in self.events if event.id not in known]
        await self.feeds.handle(new)
        self.told.extend(new)

    async def person(self, name: str) -> Actor:
        """A registered user."""
        user = await self.users.register(None, RegisterRequest(name=name, email=f"{name}@mail.example"))
        return user.ref

    async def find(self, url: str, status: LinkStatus, reason: str, moved_to: str = "") -> None:
        """As the link checker would."""
        event = LinkCheckedEvent(
            id=1,
            user_id=1,
            username="somebody",
            url=url,
            status=status,
            checked_at=self.clock.now(),
            reason=reason,
            moved_to=moved_to,
        )
        await self.links.on_link_checked(event)

    async def make_private(self, user: Actor, private: bool = True) -> None:
        await self.users.update_user(user, UpdateUserRequest(private=private))


async def _tell_nobody(_user_id: int) -> None:
    pass


def build_world(
    *, max_links_per_user: int = 100, on_revoked: OnRevoked = _tell_nobody, clock: SteppedClock | None = None
) -> MemoryWorld:
    clock = clock or SteppedClock()
    ids = CountedIds()
    user_store = MemoryUserStore()
    deletion_store = MemoryDeletionStore(user_store)
    where_from = CLIENT_ADDRESS.get
    deletions = AccountDeletions(deletion_store, clock, ids, settle=timedelta(0), where_from=where_from)
    users = UserManager(
        user_store,
        clock,
        ids,
        provider=LocalProvider(),
        deletions=deletions,
        on_revoked=on_revoked,
        where_from=where_from,
    )
    events: list[Event] = []
    graph = SocialGraphManager(MemorySocialGraphStore(events), users, clock, ids)
    links = LinkManager(MemoryLinkStore(events), users, graph, clock, ids, max_links_per_user=max_links_per_user)
    news_store = MemoryNewsStore(clock)
    feeds = FeedWriter(news_store, graph, links, clock)
    news = NewsManager(news_store, FeedBuilder(news_store, graph, links))
    holders = {DeletionStep.SOCIAL_GRAPH: graph, DeletionStep.LINKS: links, DeletionStep.NEWS: news}
    worker = DeletionWorker(deletion_store, holders, clock, ids)
    return MemoryWorld(users, graph, links, news, feeds, worker, clock, events)
