"""What is left of a user who leaves: nothing, and of everybody else everything."""

import asyncio
from itertools import count

import asyncpg
import pytest

from pkg.object_model.erasure import START
from pkg.object_model.types import FollowCounts
from pkg.provisioning.databases import DATABASES
from pkg.runtime.postgres import open_pool
from pkg.social_graph_manager.sql_store import _ERASE_BATCH, SqlSocialGraphStore, _erase_ties
from pkg.social_graph_manager.store import SocialGraphStore
from tests.conftest import TestPostgres
from tests.contract.social_graph_store.follows import NOW, block, events_of, follow, is_following, unfollow

ALICE, BOB, CAROL, DAVE, ERIN, FRANK = 1, 12, 3, 4, 5, 6
TABLES = {"following", "followers", "incoming_requests", "outgoing_requests", "blocks", "follow_counts"}


async def erase(store: SocialGraphStore, user_id: int) -> None:
    place = START
    for calls in count(1):
        assert calls < 1_000, "it comes to an end"
        more = await store.erase_user(user_id, place)
        if more is None:
            return
        place = more


async def test_all_that_the_user_is_to_others_and_they_to_the_user(store: SocialGraphStore) -> None:
    await follow(store, ALICE, BOB)
    await follow(store, BOB, ALICE)
    await follow(store, CAROL, ALICE)
    await follow(store, CAROL, BOB)
    await follow(store, BOB, CAROL)
    await store.request(ALICE, DAVE, NOW)
    await store.request(DAVE, ALICE, NOW)
    await store.request(CAROL, DAVE, NOW)
    await block(store, ALICE, ERIN)
    await block(store, FRANK, ALICE)
    await block(store, FRANK, BOB)

    await erase(store, ALICE)

    for other in (BOB, CAROL, DAVE, ERIN, FRANK):
        for pair in ((ALICE, other), (other, ALICE)):
            ties = await store.get_ties(*pair)
            assert not (ties.following or ties.requested or ties.hidden), pair
        assert not await store.find_hidden(other, [ALICE])
    for read in (
        store.list_followers,
        store.list_following,
        store.list_incoming,
        store.list_outgoing,
        store.list_blocked,
    ):
        assert list(await read(ALICE, None, 10)) == []
    assert await store.get_counts(ALICE) == FollowCounts(0, 0)
    assert await store.get_counts(BOB) == FollowCounts(followers=1, following=1)
    assert await store.get_counts(CAROL) == FollowCounts(followers=1, following=1)
    assert await is_following(store, CAROL, BOB)
    assert await is_following(store, BOB, CAROL)
    assert (await store.get_ties(CAROL, DAVE)).requested
    assert (await store.get_ties(FRANK, BOB)).blocked


async def test_what_was_told_goes_too(store: SocialGraphStore) -> None:
    """From either side, and nothing is told of the end."""
    await follow(store, ALICE, BOB)
    await follow(store, BOB, ALICE)
    await follow(store, BOB, CAROL)
    await unfollow(store, BOB, ALICE)
    await erase(store, ALICE)
    assert await events_of(store, ALICE) == []
    assert [event.followed_id for event in await events_of(store, BOB)] == [CAROL]


async def test_erasing_twice_and_whoever_is_not_there(store: SocialGraphStore) -> None:
    await follow(store, ALICE, BOB)
    for user_id in (ALICE, ALICE, DAVE):
        await erase(store, user_id)
    assert await store.get_counts(BOB) == FollowCounts(0, 0)


@pytest.mark.parametrize("both", [False, True])
async def test_a_part_at_a_time(emptied_pool: asyncpg.Pool, both: bool) -> None:
    store = SqlSocialGraphStore(emptied_pool)
    fans = range(100, 100 + 2 * _ERASE_BATCH + 1)
    for table, columns in (("followers", "user_id, follower_id"), ("following", "follower_id, user_id")):
        await emptied_pool.execute(
            f"INSERT INTO {table} SELECT {columns}, now() FROM (SELECT $1::bigint AS user_id,"
            " unnest($2::bigint[]) AS follower_id) AS pairs",
            ALICE,
            list(fans),
        )
    await emptied_pool.execute(
        "INSERT INTO follow_counts (user_id, followers, following) SELECT unnest($1::bigint[]), 0, 1", list(fans)
    )
    await emptied_pool.execute("INSERT INTO follow_counts VALUES ($1, $2, 0)", ALICE, len(fans))
    assert await store.erase_user(ALICE, START) == START
    assert await emptied_pool.fetchval("SELECT count(*) FROM followers") == len(fans) - _ERASE_BATCH
    if both:
        await asyncio.gather(erase(store, ALICE), erase(store, ALICE))
    else:
        await erase(store, ALICE)
    for table in TABLES - {"follow_counts"}:
        assert await emptied_pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    assert await emptied_pool.fetchval("SELECT sum(following) FROM follow_counts") == 0


async def test_a_part_costs_the_same_of_however_many(emptied_pool: asyncpg.Pool, postgres: TestPostgres) -> None:
    """Each pair is found by its key, also in tables of which Postgres knows nothing yet."""
    many = 50_000
    scans = "SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_stat_user_indexes WHERE indexrelname "
    [database] = (one for one in DATABASES if one.name == "social_graph_manager")
    # A service may make no table.
    address = postgres.address(database, database.migrator)
    async with await open_pool(address, application_name="test", max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        for table in ("followers", "following"):
            # It hides the other one, and nobody ever counts it.
            await connection.execute(f"CREATE TEMPORARY TABLE {table} (LIKE {table} INCLUDING ALL)")
            # Half of it is of one user, half of those who are at the other end.
            for user in (f"{ALICE}", f"2001 + n % {_ERASE_BATCH}"):
                await connection.execute(
                    f"INSERT INTO {table} SELECT {user}, 10000 + n, now() - n * interval '1 second'"
                    " FROM generate_series(1, $1::int) AS n",
                    many,
                )
            await connection.execute(
                f"INSERT INTO {table} SELECT {ALICE}, 2000 + n, now() FROM generate_series(1, $1::int) AS n",
                _ERASE_BATCH,
            )
        await _erase_ties(connection, ALICE, [*range(2_001, 2_001 + _ERASE_BATCH)])
        assert await connection.fetchval(f"{scans} ~ '^follow.*_pkey$'") >= 4
        assert await connection.fetchval(f"{scans} !~ '_pkey$'") == 0
        assert await connection.fetchval("SELECT count(*) FROM followers") == 2 * many
        await transaction.rollback()


async def test_many_who_know_each_other_leave_at_once(emptied_pool: asyncpg.Pool) -> None:
    """None of them waits for another in a circle."""
    store = SqlSocialGraphStore(emptied_pool)
    people = range(1, 9)
    for one in people:
        for other in people:
            if one != other:
                await follow(store, one, other)
    await follow(store, 1, 20)
    await asyncio.gather(*(erase(store, user_id) for user_id in people))
    for table in TABLES - {"follow_counts"}:
        assert await emptied_pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    assert await store.get_counts(20) == FollowCounts(0, 0)


async def test_every_table_of_users_is_known(emptied_pool: asyncpg.Pool) -> None:
    rows = await emptied_pool.fetch("SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id'")
    assert {name for (name,) in rows} == TABLES
