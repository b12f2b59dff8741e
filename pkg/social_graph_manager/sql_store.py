"""The social graph in Postgres.

A follow is a row on either side and one more in two counts that are kept, never counted; a request is a row on either
side. Every transaction takes the lock of its pair first, so that a block and a follow, or a yes and a change of mind,
come one after the other; then it locks counts in the order of user ids, so no two of them can wait for each other in a
circle. What is told is a row of the outbox, written last: under the lock on the follower's counts, and so in the order
of what became of that user.
"""

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from pkg.events.messages import PARTITIONS
from pkg.events.outbox import erase_events, insert_events
from pkg.object_model import erasure
from pkg.object_model.types import FollowCounts, FollowState
from pkg.runtime.postgres import database_errors
from pkg.social_graph_manager.store import Edge, SocialGraphStore, Tell, Ties, check_may_follow

# Until the end of the transaction. What is read in the same statement would be from before the lock was granted.
_LOCK_PAIR: Final = "SELECT pg_advisory_xact_lock($1)"
_ADD_FOLLOWING: Final = """
    INSERT INTO following (user_id, followed_id, created_at) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
    RETURNING true
"""
_ADD_FOLLOWER: Final = "INSERT INTO followers (user_id, follower_id, created_at) VALUES ($1, $2, $3)"
_REMOVE_FOLLOWING: Final = "DELETE FROM following WHERE user_id = $1 AND followed_id = $2 RETURNING true"
_REMOVE_FOLLOWER: Final = "DELETE FROM followers WHERE user_id = $1 AND follower_id = $2"
_RAISE_COUNTS: Final = """
    INSERT INTO follow_counts AS kept (user_id, followers, following, told_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (user_id) DO UPDATE
    SET followers = kept.followers + excluded.followers, following = kept.following + excluded.following,
        told_at = greatest(excluded.told_at, kept.told_at + interval '1 microsecond')
    RETURNING told_at
"""
_LOWER_COUNTS: Final = """
    UPDATE follow_counts
    SET followers = followers - $2, following = following - $3,
        told_at = greatest($4, told_at + interval '1 microsecond')
    WHERE user_id = $1
    RETURNING told_at
"""
_ADD_OUTGOING: Final = """
    INSERT INTO outgoing_requests (user_id, followed_id, created_at) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
    RETURNING true
"""
_ADD_INCOMING: Final = "INSERT INTO incoming_requests (user_id, follower_id, created_at) VALUES ($1, $2, $3)"
_REMOVE_OUTGOING: Final = "DELETE FROM outgoing_requests WHERE user_id = $1 AND followed_id = $2 RETURNING true"
_REMOVE_INCOMING: Final = "DELETE FROM incoming_requests WHERE user_id = $1 AND follower_id = $2"
_ADD_BLOCK: Final = """
    INSERT INTO blocks (user_id, blocked_id, created_at) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
    RETURNING true
"""
_REMOVE_BLOCK: Final = "DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2 RETURNING true"
# In the order of the primary key.
_FOLLOWER_IDS: Final = """
    SELECT follower_id FROM followers
    WHERE user_id = $1 AND follower_id > $3
    ORDER BY follower_id LIMIT $2
"""
_FOLLOWED_IDS: Final = """
    SELECT followed_id FROM following
    WHERE user_id = $1 AND followed_id > $3
    ORDER BY followed_id LIMIT $2
"""
# One by one, by the primary key. Asked for all at once, a planner without statistics reads a celebrity's whole list.
_AMONG_FOLLOWERS: Final = """
    SELECT wanted FROM unnest($2::bigint[]) AS wanted
    CROSS JOIN LATERAL (SELECT FROM followers WHERE user_id = $1 AND follower_id = wanted LIMIT 1) AS found
"""
#: Of those whom a user follows, so many are looked up at once among the followers of another.
_LOOKED_UP_AT_ONCE: Final = 1_000
_GET_COUNTS: Final = "SELECT followers, following FROM follow_counts WHERE user_id = $1"
_GET_TIES: Final = """
    SELECT
        EXISTS (SELECT FROM following WHERE user_id = $1 AND followed_id = $2) AS following,
        EXISTS (SELECT FROM outgoing_requests WHERE user_id = $1 AND followed_id = $2) AS requested,
        EXISTS (SELECT FROM blocks WHERE user_id = $1 AND blocked_id = $2) AS blocked,
        EXISTS (SELECT FROM blocks WHERE user_id = $2 AND blocked_id = $1) AS blocked_by
"""
_FIND_HIDDEN: Final = """
    SELECT blocked_id FROM blocks WHERE user_id = $1 AND blocked_id = ANY($2::bigint[])
    UNION ALL
    SELECT user_id FROM blocks WHERE blocked_id = $1 AND user_id = ANY($2::bigint[])
"""

