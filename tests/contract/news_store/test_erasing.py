"""What is left of a user who leaves, and what becomes of what is heard of them too late."""

from datetime import timedelta
from itertools import count

import pytest

from pkg.news_manager.store import Beginning, Entry, FollowOrder, NewsStore
from pkg.object_model.erasure import START
from tests.conftest import TestValkey
from tests.contract.news_store.conftest import MakeStore
from tests.contract.news_store.entries import ALICE, BOB, CAROL, DAVE, NOW, end, entry, give, numbers, publish, save
from tests.valkey_contents import dump

EARLY, LATE = FollowOrder(NOW, 1), FollowOrder(NOW + timedelta(seconds=1), 2)


async def erase(store: NewsStore, user_id: int) -> None:
    place = START
    for calls in count(1):
        assert calls < 1_000, "it comes to an end"
        more = await store.erase_user(user_id, place)
        if more is None:
            return
        place = more


async def test_the_feed_and_the_entries_in_others(store: NewsStore) -> None:
    await publish(store, entry(1), entry(2), to=(BOB, CAROL))
    await publish(store, entry(3, author_id=CAROL), to=(ALICE, BOB))
    await publish(store, entry(4, link_id=0), to=(BOB,))
    await erase(store, ALICE)
    assert await store.begin_feed(ALICE, "anybody") is Beginning.GONE
    assert await numbers(store, BOB) == [3]
    assert await numbers(store, CAROL) == []


async def test_what_is_heard_of_an_author_too_late(store: NewsStore) -> None:
    await publish(store, entry(1))
    await erase(store, ALICE)
    for late in (entry(2), entry(1, version=2), entry(3, link_id=0)):
        assert not (await save(store, late)).current
        await store.push(ALICE, [late.id], [], [BOB])
    assert await end(store, ALICE, 1, 9) is None
    assert await store.find_or_save_entries([entry(5), entry(6)]) == [None, None]
    assert await numbers(store) == []


async def test_what_is_heard_of_a_reader_too_late(store: NewsStore) -> None:
    await erase(store, BOB)
    await publish(store, entry(1), to=(BOB, CAROL))
    assert not await store.set_following(BOB, ALICE, EARLY, True)
    await give(store, BOB, ALICE, EARLY, [entry(1).id])
    assert not await store.has_feed(BOB)
    assert await numbers(store, CAROL) == [1]


async def test_a_follow_that_was_being_worked_on(store: NewsStore) -> None:
    """What was begun before the user was gone ends after it."""
    await publish(store, entry(1), to=())
    assert await store.set_following(BOB, ALICE, EARLY, True)
    place = await store.erase_user(BOB, START)
    await give(store, BOB, ALICE, EARLY, [entry(1).id])
    await store.push(ALICE, [entry(1).id], [], [BOB])
    while place is not None:
        place = await store.erase_user(BOB, place)
    assert not await store.has_feed(BOB)


async def test_a_follow_that_is_heard_too_late(store: NewsStore) -> None:
    """Of the one who is followed it is not remembered either, whether it began or ended."""
    await erase(store, ALICE)
    assert not await store.set_following(BOB, ALICE, EARLY, True)
    assert not await store.set_following(BOB, ALICE, LATE, False)
    await give(store, BOB, ALICE, EARLY, [entry(1, author_id=CAROL).id])
    assert await numbers(store) == []


async def test_others_are_not_touched(store: NewsStore) -> None:
    """Those of the same group neither, nor one whose id begins alike."""
    similar = int(f"{CAROL}1")
    await publish(store, entry(1, author_id=similar), to=(BOB,))
    assert await store.set_following(similar, DAVE, LATE, True)
    await erase(store, CAROL)
    await publish(store, entry(2, author_id=similar), to=(BOB,))
    assert await numbers(store, BOB) == [2, 1]
    assert not await store.set_following(similar, DAVE, EARLY, False)


async def test_erasing_twice_and_whoever_is_not_there(store: NewsStore) -> None:
    await publish(store, entry(1), to=(BOB,))
    for user_id in (ALICE, ALICE, DAVE):
        await erase(store, user_id)
    assert await numbers(store, BOB) == []


@pytest.mark.parametrize("make_store", ["redis", "redis_cluster"], indirect=True)
async def test_no_key_is_left(make_store: MakeStore, request: pytest.FixtureRequest) -> None:
    """But the one that says who is gone, which ends."""
    store = make_store()
    valkey: TestValkey = request.getfixturevalue(request.node.callspec.params["make_store"].replace("redis", "valkey"))
    await publish(store, entry(1), entry(2, link_id=0), to=(BOB, CAROL))
    await publish(store, entry(3, author_id=BOB), to=(ALICE,))
    await end(store, ALICE, 77, 3)
    await store.open_timeline(ALICE)
    await store.note_in_timeline(ALICE, [entry(1).id])
    await store.join_timeline(ALICE, [BOB, CAROL])
    await store.keep_progress(ALICE, [entry(1).id], "somewhere")
    for order, following in ((EARLY, True), (LATE, False)):
        await store.set_following(ALICE, BOB, order, following)
        await store.set_following(BOB, ALICE, order, following)
    await erase(store, ALICE)
    await publish(store, _late := entry(9, author_id=BOB), to=(ALICE,))
    await store.set_following(BOB, ALICE, LATE, False)
    async with valkey.administrator() as redis:
        left = await dump(redis)
        gone = {key: content for key, content in left.items() if str(ALICE) in key or str(ALICE) in content}
        assert [key.split(":")[:2] for key in gone] == [["news", "gone"]]
        assert all([await redis.pttl(key) > 0 for key in gone])
    assert any(str(_late.id) in key for key in left)


def test_an_entry_names_its_author() -> None:
    """What ``test_no_key_is_left`` looks for is there while the user is."""
    assert isinstance(entry(1), Entry)
    assert str(ALICE) in entry(1).event.username
