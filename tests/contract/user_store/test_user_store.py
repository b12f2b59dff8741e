"""What the user manager needs of a store, asked of each."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from pkg.object_model.errors import Conflict, Unavailable
from pkg.object_model.types import Actor, DirectoryEntry, TokenKind, User
from pkg.runtime.postgres import PostgresAddress, open_pool
from pkg.user_manager.providers import ProviderIdentity
from pkg.user_manager.sql_store import _FIND_IDENTITY, SqlUserStore
from pkg.user_manager.store import Account, StoredToken, UserStore

NOW = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
SECOND = timedelta(seconds=1)
ALICE = Actor(7, "Alice")
BOB = Actor(2**63 - 1, "bob")


def user_of(actor: Actor, *, private: bool = False) -> User:
    return User(
        id=actor.user_id,
        name=actor.name,
        display_name=f"{actor.name} Ü\u200d日本 😀",
        email="",
        private=private,
        created_at=NOW,
    )


async def add(
    store: UserStore, actor: Actor, *, provider: str = "local", subject: str = "", private: bool = False
) -> User:
    user = user_of(actor, private=private)
    await store.add_user(user, user.name.casefold(), ProviderIdentity(provider, subject or str(user.id)))
    return user


def hash_of(number: int) -> bytes:
    return number.to_bytes(32)


def token(
    number: int,
    *,
    kind: TokenKind = TokenKind.SESSION,
    expires_at: datetime = LATER,
    name: str = "",
    scopes: tuple[str, ...] = (),
) -> StoredToken:
    return StoredToken(
        id=number,
        token_hash=hash_of(number),
        kind=kind,
        name=name,
        scopes=scopes,
        created_at=NOW,
        expires_at=expires_at,
    )


async def alive(store: UserStore, numbers: range, now: datetime = NOW) -> list[int]:
    return [number for number in numbers if await store.find_identity(hash_of(number), now) is not None]


# --- users ----------------------------------------------------------------------------------------------------------


async def test_a_user_is_found_as_added(store: UserStore) -> None:
    alice = await add(store, ALICE, provider="github", subject="583231")
    bob = await add(store, BOB)
    assert await store.find_user("alice") == alice
    assert await store.find_user("bob") == bob
    assert await store.find_user("Alice") is None
    assert await store.find_account("alice") == Account(ALICE, ProviderIdentity("github", "583231"))
    assert await store.find_account("nobody") is None


async def test_many_are_looked_up_at_once(store: UserStore) -> None:
    await add(store, ALICE, private=True)
    await add(store, BOB)
    assert await store.find_users({"alice", "bob", "nobody"}) == {
        "alice": DirectoryEntry(ALICE.user_id, "Alice", private=True),
        "bob": DirectoryEntry(BOB.user_id, "bob", private=False),
    }
    assert await store.find_names({ALICE.user_id, BOB.user_id, 0}) == {ALICE.user_id: "Alice", BOB.user_id: "bob"}
    assert await store.find_users(set()) == {}
    assert await store.find_names(set()) == {}


async def test_a_name_belongs_to_one(store: UserStore) -> None:
    await add(store, ALICE)
    with pytest.raises(Conflict) as taken:
        await add(store, Actor(8, "ALICE"))
    assert taken.value.code == "name_taken"
    assert await store.find_names({8}) == {}


async def test_an_identity_is_both_the_provider_and_the_subject(store: UserStore) -> None:
    await add(store, ALICE, provider="github", subject="1")
    await add(store, BOB, provider="local", subject="1")
    with pytest.raises(Conflict) as taken:
        await add(store, Actor(9, "carol"), provider="github", subject="1")
    assert taken.value.code == "identity_taken"
    assert await store.find_user("carol") is None


async def test_of_many_who_want_a_name_at_once_one_gets_it(store: UserStore) -> None:
    wanted = [add(store, Actor(number, name)) for number, name in enumerate(["dave", "Dave", "DAVE"] * 5, start=100)]
    results = await asyncio.gather(*wanted, return_exceptions=True)
    winners = [result for result in results if isinstance(result, User)]
    assert len(winners) == 1
    assert {error.code for error in results if isinstance(error, Conflict)} == {"name_taken"}
    assert len([error for error in results if isinstance(error, Conflict)]) == len(wanted) - 1
    assert await store.find_user("dave") == winners[0]


# --- sessions and tokens --------------------------------------------------------------------------------------------


async def test_a_token_stands_for_its_user_until_it_expires(store: UserStore) -> None:
    await add(store, ALICE)
    kept = token(1, kind=TokenKind.API_TOKEN, name="laptop", scopes=("links:read", "links:write"))
    await store.add_token(ALICE.user_id, kept, NOW, at_most=10)
    found = await store.find_identity(kept.token_hash, NOW)
    assert found is not None
    assert found.actor == ALICE
    assert (found.token.name, found.token.kind, found.token.scopes) == ("laptop", TokenKind.API_TOKEN, kept.scopes)
    assert found.token.expires_at == LATER
    assert await store.find_identity(kept.token_hash, LATER - timedelta(microseconds=1)) is not None
    assert await store.find_identity(kept.token_hash, LATER) is None
    assert await store.find_identity(hash_of(2), NOW) is None


async def test_a_session_ends_for_its_own_user_and_alone(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await store.add_token(ALICE.user_id, token(1), NOW, at_most=10)
    await store.add_token(ALICE.user_id, token(2), NOW, at_most=10)
    await store.add_token(ALICE.user_id, token(3, kind=TokenKind.API_TOKEN), NOW, at_most=10)
    for key, number in (("bob", 1), ("nobody", 1), ("alice", 3), ("alice", 4)):
        await store.end_session(key, hash_of(number))
    assert await alive(store, range(1, 4)) == [1, 2, 3]
    for _ in range(2):
        await store.end_session("alice", hash_of(1))
    assert await alive(store, range(1, 4)) == [2, 3]
    assert await store.find_user("alice") is not None


async def test_one_session_too_many_ends_the_oldest(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await store.add_token(BOB.user_id, token(99), NOW, at_most=3)
    await store.add_token(ALICE.user_id, token(98, kind=TokenKind.API_TOKEN), NOW, at_most=3)
    for number in range(1, 6):
        await store.add_token(ALICE.user_id, token(number), NOW, at_most=3)
    assert await alive(store, range(1, 6)) == [3, 4, 5]
    assert await alive(store, range(98, 100)) == [98, 99], "another kind, and another user's"


async def test_the_expired_do_not_count_and_go(store: UserStore) -> None:
    await add(store, ALICE)
    await store.add_token(ALICE.user_id, token(1), NOW, at_most=3)
    for number in (2, 3):
        await store.add_token(ALICE.user_id, token(number, expires_at=NOW + SECOND), NOW, at_most=3)
    now = NOW + SECOND
    await store.add_token(ALICE.user_id, token(4), now, at_most=3)
    assert await alive(store, range(1, 5), now) == [1, 4]
    assert await alive(store, range(1, 5), NOW) == [1, 4], "they are gone, not only over"


async def test_many_sessions_at_once_keep_the_limit(store: UserStore) -> None:
    await add(store, ALICE)
    numbers = range(1, 31)
    await asyncio.gather(*(store.add_token(ALICE.user_id, token(number), NOW, at_most=5) for number in numbers))
    assert len(await alive(store, numbers)) == 5
    await asyncio.gather(*(ticket(store, number, at_most=30) for number in numbers))
    sessions = range(101, 131)
    await asyncio.gather(*(redeem(store, "alice", number, 100 + number, at_most=4) for number in numbers))
    assert len(await alive(store, range(1, 131))) == len(await alive(store, sessions)) == 4


# --- tickets --------------------------------------------------------------------------------------------------------


async def ticket(store: UserStore, number: int, *, now: datetime = NOW, at_most: int = 10) -> bool:
    return await store.add_ticket(ALICE.user_id, hash_of(number), now, now + 2 * SECOND, at_most=at_most)


async def redeem(
    store: UserStore, key: str, number: int, session: int, *, now: datetime = NOW, at_most: int = 10
) -> Actor | None:
    return await store.redeem_ticket(key, hash_of(number), token(session), now, at_most=at_most)


async def test_a_ticket_opens_one_session(store: UserStore) -> None:
    await add(store, ALICE)
    assert await ticket(store, 1)
    assert await redeem(store, "alice", 1, 11) == ALICE
    assert await redeem(store, "alice", 1, 12) is None
    assert await alive(store, range(11, 13)) == [11]
    assert await store.find_identity(hash_of(1), NOW) is None, "a ticket is no token"


async def test_a_ticket_is_of_one_user_and_for_a_short_time(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await ticket(store, 1)
    for key, number, now in (("bob", 1, NOW), ("nobody", 1, NOW), ("alice", 2, NOW), ("alice", 1, NOW + 2 * SECOND)):
        assert await redeem(store, key, number, 11, now=now) is None
    assert await alive(store, range(11, 12)) == []
    assert await redeem(store, "alice", 1, 11, now=NOW + SECOND) == ALICE


async def test_nobody_gets_no_ticket(store: UserStore) -> None:
    assert not await ticket(store, 1)


async def test_tickets_are_few(store: UserStore) -> None:
    await add(store, ALICE)
    for number in range(1, 6):
        await ticket(store, number, now=NOW + number * SECOND / 10, at_most=3)
    redeemed = [number for number in range(1, 6) if await redeem(store, "alice", number, 10 + number, now=NOW + SECOND)]
    assert redeemed == [3, 4, 5]


async def test_of_many_with_one_ticket_one_gets_a_session(store: UserStore) -> None:
    await add(store, ALICE)
    await ticket(store, 1)
    sessions = range(11, 31)
    got = await asyncio.gather(*(redeem(store, "alice", 1, session) for session in sessions))
    assert got.count(ALICE) == 1
    assert len(await alive(store, sessions)) == 1


async def test_logins_and_tickets_at_once_do_not_wait_for_each_other(store: UserStore) -> None:
    """All of them lock the same rows; a deadlock would be an Unavailable here."""
    await add(store, ALICE)
    for number in range(1, 11):
        await ticket(store, number)
    await asyncio.gather(
        *(redeem(store, "alice", number, 100 + number) for number in range(1, 11)),
        *(ticket(store, number, at_most=3) for number in range(11, 31)),
        *(store.add_token(ALICE.user_id, token(number), NOW, at_most=3) for number in range(200, 220)),
        *(store.end_session("alice", hash_of(number)) for number in range(200, 220)),
    )


# --- what a database may do -----------------------------------------------------------------------------------------


async def test_an_id_made_twice_is_an_error_that_is_tried_again(emptied_pool: asyncpg.Pool) -> None:
    store = SqlUserStore(emptied_pool)
    await add(store, ALICE)
    with pytest.raises(Unavailable) as again:
        await add(store, Actor(ALICE.user_id, "bob"))
    assert again.value.code == "try_again"
    await store.add_token(ALICE.user_id, token(1), NOW, at_most=3)
    with pytest.raises(Unavailable):
        await store.add_token(ALICE.user_id, token(1), NOW, at_most=3)
    assert await alive(store, range(1, 2)) == [1]


async def test_a_database_that_is_away_is_unavailable() -> None:
    nowhere = PostgresAddress("127.0.0.1", 1, "none", "nobody", "nothing")
    async with await open_pool(nowhere, application_name="test", max_size=1) as pool:
        store = SqlUserStore(pool)
        for call in (
            add(store, ALICE),
            store.find_identity(hash_of(1), NOW),
            store.find_users({"alice"}),
            ticket(store, 1),
            redeem(store, "alice", 1, 2),
            store.add_token(1, token(1), NOW, at_most=1),
        ):
            with pytest.raises(Unavailable) as away:
                await call
            assert away.value.code == "database_unavailable"


async def test_a_token_is_found_by_index(emptied_pool: asyncpg.Pool) -> None:
    store = SqlUserStore(emptied_pool)
    await add(store, ALICE)
    await store.add_token(ALICE.user_id, token(1), NOW, at_most=3)
    async with emptied_pool.acquire() as connection, connection.transaction():
        # A table of one row is read whole, unless that is forbidden.
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {_FIND_IDENTITY}", hash_of(1), NOW)
    lines = "\n".join(row[0] for row in plan)
    assert "tokens_hash" in lines
    assert "Seq Scan" not in lines
