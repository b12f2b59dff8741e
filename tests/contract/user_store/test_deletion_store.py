"""Deletions under way, in memory and in Postgres, beside the accounts that they are of."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import pytest

from pkg.object_model.errors import Conflict
from pkg.object_model.types import TokenKind
from pkg.user_manager.deletion_store import Deletion, DeletionStep, DeletionStore, DeletionsUnderWay
from pkg.user_manager.memory_deletion_store import MemoryDeletionStore
from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.providers import ProviderIdentity
from pkg.user_manager.sql_deletion_store import SqlDeletionStore
from pkg.user_manager.store import UserState, UserStore
from tests.contract.user_store.test_user_store import (
    ALICE,
    BOB,
    LATER,
    NOW,
    add,
    add_api_token,
    add_session,
    alive,
    api_token,
    event,
    redeem,
    ticket,
    token,
)

SECOND = timedelta(seconds=1)


@pytest.fixture
def deletions(request: pytest.FixtureRequest, store: UserStore) -> DeletionStore:
    if isinstance(store, MemoryUserStore):
        return MemoryDeletionStore(store)
    return SqlDeletionStore(request.getfixturevalue("emptied_pool"))


async def due(deletions: DeletionStore) -> Sequence[Deletion]:
    return await deletions.find_due(LATER, 10)


async def begun(store: UserStore, deletions: DeletionStore) -> Deletion:
    await add(store, ALICE, provider="github", subject="1")
    assert await deletions.begin(ALICE.user_id, NOW, NOW, event())
    (deletion,) = await due(deletions)
    return deletion


async def moved(deletions: DeletionStore, deletion: Deletion, step: DeletionStep) -> Deletion:
    found = await deletions.move(deletion, step)
    assert found is not None
    return found


async def test_it_begins_with_an_end_of_all_that_lets_in(store: UserStore, deletions: DeletionStore) -> None:
    await add(store, ALICE, provider="github", subject="1")
    await add(store, BOB)
    await add_session(store, ALICE.user_id, token(1))
    await add_session(store, BOB.user_id, token(2))
    await add_api_token(store, ALICE.user_id, api_token(3))
    await ticket(store, 4)
    assert await deletions.begin(ALICE.user_id, NOW, LATER, event())
    assert await alive(store, range(1, 4)) == [2]
    assert await redeem(store, "alice", 4, 5) is None
    assert await store.find_users({"alice", "bob"}) == {"bob": (await store.find_users({"bob"}))["bob"]}
    assert await store.find_owner(ProviderIdentity("github", "1")) == (ALICE, UserState.DELETING)
    assert await due(deletions) == [Deletion(user_id=ALICE.user_id, step=DeletionStep.WAITING, started_at=NOW)]


async def test_of_nobody_none_begins(store: UserStore, deletions: DeletionStore) -> None:
    assert not await deletions.begin(404, NOW, NOW, event())
    assert await deletions.count() == DeletionsUnderWay(0, None)


async def test_one_that_is_begun_again_is_the_same(store: UserStore, deletions: DeletionStore) -> None:
    deletion = await moved(deletions, await begun(store, deletions), DeletionStep.LINKS)
    assert await deletions.begin(ALICE.user_id, LATER, LATER, event())
    assert await due(deletions) == [deletion]


async def test_what_is_not_due_waits(store: UserStore, deletions: DeletionStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    assert await deletions.begin(ALICE.user_id, NOW, NOW + 2 * SECOND, event())
    assert await deletions.begin(BOB.user_id, NOW + SECOND, NOW + SECOND, event())

    async def ids(seconds: int, limit: int = 10) -> list[int]:
        return [deletion.user_id for deletion in await deletions.find_due(NOW + seconds * SECOND, limit)]

    assert await ids(0) == []
    assert await ids(1) == [BOB.user_id]
    assert await ids(2) == [BOB.user_id, ALICE.user_id]
    assert await ids(2, 1) == [BOB.user_id]
    assert await deletions.count() == DeletionsUnderWay(2, NOW)


async def test_it_goes_from_step_to_step(store: UserStore, deletions: DeletionStore) -> None:
    first = await begun(store, deletions)
    second = await moved(deletions, first, DeletionStep.SOCIAL_GRAPH)
    assert (second.step, second.started_at) == (DeletionStep.SOCIAL_GRAPH, NOW)
    assert await deletions.move(first, DeletionStep.LINKS) is None, "it is not there any more"
    assert await due(deletions) == [second]


async def test_a_failure_is_for_a_step(store: UserStore, deletions: DeletionStore) -> None:
    first = await begun(store, deletions)
    for attempts in range(3):
        (deletion,) = await due(deletions)
        assert deletion.attempts == attempts
        await deletions.put_off(deletion, NOW + SECOND, "away")
        assert list(await deletions.find_due(NOW, 10)) == []
    second = await moved(deletions, first, DeletionStep.SOCIAL_GRAPH)
    assert second.attempts == 0
    await deletions.put_off(first, LATER + SECOND, "too late")
    assert await due(deletions) == [second]


async def test_undone_the_account_is_open_again(store: UserStore, deletions: DeletionStore) -> None:
    await add(store, ALICE, provider="github", subject="1")
    await add_session(store, ALICE.user_id, token(1))
    assert await deletions.begin(ALICE.user_id, NOW, NOW, event())
    assert await deletions.undo(ALICE.user_id, event(detail="undone"))
    assert await store.find_owner(ProviderIdentity("github", "1")) == (ALICE, UserState.ACTIVE)
    assert "alice" in await store.find_users({"alice"})
    assert list(await store.list_tokens(ALICE.user_id, TokenKind.SESSION, NOW)) == [], "what has ended stays so"
    assert "undone" in [one.detail for one in await store.list_events(ALICE.user_id, None, 10)]
    assert await due(deletions) == []
    assert not await deletions.undo(ALICE.user_id, event())
    assert await deletions.begin(ALICE.user_id, NOW, NOW, event()), "they may change their mind once more"


@pytest.mark.parametrize("step", [step for step in DeletionStep if step is not DeletionStep.WAITING])
async def test_past_the_first_step_nothing_is_undone(
    store: UserStore, deletions: DeletionStore, step: DeletionStep
) -> None:
    deletion = await moved(deletions, await begun(store, deletions), step)
    assert not await deletions.undo(ALICE.user_id, event())
    assert await due(deletions) == [deletion]
    assert await store.find_users({"alice"}) == {}


async def test_at_the_end_nobody_knows_the_user(store: UserStore, deletions: DeletionStore) -> None:
    await begun(store, deletions)
    await deletions.finish(ALICE.user_id, NOW)
    await deletions.finish(ALICE.user_id, NOW)
    assert await store.find_names({ALICE.user_id}) == {}
    assert await store.find_owner(ProviderIdentity("github", "1")) is None
    assert await deletions.count() == DeletionsUnderWay(0, None)
    with pytest.raises(Conflict) as taken:
        await add(store, ALICE)
    assert taken.value.code == "name_taken"
    await add(store, BOB, provider="github", subject="1")


async def test_one_works_at_a_time(deletions: DeletionStore) -> None:
    async with deletions.work_alone() as first, deletions.work_alone() as second:
        assert (first, second) == (True, False)
    async with deletions.work_alone() as third:
        assert third


async def test_no_row_is_left(emptied_pool: asyncpg.Pool, store: UserStore, deletions: DeletionStore) -> None:
    """But the digest of the name."""
    if isinstance(store, MemoryUserStore):
        return
    await add(store, ALICE)
    await add_session(store, ALICE.user_id, token(1))
    await ticket(store, 2)
    assert await deletions.begin(ALICE.user_id, NOW, NOW, event())
    await deletions.finish(ALICE.user_id, NOW)
    rows = await emptied_pool.fetch(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
    )
    counts = {name: await emptied_pool.fetchval(f"SELECT count(*) FROM {name}") for (name,) in rows}
    assert {name for name, count in counts.items() if count} == {"retired_names"}


async def test_two_that_end_and_undo_at_once_agree(store: UserStore, deletions: DeletionStore) -> None:
    first = await begun(store, deletions)
    undone, went_on = await asyncio.gather(
        deletions.undo(ALICE.user_id, event()), deletions.move(first, DeletionStep.SOCIAL_GRAPH)
    )
    assert undone != (went_on is not None)
    assert ("alice" in await store.find_users({"alice"})) == undone
