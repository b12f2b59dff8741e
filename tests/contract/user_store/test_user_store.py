"""What the user manager needs of a store, asked of each."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import asyncpg
import pytest

from pkg.object_model.errors import Conflict, Unavailable
from pkg.object_model.types import (
    Actor,
    AuditEvent,
    AuditEventType,
    DirectoryEntry,
    Identity,
    Scope,
    TokenInfo,
    TokenKind,
    TokenRecord,
    UpdateUserRequest,
    User,
)
from pkg.runtime.postgres import PostgresAddress, open_pool
from pkg.user_manager import sql_store
from pkg.user_manager.providers import ProviderIdentity
from pkg.user_manager.sql_store import SqlUserStore
from pkg.user_manager.store import SESSION_IDLE_LIFETIME, Account, StoredToken, TokenKey, UserState, UserStore
from tests.contract.user_store.conftest import Leaving

NOW = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
SECOND = timedelta(seconds=1)
ALICE = Actor(7, "Alice")
BOB = Actor(2**63 - 1, "bob")

_event_ids = count(1)


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
    scopes: tuple[Scope, ...] = (),
    client: str = "",
) -> StoredToken:
    record = TokenRecord(
        id=number,
        kind=kind,
        name=name or (f"token {number}" if kind is TokenKind.API_TOKEN else ""),
        scopes=scopes if kind is TokenKind.API_TOKEN else tuple(Scope),
        client=client,
        created_at=NOW,
        expires_at=expires_at,
        last_used_at=None,
    )
    return StoredToken(record, hash_of(number))


def event(
    *, number: int = 0, event_type: str = AuditEventType.LOGIN, detail: str = "", timestamp: datetime = NOW
) -> AuditEvent:
    return AuditEvent(
        id=number or next(_event_ids),
        type=event_type,
        timestamp=timestamp,
        detail=detail,
        client="a client",
        address="203.0.113.7",
    )


def told(detail: str) -> AuditEvent:
    return event(detail=detail)


async def add_session(
    store: UserStore, user_id: int, session: StoredToken, *, now: datetime = NOW, at_most: int = 10
) -> bool:
    return await store.add_session(user_id, session, now, at_most=at_most, event=event())


async def add_api_token(
    store: UserStore, user_id: int, api_token: StoredToken, *, now: datetime = NOW, at_most: int = 10
) -> bool:
    return await store.add_api_token(user_id, api_token, now, at_most=at_most, event=event())


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
    scopes = (Scope.LINKS_READ, Scope.LINKS_WRITE)
    kept = token(1, kind=TokenKind.API_TOKEN, name="laptop", scopes=scopes)
    assert await add_api_token(store, ALICE.user_id, kept)
    found = await store.find_identity(kept.token_hash, NOW)
    about = TokenInfo(id=1, name="laptop", kind=TokenKind.API_TOKEN, scopes=scopes, expires_at=LATER)
    assert found == (Identity(actor=ALICE, token=about), None)
    assert await store.find_identity(kept.token_hash, LATER - timedelta(microseconds=1)) is not None
    assert await store.find_identity(kept.token_hash, LATER) is None
    assert await store.find_identity(hash_of(2), NOW) is None


async def test_a_session_ends_for_its_own_user_and_alone(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await add_session(store, ALICE.user_id, token(1), at_most=10)
    await add_session(store, ALICE.user_id, token(2), at_most=10)
    await add_api_token(store, ALICE.user_id, token(3, kind=TokenKind.API_TOKEN), at_most=10)
    for key, number in (("bob", 1), ("nobody", 1), ("alice", 3), ("alice", 4)):
        assert await store.log_out(key, hash_of(number), event()) is None
    assert await alive(store, range(1, 4)) == [1, 2, 3]
    assert await store.log_out("alice", hash_of(1), event()) == ALICE.user_id
    assert await store.log_out("alice", hash_of(1), event()) is None
    assert await alive(store, range(1, 4)) == [2, 3]
    assert await store.find_user("alice") is not None


async def test_one_session_too_many_ends_the_oldest(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await add_session(store, BOB.user_id, token(99), at_most=3)
    await add_api_token(store, ALICE.user_id, token(98, kind=TokenKind.API_TOKEN), at_most=3)
    for number in range(1, 6):
        await add_session(store, ALICE.user_id, token(number), at_most=3)
    assert await alive(store, range(1, 6)) == [3, 4, 5]
    assert await alive(store, range(98, 100)) == [98, 99], "another kind, and another user's"


async def test_the_expired_do_not_count_and_go(store: UserStore) -> None:
    await add(store, ALICE)
    await add_session(store, ALICE.user_id, token(1), at_most=3)
    for number in (2, 3):
        await add_session(store, ALICE.user_id, token(number, expires_at=NOW + SECOND), at_most=3)
    now = NOW + SECOND
    await add_session(store, ALICE.user_id, token(4), now=now, at_most=3)
    assert await alive(store, range(1, 5), now) == [1, 4]
    assert await alive(store, range(1, 5), NOW) == [1, 4], "they are gone, not only over"


async def test_many_sessions_at_once_keep_the_limit(store: UserStore) -> None:
    await add(store, ALICE)
    numbers = range(1, 31)
    await asyncio.gather(*(add_session(store, ALICE.user_id, token(number), at_most=5) for number in numbers))
    assert len(await alive(store, numbers)) == 5
    await asyncio.gather(*(ticket(store, number, at_most=30) for number in numbers))
    sessions = range(101, 131)
    await asyncio.gather(*(redeem(store, "alice", number, 100 + number, at_most=4) for number in numbers))
    assert len(await alive(store, range(1, 131))) == len(await alive(store, sessions)) == 4


# --- tickets --------------------------------------------------------------------------------------------------------


async def ticket(store: UserStore, number: int, *, now: datetime = NOW, at_most: int = 10) -> Actor | None:
    return await store.add_ticket(ALICE.user_id, hash_of(number), now, now + 2 * SECOND, at_most=at_most)


async def redeem(
    store: UserStore, key: str, number: int, session: int, *, now: datetime = NOW, at_most: int = 10
) -> Actor | None:
    return await store.redeem_ticket(key, hash_of(number), token(session), now, at_most=at_most, event=event())


async def test_a_ticket_opens_one_session(store: UserStore) -> None:
    await add(store, ALICE)
    assert await ticket(store, 1) == ALICE
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
    assert await ticket(store, 1) is None
    assert not await add_session(store, ALICE.user_id, token(1))
    assert not await add_api_token(store, ALICE.user_id, token(1, kind=TokenKind.API_TOKEN))


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
        *(add_session(store, ALICE.user_id, token(number), at_most=3) for number in range(200, 220)),
        *(store.log_out("alice", hash_of(number), event()) for number in range(200, 220)),
        *(
            store.record_uses({TokenKey(ALICE.user_id, number): LATER for number in range(220, 100, -1)})
            for _ in range(5)
        ),
        *(store.remove_token(ALICE.user_id, TokenKind.SESSION, number, told) for number in range(200, 220)),
        *(store.remove_sessions(ALICE.user_id, number, told) for number in range(200, 205)),
        *(store.remove_expired(LATER, 3) for _ in range(5)),
    )


# --- API tokens -----------------------------------------------------------------------------------------------------


def api_token(number: int, *, name: str = "", expires_at: datetime = LATER) -> StoredToken:
    return token(number, kind=TokenKind.API_TOKEN, name=name, scopes=(Scope.NEWS,), expires_at=expires_at)


async def test_tokens_are_listed_newest_first(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    kept = [api_token(number) for number in (3, 1, 2)]
    for one in kept:
        await add_api_token(store, ALICE.user_id, one)
    session = token(4, client="a browser")
    await add_session(store, ALICE.user_id, session)
    await add_api_token(store, BOB.user_id, api_token(5))
    listed = await store.list_tokens(ALICE.user_id, TokenKind.API_TOKEN, NOW)
    assert list(listed) == [kept[0].record, kept[2].record, kept[1].record]
    assert list(await store.list_tokens(ALICE.user_id, TokenKind.SESSION, NOW)) == [session.record]
    assert list(await store.list_tokens(ALICE.user_id, TokenKind.API_TOKEN, LATER)) == []
    assert list(await store.list_tokens(404, TokenKind.API_TOKEN, NOW)) == []


async def test_of_one_name_there_is_one_token(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await add_api_token(store, ALICE.user_id, api_token(1, name="laptop", expires_at=NOW + SECOND))
    await add_api_token(store, BOB.user_id, api_token(2, name="laptop"))
    await add_api_token(store, ALICE.user_id, api_token(3, name="Laptop"))
    with pytest.raises(Conflict) as taken:
        await add_api_token(store, ALICE.user_id, api_token(4, name="laptop"))
    assert taken.value.code == "token_name_taken"
    assert len(await store.list_events(ALICE.user_id, None, 10)) == 2, "nothing is told of what was refused"
    assert await add_api_token(store, ALICE.user_id, api_token(5, name="laptop"), now=NOW + SECOND)
    assert await alive(store, range(1, 6)) == [2, 3, 5]


async def test_many_tokens_at_once_keep_the_limit(store: UserStore) -> None:
    await add(store, ALICE)
    wanted = [add_api_token(store, ALICE.user_id, api_token(number), at_most=5) for number in range(1, 21)]
    results = await asyncio.gather(*wanted, return_exceptions=True)
    assert results.count(True) == 5
    assert {result.code for result in results if isinstance(result, Conflict)} == {"token_limit_reached"}
    assert len(await store.list_tokens(ALICE.user_id, TokenKind.API_TOKEN, NOW)) == 5


async def test_a_token_goes_for_its_own_user_and_by_its_kind(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await add_api_token(store, ALICE.user_id, api_token(1, name="laptop"))
    await add_session(store, ALICE.user_id, token(2, client="a browser"))
    for user_id, kind, number in (
        (BOB.user_id, TokenKind.API_TOKEN, 1),
        (ALICE.user_id, TokenKind.SESSION, 1),
        (ALICE.user_id, TokenKind.API_TOKEN, 2),
        (404, TokenKind.API_TOKEN, 1),
    ):
        assert not await store.remove_token(user_id, kind, number, told)
    assert await alive(store, range(1, 3)) == [1, 2]
    assert await store.remove_token(ALICE.user_id, TokenKind.API_TOKEN, 1, told)
    assert await store.remove_token(ALICE.user_id, TokenKind.SESSION, 2, told)
    assert not await store.remove_token(ALICE.user_id, TokenKind.SESSION, 2, told)
    assert await alive(store, range(1, 3)) == []
    events = await store.list_events(ALICE.user_id, None, 2)
    assert [event.detail for event in events] == ["a browser", "laptop"]


async def test_sessions_go_all_but_one(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    for number in range(1, 4):
        await add_session(store, ALICE.user_id, token(number))
    await add_api_token(store, ALICE.user_id, api_token(4))
    await add_session(store, BOB.user_id, token(5))
    assert await store.remove_sessions(ALICE.user_id, 2, told) == 2
    assert await store.remove_sessions(ALICE.user_id, 2, told) == 0
    assert await alive(store, range(1, 6)) == [2, 4, 5]
    assert await store.remove_sessions(ALICE.user_id, None, told) == 1
    assert await store.remove_sessions(404, None, told) == 0
    assert await alive(store, range(1, 6)) == [4, 5]
    events = await store.list_events(ALICE.user_id, None, 2)
    assert [event.detail for event in events] == ["1", "2"], "nothing is told of none"


# --- when they were last used ---------------------------------------------------------------------------------------


async def test_a_session_slides_and_a_token_does_not_need_to(store: UserStore) -> None:
    await add(store, ALICE)
    for number in (1, 2):
        await add_session(store, ALICE.user_id, token(number, expires_at=NOW + 10 * SESSION_IDLE_LIFETIME))
    await add_api_token(store, ALICE.user_id, api_token(3, expires_at=NOW + 10 * SESSION_IDLE_LIFETIME))
    used_at = NOW + SECOND
    await store.record_uses({TokenKey(ALICE.user_id, 1): used_at, TokenKey(ALICE.user_id, 404): used_at})
    last = NOW + SESSION_IDLE_LIFETIME
    assert await alive(store, range(1, 4), last - SECOND) == [1, 2, 3]
    assert await alive(store, range(1, 4), last) == [1, 3]
    assert [record.id for record in await store.list_tokens(ALICE.user_id, TokenKind.SESSION, last)] == [1]
    assert await alive(store, range(1, 4), last + SECOND) == [3]
    # One that is idle does not count, and goes.
    await add_session(store, ALICE.user_id, token(5), now=last, at_most=2)
    assert await alive(store, range(1, 6)) == [1, 3, 5]


async def test_the_latest_use_stays(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    await add_api_token(store, ALICE.user_id, api_token(1))
    await add_api_token(store, BOB.user_id, api_token(2))

    async def last_used(user: Actor) -> datetime | None:
        (record,) = await store.list_tokens(user.user_id, TokenKind.API_TOKEN, NOW)
        return record.last_used_at

    await store.record_uses({TokenKey(ALICE.user_id, 1): NOW + SECOND, TokenKey(ALICE.user_id, 2): NOW})
    assert (await last_used(ALICE), await last_used(BOB)) == (NOW + SECOND, None)
    await store.record_uses({TokenKey(ALICE.user_id, 1): NOW, TokenKey(BOB.user_id, 2): NOW})
    assert (await last_used(ALICE), await last_used(BOB)) == (NOW + SECOND, NOW)
    found = await store.find_identity(hash_of(1), NOW)
    assert found is not None
    assert found.last_used_at == NOW + SECOND
    await store.record_uses({})


# --- accounts -------------------------------------------------------------------------------------------------------


async def test_what_is_not_sent_stays(store: UserStore) -> None:
    alice = await add(store, ALICE)
    changed = await store.update_user(ALICE.user_id, UpdateUserRequest(email="a@b"), event(detail="email"))
    assert changed == replace(alice, email="a@b")
    changed = await store.update_user(ALICE.user_id, UpdateUserRequest(private=True, display_name="A"), event())
    assert changed == replace(alice, email="a@b", private=True, display_name="A")
    changed = await store.update_user(ALICE.user_id, UpdateUserRequest(private=False, email=""), event())
    assert changed == replace(alice, display_name="A") == await store.find_user("alice")
    assert [one.detail for one in await store.list_events(ALICE.user_id, None, 10)] == ["", "", "email"]
    assert await store.update_user(404, UpdateUserRequest(private=True), event()) is None


async def test_an_identity_has_an_owner(store: UserStore) -> None:
    await add(store, ALICE, provider="github", subject="1")
    assert await store.find_owner(ProviderIdentity("github", "1")) == (ALICE, UserState.ACTIVE)
    assert await store.find_owner(ProviderIdentity("github", "2")) is None
    assert await store.find_owner(ProviderIdentity("local", "1")) is None


async def test_an_account_that_is_being_deleted_is_nobodys(leaving: Leaving) -> None:
    store = leaving.store
    await add(store, ALICE, provider="github", subject="1")
    await add_session(store, ALICE.user_id, token(1))
    await ticket(store, 2)
    await leaving.leave(ALICE)
    assert await store.find_owner(ProviderIdentity("github", "1")) == (ALICE, UserState.DELETING)
    assert await store.find_user("alice") is None
    assert await store.find_account("alice") is None
    assert await store.find_users({"alice"}) == {}
    assert await store.find_names({ALICE.user_id}) == {ALICE.user_id: "Alice"}
    assert await alive(store, range(1, 2)) == []
    assert await redeem(store, "alice", 2, 3) is None
    assert await ticket(store, 4) is None
    assert not await add_session(store, ALICE.user_id, token(5))
    assert not await add_api_token(store, ALICE.user_id, api_token(6))
    assert not await store.add_event(ALICE.user_id, event())
    assert await store.update_user(ALICE.user_id, UpdateUserRequest(private=True), event()) is None
    assert list(await store.list_tokens(ALICE.user_id, TokenKind.SESSION, NOW)) == []
    assert list(await store.list_events(ALICE.user_id, None, 10)) == []
    with pytest.raises(Conflict) as taken:
        await add(store, Actor(8, "alice"))
    assert taken.value.code == "name_taken"


async def test_a_name_that_is_retired_is_nobodys(leaving: Leaving) -> None:
    await leaving.retire("alice")
    with pytest.raises(Conflict) as taken:
        await add(leaving.store, ALICE)
    assert taken.value.code == "name_taken"
    assert await leaving.store.find_user("alice") is None
    await add(leaving.store, BOB)


# --- the audit log --------------------------------------------------------------------------------------------------


async def test_events_are_of_one_user_and_newest_first(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    told_of_alice = [event(number=number, detail=f"Ü {number}") for number in (30, 10, 20)]
    for one in told_of_alice:
        assert await store.add_event(ALICE.user_id, one)
    assert await store.add_event(BOB.user_id, event(number=15))
    assert not await store.add_event(404, event(number=16))
    newest = [told_of_alice[0], told_of_alice[2], told_of_alice[1]]
    assert list(await store.list_events(ALICE.user_id, None, 10)) == newest
    assert list(await store.list_events(ALICE.user_id, None, 2)) == newest[:2]
    assert list(await store.list_events(ALICE.user_id, 20, 10)) == newest[2:]
    assert list(await store.list_events(ALICE.user_id, 10, 10)) == []


async def test_each_change_tells_its_event(store: UserStore) -> None:
    await add(store, ALICE)
    told_of = [event(detail=detail) for detail in ("ticket", "login", "token", "logout")]
    await store.add_ticket(ALICE.user_id, hash_of(1), NOW, LATER, at_most=3, event=told_of[0])
    await store.redeem_ticket("alice", hash_of(1), token(2), NOW, at_most=3, event=told_of[1])
    await store.add_api_token(ALICE.user_id, api_token(3), NOW, at_most=3, event=told_of[2])
    await store.log_out("alice", hash_of(2), told_of[3])
    assert list(await store.list_events(ALICE.user_id, None, 10)) == told_of[::-1]
    await ticket(store, 4)
    await redeem(store, "alice", 5, 6)
    await store.log_out("alice", hash_of(2), event())
    assert len(await store.list_events(ALICE.user_id, None, 10)) == 4, "nothing is told of what did not happen"


# --- what is over ---------------------------------------------------------------------------------------------------


async def test_what_has_expired_goes_some_at_a_time(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    for number, user in enumerate((ALICE, BOB) * 3, start=1):
        await add_session(store, user.user_id, token(number, expires_at=NOW + number * SECOND))
    await add_api_token(store, ALICE.user_id, api_token(7, expires_at=NOW + SECOND))
    for number in (8, 9):
        await ticket(store, number)
    assert await store.remove_expired(NOW, 10) == 0
    now = NOW + 4 * SECOND
    assert await store.remove_expired(now, 2) == 4, "two tickets and two tokens"
    assert await store.remove_expired(now, 2) == 2
    assert await store.remove_expired(now, 2) == 1
    assert await store.remove_expired(now, 2) == 0
    assert await alive(store, range(1, 8)) == [5, 6]


async def test_old_events_go_some_at_a_time(store: UserStore) -> None:
    await add(store, ALICE)
    await add(store, BOB)
    for number, user in enumerate((ALICE, BOB) * 3):
        await store.add_event(user.user_id, event(detail=str(number), timestamp=NOW + number * SECOND))
    before = NOW + 4 * SECOND
    assert [await store.remove_events(before, 3) for _ in range(3)] == [3, 1, 0]
    for user, left in ((ALICE, "4"), (BOB, "5")):
        assert [one.detail for one in await store.list_events(user.user_id, None, 10)] == [left]


# --- what a database may do -----------------------------------------------------------------------------------------


async def test_an_id_made_twice_is_an_error_that_is_tried_again(emptied_pool: asyncpg.Pool) -> None:
    store = SqlUserStore(emptied_pool)
    await add(store, ALICE)
    with pytest.raises(Unavailable) as again:
        await add(store, Actor(ALICE.user_id, "bob"))
    assert again.value.code == "try_again"
    await add_session(store, ALICE.user_id, token(1), at_most=3)
    with pytest.raises(Unavailable):
        await add_session(store, ALICE.user_id, token(1), at_most=3)
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
            add_session(store, 1, token(1)),
        ):
            with pytest.raises(Unavailable) as away:
                await call
            assert away.value.code == "database_unavailable"


async def test_to_write_down_a_use_waits_for_nobody(emptied_pool: asyncpg.Pool) -> None:
    store = SqlUserStore(emptied_pool)
    await add(store, ALICE)
    for number in (1, 2):
        await add_api_token(store, ALICE.user_id, api_token(number))
    uses = {TokenKey(ALICE.user_id, number): NOW for number in (1, 2)}
    async with emptied_pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM tokens WHERE id = 1 FOR UPDATE")
        async with asyncio.timeout(5):
            await store.record_uses(uses)
        used = await emptied_pool.fetch("SELECT id FROM tokens WHERE last_used_at IS NOT NULL")
        assert [number for (number,) in used] == [2]
    await store.record_uses(uses)
    assert await emptied_pool.fetchval("SELECT count(last_used_at) FROM tokens") == 2


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (sql_store._FIND_IDENTITY, (hash_of(1), NOW)),
        (sql_store._FIND_OWNER, ("github", "1")),
        (sql_store._LIST_TOKENS, (1, TokenKind.SESSION, NOW)),
        (sql_store._LIST_EVENTS, (1, 5, 10)),
        (sql_store._RECORD_USES, ([1], [1], [NOW])),
        (sql_store._SWEEP_TICKETS, (NOW, 10)),
        (sql_store._SWEEP_TOKENS, (NOW, 10)),
        (sql_store._SWEEP_EVENTS, (NOW, 10)),
    ],
)
async def test_everything_is_found_by_an_index(
    emptied_pool: asyncpg.Pool, statement: str, arguments: tuple[object, ...]
) -> None:
    async with emptied_pool.acquire() as connection, connection.transaction():
        # A table of no rows is read whole, unless that is forbidden.
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {statement}", *arguments)
    lines = "\n".join(row[0] for row in plan)
    assert "Index" in lines
    assert "Seq Scan" not in lines


async def test_code_of_the_version_before_goes_on(emptied_pool: asyncpg.Pool) -> None:
    """What it writes, it writes without what came later."""
    await emptied_pool.execute(
        """
        INSERT INTO users (id, name, name_key, display_name, email, private, created_at, provider, subject)
        VALUES ($1, 'Alice', 'alice', '', '', false, $2, 'local', '7')
        """,
        ALICE.user_id,
        NOW,
    )
    await emptied_pool.execute(
        """
        INSERT INTO tokens (user_id, id, token_hash, kind, name, scopes, created_at, expires_at)
        VALUES ($1, 1, $2, 'session', '', '{}', $3, $4)
        """,
        ALICE.user_id,
        hash_of(1),
        NOW,
        LATER,
    )
    store = SqlUserStore(emptied_pool)
    assert await store.find_owner(ProviderIdentity("local", "7")) == (ALICE, UserState.ACTIVE)
    found = await store.find_identity(hash_of(1), NOW)
    assert found is not None
    assert (found.identity.token.scopes, found.last_used_at) == (tuple(Scope), None)
