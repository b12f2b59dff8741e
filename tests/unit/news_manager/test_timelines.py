"""Authors on either side of the threshold, and walks through followers that are interrupted."""

import pytest

from pkg.news_manager.feed_writer import FeedWriter
from pkg.news_manager.store import Stretch, Timeline
from pkg.object_model.errors import Unavailable
from pkg.object_model.types import Actor, IdPage
from tests.fakes import away
from tests.unit.news_manager.test_feed_writer import ALICE, BOB, CAROL, Followers, House

THRESHOLD = 5
_WHOLE = Stretch()


class FailingFollowers(Followers):
    """Pages of two. ``fails_at`` is the number of the page that cannot be had, counted from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.page = 2
        self.fails_at: int | None = None
        self.asked_for: list[str] = []

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        self.asked_for.append(start_token)
        if self.fails_at is not None and int(start_token or 0) == self.fails_at * self.page:
            raise away()
        return await super().get_follower_ids(user_id, start_token, limit)


class Town(House):
    def __init__(self, threshold: int = THRESHOLD) -> None:
        super().__init__()
        self.followers: FailingFollowers = FailingFollowers()
        self.writer = FeedWriter(self.store, self.followers, self.links, self.clock, push_threshold=threshold)

    def set_followers(self, count: int) -> None:
        self.followers.of[ALICE.user_id] = [BOB.user_id, CAROL.user_id, *range(100, 98 + count)][:count]

    async def all_urls(self) -> dict[int, list[str]]:
        return {
            reader_id: [
                entry.event.url.removeprefix("https://").removesuffix(".example/")
                for entry in await self.store.read_feed(reader_id, _WHOLE, 200)
            ]
            for reader_id in self.followers.of[ALICE.user_id]
        }


async def test_above_the_threshold_nobody_is_pushed_to() -> None:
    town = Town()
    town.set_followers(THRESHOLD + 1)
    await town.hear(town.added(1))
    assert await town.store.find_timelines([ALICE.user_id]) == {ALICE.user_id: Timeline(None)}
    town.followers.asked_for.clear()
    await town.hear(town.added(2), town.updated(1), town.added(3))
    assert town.followers.asked_for == [], "a save costs the same however many there are"
    assert {*map(tuple, (await town.all_urls()).values())} == {("3", "1", "2")}
    await town.hear(town.deleted(2))
    assert {*map(tuple, (await town.all_urls()).values())} == {("3", "1")}


async def test_growing_past_it_and_shrinking_below_it_loses_and_doubles_nothing() -> None:
    town = Town()
    expected: list[str] = []
    number = 0
    for followers in (THRESHOLD, THRESHOLD + 1, THRESHOLD, THRESHOLD + 3, THRESHOLD - 1, 2, THRESHOLD + 1, 1, 9):
        town.set_followers(followers)
        for _ in range(2):
            number += 1
            event = town.added(number)
            await town.hear(event, event)
            expected.insert(0, str(number))
        assert await town.urls(BOB) == expected
    has_timeline = ALICE.user_id in await town.store.find_timelines([ALICE.user_id])
    assert has_timeline


async def test_who_is_near_the_threshold_does_not_go_to_and_fro() -> None:
    town = Town(threshold=10)
    states: list[bool] = []
    for followers in (10, 11, 10, 9, 8, 9, 10, 11):
        town.set_followers(followers)
        await town.hear(town.added(len(states) + 1))
        states.append(bool(await town.store.find_timelines([ALICE.user_id])))
    assert states == [False, True, True, True, False, False, False, True]


async def test_who_follows_an_author_with_a_timeline() -> None:
    town = Town()
    town.set_followers(THRESHOLD + 1)
    await town.hear(town.added(1))
    newcomer = 777
    town.followers.of[ALICE.user_id].append(newcomer)
    town.links.links = [town.link(1), town.link(9)]
    follower = Actor(newcomer, "new")
    await town.hear(town.follow_event(True, follower), town.added(2))
    assert (await town.all_urls())[newcomer][0] == "2"
    await town.hear(town.follow_event(False, follower), town.added(3))
    town.followers.of[ALICE.user_id].remove(newcomer)
    assert list(await town.store.read_feed(newcomer, _WHOLE, 10)) == []


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("fails_at", [1, 2, 3])
async def test_what_is_interrupted_goes_on_where_it_was(fails_at: int, many: bool) -> None:
    """Whether entries are pushed, or followers are told of a timeline."""
    town = Town(threshold=7 if many else 100)
    town.set_followers(8)
    run = [town.added(1), town.added(2)]
    await town.open_feeds()
    town.followers.fails_at = fails_at
    with pytest.raises(Unavailable):
        await town.writer.handle(run)
    # A run that failed is tried again one by one.
    town.followers.fails_at = None
    for event in run:
        town.followers.asked_for.clear()
        await town.writer.handle([event])
        if many:
            # The first ends what was begun, and there is nothing left to do for the second.
            rest = [str(2 * page) for page in range(fails_at, 4)] if event is run[0] else []
        else:
            # The first page is how one learns that there are more.
            rest = ["", *(str(2 * page) for page in range(fails_at, 4))]
        assert town.followers.asked_for == rest
    assert {*map(tuple, (await town.all_urls()).values())} == {("2", "1")}


async def test_another_save_ends_what_a_crash_left_undone() -> None:
    town = Town()
    town.set_followers(8)
    await town.open_feeds()
    town.followers.fails_at = 2
    with pytest.raises(Unavailable):
        await town.writer.handle([town.added(1)])
    town.followers.fails_at = None
    await town.writer.handle([town.added(2)])
    assert {*map(tuple, (await town.all_urls()).values())} == {("2", "1")}
