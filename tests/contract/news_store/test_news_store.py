"""What the news manager needs of a store, asked of each."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from random import Random

import pytest

from pkg.news_manager.entry_ids import GROUPS
from pkg.news_manager.store import DOUBT, Change, Entry, FollowOrder, LinkEnd, NewsStore, Stretch
from pkg.object_model.wire import news_event_to_wire
from pkg.runtime.json import encode
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
    save,
    titles,
)

SECOND = timedelta(seconds=1)


def at(seconds: int, event_id: int = 1) -> FollowOrder:
    return FollowOrder(NOW + seconds * SECOND, event_id)


async def read_all(store: NewsStore, reader_id: int, limit: int) -> list[Entry]:
    """Every page, as a reader turns them."""
    read: list[Entry] = []
    while page := await store.read_feed(reader_id, Stretch(below=read[-1].id if read else None), limit):
        assert len(page) <= limit
        read += page
    return read


# --- entries and feeds ------------------------------------------------------------------------------------------------


async def test_what_is_read_is_what_was_saved(store: NewsStore) -> None:
    one = entry(1)
    await publish(store, one)
    assert list(await store.read_feed(BOB, Stretch(), 10)) == [one]
    assert list(await store.read_feed(CAROL, Stretch(), 10)) == []


async def test_a_url_saved_anew_is_shown_once_before_the_end_of_the_first_is_told(store: NewsStore) -> None:
    """Found among its author's links it may be known earlier than what is still on its way."""
    first, other = entry(1), entry(2)
    again = replace(entry(3), event=replace(entry(3).event, url=first.event.url, version=3))
    imports = [replace(entry(number), event=replace(entry(number).event, url="", count=2)) for number in (4, 5)]
    for one in (first, other, again, *imports):
        await publish(store, one)
    everything = [*reversed(imports), again, other]
    assert list(await store.read_feed(BOB, Stretch(), 10)) == everything
    assert [one.id for one in await store.read_feed_json(BOB, Stretch(), 10)] == [one.id for one in everything]
    assert list(await store.read_feed(BOB, Stretch(), 3)) == everything[:3]
    await end(store, first.author_id, first.link_id, 2)
    assert list(await store.read_feed(BOB, Stretch(), 10)) == everything


async def test_what_is_passed_on_is_the_public_form_and_no_more(store: NewsStore) -> None:
    some = [entry(number, author_id=author) for number, author in ((1, ALICE), (2, DAVE), (3, ALICE))]
    await publish(store, *some)
    for after, limit, expected in ((None, 10, some), (None, 2, some[1:]), (some[1].id, 10, some[:1])):
        read = await store.read_feed_json(BOB, Stretch(below=after), limit)
        assert [one.id for one in read] == [one.id for one in reversed(expected)]
        assert [one.content for one in read] == [encode(news_event_to_wire(one.event)) for one in reversed(expected)]
    await end(store, ALICE, 3, 2)
    assert [one.id for one in await store.read_feed_json(BOB, Stretch(), 10)] == [some[1].id, some[0].id]
    assert list(await store.read_feed_json(CAROL, Stretch(), 10)) == []


async def test_newest_first_in_pages_whatever_the_order_of_coming(store: NewsStore) -> None:
    for number in (3, 1, 5, 4, 2, 6):
        await publish(store, entry(number))
    for limit in (1, 2, 3, 6, 100):
        assert [one.link_id for one in await read_all(store, BOB, limit)] == [6, 5, 4, 3, 2, 1]


async def test_ids_are_told_apart_to_the_last_bit(store: NewsStore) -> None:
    """They have more bits than a floating-point number."""
    newest = entry(1).id
    same_moment = [
        replace(entry(link_id), event=replace(entry(link_id).event, id=newest + link_id * GROUPS))
        for link_id in range(1, 9)
    ]
    for one in (same_moment[place] for place in (3, 1, 7, 0, 2, 6, 4, 5)):
        await publish(store, one)
    assert [one.link_id for one in await read_all(store, BOB, 3)] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert await end(store, ALICE, 5, 2) == newest + 5 * GROUPS
    await store.read_feed(BOB, Stretch(), 10)
    assert [one.link_id for one in await store.read_feed(BOB, Stretch(below=newest + 5 * GROUPS), 10)] == [4, 3, 2, 1]


