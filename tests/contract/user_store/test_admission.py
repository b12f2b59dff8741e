"""Newcomers who come at once, and to a name that is just given up: the manager on each store."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.object_model.errors import Conflict
from pkg.object_model.types import PageRequest, ProviderProfile, RegisterRequest
from pkg.user_manager.deletions import AccountDeletions
from pkg.user_manager.manager import UserManager
from pkg.user_manager.memory_deletion_store import MemoryDeletionStore
from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.names import hash_name
from pkg.user_manager.sql_store import SqlUserStore
from pkg.user_manager.store import UserStore

OCTOCAT = ProviderProfile(provider="github", subject="583231", login="octocat", display_name="", email="")


@pytest.fixture
def users(store: UserStore) -> UserManager:
    return manager_on(store)


def manager_on(store: UserStore) -> UserManager:
    clock = SystemClock()
    ids = TimeOrderedIds(clock)
    # Nobody leaves here.
    deletions = AccountDeletions(MemoryDeletionStore(MemoryUserStore()), clock, ids)
    return UserManager(store, clock, ids, deletions=deletions)


async def test_one_who_logs_in_twice_at_once_is_one_user(users: UserManager) -> None:
    tickets = await asyncio.gather(*(users.admit(OCTOCAT) for _ in range(10)))
    assert {ticket.user.name for ticket in tickets} == {"octocat"}
    assert len({ticket.user for ticket in tickets}) == 1


async def test_many_of_one_name_at_once_get_names_of_their_own(users: UserManager) -> None:
    profiles = [replace(OCTOCAT, subject=str(number)) for number in range(15)]
    # Each of them twice.
    tickets = await asyncio.gather(*(users.admit(profile) for profile in profiles * 2))
    assert [ticket.user for ticket in tickets[:15]] == [ticket.user for ticket in tickets[15:]]
    assert len({ticket.user.name.casefold() for ticket in tickets}) == 15
    assert "octocat" in {ticket.user.name for ticket in tickets}


async def test_a_login_and_all_that_follows_it(users: UserManager) -> None:
    ticket = await users.admit(OCTOCAT)
    session = await users.login("octocat", ticket.ticket, "a browser")
    identity = await users.authenticate(session.token)
    assert await users.record_uses() == 1
    (record,) = await users.list_sessions(ticket.user)
    assert record.id == identity.token.id
    assert record.last_used_at is not None
    assert await users.end_sessions(ticket.user) == 1
    events = (await users.get_audit_events(ticket.user, PageRequest())).events
    assert [event.type for event in events] == ["session_ended", "login"]


async def test_a_name_whose_user_is_just_being_deleted_is_nobodys(emptied_pool: asyncpg.Pool) -> None:
    """Whoever asks for it meanwhile waits for the end of the deletion, and must see what it wrote."""
    users = manager_on(SqlUserStore(emptied_pool))
    alice = await users.register(None, RegisterRequest(name="alice"))
    async with emptied_pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("DELETE FROM users WHERE id = $1", alice.id)
        await connection.execute("INSERT INTO retired_names VALUES ($1, now())", hash_name("alice"))
        taking = asyncio.create_task(users.register(None, RegisterRequest(name="ALICE")))
        await until_somebody_waits(emptied_pool)
        await transaction.commit()
    with pytest.raises(Conflict) as taken:
        await taking
    assert taken.value.code == "name_taken"
    assert await users.find_users(["alice"]) == {}


_WAITING = """
    SELECT true FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""


async def until_somebody_waits(pool: asyncpg.Pool) -> None:
    async with asyncio.timeout(30):
        while not await pool.fetchval(_WAITING):  # noqa: ASYNC110  # the database tells nobody
            await asyncio.sleep(0.01)
