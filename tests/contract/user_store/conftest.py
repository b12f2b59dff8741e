from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import pytest

from pkg.object_model.types import Actor
from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.names import hash_name
from pkg.user_manager.sql_store import SqlUserStore
from pkg.user_manager.store import UserState, UserStore

_MARK = "UPDATE users SET state = 'deleting' WHERE id = $1"
_RETIRE = "INSERT INTO retired_names (name_hash, retired_at) VALUES ($1, now())"


@dataclass(frozen=True)
class Leaving:
    """A store, and what becomes of accounts in it."""

    store: UserStore
    leave: Callable[[Actor], Awaitable[None]]
    retire: Callable[[str], Awaitable[None]]


@pytest.fixture
async def emptied_pool(user_pool: asyncpg.Pool) -> asyncpg.Pool:
    await user_pool.execute("DELETE FROM users")
    await user_pool.execute("DELETE FROM retired_names")
    return user_pool


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> UserStore:
    if request.param == "memory":
        return MemoryUserStore()
    return SqlUserStore(request.getfixturevalue("emptied_pool"))


@pytest.fixture
def leaving(request: pytest.FixtureRequest, store: UserStore) -> Leaving:
    async def leave(user: Actor) -> None:
        if isinstance(store, MemoryUserStore):
            store._by_id[user.user_id].state = UserState.DELETING
        else:
            await request.getfixturevalue("emptied_pool").execute(_MARK, user.user_id)

    async def retire(key: str) -> None:
        if isinstance(store, MemoryUserStore):
            store._retired.add(hash_name(key))
        else:
            await request.getfixturevalue("emptied_pool").execute(_RETIRE, hash_name(key))

    return Leaving(store, leave, retire)
