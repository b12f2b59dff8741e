"""What the social graph manager needs of a store, asked of each."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice, permutations
from pathlib import Path
from random import Random

import asyncpg
import pytest

from pkg.object_model.errors import Unavailable
from pkg.object_model.types import FollowCounts
from pkg.runtime.postgres import PostgresAddress, open_pool
from pkg.social_graph_manager import sql_store
from pkg.social_graph_manager.memory_store import MemorySocialGraphStore
from pkg.social_graph_manager.sql_store import SqlSocialGraphStore
from pkg.social_graph_manager.store import Edge, SocialGraphStore
from tests.contract.social_graph_store.follows import NOW, events_of, follow, is_following, unfollow

type ReadPage = Callable[[int, Edge | None, int], Awaitable[Sequence[Edge]]]

MICROSECOND = timedelta(microseconds=1)
ALICE, BOB, CAROL = 7, 2**63 - 1, 9
FRIENDSHIPS = Path(__file__).parents[2] / "data" / "social_graph_reed98.edges"
#: Follows that a suite of seconds can write to a database one by one.
SAMPLE = 1_000


async def read_all(read: ReadPage, user_id: int, limit: int) -> list[Edge]:
    """Every page, as a reader turns them."""
    seen: list[Edge] = []
    after = None
    while page := await read(user_id, after, limit):
        assert len(page) <= limit
        seen += page
        after = page[-1]
    return seen


async def check_counts(store: SocialGraphStore, follows: Iterable[tuple[int, int]]) -> None:
    """The counts and the lists of everybody are those of ``follows``, pairs of follower and followed."""
    follows = list(follows)
    following = Counter(follower for follower, _ in follows)
    followers = Counter(followed for _, followed in follows)
    for user_id in following.keys() | followers.keys():
        counts = await store.get_counts(user_id)
        assert counts == FollowCounts(followers=followers[user_id], following=following[user_id])
        assert len(await store.list_followers(user_id, None, 10_000)) == counts.followers
        assert len(await store.list_following(user_id, None, 10_000)) == counts.following


async def test_a_follow_is_seen_from_either_side(store: SocialGraphStore) -> None:
    assert await follow(store, BOB, ALICE, NOW)
    assert await is_following(store, BOB, ALICE)
    assert not await is_following(store, ALICE, BOB)
    assert list(await store.list_followers(ALICE, None, 10)) == [Edge(NOW, BOB)]
    assert list(await store.list_following(BOB, None, 10)) == [Edge(NOW, ALICE)]
    assert list(await store.list_followers(BOB, None, 10)) == []
    assert list(await store.list_following(ALICE, None, 10)) == []
    assert await store.get_counts(ALICE) == FollowCounts(followers=1, following=0)
    assert await store.get_counts(BOB) == FollowCounts(followers=0, following=1)
    assert await store.get_counts(CAROL) == FollowCounts(0, 0)


async def test_again_is_not_new(store: SocialGraphStore) -> None:
    assert await follow(store, BOB, ALICE, NOW)
    assert not await follow(store, BOB, ALICE, NOW + MICROSECOND)
    assert list(await store.list_followers(ALICE, None, 10)) == [Edge(NOW, BOB)]
    assert await store.get_counts(ALICE) == FollowCounts(followers=1, following=0)


async def test_unfollow_ends_one_direction(store: SocialGraphStore) -> None:
    await follow(store, BOB, ALICE, NOW)
    await follow(store, ALICE, BOB, NOW)
    assert await unfollow(store, BOB, ALICE)
    assert not await unfollow(store, BOB, ALICE)
    assert not await unfollow(store, CAROL, ALICE)
    assert not await is_following(store, BOB, ALICE)
    assert list(await store.list_followers(ALICE, None, 10)) == []
    assert list(await store.list_followers(BOB, None, 10)) == [Edge(NOW, ALICE)]
    await check_counts(store, [(ALICE, BOB)])
    assert await follow(store, BOB, ALICE, NOW + MICROSECOND)
    assert list(await store.list_followers(ALICE, None, 10)) == [Edge(NOW + MICROSECOND, BOB)]


async def test_newest_first_and_by_id_where_the_time_is_one(store: SocialGraphStore) -> None:
    """The original cut times to seconds, and ten of one second made a list without an end."""
    for fan in range(10, 20):
        await follow(store, fan, ALICE, NOW)
        await follow(store, ALICE, fan, NOW)
    await follow(store, 5, ALICE, NOW + MICROSECOND)
    await follow(store, 30, ALICE, NOW - MICROSECOND)
    followers = [5, *range(19, 9, -1), 30]
    for limit in (1, 3, 4, 12, 100):
        assert [edge.user_id for edge in await read_all(store.list_followers, ALICE, limit)] == followers
        assert [edge.user_id for edge in await read_all(store.list_following, ALICE, limit)] == followers[1:-1]


async def test_pages_hold_while_people_come_and_go(store: SocialGraphStore) -> None:
    for fan in range(10, 20):
        await follow(store, fan, ALICE, NOW + fan * MICROSECOND)
    first = await store.list_followers(ALICE, None, 3)
    await follow(store, 50, ALICE, NOW + timedelta(seconds=1))
    await unfollow(store, first[-1].user_id, ALICE)
    await unfollow(store, 15, ALICE)
    rest = await store.list_followers(ALICE, first[-1], 100)
    assert [edge.user_id for edge in rest] == [16, 14, 13, 12, 11, 10]


@pytest.mark.parametrize("seed", range(3))
async def test_counts_are_exact_whatever_happens_at_once(store: SocialGraphStore, seed: int) -> None:
    """Everybody follows everybody, some again and some no more, all at once; a deadlock would be an Unavailable."""
    clique = list(permutations(range(1, 9), 2))
    random = Random(seed)
    random.shuffle(clique)
    assert sum(await asyncio.gather(*(follow(store, *pair, NOW) for pair in clique[:50] * 2))) == 50
    await check_counts(store, clique[:50])
    assert sum(await asyncio.gather(*(unfollow(store, *pair) for pair in clique[:50] * 2))) == 50
    for user_id in range(1, 9):
        assert await store.get_counts(user_id) == FollowCounts(0, 0)

    changes = [follow(store, *pair, NOW) for pair in clique * 2] + [unfollow(store, *pair) for pair in clique]
    random.shuffle(changes)
    await asyncio.gather(*changes)
    await check_counts(store, [pair for pair in clique if await is_following(store, *pair)])


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_what_changes_is_told_and_nothing_else(store: SocialGraphStore) -> None:
    await follow(store, BOB, ALICE)
    await follow(store, BOB, ALICE, NOW + MICROSECOND)
    await follow(store, BOB, CAROL)
    await unfollow(store, BOB, ALICE)
    await unfollow(store, BOB, ALICE)
    await unfollow(store, CAROL, ALICE)
    told = await events_of(store, BOB)
    assert [(event.followed_id, event.following) for event in told] == [(ALICE, True), (CAROL, True), (ALICE, False)]
    assert (told[0].timestamp, told[0].follower, told[0].followed) == (NOW, f"user{BOB}", f"user{ALICE}")
    assert len({event.id for event in told}) == 3
    assert await events_of(store, CAROL) == []


async def test_of_follows_at_once_one_is_told(store: SocialGraphStore) -> None:
    await asyncio.gather(*(follow(store, BOB, followed) for followed in (1, 2, 3, 4) * 5))
    told = await events_of(store, BOB)
    assert sorted(event.followed_id for event in told) == [1, 2, 3, 4]


async def test_the_last_event_is_how_things_are(store: SocialGraphStore) -> None:
    """Whatever one user does at once: who hears the events in order ends with the truth."""
    changes = [follow(store, BOB, ALICE) for _ in range(20)] + [unfollow(store, BOB, ALICE) for _ in range(20)]
    Random(5).shuffle(changes)
    await asyncio.gather(*changes)
    told = [event.following for event in await events_of(store, BOB)]
    assert told == [number % 2 == 0 for number in range(len(told))]
    assert told[-1] is await is_following(store, BOB, ALICE)


# --- in common ------------------------------------------------------------------------------------------------------


async def test_those_in_common_in_pages(store: SocialGraphStore) -> None:
    """Bob follows thirty, every third of whom follows Alice; some follow him back."""
    idols = [2**40 + number for number in range(30)]
    for number, idol in enumerate(idols):
        # Several at one moment.
        await follow(store, BOB, idol, NOW + number // 4 * MICROSECOND)
        if number % 3 == 0:
            await follow(store, idol, ALICE, NOW - number * MICROSECOND)
        if number % 10 == 0:
            await follow(store, idol, BOB)
    await follow(store, CAROL, ALICE)
    for other, step in ((ALICE, 3), (BOB, 10)):
        expected = idols[::step][::-1]
        for limit in (1, 2, 7, 10, 100):

            async def read(user_id: int, after: Edge | None, count: int, other: int = other) -> Sequence[Edge]:
                return await store.list_mutuals(user_id, other, after, count)

            assert [edge.user_id for edge in await read_all(read, BOB, limit)] == expected
    await unfollow(store, BOB, idols[0])
    await unfollow(store, idols[3], ALICE)
    in_common = await store.list_mutuals(BOB, ALICE, None, 100)
    assert [edge.user_id for edge in in_common] == idols[6::3][::-1]
    assert list(await store.list_mutuals(ALICE, BOB, None, 100)) == []


# --- all who follow, by id -------------------------------------------------------------------------------------------


async def test_followers_by_id_in_pages(store: SocialGraphStore) -> None:
    fans = [19, 3, BOB, 2**40, 11]
    for number, fan in enumerate(fans):
        await follow(store, fan, ALICE, NOW - number * MICROSECOND)
    await follow(store, 12, CAROL)
    for limit in (1, 2, 5, 6):
        seen: list[int] = []
        while page := await store.list_follower_ids(ALICE, seen[-1] if seen else 0, limit):
            assert len(page) <= limit
            seen += page
        assert seen == sorted(fans)
    await unfollow(store, 11, ALICE)
    assert list(await store.list_follower_ids(ALICE, 3, 2)) == [19, 2**40]
    assert list(await store.list_follower_ids(BOB, 0, 10)) == []


async def test_the_followed_by_id_in_pages(store: SocialGraphStore) -> None:
    idols = [19, 3, ALICE, 2**40, 11]
    for number, idol in enumerate(idols):
        await follow(store, BOB, idol, NOW - number * MICROSECOND)
    await follow(store, CAROL, 12)
    for limit in (1, 2, 5, 6):
        seen: list[int] = []
        while page := await store.list_followed_ids(BOB, seen[-1] if seen else 0, limit):
            assert len(page) <= limit
            seen += page
        assert seen == sorted(idols)
    await unfollow(store, BOB, 11)
    assert list(await store.list_followed_ids(BOB, ALICE, 2)) == [19, 2**40]
    assert list(await store.list_followed_ids(ALICE, 0, 10)) == []


# --- a real graph ---------------------------------------------------------------------------------------------------


def real_follows() -> list[tuple[int, int]]:
    pairs = [tuple(map(int, line.split())) for line in FRIENDSHIPS.read_text().splitlines()]
    return [edge for one, other in pairs for edge in ((one + 1, other + 1), (other + 1, one + 1))]


async def test_a_real_graph_in_pages(store: SocialGraphStore) -> None:
    """Whole in memory; in Postgres a part, with people of many friends in it as well as of few."""
    follows = real_follows()
    assert (len(follows), len({user_id for user_id, _ in follows})) == (37_624, 962)
    if not isinstance(store, MemorySocialGraphStore):
        follows = Random(98).sample(follows, SAMPLE)
    loading = iter(enumerate(follows))
    while some := list(islice(loading, 20)):
        await asyncio.gather(*(follow(store, *edge, NOW + number // 7 * MICROSECOND) for number, edge in some))
    await check_counts(store, follows)

    expected: dict[int, list[Edge]] = {}
    for number, (follower, followed) in enumerate(follows):
        expected.setdefault(followed, []).append(Edge(NOW + number // 7 * MICROSECOND, follower))
    for user_id in sorted(expected, key=lambda user_id: len(expected[user_id]))[:: len(expected) // 20]:
        assert await read_all(store.list_followers, user_id, 7) == sorted(expected[user_id], reverse=True)


# --- what a database may do -----------------------------------------------------------------------------------------


async def test_a_database_that_is_away_is_unavailable() -> None:
    nowhere = PostgresAddress("127.0.0.1", 1, "none", "nobody", "nothing")
    async with await open_pool(nowhere, application_name="test", max_size=1) as pool:
        store = SqlSocialGraphStore(pool)
        for call in (
            follow(store, BOB, ALICE, NOW),
            unfollow(store, BOB, ALICE),
            store.list_followers(ALICE, None, 1),
            store.get_counts(ALICE),
            is_following(store, BOB, ALICE),
        ):
            with pytest.raises(Unavailable) as away:
                await call
            assert away.value.code == "database_unavailable"


async def test_followers_by_id_are_read_in_the_order_of_the_key(emptied_pool: asyncpg.Pool) -> None:
    async with emptied_pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        plan = await connection.fetch(f"EXPLAIN {sql_store._FOLLOWER_IDS}", ALICE, 20, BOB)
    lines = "\n".join(row[0] for row in plan)
    assert "follower_id >" in lines.split("Index Cond")[1]
    assert "Sort" not in lines


async def test_what_is_read_of_a_celebrity_is_what_is_read_of_anybody(emptied_pool: asyncpg.Pool) -> None:
    """Pages, and those in common, by the blocks that Postgres touches. A million followers are in
    ``tests.load.social_graph``."""
    for user_id, count in ((CAROL, 40), (ALICE, 30_000)):
        await emptied_pool.execute(
            "INSERT INTO followers SELECT $1, 1000 + n, $2::timestamptz - n * interval '1 second'"
            " FROM generate_series(1, $3::int) AS n",
            user_id,
            NOW,
            count,
        )

    async def blocks(statement: str, *arguments: object) -> int:
        async with emptied_pool.acquire() as connection, connection.transaction():
            # What Postgres takes for a small table is read whole, or sorted, unless that is forbidden.
            await connection.execute("SET LOCAL enable_seqscan = off")
            await connection.execute("SET LOCAL enable_sort = off")
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
        about = json.loads(plan)[0]["Plan"]
        return int(about["Shared Hit Blocks"] + about["Shared Read Blocks"])

    some = [*range(1_000, 1_040)]
    for statement, arguments in (
        (sql_store._FOLLOWERS.first, (20,)),
        (sql_store._FOLLOWERS.more, (20, NOW - timedelta(seconds=20), 1_020)),
        (sql_store._FOLLOWER_IDS, (20, 1_020)),
        (sql_store._AMONG_FOLLOWERS, (some,)),
    ):
        few, many = [await blocks(statement, user_id, *arguments) for user_id in (CAROL, ALICE)]
        # For each row that is looked up: a larger index is a level or two higher, and the row is on a page of its own.
        assert many <= few + 4 * len(some), statement


@pytest.mark.parametrize("listing", ["_FOLLOWERS", "_FOLLOWING", "_INCOMING", "_OUTGOING", "_BLOCKED"])
async def test_a_page_is_read_in_the_order_of_an_index(emptied_pool: asyncpg.Pool, listing: str) -> None:
    """Whatever the length of the list, a page costs the same: nothing is sorted and nothing passed over."""
    async with emptied_pool.acquire() as connection, connection.transaction():
        # A small table is read whole, unless that is forbidden.
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        # Where nothing is known of the table, a page seems to be all there is, and is as well sorted.
        await connection.execute("SET LOCAL enable_sort = off")
        plan = await connection.fetch(f"EXPLAIN {getattr(sql_store, listing).more}", ALICE, 20, NOW, BOB)
    lines = "\n".join(row[0] for row in plan)
    assert "_newest" in lines
    assert "ROW(created_at" in lines.split("Index Cond")[1]
    assert "Sort" not in lines
