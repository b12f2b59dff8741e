import asyncpg
import pytest

from pkg.social_graph_manager.memory_store import MemorySocialGraphStore
from pkg.social_graph_manager.sql_store import SqlSocialGraphStore
from pkg.social_graph_manager.store import SocialGraphStore


@pytest.fixture
async def emptied_pool(social_graph_pool: asyncpg.Pool) -> asyncpg.Pool:
    for table in (
        "following",
        "followers",
        "incoming_requests",
        "outgoing_requests",
        "blocks",
        "follow_counts",
        "outbox",
    ):
        await social_graph_pool.execute(f"DELETE FROM {table}")
    return social_graph_pool


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> SocialGraphStore:
    if request.param == "memory":
        return MemorySocialGraphStore()
    return SqlSocialGraphStore(request.getfixturevalue("emptied_pool"))
