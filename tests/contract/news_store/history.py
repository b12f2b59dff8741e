"""Any history of a small town, told to news in pieces, late, twice and with faults, against what it must come to.

The link manager and the social graph are real, on stores in memory. What is expected is said in a few lines: of
everybody whom the reader follows, all that is not private, the last change first.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pkg.link_manager.manager import LinkManager
from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.news_manager.feed_builder import FeedBuilder
from pkg.news_manager.feed_writer import FeedWriter
from pkg.news_manager.manager import NewsManager
from pkg.news_manager.store import NewsStore
from pkg.object_model.errors import DelinkciousError, Unavailable
from pkg.object_model.events import Event, FollowEvent, LinkEvent
from pkg.object_model.types import (
    Actor,
    AddLinkRequest,
    FollowCounts,
    FollowRequest,
    GetNewsRequest,
    IdPage,
    Relationship,
    UpdateLinkRequest,
    Visibility,
)
from pkg.social_graph_manager.manager import SocialGraphManager
from pkg.social_graph_manager.memory_store import MemorySocialGraphStore
from tests.fakes import FakeClock, FakeUserDirectory, SequentialIds, away

PEOPLE = [Actor(number, f"user{number}") for number in range(1, 6)]
#: So low that people pass it all the time: a timeline opens with the third follower and closes with the last but one.
THRESHOLD = 2
#: Below what a new follower gets, so that when somebody began to follow makes no difference.
LINKS = 5

people = st.sampled_from(PEOPLE)
#: Of whom there is more to tell, and whom more follow.
authors = st.sampled_from(PEOPLE[:2] * 3 + PEOPLE)
numbers = st.integers(1, LINKS)


class FaultyGraph:
    """The part that tells who follows, by two at a time. It fails at the ``fails_in``-th question from now."""

    def __init__(self, graph: SocialGraphManager) -> None:
        self._graph = graph
        self.fails_in = 0

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        self._ask()
        return await self._graph.get_follower_ids(user_id, start_token, min(limit, 2))

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        self._ask()
        return await self._graph.get_counts(actor, user_id)

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        self._ask()
        return await self._graph.get_relationship(actor, viewer_id, user_id)

    def _ask(self) -> None:
        self.fails_in -= 1
        if self.fails_in == 0:
            raise away()


class History(RuleBasedStateMachine):
    """``make_store`` gives an empty one; ``lose_feed`` what expiry takes away."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
        ids = SequentialIds(1_000)
        self.events: list[Event] = []
        users = FakeUserDirectory(PEOPLE)
        self.graph = SocialGraphManager(MemorySocialGraphStore(self.events), users, self.clock, ids)
        self.links = LinkManager(MemoryLinkStore(self.events), users, self.graph, self.clock, ids)
        self.follows: set[tuple[int, int]] = set()
        #: By author and URL, when it was last changed and whether it is private.
        self.saved: dict[tuple[int, str], tuple[datetime, bool]] = {}
        #: By user whose they are, as they wait to be told: one user's are told in order.
        self.waiting: defaultdict[int, list[Event]] = defaultdict(list)
        self.told: list[Event] = []

    async def make_store(self) -> NewsStore:
        raise NotImplementedError

    async def lose_feed(self, reader: Actor) -> None:
        raise NotImplementedError

    @initialize(others=st.sets(people), readers=st.sets(people))
    def begin(self, others: set[Actor], readers: set[Actor]) -> None:
        """Some follow the first of all, and some have read before."""
        self.run(self.open())
        for other in sorted(others, key=PEOPLE.index):
            self.follow(other, PEOPLE[0])
        for reader in sorted(readers, key=PEOPLE.index):
            self.read(reader)
        self.save(PEOPLE[0], 1, Visibility.PUBLIC)
        for waiting in self.waiting.values():
            self.run(self.writer.handle(waiting))
            waiting.clear()

    async def open(self) -> None:
        self.store = await self.make_store()
        self.faulty = FaultyGraph(self.graph)
        self.writer = FeedWriter(self.store, self.faulty, self.links, self.clock, push_threshold=THRESHOLD)
        self.manager = NewsManager(self.store, FeedBuilder(self.store, self.graph, self.links))

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def act[T](self, work: Coroutine[Any, Any, T]) -> T | None:
        """None for what is refused: whoever is blocked, what is there, what is not there."""
        # So that some is from before the store began to remember, and some is not.
        self.clock.advance(90)
        known = len(self.events)
        try:
            return self.run(work)
        except DelinkciousError:
            return None
        finally:
            for event in self.events[known:]:
                assert isinstance(event, LinkEvent | FollowEvent)
                self.waiting[event.user_id].append(event)

    # --- what people do -----------------------------------------------------------------------------------------------

    @rule(author=authors, number=numbers, visibility=st.sampled_from(Visibility))
    def save(self, author: Actor, number: int, visibility: Visibility) -> None:
        url = f"https://{number}.example/"
        request = AddLinkRequest(url=url, title="saved", username=author.name, visibility=visibility)
        link = self.act(self.links.add_link(author, request))
        if link is not None:
            self.saved[author.user_id, url] = link.updated_at, visibility is Visibility.PRIVATE

    @rule(author=authors, number=numbers, visibility=st.none() | st.sampled_from(Visibility))
    def change(self, author: Actor, number: int, visibility: Visibility | None) -> None:
        url = f"https://{number}.example/"
        request = UpdateLinkRequest(
            url=url, username=author.name, title=f"changed at {self.clock.time}", visibility=visibility
        )
        link = self.act(self.links.update_link(author, request))
        if link is not None:
            self.saved[author.user_id, url] = link.updated_at, link.visibility is Visibility.PRIVATE

    @rule(author=authors, number=numbers)
    def delete(self, author: Actor, number: int) -> None:
        url = f"https://{number}.example/"
        self.act(self.links.delete_link(author, author.name, url))
        self.saved.pop((author.user_id, url), None)

    @rule(follower=people, followed=authors)
    def follow(self, follower: Actor, followed: Actor) -> None:
        request = FollowRequest(follower=follower.name, followed=followed.name)
        if self.act(self.graph.follow(follower, request)) is not None:
            self.follows.add((follower.user_id, followed.user_id))

    @rule(follower=people, followed=authors)
    def unfollow(self, follower: Actor, followed: Actor) -> None:
        self.act(self.graph.unfollow(follower, FollowRequest(follower=follower.name, followed=followed.name)))
        self.follows.discard((follower.user_id, followed.user_id))

    @rule(user=people, other=people, now=st.booleans())
    def block(self, user: Actor, other: Actor, now: bool) -> None:
        if not now:
            self.act(self.graph.unblock(user, other.name))
            return
        self.act(self.graph.block(user, other.name))
        if user != other:
            self.follows -= {(user.user_id, other.user_id), (other.user_id, user.user_id)}

    # --- what becomes of it -------------------------------------------------------------------------------------------

    @rule(user=authors, count=st.integers(1, 5), fails_in=st.integers(0, 4))
    def tell(self, user: Actor, count: int, fails_in: int) -> None:
        """A run of somebody's events. One that fails is tried again later, as a whole."""
        run = self.waiting[user.user_id][:count]
        self.faulty.fails_in = fails_in
        try:
            self.run(self.writer.handle(run))
        except Unavailable:
            return
        finally:
            self.faulty.fails_in = 0
        del self.waiting[user.user_id][: len(run)]
        self.told += run

    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        if self.told:
            self.run(self.writer.handle([data.draw(st.sampled_from(self.told))]))

    @rule(reader=people)
    def read(self, reader: Actor) -> None:
        self.run(self.feed(reader))

    @rule(reader=people, everything=st.integers(0, 7))
    def lose(self, reader: Actor, everything: int) -> None:
        """A feed, or sometimes the whole store."""
        if everything:
            self.run(self.lose_feed(reader))
        else:
            self.run(self.open())

    @rule()
    def settle(self) -> None:
        for waiting in self.waiting.values():
            run = [*waiting]
            self.run(self.writer.handle(run))
            self.told += run
            waiting.clear()
        for reader in PEOPLE:
            assert self.run(self.feed(reader)) == self.expected(reader), reader

    async def feed(self, reader: Actor) -> list[tuple[str, str, datetime]]:
        """In pages."""
        read: list[tuple[str, str, datetime]] = []
        token = ""
        while True:
            page = await self.manager.get_news(reader, GetNewsRequest(username=reader.name, limit=4, start_token=token))
            read += [(event.username, event.url, event.timestamp) for event in page.events]
            token = page.next_page_token
            if not token:
                return read

    def expected(self, reader: Actor) -> list[tuple[str, str, datetime]]:
        return sorted(
            (
                (f"user{author_id}", url, changed_at)
                for (author_id, url), (changed_at, private) in self.saved.items()
                if (reader.user_id, author_id) in self.follows and not private
            ),
            key=lambda entry: entry[2],
            reverse=True,
        )

    async def close(self) -> None:
        pass

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.run(self.close())
            self.runner.close()
