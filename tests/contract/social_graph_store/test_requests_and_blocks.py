"""Requests to follow and blocks, asked of each store; and what becomes of two who act at once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any

import asyncpg
import pytest

from pkg.object_model.errors import Conflict, NotFound
from pkg.object_model.types import FollowCounts, FollowState
from pkg.social_graph_manager.sql_store import SqlSocialGraphStore
from pkg.social_graph_manager.store import Edge, SocialGraphStore, Ties
from tests.contract.social_graph_store.follows import (
    NOW,
    accept,
    block,
    events_of,
    follow,
    is_following,
    unfollow,
)

MICROSECOND = timedelta(microseconds=1)
ALICE, BOB, CAROL = 7, 2**63 - 1, 9
NOTHING = Ties(following=False, requested=False, blocked=False, blocked_by=False)


async def users(listing: Awaitable[Any]) -> list[int]:
    return [edge.user_id for edge in await listing]


async def check_consistent(store: SocialGraphStore, one: int, other: int) -> None:
    """What the two are to each other reads the same from either side, is counted, and makes sense."""
    counts = {user_id: [0, 0] for user_id in (one, other)}
    for follower, followed in ((one, other), (other, one)):
        ties = await store.get_ties(follower, followed)
        assert await users(store.list_following(follower, None, 9)) == [followed][: ties.following]
        assert await users(store.list_followers(followed, None, 9)) == [follower][: ties.following]
        assert await users(store.list_outgoing(follower, None, 9)) == [followed][: ties.requested]
        assert await users(store.list_incoming(followed, None, 9)) == [follower][: ties.requested]
        assert await users(store.list_blocked(follower, None, 9)) == [followed][: ties.blocked]
        assert not (ties.following and ties.requested)
        assert not (ties.hidden and (ties.following or ties.requested))
        counts[follower][1] += ties.following
        counts[followed][0] += ties.following
        told = [event.following for event in await events_of(store, follower)]
        assert told == [number % 2 == 0 for number in range(len(told))]
        assert (told[-1] if told else False) is ties.following
    for user_id, (followers, following) in counts.items():
        assert await store.get_counts(user_id) == FollowCounts(followers, following)


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_a_request_is_seen_from_either_side_and_counts_for_nothing(store: SocialGraphStore) -> None:
    assert await store.request(BOB, ALICE, NOW) is FollowState.REQUESTED
    assert await store.request(BOB, ALICE, NOW + MICROSECOND) is FollowState.REQUESTED
    assert await store.get_ties(BOB, ALICE) == Ties(following=False, requested=True, blocked=False, blocked_by=False)
    assert await store.get_ties(ALICE, BOB) == NOTHING
    assert list(await store.list_incoming(ALICE, None, 10)) == [Edge(NOW, BOB)]
    assert list(await store.list_outgoing(BOB, None, 10)) == [Edge(NOW, ALICE)]
    assert list(await store.list_follower_ids(ALICE, 0, 10)) == []
    await check_consistent(store, ALICE, BOB)
    assert await events_of(store, BOB) == []


async def test_a_yes_makes_a_follow_of_it(store: SocialGraphStore) -> None:
    await store.request(BOB, ALICE, NOW - MICROSECOND)
    for _ in range(2):
        assert await accept(store, BOB, ALICE)
    assert list(await store.list_followers(ALICE, None, 10)) == [Edge(NOW, BOB)]
    assert await store.request(BOB, ALICE, NOW) is FollowState.FOLLOWING
    await check_consistent(store, ALICE, BOB)
    (told,) = await events_of(store, BOB)
    assert (told.follower, told.followed, told.following) == (f"user{BOB}", f"user{ALICE}", True)


async def test_nobody_is_accepted_who_does_not_ask(store: SocialGraphStore) -> None:
    assert not await accept(store, BOB, ALICE)
    await store.request(BOB, ALICE, NOW)
    assert not await accept(store, ALICE, BOB), "the other way round"
    assert await unfollow(store, BOB, ALICE), "and who takes it back asks no longer"
    assert not await accept(store, BOB, ALICE)
    await check_consistent(store, ALICE, BOB)


async def test_a_no_ends_the_request_and_no_follow(store: SocialGraphStore) -> None:
    await store.request(BOB, ALICE, NOW)
    assert await store.reject(BOB, ALICE)
    assert not await store.reject(BOB, ALICE)
    assert await store.get_ties(BOB, ALICE) == NOTHING
    await follow(store, BOB, ALICE)
    assert not await store.reject(BOB, ALICE)
    assert await is_following(store, BOB, ALICE)
    await check_consistent(store, ALICE, BOB)


async def test_who_may_follow_at_once_asks_no_longer(store: SocialGraphStore) -> None:
    """An account that was private when it was asked is public now."""
    await store.request(BOB, ALICE, NOW)
    assert await follow(store, BOB, ALICE)
    await check_consistent(store, ALICE, BOB)


@pytest.mark.parametrize("limit", [1, 3, 4])
async def test_requests_and_blocks_in_pages_newest_first(store: SocialGraphStore, limit: int) -> None:
    for number in range(10, 16):
        await store.request(number, ALICE, NOW + (number // 3) * MICROSECOND)
        await store.request(ALICE, number, NOW + (number // 3) * MICROSECOND)
        await block(store, CAROL, number, NOW + (number // 3) * MICROSECOND)
    for read, user_id in ((store.list_incoming, ALICE), (store.list_outgoing, ALICE), (store.list_blocked, CAROL)):
        seen: list[Edge] = []
        while page := await read(user_id, seen[-1] if seen else None, limit):
            assert len(page) <= limit
            seen += page
        assert [edge.user_id for edge in seen] == [15, 14, 13, 12, 11, 10]


# --- blocks -----------------------------------------------------------------------------------------------------------


async def test_a_block_ends_everything_between_two(store: SocialGraphStore) -> None:
    await follow(store, ALICE, BOB)
    await follow(store, BOB, ALICE)
    await follow(store, CAROL, ALICE)
    assert await block(store, ALICE, BOB)
    assert not await block(store, ALICE, BOB, NOW + MICROSECOND)
    assert await store.get_ties(ALICE, BOB) == Ties(following=False, requested=False, blocked=True, blocked_by=False)
    assert await store.get_ties(BOB, ALICE) == Ties(following=False, requested=False, blocked=False, blocked_by=True)
    assert list(await store.list_blocked(ALICE, None, 10)) == [Edge(NOW, BOB)]
    assert await store.get_counts(ALICE) == FollowCounts(followers=1, following=0)
    assert await store.get_counts(BOB) == FollowCounts(0, 0)
    for follower in (ALICE, BOB):
        assert [event.following for event in await events_of(store, follower)] == [True, False]
    assert await is_following(store, CAROL, ALICE)


async def test_a_block_ends_requests(store: SocialGraphStore) -> None:
    await store.request(BOB, ALICE, NOW)
    await store.request(ALICE, BOB, NOW)
    assert await block(store, ALICE, BOB)
    assert not await accept(store, BOB, ALICE)
    await check_consistent(store, ALICE, BOB)
    assert await events_of(store, BOB) == await events_of(store, ALICE) == []


async def test_neither_follows_nor_asks_while_one_has_blocked_the_other(store: SocialGraphStore) -> None:
    await block(store, ALICE, BOB)
    for call in (follow(store, BOB, ALICE), store.request(BOB, ALICE, NOW)):
        with pytest.raises(NotFound) as hidden:
            await call
        assert hidden.value.code == "user_not_found"
    for call in (follow(store, ALICE, BOB), store.request(ALICE, BOB, NOW)):
        with pytest.raises(Conflict) as refused:
            await call
        assert refused.value.code == "user_blocked"
    await block(store, BOB, ALICE)
    with pytest.raises(NotFound):
        await follow(store, ALICE, BOB)
    await check_consistent(store, ALICE, BOB)
    assert await store.unblock(ALICE, BOB)
    assert not await store.unblock(ALICE, BOB)
    with pytest.raises(NotFound):
        await follow(store, ALICE, BOB)
    assert await store.unblock(BOB, ALICE)
    assert await follow(store, ALICE, BOB)
    await check_consistent(store, ALICE, BOB)


async def test_who_is_hidden_among_others(store: SocialGraphStore) -> None:
    await block(store, ALICE, BOB)
    await block(store, CAROL, ALICE)
    others = [BOB, CAROL, 11, 12]
    assert await store.find_hidden(ALICE, others) == {BOB, CAROL}
    assert await store.find_hidden(BOB, [ALICE, *others]) == {ALICE}
    assert await store.find_hidden(ALICE, []) == set()
    assert await store.find_hidden(11, others) == set()


# --- when it was ------------------------------------------------------------------------------------------------------


async def test_times_of_what_is_told_of_a_follower_rise(store: SocialGraphStore) -> None:
    """Two who act at once read their clocks in any order; who hears of it goes by the time."""
    await follow(store, BOB, ALICE, NOW + timedelta(seconds=5))
    await unfollow(store, BOB, ALICE)
    await follow(store, BOB, CAROL, NOW)
    await block(store, CAROL, BOB, NOW - timedelta(seconds=5))
    await follow(store, BOB, ALICE, NOW + timedelta(seconds=6))
    told = [event.timestamp for event in await events_of(store, BOB)]
    assert all(earlier < later for earlier, later in pairwise(told))
    assert (told[0], told[-1]) == (NOW + timedelta(seconds=5), NOW + timedelta(seconds=6))


# --- at once ----------------------------------------------------------------------------------------------------------

type Act = Callable[[SocialGraphStore], Awaitable[object]]

RACES: dict[str, tuple[list[Act], list[Act]]] = {
    "a yes and a change of mind": (
        [lambda store: store.request(BOB, ALICE, NOW)],
        [lambda store: accept(store, BOB, ALICE), lambda store: unfollow(store, BOB, ALICE)],
    ),
    "a yes and a no": (
        [lambda store: store.request(BOB, ALICE, NOW)],
        [lambda store: accept(store, BOB, ALICE), lambda store: store.reject(BOB, ALICE)],
    ),
    "a yes, a block and another request": (
        [lambda store: store.request(BOB, ALICE, NOW)],
        [
            lambda store: accept(store, BOB, ALICE),
            lambda store: block(store, ALICE, BOB),
            lambda store: store.request(BOB, ALICE, NOW),
        ],
    ),
    "a follow and a block": (
        [],
        [lambda store: follow(store, BOB, ALICE), lambda store: block(store, ALICE, BOB)],
    ),
    "follows both ways and blocks both ways": (
        [lambda store: follow(store, ALICE, BOB)],
        [
            lambda store: follow(store, BOB, ALICE),
            lambda store: follow(store, ALICE, BOB),
            lambda store: block(store, ALICE, BOB),
            lambda store: block(store, BOB, ALICE),
        ],
    ),
    "a kick and a new follow": (
        [lambda store: follow(store, BOB, ALICE)],
        [lambda store: unfollow(store, BOB, ALICE), lambda store: follow(store, BOB, ALICE)],
    ),
}


async def attempt(act: Awaitable[object]) -> None:
    """Of those who were blocked meanwhile nothing more comes; a deadlock would be an Unavailable."""
    with contextlib.suppress(NotFound, Conflict):
        await act


@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("seed", range(3))
async def test_whoever_is_first_the_end_makes_sense(store: SocialGraphStore, race: str, seed: int) -> None:
    before, acts = RACES[race]
    for act in before:
        await act(store)
    together = acts * 3
    Random(seed).shuffle(together)
    await asyncio.gather(*(attempt(act(store)) for act in together))
    await check_consistent(store, ALICE, BOB)
    if "block" in race:
        assert (await store.get_ties(ALICE, BOB)).hidden


async def test_a_block_waits_for_a_follow_that_is_being_written(emptied_pool: asyncpg.Pool) -> None:
    """Without the pair's lock neither would see the other, and both would stand."""
    store = SqlSocialGraphStore(emptied_pool)
    async with store._hold(ALICE, BOB):
        blocking = asyncio.ensure_future(block(store, ALICE, BOB))
        following = asyncio.ensure_future(follow(store, BOB, ALICE))
        done, _ = await asyncio.wait([blocking, following], timeout=0.2)
        assert not done
    await blocking
    await attempt(following)
    await check_consistent(store, ALICE, BOB)