async def test_many_feeds_at_once(store: NewsStore) -> None:
    readers = tuple(range(1, 1_601))
    await publish(store, entry(1), entry(2), to=readers)
    for reader in (1, 2, 500, 501, 1_600):
        assert await numbers(store, reader) == [2, 1]


async def test_several_entries_in_one_push(store: NewsStore) -> None:
    await publish(store, entry(3))
    some = [entry(number) for number in (4, 2, 5)]
    for one in some:
        await save(store, one)
    await store.push(ALICE, [one.id for one in some], [], [BOB, CAROL])
    assert await numbers(store) == [5, 4, 3, 2]
    assert await numbers(store, CAROL) == [5, 4, 2]


@pytest.mark.parametrize("number", [2, 5, 9])
async def test_pushing_again_changes_nothing(store: NewsStore, number: int) -> None:
    for each in range(1, 10):
        await publish(store, entry(each))
    before = await numbers(store)
    assert await save(store, entry(number)) == Change(True, None)
    await store.push(ALICE, [entry(number).id], [], [BOB])
    assert await numbers(store) == before


async def test_a_feed_holds_the_newest(make_store: MakeStore) -> None:
    store = make_store(max_length=5)
    for number in (1, 2, 3, 4, 5, 6, 8):
        await publish(store, entry(number))
    assert await numbers(store) == [8, 6, 5, 4, 3]
    await publish(store, entry(7), entry(0))
    assert await numbers(store) == [8, 7, 6, 5, 4]


@pytest.mark.parametrize("seed", range(4))
async def test_entries_of_any_age_and_any_number_at_once_find_their_place(make_store: MakeStore, seed: int) -> None:
    random, cap = Random(seed), 200
    store = make_store(max_length=cap)
    await open_feed(store, BOB)
    entries = [entry(number) for number in range(1_300)]
    await store.change_entries(entries, LONG_BEFORE)
    told: set[int] = set()
    for size in (1, 150, 1, 40, 600, 3, 1, 700):
        some = random.sample(range(len(entries)), size)
        told |= set(some)
        for _ in range(2):
            await store.push(ALICE, [entries[number].id for number in some], [], [BOB])
        assert await numbers(store) == sorted(told, reverse=True)[:cap]


async def test_feeds_and_entries_end(make_store: MakeStore) -> None:
    lifetime = timedelta(seconds=0.8)
    store = make_store(lifetime=lifetime)
    await publish(store, entry(1))
    await store.push(CAROL, [entry(1).id], [], [DAVE])
    assert await numbers(store) == [1]
    deadline = time.monotonic() + 10
    while await numbers(store):
        assert time.monotonic() < deadline, "it does not end"
        await asyncio.sleep(0.02)
    assert await numbers(store, DAVE) == []
    # Nothing remains that would keep it from coming again.
    await publish(store, entry(1))
    assert await numbers(store) == [1]


async def test_what_is_about_many_links(store: NewsStore) -> None:
    one = entry(1, link_id=0)
    for _ in range(2):
        await save(store, one)
        await store.push(ALICE, [one.id], [], [BOB])
    assert list(await store.read_feed(BOB, Stretch(), 10)) == [one]


# --- one entry a link -------------------------------------------------------------------------------------------------


async def test_a_newer_version_takes_the_place(store: NewsStore) -> None:
    old, new = entry(1, link_id=7), entry(3, link_id=7, version=2)
    await publish(store, old, entry(2, link_id=8), to=(BOB, CAROL))
    assert await save(store, new) == Change(True, old.id)
    # For every reader from this moment on, told or not.
    assert await numbers(store) == [2]
    await store.push(ALICE, [new.id], [old.id], [BOB])
    assert await numbers(store) == [3, 2]
    assert await numbers(store, CAROL) == [2]


async def test_older_and_equal_versions_change_nothing(store: NewsStore) -> None:
    await publish(store, entry(3, link_id=7, version=2, title="second"))
    assert await save(store, entry(1, link_id=7, version=1)) == Change(False, None)
    assert await save(store, entry(4, link_id=7, version=2, title="another")) == Change(False, None)
    assert await save(store, entry(3, link_id=7, version=2)) == Change(True, None)
    assert await titles(store) == ["second"]


