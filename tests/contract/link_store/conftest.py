"""Both stores of links: in memory, and in a real Postgres with the rights that the service has."""

from collections.abc import Iterator
from itertools import count

import asyncpg
import pytest

from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.link_manager.sql_store import SqlLinkStore
from pkg.link_manager.store import LinkStore

_USERS: Iterator[int] = count(1)


@pytest.fixture
def user_id() -> int:
    """Nobody else's in this run: the database is shared by its tests."""
    return next(_USERS)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> LinkStore:
    if request.param == "memory":
        return MemoryLinkStore()
    pool: asyncpg.Pool = request.getfixturevalue("link_pool")
    return SqlLinkStore(pool)
