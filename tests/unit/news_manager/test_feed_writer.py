"""The rules of news, on events as they come: in order, late, again, and when somebody is away."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from pkg.news_manager.entries import MAX_DESCRIPTION_SHOWN, MAX_TAGS_SHOWN
from pkg.news_manager.feed_builder import FeedBuilder
from pkg.news_manager.feed_writer import AUTHORS_AT_ONCE, BACKFILLED_LINKS, FOLLOWERS_AT_ONCE, FeedWriter
from pkg.news_manager.manager import NewsManager
from pkg.news_manager.memory_store import MemoryNewsStore
from pkg.news_manager.store import Beginning
from pkg.object_model.errors import DelinkciousError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from pkg.object_model.events import Event, FollowEvent, LinkCheckedEvent, LinkEvent, LinkEventType
from pkg.object_model.types import (
    Actor,
    FollowCounts,
    GetNewsRequest,
    IdPage,
    Link,
    LinkStatus,
    NewsEvent,
    NewsEventType,
    NewsPage,
    Relationship,
    SharedLink,
    UserPage,
    Visibility,
)
from tests.fakes import FakeClock, away

ALICE, BOB, CAROL = Actor(1, "alice"), Actor(2, "bob"), Actor(3, "carol")


class Followers:
    """Who follows whom, ``page`` at a time."""

    def __init__(self) -> None:
        self.of: dict[int, list[int]] = {}
        self.page = FOLLOWERS_AT_ONCE
        self.asked = 0
        self.fault: DelinkciousError | None = None
        #: What two are to each other who do not follow any more, whatever was told.
        self.ended: Relationship | DelinkciousError | None = None

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        return FollowCounts(len(self.of.get(user_id, [])), 0)

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        if isinstance(self.ended, DelinkciousError):
            raise self.ended
        return self.ended or Relationship.FOLLOWING

    async def get_followed(self, user_id: int, start_token: str, limit: int) -> UserPage:
        return UserPage([Actor(author, f"u{author}") for author, fans in self.of.items() if user_id in fans], "")

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        first = int(start_token or 0)
        last = first + min(self.page, limit)
        followers = self.of.get(user_id, [])
        return IdPage(followers[first:last], str(last) if last < len(followers) else "")


class Links:
    """Everybody's, as followers see them, the last change first."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.requests: list[tuple[list[int], int]] = []
        self.fault: DelinkciousError | None = None

    async def get_shared_links(
        self, user_ids: Collection[int], limit: int, changed_after: datetime | None = None
    ) -> list[SharedLink]:
        self.requests.append(([*user_ids], limit))
        if self.fault is not None:
            raise self.fault
        return [SharedLink(user_id, link) for user_id in user_ids for link in self.links[:limit]]


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self._begun = self.clock.time - timedelta(days=1)
        self.followers = Followers()
        self.followers.of[ALICE.user_id] = [BOB.user_id, CAROL.user_id]
        self.links = Links()
        self.store = MemoryNewsStore(self.clock)
        self.writer = FeedWriter(self.store, self.followers, self.links, self.clock)
        self.manager = NewsManager(self.store, FeedBuilder(self.store, self.followers, self.links))
        self._ids = iter(range(100, 10_000))

    def link_event(self, kind: LinkEventType, link_id: int = 7, version: int = 1, **other: Any) -> LinkEvent:
        """Each is a second later than the one before."""
        self.clock.advance()
        return LinkEvent(
            id=next(self._ids),
            type=kind,
            user_id=ALICE.user_id,
            username=ALICE.name,
            timestamp=self.clock.now(),
            url=other.pop("url", f"https://{link_id}.example/"),
            link_id=link_id,
            version=version,
            **other,
        )

    def added(self, link_id: int = 7, version: int = 1, **other: Any) -> LinkEvent:
        return self.link_event(LinkEventType.ADDED, link_id, version, **other)

    def updated(self, link_id: int = 7, version: int = 2, **other: Any) -> LinkEvent:
        return self.link_event(LinkEventType.UPDATED, link_id, version, **other)

    def deleted(self, link_id: int = 7, version: int = 3, **other: Any) -> LinkEvent:
        return self.link_event(LinkEventType.DELETED, link_id, version, **other)

    def follow_event(self, following: bool, follower: Actor = BOB) -> FollowEvent:
        self.clock.advance()
        return FollowEvent(
            id=next(self._ids),
            follower_id=follower.user_id,
            follower=follower.name,
            followed_id=ALICE.user_id,
            followed=ALICE.name,
            timestamp=self.clock.now(),
            following=following,
        )

    def link(self, link_id: int, **other: Any) -> Link:
        self.clock.advance()
        now = self.clock.now()
        values: dict[str, Any] = {
            "id": link_id,
            "url": f"https://{link_id}.example/",
            "title": f"Title {link_id}",
            "description": "",
            "status": LinkStatus.VALID,
            "tags": ("x",),
            "created_at": now,
            "updated_at": now,
            "visibility": Visibility.PUBLIC,
            "version": 1,
        }
        return Link(**(values | other))

    async def remember(self) -> None:
        """As a store does that has long been there."""
        await self.store.change_entries([], self._begun)

    async def open_feeds(self) -> None:
        await self.remember()
        for reader_id in {ALICE.user_id, BOB.user_id, CAROL.user_id}.union(*self.followers.of.values()):
            if await self.store.begin_feed(reader_id, "a test") is Beginning.BEGUN:
                await self.store.finish_feed(reader_id, "a test")

    async def hear(self, *events: Event) -> None:
        """Each by itself, by feeds that are there."""
        await self.open_feeds()
        for event in events:
            await self.writer.handle([event])

    async def news(self, reader: Actor = BOB) -> list[NewsEvent]:
        return (await self.manager.get_news(reader, GetNewsRequest(username=reader.name, limit=200))).events

    async def urls(self, reader: Actor = BOB) -> list[str]:
        return [event.url.removeprefix("https://").removesuffix(".example/") for event in await self.news(reader)]


