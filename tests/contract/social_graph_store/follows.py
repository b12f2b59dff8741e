"""Follows for the store's suite, each with an event of its own."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

from pkg.object_model.events import FollowEvent
from pkg.social_graph_manager.memory_store import MemorySocialGraphStore
from pkg.social_graph_manager.sql_store import SqlSocialGraphStore
from pkg.social_graph_manager.store import SocialGraphStore, Tell

NOW = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)

_EVENT_IDS: Iterator[int] = count(1)


def teller(one: int, other: int, *, following: bool) -> Tell:
    def tell(follower_id: int, time: datetime) -> FollowEvent:
        followed_id = other if follower_id == one else one
        return FollowEvent(
            id=next(_EVENT_IDS),
            follower_id=follower_id,
            follower=f"user{follower_id}",
            followed_id=followed_id,
            followed=f"user{followed_id}",
            timestamp=time,
            following=following,
        )

    return tell


async def follow(store: SocialGraphStore, follower_id: int, followed_id: int, now: datetime = NOW) -> bool:
    return await store.follow(follower_id, followed_id, now, teller(follower_id, followed_id, following=True))


async def unfollow(store: SocialGraphStore, follower_id: int, followed_id: int) -> bool:
    return await store.unfollow(follower_id, followed_id, NOW, teller(follower_id, followed_id, following=False))


async def accept(store: SocialGraphStore, follower_id: int, followed_id: int) -> bool:
    return await store.accept(follower_id, followed_id, NOW, teller(follower_id, followed_id, following=True))


async def block(store: SocialGraphStore, user_id: int, blocked_id: int, now: datetime = NOW) -> bool:
    return await store.block(user_id, blocked_id, now, teller(user_id, blocked_id, following=False))


async def is_following(store: SocialGraphStore, follower_id: int, followed_id: int) -> bool:
    return (await store.get_ties(follower_id, followed_id)).following


async def events_of(store: SocialGraphStore, follower_id: int) -> list[FollowEvent]:
    """What was told of one who follows, in order."""
    if isinstance(store, MemorySocialGraphStore):
        told = [event for event in store.events if isinstance(event, FollowEvent)]
    else:
        assert isinstance(store, SqlSocialGraphStore)
        rows = await store._pool.fetch("SELECT body FROM outbox ORDER BY partition, position")
        told = [FollowEvent.from_wire(json.loads(body)) for (body,) in rows]
    return [event for event in told if event.follower_id == follower_id]
