"""What authors with many followers do is noted once, and taken by whoever reads."""

import asyncio
from random import Random

import pytest

from pkg.news_manager.store import FollowOrder, NewsStore, Share, Stretch, Timeline
from tests.contract.news_store.conftest import MakeStore
from tests.contract.news_store.entries import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    LONG_BEFORE,
    NOW,
    end,
    entry,
    give,
    numbers,
    open_feed,
    publish,
)

FIRST, THEN = FollowOrder(NOW, 1), FollowOrder(NOW, 2)


async def note(store: NewsStore, *found: int, author_id: int = ALICE) -> None:
    entries = [entry(number, author_id=author_id) for number in found]
    await store.change_entries(entries, LONG_BEFORE)
    assert await store.note_in_timeline(author_id, [one.id for one in entries])


async def open_timeline(store: NewsStore, *readers: int, author_id: int = ALICE) -> None:
    await store.open_timeline(author_id)
    await store.join_timeline(author_id, readers)
    await store.keep_untold(author_id, None)


async def test_taken_by_those_who_joined(store: NewsStore) -> None:
    await publish(store, entry(2), entry(4, author_id=DAVE), to=(BOB, CAROL))
    await open_timeline(store, BOB)
    await note(store, 3, 5)
    await note(store, 1)
    for _ in range(2):
        assert await numbers(store, BOB) == [5, 4, 3, 2, 1]
    assert await numbers(store, CAROL) == [4, 2]
    await store.join_timeline(ALICE, [BOB, CAROL])
    await note(store, 3, 6)
    assert await numbers(store, BOB) == [6, 5, 4, 3, 2, 1]
    assert await numbers(store, CAROL) == [6, 5, 4, 3, 2, 1]


async def test_pages_go_across(store: NewsStore) -> None:
    await open_timeline(store, BOB)
    for number in range(1, 31):
        if number % 3:
            await publish(store, entry(number, author_id=DAVE))
        else:
            await note(store, number)
    read: list[int] = []
    below: int | None = None
    while page := await store.read_feed(BOB, Stretch(below=below), 7):
        read += [one.link_id for one in page]
        below = page[-1].id
    assert read == [*range(30, 0, -1)]
    await note(store, 33)
    newer = await store.read_feed(BOB, Stretch(above=entry(28, author_id=DAVE).id, oldest=True), 2)
    assert [one.link_id for one in newer] == [30, 29]
    assert await numbers(store, limit=2) == [33, 30]


async def test_who_ends_and_who_is_left(store: NewsStore) -> None:
    await open_timeline(store, BOB, CAROL)
    await note(store, 1, 2, 3)
    assert await numbers(store) == [3, 2, 1]
    await note(store, 4)
    await end(store, ALICE, 4, 2)
    await end(store, ALICE, 2, 2)
    assert await numbers(store) == [3, 1]
    assert await store.set_following(BOB, ALICE, FIRST, False)
    await note(store, 5)
    await store.drop_author(BOB, ALICE, FIRST)
    assert await numbers(store) == []
    # A walk that met them before they left.
    await store.join_timeline(ALICE, [BOB])
    assert await numbers(store) == []
    assert await numbers(store, CAROL) == [5, 3, 1]
    assert await store.set_following(BOB, ALICE, THEN, True)
    await give(store, BOB, ALICE, THEN, [], timeline=True)
    assert await numbers(store) == [5, 3, 1]
    await give(store, DAVE, ALICE, FIRST, [], timeline=True)
    assert await numbers(store, DAVE) == [], "nothing is known of such a follow"


async def test_the_state_of_a_timeline(store: NewsStore) -> None:
    assert await store.find_timelines([ALICE, CAROL]) == {}
    assert not await store.note_in_timeline(ALICE, [entry(1).id])
    for place in ("", "further", None):
        await store.open_timeline(ALICE)
        await store.keep_untold(ALICE, place)
        assert await store.find_timelines([ALICE, CAROL]) == {ALICE: Timeline(place)}
    await note(store, 1)
    assert await store.find_timelines([ALICE]) == {ALICE: Timeline(None)}
    assert await store.find_timelines([]) == {}
    await store.close_timeline(ALICE)
    await store.keep_untold(ALICE, "further")
    assert await store.find_timelines([ALICE]) == {}
    assert not await store.note_in_timeline(ALICE, [entry(2).id])
    await store.open_timeline(ALICE)
    assert await store.find_timelines([ALICE]) == {ALICE: Timeline("")}