@pytest.fixture
async def house() -> House:
    house = House()
    await house.open_feeds()
    return house


# --- links ------------------------------------------------------------------------------------------------------------


async def test_followers_read_what_was_saved_and_by_whom(house: House) -> None:
    event = house.added(title="Title", description="About", tags=("x", "y"), status=LinkStatus.VALID)
    await house.hear(event)
    expected = NewsEvent(
        id=(await house.news())[0].id,
        event_type=NewsEventType.LINK_ADDED,
        username="alice",
        url=event.url,
        timestamp=event.timestamp,
        title="Title",
        description="About",
        tags=("x", "y"),
        status=LinkStatus.VALID,
        version=1,
    )
    for reader in (BOB, CAROL):
        assert await house.news(reader) == [expected]
    assert await house.news(ALICE) == []


async def test_an_update_replaces_and_brings_up(house: House) -> None:
    await house.hear(house.added(7), house.added(8), house.updated(7, title="new"))
    first, second = await house.news()
    assert (first.event_type, first.title, first.version) == (NewsEventType.LINK_UPDATED, "new", 2)
    assert second.url == "https://8.example/"


async def test_what_is_deleted_is_gone_for_everybody(house: House) -> None:
    await house.hear(house.added(7), house.added(8), house.deleted(7, 2))
    assert await house.urls(BOB) == await house.urls(CAROL) == ["8"]
    assert house.followers.asked == 2, "nobody has to be told of an end"


async def test_who_sees_what(house: House) -> None:
    await house.hear(
        house.added(1, visibility=Visibility.PUBLIC),
        house.added(2, visibility=Visibility.FOLLOWERS),
        house.added(3, visibility=Visibility.PRIVATE),
    )
    assert await house.urls() == ["2", "1"]
    await house.hear(house.updated(1, visibility=Visibility.PRIVATE), house.updated(3, visibility=Visibility.FOLLOWERS))
    assert await house.urls() == ["3", "2"]


async def test_what_is_one_of_many_is_no_news(house: House) -> None:
    await house.hear(house.added(1, bulk=True), house.updated(1, bulk=True))
    verdict = LinkCheckedEvent(
        id=9,
        user_id=1,
        username="alice",
        url="https://1.example/",
        status=LinkStatus.VALID,
        checked_at=house.clock.now(),
    )
    await house.hear(verdict)
    assert await house.urls() == []
    assert house.followers.asked == 0


async def test_an_import_is_one_entry(house: House) -> None:
    event = house.link_event(LinkEventType.IMPORTED, 0, 0, url="", count=12)
    await house.hear(event, event)
    (entry,) = await house.news()
    assert (entry.event_type, entry.count, entry.url) == (NewsEventType.LINKS_IMPORTED, 12, "")


async def test_an_import_of_which_nobody_sees_anything_is_none(house: House) -> None:
    await house.hear(
        house.link_event(LinkEventType.IMPORTED, 0, 0, url="", count=0),
        house.link_event(LinkEventType.IMPORTED, 0, 0, url="", count=3, visibility=Visibility.PRIVATE),
    )
    assert await house.news() == []