async def test_a_link_of_another_author_is_another_link(store: NewsStore) -> None:
    await publish(store, entry(1, link_id=7), entry(2, author_id=CAROL, link_id=7))
    assert await numbers(store) == [2, 1]
    assert await end(store, CAROL, 7, 2) == entry(2, author_id=CAROL).id
    assert await numbers(store) == [1]


async def test_an_end_is_an_end_for_all_readers_and_for_older_versions(store: NewsStore) -> None:
    one = entry(1, link_id=7, version=3)
    await publish(store, one, entry(2), to=(BOB, CAROL))
    assert await end(store, ALICE, 7, 2) is None
    assert await numbers(store) == [2, 1]
    assert await end(store, ALICE, 7, 4) == one.id
    assert await end(store, ALICE, 7, 4) is None
    for reader in (BOB, CAROL):
        assert await numbers(store, reader) == [2]
    for version in (3, 4):
        assert await save(store, entry(1, link_id=7, version=version)) == Change(False, None)
    assert await numbers(store) == [2]
    await publish(store, entry(5, link_id=7, version=5))
    assert await numbers(store) == [5, 2]


async def test_many_changes_at_once_have_the_outcomes_of_one_after_the_other(store: NewsStore) -> None:
    authors = (ALICE, BOB, CAROL, DAVE)
    first = [entry(number, author_id=author, link_id=1) for number in range(1, 61) for author in authors]
    changes: list[Entry | LinkEnd] = [
        replace(one, event=replace(one.event, version=number)) for number, one in enumerate(first, 1)
    ]
    changes += [
        LinkEnd(author_id=CAROL, link_id=1, version=1_000),
        entry(99, link_id=0),
        LinkEnd(author_id=CAROL, link_id=1, version=7),
    ]
    outcomes = await store.change_entries(changes, LONG_BEFORE)
    assert outcomes[:4] == [Change(True, None)] * 4
    assert outcomes[4:-3] == [Change(True, one.id) for one in first[:-4]]
    assert outcomes[-3:] == [Change(True, first[-2].id), Change(True, None), Change(False, None)]
    assert await store.change_entries([], LONG_BEFORE) == []
    await store.push(ALICE, [one.id for one in first], [], [BOB])
    assert [one.id for one in await store.read_feed(BOB, Stretch(), 10)] == sorted(
        (first[place].id for place in (-4, -3, -1)), reverse=True
    )


async def test_an_end_before_the_beginning(store: NewsStore) -> None:
    assert await end(store, ALICE, 7, 2) is None
    assert await save(store, entry(1, link_id=7, version=1)) == Change(False, None)


async def test_every_order_of_versions_ends_alike(store: NewsStore) -> None:
    """Three versions and the end of the second one's successor, in any order, each heard twice."""
    for link_id, order in enumerate(permutations(range(1, 5)), 100):
        for version in order * 2:
            if version == 3:
                await end(store, ALICE, link_id, 3)
                continue
            one = entry(link_id * 10 + version, link_id=link_id, version=version)
            if (await save(store, one)).current:
                await store.push(ALICE, [one.id], [], [BOB])
    read = await store.read_feed(BOB, Stretch(), 1_000)
    assert sorted(one.link_id for one in read) == list(range(100, 124))
    assert {one.event.version for one in read} == {4}


async def test_pages_hold_while_entries_come_and_go(store: NewsStore) -> None:
    for number in range(1, 11):
        await publish(store, entry(number))
    first = await store.read_feed(BOB, Stretch(), 3)
    await publish(store, entry(11), entry(12, link_id=9, version=2))
    for number in (first[-1].link_id, 6, 5):
        await end(store, ALICE, number, 2)
    assert await numbers(store) == [12, 11, 10, 7, 4, 3, 2, 1]
    # What the page ended with is gone, from the list as well by now.
    assert await numbers(store, after=first[-1].id) == [7, 4, 3, 2, 1]


