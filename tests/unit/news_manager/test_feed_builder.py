"""A feed that is not there, when somebody reads it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pkg.news_manager.feed_builder import FeedBuilder
from pkg.news_manager.manager import NewsManager
from pkg.news_manager.store import Beginning
from pkg.object_model.erasure import START
from pkg.object_model.errors import NotFound, Unavailable
from pkg.object_model.types import Actor, GetNewsRequest, UserPage
from tests.fakes import away
from tests.unit.news_manager.test_feed_writer import ALICE, BOB, CAROL, House


class Counted:
    """Followed people, who can be made to take their time."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.asked = 0
        self.came = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.before: Callable[[], Awaitable[Any]] | None = None

    async def get_followed(self, user_id: int, start_token: str, limit: int) -> UserPage:
        self.asked += 1
        self.came.set()
        await self.go.wait()
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        return await self._house.followers.get_followed(user_id, start_token, limit)


class Ruin(House):
    """No feed is there."""

    def __init__(self) -> None:
        super().__init__()
        self.followed = Counted(self)
        self.builder = FeedBuilder(self.store, self.followed, self.links, patience=5)
        self.manager = NewsManager(self.store, self.builder)


@pytest.fixture
async def house() -> Ruin:
    return Ruin()


async def test_it_is_made_of_what_the_followed_share(house: Ruin) -> None:
    house.links.links = [house.link(number) for number in (3, 2, 1)]
    assert await house.urls(BOB) == ["1", "2", "3"], "by their last change"
    assert house.followed.asked == 1
    assert await house.urls(BOB) == ["1", "2", "3"]
    assert house.followed.asked == 1
    await house.hear(house.added(4))
    assert await house.urls(BOB) == ["4", "1", "2", "3"]


async def test_entries_are_those_that_events_would_have_made(house: Ruin) -> None:
    """With the same ids: a page token, and a reader's place in a stream, hold when the store is lost."""
    built = Ruin()
    built.clock.time = house.clock.time
    events = [house.added(1), house.updated(1, version=2), house.added(2)]
    await house.hear(*events)
    built.links.links = [
        built.link(2, created_at=events[2].timestamp, updated_at=events[2].timestamp, title="", tags=()),
        built.link(1, created_at=events[0].timestamp, updated_at=events[1].timestamp, title="", tags=(), version=2),
    ]
    made, heard = await built.news(BOB), await house.news(BOB)
    assert [(one.id, one.event_type, one.timestamp, one.version, one.url) for one in made] == [
        (one.id, one.event_type, one.timestamp, one.version, one.url) for one in heard
    ]
    await built.hear(*events)
    assert [one.id for one in await built.news(BOB)] == [one.id for one in heard]


async def test_who_follows_nobody_has_an_empty_feed(house: Ruin) -> None:
    assert await house.news(ALICE) == []
    assert await house.news(ALICE) == []
    assert house.followed.asked == 1


async def test_a_crowd_of_readers_builds_once(house: Ruin) -> None:
    house.links.links = [house.link(1)]
    house.followed.go.clear()
    reading = [asyncio.create_task(house.urls(BOB)) for _ in range(20)]
    await asyncio.sleep(0)
    house.followed.go.set()
    assert await asyncio.gather(*reading) == [["1"]] * 20
    assert house.followed.asked == 1


async def test_another_process_builds(house: Ruin) -> None:
    assert await house.store.begin_feed(BOB.user_id, "another process") is Beginning.BEGUN
    reading = asyncio.create_task(house.urls(BOB))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not reading.done()
    assert await house.store.finish_feed(BOB.user_id, "another process")
    assert await reading == []
    assert house.followed.asked == 0


async def test_what_happens_meanwhile_is_in_it_once(house: Ruin) -> None:
    await house.remember()
    first, second = house.added(1), house.added(2)
    house.links.links = [house.link(1, created_at=first.timestamp, updated_at=first.timestamp)]

    async def happen() -> None:
        await house.writer.handle([first, second])

    house.followed.before = happen
    assert await house.urls(BOB) == ["2", "1"]


async def test_a_store_that_is_lost_meanwhile_is_filled_anew(house: Ruin) -> None:
    house.links.links = [house.link(1)]

    async def lose() -> None:
        house.clock.advance(3_600)

    house.followed.before = lose
    assert await house.urls(BOB) == ["1"]
    assert house.followed.asked == 2


async def test_no_empty_feed_that_looks_real(house: Ruin) -> None:
    house.links.links = [house.link(1)]
    house.links.fault = away("link-manager")
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await house.news(BOB)
        assert refused.value.code == "link_manager_unavailable"
        assert not await house.store.has_feed(BOB.user_id), "whoever comes next need not wait"
    house.links.fault = None
    assert await house.urls(BOB) == ["1"]


async def is_built(house: Ruin) -> bool:
    return await house.store.begin_feed(BOB.user_id, "a test") is Beginning.BUILT


async def test_a_reader_who_waits_too_long_is_told_to_come_back(house: Ruin) -> None:
    house.builder = FeedBuilder(house.store, house.followed, house.links, patience=0.01)
    house.manager = NewsManager(house.store, house.builder)
    house.links.links = [house.link(1)]
    house.followed.go.clear()
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await house.news(BOB)
        assert (refused.value.code, refused.value.retry_after) == ("feed_being_built", 1)
    house.followed.go.set()
    deadline = time.monotonic() + 10
    while not await is_built(house):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert await house.urls(BOB) == ["1"]
    assert house.followed.asked == 1, "the building went on"


async def test_a_reader_who_goes_away_stops_nothing(house: Ruin) -> None:
    house.links.links = [house.link(1)]
    house.followed.go.clear()
    reading = asyncio.create_task(house.urls(BOB))
    await house.followed.came.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    house.followed.go.set()
    assert await house.urls(BOB) == ["1"]
    assert house.followed.asked == 1


async def test_the_end_of_the_process(house: Ruin) -> None:
    house.followed.go.clear()
    reading = asyncio.create_task(house.news(BOB))
    await house.followed.came.wait()
    await house.builder.close()
    with pytest.raises(Unavailable):
        await reading


async def test_who_has_left_has_no_news(house: Ruin) -> None:
    await house.store.erase_user(BOB.user_id, START)
    with pytest.raises(NotFound):
        await house.news(BOB)


async def test_many_followed_cost_few_questions_and_give_the_newest(house: Ruin) -> None:
    authors = range(1_000, 1_300)
    house.followers.of = {author: [CAROL.user_id] for author in authors}
    house.links.links = [house.link(number) for number in range(30)][::-1]
    found = await house.manager.get_news(CAROL, GetNewsRequest(username="carol", limit=200))
    assert len(found.events) == 200
    assert len(house.links.requests) == 6
    assert {limit for _, limit in house.links.requests} == {20}
    house.followers.of = {ALICE.user_id: [77]}
    await house.manager.get_news(Actor(77, "u77"), GetNewsRequest(username="u77"))
    assert house.links.requests[-1] == ([ALICE.user_id], 200), "of few there is room for more"