async def test_any_order_and_any_repeat_ends_alike(house: House) -> None:
    saved, changed, ended, again = house.added(), house.updated(), house.deleted(), house.added(version=4)
    for order in permutations((saved, changed, ended, again)):
        another = House()
        another.clock.time = house.clock.time
        await another.hear(*order, *reversed(order))
        assert [event.version for event in await another.news()] == [4]
    for order in permutations((saved, changed, ended)):
        another = House()
        another.clock.time = house.clock.time
        await another.hear(*order, *order)
        assert await another.news() == []


async def test_a_run_is_told_once_and_in_its_last_state(house: House) -> None:
    run = [
        house.added(1),
        house.added(2),
        house.updated(1),
        house.added(3),
        house.deleted(2, 2),
        replace(house.added(9), user_id=CAROL.user_id, username="carol"),
    ]
    house.followers.of[CAROL.user_id] = [BOB.user_id]
    await house.writer.handle(run)
    assert await house.urls() == ["9", "3", "1"]
    assert house.followers.asked == 2, "once for each author"
    await house.writer.handle(run)
    assert await house.urls() == ["9", "3", "1"]


async def test_a_run_that_has_an_event_twice(house: House) -> None:
    added, updated = house.added(1), house.updated(1)
    await house.writer.handle([added, added, house.added(2), updated, added, updated])
    assert await house.urls() == ["2", "1"]


async def test_a_run_of_many_authors_one_of_whom_cannot_be_told(house: House) -> None:
    authors = range(1_000, 1_000 + 3 * AUTHORS_AT_ONCE)
    run = [replace(house.added(author), user_id=author, username=f"u{author}") for author in authors]
    house.followers.of |= {author: [BOB.user_id] for author in authors}
    house.followers.fault = away()
    with pytest.raises(Unavailable):
        await house.writer.handle(run)
    house.followers.fault = None
    await house.writer.handle(run)
    assert await house.urls() == [str(author) for author in reversed(authors)]


async def test_more_followers_than_one_page(house: House) -> None:
    house.followers.page = 3
    readers = [Actor(number, f"u{number}") for number in range(10, 20)]
    house.followers.of[ALICE.user_id] = [reader.user_id for reader in readers]
    await house.hear(house.added())
    assert house.followers.asked == 4
    for reader in readers:
        assert len(await house.news(reader)) == 1


async def test_what_fails_in_the_middle_is_done_by_the_repeat(house: House) -> None:
    event = house.added()
    house.followers.fault = away()
    with pytest.raises(Unavailable):
        await house.hear(event)
    assert await house.news() == []
    house.followers.fault = None
    await house.hear(event)
    assert await house.urls() == ["7"]


async def test_what_is_old_is_no_news(house: House) -> None:
    old, recent = house.added(1), house.added(2)
    house.clock.time = recent.timestamp + timedelta(days=30)
    await house.hear(old, recent)
    assert await house.urls() == ["2"]


@pytest.mark.parametrize("became", ["as it was", "changed", "deleted"])
async def test_what_may_have_ended_before_the_store_was_lost_is_asked_for(became: str) -> None:
    house = House()
    event, other = house.added(1), house.added(2)
    current = house.link(1, created_at=event.timestamp, updated_at=event.timestamp, version=1)
    if became == "changed":
        current = house.link(1, created_at=event.timestamp, version=2)
    house.links.links = [house.link(3), *([] if became == "deleted" else [current])]
    await house.store.change_entries([], house.clock.time)
    await house.hear(event)
    expected = {"as it was": ["1"], "changed": ["1"], "deleted": []}[became]
    assert await house.urls() == expected, "link 3 was not told of"
    assert [news.version for news in await house.news()] == [current.version for _ in expected]
    house.links.fault = away("link-manager")
    with pytest.raises(Unavailable):
        await house.hear(other)
    await house.hear(house.deleted(1, version=3))
    house.links.fault = None
    await house.hear(event)
    assert await house.urls() == [], "its end is remembered by now"