#: Others with whom a user who leaves is done, at once.
_ERASE_BATCH: Final = 500
_FIND_TIED: Final = " UNION ".join(
    f"(SELECT {other} FROM {table} WHERE {user} = $1 LIMIT $2)"
    for table, user, other in (
        ("followers", "user_id", "follower_id"),
        ("following", "user_id", "followed_id"),
        ("incoming_requests", "user_id", "follower_id"),
        ("outgoing_requests", "user_id", "followed_id"),
        ("blocks", "user_id", "blocked_id"),
        ("blocks", "blocked_id", "user_id"),
    )
)
# In the order of the array.
_LOCK_PAIRS: Final = "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key"


def _erase(table: str, other: str) -> str:
    """Of pairs: two arrays of one length. Each is looked up by the whole key, whatever Postgres knows of the table; by
    two lists of ids it may read all that one of them has.
    """
    return f"""
        DELETE FROM {table} AS kept USING unnest($1::bigint[], $2::bigint[]) AS pair (user_id, other_id)
        WHERE kept.user_id = pair.user_id AND kept.{other} = pair.other_id RETURNING kept.user_id
    """


# A list and what it is from the other side. Whoever is in one of the two is in the other.
_ERASE_TIES: Final = (
    _erase("incoming_requests", "follower_id"),
    _erase("outgoing_requests", "followed_id"),
    _erase("blocks", "blocked_id"),
)
_ERASE_FOLLOWERS: Final = _erase("followers", "follower_id")
_ERASE_FOLLOWING: Final = _erase("following", "followed_id")
# Nothing is told of it, so the time of what was told last stays as it is.
_LOWER_COUNTS_OF_MANY: Final = """
    WITH locked AS MATERIALIZED (
        SELECT user_id FROM follow_counts WHERE user_id = ANY ($1::bigint[]) ORDER BY user_id FOR UPDATE
    )
    UPDATE follow_counts AS kept
    SET followers = kept.followers - (kept.user_id = ANY ($2::bigint[]))::int,
        following = kept.following - (kept.user_id = ANY ($3::bigint[]))::int
    FROM locked WHERE kept.user_id = locked.user_id
"""
_ERASE_COUNTS: Final = "DELETE FROM follow_counts WHERE user_id = $1"

type _Connection = asyncpg.pool.PoolConnectionProxy


class _Listing(NamedTuple):
    """Two statements: the first page of a list, and the others."""

    first: str
    more: str


def _listing(table: str, other: str) -> _Listing:
    order = f"ORDER BY created_at DESC, {other} DESC LIMIT $2"
    first = f"SELECT created_at, {other} FROM {table} WHERE user_id = $1"
    return _Listing(f"{first} {order}", f"{first} AND (created_at, {other}) < ($3, $4) {order}")


_FOLLOWERS: Final = _listing("followers", "follower_id")
_FOLLOWING: Final = _listing("following", "followed_id")
_INCOMING: Final = _listing("incoming_requests", "follower_id")
_OUTGOING: Final = _listing("outgoing_requests", "followed_id")
_BLOCKED: Final = _listing("blocks", "blocked_id")


