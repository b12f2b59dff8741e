"""The social graph in Postgres.

A follow is a row on either side and one more in two counts that are kept, never counted. Every transaction locks its
edge first and then the counts in the order of user ids, so no two of them can wait for each other. What is told is a
row of the outbox, written last: under the lock on the follower's counts, and so in the order of what that user did.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from pkg.events.outbox import insert_events
from pkg.object_model.events import FollowEvent
from pkg.object_model.types import FollowCounts
from pkg.runtime.postgres import database_errors
from pkg.social_graph_manager.store import Edge, SocialGraphStore

_ADD_FOLLOWING: Final = """
    INSERT INTO following (user_id, followed_id, created_at) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
    RETURNING true
"""
_ADD_FOLLOWER: Final = "INSERT INTO followers (user_id, follower_id, created_at) VALUES ($1, $2, $3)"
_REMOVE_FOLLOWING: Final = "DELETE FROM following WHERE user_id = $1 AND followed_id = $2 RETURNING true"
_REMOVE_FOLLOWER: Final = "DELETE FROM followers WHERE user_id = $1 AND follower_id = $2"
_RAISE_COUNTS: Final = """
    INSERT INTO follow_counts AS kept (user_id, followers, following) VALUES ($1, $2, $3)
    ON CONFLICT (user_id) DO UPDATE
    SET followers = kept.followers + excluded.followers, following = kept.following + excluded.following
"""
_LOWER_COUNTS: Final = """
    UPDATE follow_counts SET followers = followers - $2, following = following - $3 WHERE user_id = $1
"""
_FIRST_FOLLOWERS: Final = """
    SELECT created_at, follower_id FROM followers
    WHERE user_id = $1
    ORDER BY created_at DESC, follower_id DESC LIMIT $2
"""
_MORE_FOLLOWERS: Final = """
    SELECT created_at, follower_id FROM followers
    WHERE user_id = $1 AND (created_at, follower_id) < ($3, $4)
    ORDER BY created_at DESC, follower_id DESC LIMIT $2
"""
_FIRST_FOLLOWING: Final = """
    SELECT created_at, followed_id FROM following
    WHERE user_id = $1
    ORDER BY created_at DESC, followed_id DESC LIMIT $2
"""
_MORE_FOLLOWING: Final = """
    SELECT created_at, followed_id FROM following
    WHERE user_id = $1 AND (created_at, followed_id) < ($3, $4)
    ORDER BY created_at DESC, followed_id DESC LIMIT $2
"""
# In the order of the primary key.
_FOLLOWER_IDS: Final = """
    SELECT follower_id FROM followers
    WHERE user_id = $1 AND follower_id > $3
    ORDER BY follower_id LIMIT $2
"""
_GET_COUNTS: Final = "SELECT followers, following FROM follow_counts WHERE user_id = $1"
_IS_FOLLOWING: Final = "SELECT true FROM following WHERE user_id = $1 AND followed_id = $2"


class SqlSocialGraphStore(SocialGraphStore):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def follow(self, follower_id: int, followed_id: int, now: datetime, event: FollowEvent) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(_ADD_FOLLOWING, follower_id, followed_id, now):
                    return False
                await connection.execute(_ADD_FOLLOWER, followed_id, follower_id, now)
                for change in _count_changes(follower_id, followed_id):
                    await connection.execute(_RAISE_COUNTS, *change)
                await insert_events(connection, [event])
                return True

    async def unfollow(self, follower_id: int, followed_id: int, event: FollowEvent) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(_REMOVE_FOLLOWING, follower_id, followed_id):
                    return False
                await connection.execute(_REMOVE_FOLLOWER, followed_id, follower_id)
                for change in _count_changes(follower_id, followed_id):
                    await connection.execute(_LOWER_COUNTS, *change)
                await insert_events(connection, [event])
                return True

    async def list_followers(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return await self._list(_FIRST_FOLLOWERS, _MORE_FOLLOWERS, user_id, after, limit)

    async def list_following(self, user_id: int, after: Edge | None, limit: int) -> Sequence[Edge]:
        return await self._list(_FIRST_FOLLOWING, _MORE_FOLLOWING, user_id, after, limit)

    async def list_follower_ids(self, user_id: int, after: int, limit: int) -> Sequence[int]:
        with database_errors():
            rows = await self._pool.fetch(_FOLLOWER_IDS, user_id, limit, after)
        return [follower_id for (follower_id,) in rows]

    async def get_counts(self, user_id: int) -> FollowCounts:
        with database_errors():
            row = await self._pool.fetchrow(_GET_COUNTS, user_id)
        return FollowCounts(*row) if row else FollowCounts(0, 0)

    async def is_following(self, follower_id: int, followed_id: int) -> bool:
        with database_errors():
            return bool(await self._pool.fetchval(_IS_FOLLOWING, follower_id, followed_id))

    async def _list(self, first: str, more: str, user_id: int, after: Edge | None, limit: int) -> list[Edge]:
        with database_errors():
            if after is None:
                rows = await self._pool.fetch(first, user_id, limit)
            else:
                rows = await self._pool.fetch(more, user_id, limit, after.created_at, after.user_id)
        return [Edge(created_at, other_id) for created_at, other_id in rows]


def _count_changes(follower_id: int, followed_id: int) -> list[tuple[int, int, int]]:
    """User, followers, following; by user id, which is the order of locks."""
    return sorted([(follower_id, 0, 1), (followed_id, 1, 0)])