@pytest.mark.parametrize("gone", [(), (4, 7), (5, 6), tuple(range(2, 9))])
async def test_any_stretch_from_either_end(store: NewsStore, gone: tuple[int, ...]) -> None:
    """Between entries that are there, that are gone, and that never were."""
    await publish(store, *(entry(number) for number in range(1, 10)))
    for number in gone:
        await end(store, ALICE, number, 2)
    kept = [number for number in range(9, 0, -1) if number not in gone]
    places = [None, *(entry(number).id + offset for number in (0, 1, 4, 5, 9) for offset in (0, 1))]
    for above in places:
        for below in places[::2]:
            expected = [
                number
                for number in kept
                if (above is None or entry(number).id > above) and (below is None or entry(number).id < below)
            ]
            for limit in (2, 20):
                newest = await store.read_feed(BOB, Stretch(above, below), limit)
                assert [one.link_id for one in newest] == expected[:limit]
                oldest = await store.read_feed(BOB, Stretch(above, below, oldest=True), limit)
                assert [one.link_id for one in oldest] == expected[-limit:]


async def test_a_page_of_what_is_newer_is_filled_past_what_is_gone(store: NewsStore) -> None:
    for number in range(1, 301):
        await publish(store, entry(number))
    for number in range(11, 291):
        await end(store, ALICE, number, 2)
    for limit, expected in ((3, [292, 291, 10]), (1, [10]), (20, [*range(300, 290, -1), 10])):
        found = await store.read_feed(BOB, Stretch(above=entry(9).id, oldest=True), limit)
        assert [one.link_id for one in found] == expected


async def test_a_page_is_filled_past_what_is_gone(store: NewsStore) -> None:
    for number in range(1, 301):
        await publish(store, entry(number))
    for number in range(11, 291):
        await end(store, ALICE, number, 2)
    assert await numbers(store, limit=15) == [*range(300, 290, -1), *range(10, 5, -1)]
    assert await numbers(store, after=entry(6).id, limit=15) == [5, 4, 3, 2, 1]


# --- beginning and ceasing to follow ----------------------------------------------------------------------------------


async def test_backfilling(store: NewsStore) -> None:
    known, ended, new = entry(1, version=1), entry(2, version=1), entry(3, version=4)
    await publish(store, known, ended, to=(CAROL,))
    await end(store, ALICE, 2, 2)
    await publish(store, entry(2, author_id=DAVE))
    assert await store.set_following(BOB, ALICE, at(10), True)
    wanted = [entry(9, link_id=1, version=3), entry(8, link_id=2), new]
    ids = await store.find_or_save_entries(wanted)
    assert ids == [known.id, None, new.id]
    for _ in range(2):
        await give(store, BOB, ALICE, at(10), ids)
    read = await store.read_feed(BOB, Stretch(), 10)
    assert [(one.author_id, one.link_id) for one in read] == [(ALICE, 3), (DAVE, 2), (ALICE, 1)]
    assert read[-1] == known
    assert await store.find_or_save_entries(wanted) == ids
    assert await store.find_or_save_entries([]) == []


async def test_an_event_replaces_what_was_backfilled_for_its_version(store: NewsStore) -> None:
    filled, heard = entry(1, link_id=7, version=2), entry(5, link_id=7, version=2, title="heard")
    await store.find_or_save_entries([filled])
    assert await save(store, heard) == Change(True, filled.id)
    assert await store.find_or_save_entries([filled]) == [heard.id]


async def test_a_full_feed_takes_in_what_is_new_enough(make_store: MakeStore) -> None:
    store = make_store(max_length=4)
    await publish(store, *(entry(number, author_id=DAVE) for number in (2, 4, 6, 8)))
    await store.set_following(BOB, ALICE, at(10), True)
    ids = await store.find_or_save_entries([entry(number) for number in (1, 3, 5, 9)])
    await give(store, BOB, ALICE, at(10), ids)
    assert await numbers(store) == [9, 8, 6, 5]
    await give(store, BOB, ALICE, at(10), [])
    assert await numbers(store) == [9, 8, 6, 5]