class SqlSocialGraphStore(SocialGraphStore):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    # --- changing -----------------------------------------------------------------------------------------------------

    async def follow(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        async with self._hold(follower_id, followed_id) as connection:
            check_may_follow(await _get_ties(connection, follower_id, followed_id))
            await _end_request(connection, follower_id, followed_id)
            return await _begin_follow(connection, follower_id, followed_id, now, tell)

    async def request(self, follower_id: int, followed_id: int, now: datetime) -> FollowState:
        async with self._hold(follower_id, followed_id) as connection:
            ties = await _get_ties(connection, follower_id, followed_id)
            check_may_follow(ties)
            if ties.following:
                return FollowState.FOLLOWING
            if await connection.fetchval(_ADD_OUTGOING, follower_id, followed_id, now):
                await connection.execute(_ADD_INCOMING, followed_id, follower_id, now)
            return FollowState.REQUESTED

    async def accept(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        async with self._hold(follower_id, followed_id) as connection:
            if await _end_request(connection, follower_id, followed_id):
                await _begin_follow(connection, follower_id, followed_id, now, tell)
                return True
            return (await _get_ties(connection, follower_id, followed_id)).following

    async def reject(self, follower_id: int, followed_id: int) -> bool:
        async with self._hold(follower_id, followed_id) as connection:
            return await _end_request(connection, follower_id, followed_id)

    async def unfollow(self, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
        async with self._hold(follower_id, followed_id) as connection:
            return await _end(connection, [(follower_id, followed_id)], now, tell)

    async def block(self, user_id: int, blocked_id: int, now: datetime, tell: Tell) -> bool:
        async with self._hold(user_id, blocked_id) as connection:
            if not await connection.fetchval(_ADD_BLOCK, user_id, blocked_id, now):
                return False
            await _end(connection, [(user_id, blocked_id), (blocked_id, user_id)], now, tell)
            return True

    async def unblock(self, user_id: int, blocked_id: int) -> bool:
        async with self._hold(user_id, blocked_id) as connection:
            return bool(await connection.fetchval(_REMOVE_BLOCK, user_id, blocked_id))

    @asynccontextmanager
    async def _hold(self, user_id: int, other_id: int) -> AsyncIterator[_Connection]:
        """A transaction in which nothing else happens to the two."""
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK_PAIR, _pair_key(user_id, other_id))
                yield connection

    # --- reading ------------------------------------------------------------------------------------------------------

    async def list_followers(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return await self._list(_FOLLOWERS, user_id, after, limit)

    async def list_following(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return await self._list(_FOLLOWING, user_id, after, limit)

    async def list_incoming(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return await self._list(_INCOMING, user_id, after, limit)

    async def list_outgoing(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return await self._list(_OUTGOING, user_id, after, limit)

    async def list_blocked(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return await self._list(_BLOCKED, user_id, after, limit)

    async def list_mutuals(self, user_id: int, other_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        """Goes through those whom the user follows, who are few, however many follow the other. Each statement is about
        one of the two alone, as it has to be where they are on different machines."""
        found: list[Edge] = []
        size = min(_LOOKED_UP_AT_ONCE, 4 * limit)
        while len(found) < limit:
            edges = await self._list(_FOLLOWING, user_id, after, size)
            with database_errors():
                rows = await self._pool.fetch(_AMONG_FOLLOWERS, other_id, [edge.user_id for edge in edges])
            among = {each for (each,) in rows}
            found += [edge for edge in edges if edge.user_id in among]
            if len(edges) < size:
                break
            after, size = edges[-1], _LOOKED_UP_AT_ONCE
        return found[:limit]

    async def list_follower_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        with database_errors():
            rows = await self._pool.fetch(_FOLLOWER_IDS, user_id, limit, after)
        return [follower_id for (follower_id,) in rows]

    async def list_followed_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        with database_errors():
            rows = await self._pool.fetch(_FOLLOWED_IDS, user_id, limit, after)
        return [followed_id for (followed_id,) in rows]

    async def get_counts(self, user_id: int) -> FollowCounts:
        with database_errors():
            row = await self._pool.fetchrow(_GET_COUNTS, user_id)
        return FollowCounts(*row) if row else FollowCounts(0, 0)

    async def get_ties(self, user_id: int, other_id: int) -> Ties:
        with database_errors():
            return await _get_ties(self._pool, user_id, other_id)

    async def find_hidden(self, user_id: int, other_ids: Collection[int]) -> set[int]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_HIDDEN, user_id, list(other_ids))
        return {other_id for (other_id,) in rows}

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                tied = await connection.fetch(_FIND_TIED, user_id, _ERASE_BATCH)
                if tied:
                    await _erase_ties(connection, user_id, [other_id for (other_id,) in tied[:_ERASE_BATCH]])
                    return after
                await connection.execute(_ERASE_COUNTS, user_id)
                return await erase_events(connection, ("FollowerId", "FollowedId"), user_id, range(PARTITIONS), after)

    async def _list(self, listing: _Listing, user_id: int, after: Edge | None, limit: int) -> list[Edge]:
        with database_errors():
            if after is None:
                rows = await self._pool.fetch(listing.first, user_id, limit)
            else:
                rows = await self._pool.fetch(listing.more, user_id, limit, after.created_at, after.user_id)
        return [Edge(created_at, other_id) for created_at, other_id in rows]


# --- inside a transaction that holds the pair -------------------------------------------------------------------------


async def _begin_follow(connection: _Connection, follower_id: int, followed_id: int, now: datetime, tell: Tell) -> bool:
    """Whether this is new."""
    if not await connection.fetchval(_ADD_FOLLOWING, follower_id, followed_id, now):
        return False
    await connection.execute(_ADD_FOLLOWER, followed_id, follower_id, now)
    await _count(connection, _RAISE_COUNTS, [(follower_id, followed_id)], now, tell)
    return True


async def _end(connection: _Connection, pairs: Sequence[tuple[int, int]], now: datetime, tell: Tell) -> bool:
    """Whether there was anything to end, of pairs of a follower and a followed."""
    requests = [pair for pair in pairs if await _end_request(connection, *pair)]
    follows = []
    for follower_id, followed_id in pairs:
        if await connection.fetchval(_REMOVE_FOLLOWING, follower_id, followed_id):
            await connection.execute(_REMOVE_FOLLOWER, followed_id, follower_id)
            follows.append((follower_id, followed_id))
    await _count(connection, _LOWER_COUNTS, follows, now, tell)
    return bool(requests or follows)


async def _end_request(connection: _Connection, follower_id: int, followed_id: int) -> bool:
    """Whether there was one."""
    if not await connection.fetchval(_REMOVE_OUTGOING, follower_id, followed_id):
        return False
    await connection.execute(_REMOVE_INCOMING, followed_id, follower_id)
    return True


async def _count(
    connection: _Connection, statement: str, follows: Sequence[tuple[int, int]], now: datetime, tell: Tell
) -> None:
    """Counts follows that began or ended, and tells them."""
    changes: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for follower_id, followed_id in follows:
        changes[followed_id][0] += 1
        changes[follower_id][1] += 1
    told_at = {
        # By user id, which is the order of locks.
        user_id: await connection.fetchval(statement, user_id, *changes[user_id], now)
        for user_id in sorted(changes)
    }
    await insert_events(connection, [tell(follower_id, told_at[follower_id]) for follower_id, _ in follows])


async def _erase_ties(connection: _Connection, user_id: int, other_ids: Sequence[int]) -> None:
    # In one order, so that no two who leave wait for each other in a circle.
    await connection.execute(_LOCK_PAIRS, sorted(_pair_key(user_id, other_id) for other_id in other_ids))
    user = [user_id] * len(other_ids)
    for statement in _ERASE_TIES:
        await connection.execute(statement, user, other_ids)
        await connection.execute(statement, other_ids, user)
    await connection.execute(_ERASE_FOLLOWERS, user, other_ids)
    await connection.execute(_ERASE_FOLLOWING, user, other_ids)
    followed = [other_id for (other_id,) in await connection.fetch(_ERASE_FOLLOWERS, other_ids, user)]
    followers = [other_id for (other_id,) in await connection.fetch(_ERASE_FOLLOWING, other_ids, user)]
    await connection.execute(_LOWER_COUNTS_OF_MANY, sorted({*followed, *followers}), followed, followers)


async def _get_ties(connection: "asyncpg.Pool | _Connection", user_id: int, other_id: int) -> Ties:
    row = await connection.fetchrow(_GET_TIES, user_id, other_id)
    assert row is not None  # noqa: S101  # a SELECT without FROM has one row
    return Ties(**row)


def _pair_key(user_id: int, other_id: int) -> int:
    """The same for both directions. Two pairs with one key would wait for each other for nothing."""
    pair = "{}:{}".format(*sorted((user_id, other_id)))
    return int.from_bytes(hashlib.blake2b(pair.encode(), digest_size=8).digest(), signed=True)