async def test_what_is_long_is_cut(house: House) -> None:
    tags = tuple(f"{number:03}" + "x" * 247 for number in range(100))
    await house.hear(house.added(1, description="d" * 65_536, tags=tags), house.added(2, description="e" * 1_000))
    short, long = await house.news()
    assert len(short.description) == MAX_DESCRIPTION_SHOWN == len(long.description)
    assert long.description.endswith("d…")
    assert short.description.endswith("e")
    assert long.tags == tags[: MAX_TAGS_SHOWN // 250]


# --- follows ----------------------------------------------------------------------------------------------------------


async def test_a_follow_brings_recent_links_as_the_follower_sees_them(house: House) -> None:
    house.links.links = [house.link(number) for number in range(1, 31)][::-1]
    await house.hear(house.follow_event(True))
    assert await house.urls() == [str(number) for number in range(30, 30 - BACKFILLED_LINKS, -1)]
    assert house.links.requests == [([ALICE.user_id], BACKFILLED_LINKS)]
    assert (await house.news())[0].event_type is NewsEventType.LINK_ADDED
    assert await house.urls(CAROL) == []


async def test_a_follow_takes_over_the_entries_that_there_are(house: House) -> None:
    house.followers.of[ALICE.user_id] = [CAROL.user_id]
    await house.hear(house.added(1), house.added(2), house.updated(1))
    house.links.links = [house.link(2), house.link(1, version=2)]
    event = house.follow_event(True)
    await house.hear(event, event)
    assert await house.news(BOB) == await house.news(CAROL)
    house.followers.of[ALICE.user_id].append(BOB.user_id)
    await house.hear(house.updated(2))
    assert await house.urls(BOB) == await house.urls(CAROL) == ["2", "1"]


async def test_an_event_that_comes_after_the_follow_that_showed_its_link(house: House) -> None:
    event = house.added(1)
    house.links.links = [house.link(1, created_at=event.timestamp)]
    await house.hear(house.follow_event(True), event)
    assert await house.urls() == ["1"]


@pytest.mark.parametrize("ended", [NotFound("no such user"), Relationship.NONE, Relationship.REQUESTED])
async def test_a_follow_that_has_ended_meanwhile(house: House, ended: DelinkciousError | Relationship) -> None:
    """The store may have lost that it has heard so."""
    house.links.links = [house.link(1)]
    house.followers.ended = ended
    await house.hear(house.follow_event(True))
    assert await house.news() == []


async def test_nothing_is_looked_for_for_who_does_not_read() -> None:
    house = House()
    house.links.links = [house.link(1)]
    await house.writer.handle([house.follow_event(True)])
    assert house.links.requests == []
    assert not await house.store.has_feed(BOB.user_id)


async def test_a_follow_while_links_are_away(house: House) -> None:
    house.links.links = [house.link(1)]
    house.links.fault = away("link-manager")
    event = house.follow_event(True)
    with pytest.raises(Unavailable):
        await house.hear(event)
    house.links.fault = None
    await house.hear(event)
    assert await house.urls() == ["1"]


async def test_an_unfollow_takes_out(house: House) -> None:
    await house.hear(house.added(1), replace(house.added(2), user_id=9))
    house.followers.of[9] = [BOB.user_id]
    await house.hear(replace(house.added(3), user_id=9))
    await house.hear(house.follow_event(False))
    assert await house.urls(BOB) == ["3"]
    assert await house.urls(CAROL) == ["1"]


async def test_a_late_follow_or_unfollow_is_ignored(house: House) -> None:
    house.links.links = [house.link(1)]
    followed, left, followed_again = (house.follow_event(following) for following in (True, False, True))
    await house.hear(left, followed)
    assert await house.urls() == []
    await house.hear(followed_again, left, followed)
    assert await house.urls() == ["1"]


async def test_who_left_while_followers_were_told_gets_nothing(house: House) -> None:
    """The list of followers was read before, and the entry is pushed after."""
    await house.hear(house.follow_event(False), house.added(1))
    assert await house.urls(BOB) == []
    assert await house.urls(CAROL) == ["1"]


# --- reading ----------------------------------------------------------------------------------------------------------


async def page(house: House, **request: Any) -> NewsPage:
    return await house.manager.get_news(BOB, GetNewsRequest.model_validate({"username": "bob"} | request))


@pytest.mark.parametrize("limit", [1, 3, 5, 9, 10])
async def test_pages_whole_and_without_an_empty_last_one(house: House, limit: int) -> None:
    await house.hear(*(house.added(number) for number in range(10, 20)))
    read, token = [], ""
    for _ in range(-(-10 // limit)):
        found = await page(house, limit=limit, start_token=token)
        assert 0 < len(found.events) <= limit
        read += found.events
        token = found.next_page_token
    assert token == ""
    assert [event.url for event in read] == [f"https://{number}.example/" for number in range(19, 9, -1)]


def numbers_of(found: NewsPage) -> list[int]:
    return [int(event.url.removeprefix("https://").removesuffix(".example/")) for event in found.events]


@pytest.mark.parametrize("limit", [1, 3, 9, 10])
async def test_the_way_back_shows_what_came_meanwhile_and_ends_where_nothing_is(house: House, limit: int) -> None:
    await house.hear(*(house.added(number) for number in range(10, 20)))
    found = await page(house, limit=limit)
    assert found.prev_page_token == ""
    down = [numbers_of(found)]
    while found.next_page_token:
        found = await page(house, limit=limit, start_token=found.next_page_token)
        down.append(numbers_of(found))
        assert found.prev_page_token
    await house.hear(house.added(20), house.added(21), house.deleted(12))
    up = [down[-1]]
    back = found.prev_page_token
    while back:
        found = await page(house, limit=limit, start_token=back)
        assert found.events
        # Beside it, on the older side, is what was read before.
        if set(up[-1]) - {12}:
            assert found.next_page_token
        up.append(numbers_of(found))
        back = found.prev_page_token
    read = [number for some in reversed(up) for number in some]
    if limit < 10:
        assert [number for number in read if number != 12] == [21, 20, *(n for n in range(19, 9, -1) if n != 12)]
    assert all(len(some) <= limit for some in up)


async def test_no_way_on_leads_to_an_empty_page(house: House) -> None:
    await house.hear(*(house.added(number) for number in range(10, 16)))
    second = await page(house, limit=2, start_token=(await page(house, limit=2)).next_page_token)
    assert numbers_of(second) == [13, 12]
    await house.hear(*(house.deleted(number) for number in (15, 14)))
    again = await page(house, limit=2, start_token=(await page(house, limit=1)).next_page_token)
    assert numbers_of(again) == [12, 11]
    await house.hear(house.deleted(13))
    assert (await page(house, limit=2, start_token=second.next_page_token)).prev_page_token
    await house.hear(house.deleted(12))
    last = await page(house, limit=2, start_token=second.next_page_token)
    assert numbers_of(last) == [11, 10]
    assert last.prev_page_token == ""
    # A token that was given before what it leads to went away: an empty page, and the ways to what is left.
    gone = await page(house, limit=2, start_token=second.prev_page_token)
    assert (gone.events, gone.prev_page_token) == ([], "")
    assert numbers_of(await page(house, start_token=gone.next_page_token)) == [11, 10]
    await house.hear(house.deleted(11), house.deleted(10), house.added(30))
    gone = await page(house, limit=2, start_token=second.next_page_token)
    assert (gone.events, gone.next_page_token) == ([], "")
    assert numbers_of(await page(house, start_token=gone.prev_page_token)) == [30]


async def test_what_is_newer_than_an_entry(house: House) -> None:
    await house.hear(*(house.added(number) for number in range(10, 15)))
    found = await page(house)
    by_number = dict(zip(numbers_of(found), [event.id for event in found.events], strict=True))
    assert numbers_of(await page(house, since=by_number[12])) == [14, 13]
    assert numbers_of(await page(house, since=by_number[12] - 1)) == [14, 13, 12]
    assert numbers_of(await page(house, since=by_number[14])) == []
    assert numbers_of(await page(house, since=0)) == [14, 13, 12, 11, 10]
    first = await page(house, since=by_number[11], limit=2)
    assert (numbers_of(first), first.prev_page_token) == ([14, 13], "")
    second = await page(house, since=by_number[11], limit=2, start_token=first.next_page_token)
    assert (numbers_of(second), second.next_page_token) == ([12], "")
    back = await page(house, since=by_number[11], limit=1, start_token=second.prev_page_token)
    assert numbers_of(back) == [13]
    assert back.next_page_token
    with pytest.raises(InvalidArgument) as refused:
        await page(house, since=by_number[12], start_token=first.next_page_token)
    assert refused.value.code == "invalid_start_token"
    with pytest.raises(InvalidArgument) as refused:
        await page(house, since=-1)
    assert refused.value.code == "invalid_since"


async def test_a_page_token_is_its_readers(house: House) -> None:
    await house.hear(*(house.added(number) for number in range(10, 20)))
    token = (await page(house, limit=2)).next_page_token
    with pytest.raises(InvalidArgument) as refused:
        await house.manager.get_news(CAROL, GetNewsRequest(username="carol", start_token=token))
    assert refused.value.code == "invalid_start_token"


@pytest.mark.parametrize("limit", [0, 201, -1])
async def test_limits(house: House, limit: int) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await page(house, limit=limit)
    assert refused.value.code == "invalid_limit"


@pytest.mark.parametrize("actor", [None, CAROL])
async def test_news_are_the_readers_own(house: House, actor: Actor | None) -> None:
    with pytest.raises(PermissionDenied) as refused:
        await house.manager.get_news(actor, GetNewsRequest(username="bob"))
    assert refused.value.code == "not_yours"