async def test_others_wait_for_nobody(emptied_pool: asyncpg.Pool) -> None:
    store = SqlSocialGraphStore(emptied_pool)
    async with store._hold(ALICE, BOB), asyncio.timeout(5):
        assert await follow(store, CAROL, ALICE)
        assert await block(store, BOB, CAROL)


async def test_code_of_before_takes_no_harm_and_does_none(emptied_pool: asyncpg.Pool) -> None:
    """Expand: it writes follows and counts as it did, and knows nothing of times."""
    store = SqlSocialGraphStore(emptied_pool)
    await emptied_pool.execute(
        "INSERT INTO following (user_id, followed_id, created_at) VALUES ($1, $2, now())", BOB, ALICE
    )
    await emptied_pool.execute(
        "INSERT INTO followers (user_id, follower_id, created_at) VALUES ($2, $1, now())", BOB, ALICE
    )
    await emptied_pool.execute(
        "INSERT INTO follow_counts (user_id, followers, following) VALUES ($1, 0, 1), ($2, 1, 0)", BOB, ALICE
    )
    assert await block(store, ALICE, BOB)
    (told,) = await events_of(store, BOB)
    assert (told.following, told.timestamp) == (False, NOW)
    assert await store.get_counts(ALICE) == await store.get_counts(BOB) == FollowCounts(0, 0)