async def test_leaving(store: NewsStore) -> None:
    await publish(store, entry(1), entry(2, author_id=DAVE), entry(3), to=(BOB, CAROL))
    assert await store.set_following(BOB, ALICE, at(10), False)
    for _ in range(2):
        await store.drop_author(BOB, ALICE, at(10))
    assert await numbers(store) == [2]
    assert await numbers(store, CAROL) == [3, 2, 1]
    # On its way when they left.
    await publish(store, entry(4), to=(BOB, CAROL))
    assert await numbers(store) == [2]
    assert await numbers(store, CAROL) == [4, 3, 2, 1]
    assert await store.set_following(BOB, ALICE, at(11), True)
    await publish(store, entry(5), to=(BOB, CAROL))
    assert await numbers(store) == [5, 2]


async def test_leaving_the_only_author(store: NewsStore) -> None:
    await publish(store, entry(1))
    await store.set_following(BOB, ALICE, at(10), False)
    await store.drop_author(BOB, ALICE, at(10))
    assert await numbers(store) == []
    await store.set_following(CAROL, ALICE, at(10), False)
    await store.drop_author(CAROL, ALICE, at(10))
    assert await numbers(store, CAROL) == []


async def test_the_latest_of_follow_and_unfollow_holds(store: NewsStore) -> None:
    await save(store, entry(1))
    assert await store.set_following(BOB, ALICE, at(10), False)
    assert not await store.set_following(BOB, ALICE, at(9, 99), True)
    await give(store, BOB, ALICE, at(9, 99), [entry(1).id])
    assert await numbers(store) == []
    await store.push(ALICE, [entry(1).id], [], [BOB])
    assert await numbers(store) == []

    # In one moment the event's id decides; the same one again is no other.
    assert await store.set_following(BOB, ALICE, at(10, 2), True)
    assert await store.set_following(BOB, ALICE, at(10, 2), True)
    await give(store, BOB, ALICE, at(10, 2), [entry(1).id])
    assert not await store.set_following(BOB, ALICE, at(10, 1), False)
    await store.drop_author(BOB, ALICE, at(10, 1))
    assert await numbers(store) == [1]
    assert await store.set_following(CAROL, ALICE, at(1), False), "others are others"


# --- at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_each_entry_is_there_once(store: NewsStore, seed: int) -> None:
    one_by_one = [publish(store, entry(number), to=(BOB, CAROL)) for number in range(1, 51)]
    again = [publish(store, entry(number), to=(BOB, CAROL)) for number in range(1, 51, 3)]
    changes = [*one_by_one, *again]
    Random(seed).shuffle(changes)
    await asyncio.gather(*changes)
    for reader in (BOB, CAROL):
        assert await numbers(store, reader) == list(range(50, 0, -1))


@pytest.mark.parametrize("remembered", ["nothing", "what the author's links told"])
async def test_what_is_from_before_the_store_remembers_is_doubtful(store: NewsStore, remembered: str) -> None:
    """It may have ended since. What is from later is not, and neither is what is known."""
    begun = NOW + timedelta(days=1)
    certain_from = (begun + DOUBT - NOW) // SECOND
    await store.change_entries([entry(certain_from, link_id=1)], begun)
    if remembered != "nothing":
        await store.find_or_save_entries([entry(1, link_id=7, version=1)])
    assert await store.change_entries([entry(2, link_id=7, version=2)], begun) == [Change(False, None, doubtful=True)]
    await store.push(ALICE, [entry(2, link_id=7, version=2).id], [], [BOB])
    assert await numbers(store) == [], "it was not saved"
    later = entry(certain_from, link_id=7, version=3)
    assert await save(store, later) == Change(True, entry(1).id if remembered != "nothing" else None)
    assert await save(store, entry(2, link_id=7, version=2)) == Change(False, None)
    assert await save(store, later) == Change(True, None)
    assert await end(store, ALICE, 7, 4) == later.id
    for many in (entry(3, link_id=0), entry(certain_from - 1, link_id=0)):
        assert await save(store, many) == Change(True, None), "what is about many links is known by nothing else"


async def test_what_ended_before_the_store_remembers_stays_ended(store: NewsStore) -> None:
    begun = NOW + timedelta(days=1)
    await store.change_entries([LinkEnd(author_id=ALICE, link_id=7, version=2)], begun)
    assert await save(store, entry(1, link_id=7, version=1)) == Change(False, None)
