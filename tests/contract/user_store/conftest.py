import asyncpg
import pytest

from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.sql_store import SqlUserStore
from pkg.user_manager.store import UserStore


@pytest.fixture
async def emptied_pool(user_pool: asyncpg.Pool) -> asyncpg.Pool:
    await user_pool.execute("DELETE FROM users")
    return user_pool


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> UserStore:
    if request.param == "memory":
        return MemoryUserStore()
    return SqlUserStore(request.getfixturevalue("emptied_pool"))