async def test_what_was_noted_before_the_end_is_taken_after_it(store: NewsStore) -> None:
    await open_timeline(store, BOB)
    await note(store, 1)
    assert await numbers(store) == [1]
    await note(store, 2)
    await store.close_timeline(ALICE)
    await publish(store, entry(3))
    for _ in range(2):
        assert await numbers(store) == [3, 2, 1]
    await store.open_timeline(ALICE)
    await note(store, 4, 5)
    assert await numbers(store) == [5, 4, 3, 2, 1]
    await store.close_timeline(ALICE)
    await store.open_timeline(ALICE)
    await note(store, 6)
    assert await numbers(store) == [6, 5, 4, 3, 2, 1]


async def test_a_reader_who_was_long_away_gets_what_a_feed_holds(make_store: MakeStore) -> None:
    store = make_store(max_length=20)
    await open_feed(store, BOB)
    await open_timeline(store, BOB)
    await note(store, 1)
    assert await numbers(store) == [1]
    for number in range(2, 60):
        await note(store, number)
    assert await numbers(store) == [*range(59, 39, -1)]


async def test_many_timelines(make_store: MakeStore) -> None:
    store = make_store()
    await open_feed(store, BOB)
    authors = range(1, 101)
    for author_id in authors:
        await open_timeline(store, BOB, author_id=author_id)
        await note(store, author_id, author_id=author_id)
    assert (await store.find_timelines(authors)).keys() == {*authors}
    assert await numbers(store) == [*reversed(authors)]
    for number in range(101, 210):
        await note(store, number, author_id=number % 100 or 100)
    assert await numbers(store) == [*range(209, 0, -1)]
    await note(store, 999, author_id=17)
    assert await numbers(store, limit=2) == [999, 209]


async def test_a_feed_that_is_built_takes_from_them(make_store: MakeStore) -> None:
    store = make_store()
    await open_timeline(store, BOB)
    await note(store, 1)
    assert not await store.has_feed(BOB), "nobody joins who does not read"
    await store.begin_feed(BOB, "one")
    await store.fill_feed(BOB, "one", [Share(ALICE, [], timeline=True)])
    await store.finish_feed(BOB, "one")
    await note(store, 2)
    assert await numbers(store) == [2, 1]


async def test_progress_is_of_all_or_of_none(store: NewsStore) -> None:
    ids = [entry(number).id for number in (1, 2, 3)]
    assert await store.find_progress(ALICE, ids) == ""
    await store.keep_progress(ALICE, ids[:2], "further")
    assert await store.find_progress(ALICE, ids[:2]) == await store.find_progress(ALICE, ids[1:2]) == "further"
    assert await store.find_progress(ALICE, ids) == ""
    await store.keep_progress(ALICE, ids[1:], "furthest")
    assert await store.find_progress(ALICE, ids[:2]) == ""
    await store.keep_progress(ALICE, ids, "")
    assert await store.find_progress(ALICE, ids[:1]) == ""


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_nothing_is_passed_over(store: NewsStore, seed: int) -> None:
    await open_timeline(store, BOB, CAROL)
    changes = [note(store, number) for number in range(1, 41)]
    changes += [publish(store, entry(number, author_id=DAVE), to=(BOB, CAROL)) for number in range(41, 61)]
    looks = [numbers(store, reader) for reader in (BOB, CAROL) * 20]
    both = [*changes, *looks]
    Random(seed).shuffle(both)
    await asyncio.gather(*both)
    for reader in (BOB, CAROL):
        assert await numbers(store, reader) == [*range(60, 0, -1)]
