"""What users do with their own account: themselves, their sessions and tokens, the log of what happened."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from pkg.object_model.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, Unavailable
from pkg.object_model.types import (
    Actor,
    AuditEventType,
    CreateTokenRequest,
    PageRequest,
    Scope,
    TokenKind,
    UpdateUserRequest,
)
from pkg.user_manager.manager import (
    MAX_API_TOKENS,
    MAX_NOTE_CHARACTERS,
    MAX_SESSIONS,
    MAX_TOKEN_NAME_CHARACTERS,
    SESSION_LIFETIME,
    UserManager,
)
from pkg.user_manager.store import TokenKey
from pkg.user_manager.sweep import AUDIT_LIFETIME, SWEEP_BATCH, sweep
from pkg.user_manager.tokens import hash_token
from pkg.user_manager.uses import RESOLUTION, TokenUses
from tests.unit.user_manager.house import CountingStore, House, github

READ = (Scope.LINKS_READ,)


def request(name: str = "laptop", *, scopes: tuple[Scope, ...] = READ, days: int = 90) -> CreateTokenRequest:
    return CreateTokenRequest(name=name, scopes=scopes, expires_in_days=days)


# --- themselves -----------------------------------------------------------------------------------------------------


async def test_what_is_sent_changes(house: House) -> None:
    alice = await house.register("alice", email="a@mail.example", display_name="Alice")
    changed = await house.users.update_user(alice.ref, UpdateUserRequest(private=True))
    assert (changed.display_name, changed.email, changed.private) == ("Alice", "a@mail.example", True)
    assert await house.users.get_user(None, "alice") == changed
    assert (await house.users.find_users(["alice"]))["alice"].private
    changed = await house.users.update_user(alice.ref, UpdateUserRequest(display_name=" Zoe\u0308 ", email=" z@b "))
    assert (changed.display_name, changed.email, changed.private) == ("Zo\u00eb", "z@b", True)
    changed = await house.users.update_user(alice.ref, UpdateUserRequest(display_name="", email=""))
    assert (changed.display_name, changed.email) == ("alice", "")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (UpdateUserRequest(email="nonsense"), "invalid_email"),
        (UpdateUserRequest(display_name="a\u202eb"), "invalid_display_name"),
        (UpdateUserRequest(), "nothing_to_change"),
    ],
)
async def test_what_cannot_be_changed(house: House, changes: UpdateUserRequest, code: str) -> None:
    alice = await house.register("alice")
    with pytest.raises(InvalidArgument) as refused:
        await house.users.update_user(alice.ref, changes)
    assert refused.value.code == code
    assert await house.users.get_user(None, "alice") == alice
    assert await house.events(alice) == []


def calls(users: UserManager) -> list[Callable[[Actor | None], Awaitable[Any]]]:
    return [
        lambda actor: users.update_user(actor, UpdateUserRequest(private=True)),
        lambda actor: users.create_token(actor, request()),
        lambda actor: users.record_audit_event(actor, AuditEventType.DATA_EXPORTED, ""),
        users.list_sessions,
        users.list_tokens,
        users.end_sessions,
        lambda actor: users.end_session(actor, 1),
        lambda actor: users.revoke_token(actor, 1),
        lambda actor: users.get_audit_events(actor, PageRequest()),
    ]


async def test_an_account_is_its_users_alone(house: House) -> None:
    for call in calls(house.users):
        with pytest.raises(PermissionDenied) as refused:
            await call(None)
        assert refused.value.code == "not_yours"


async def test_an_account_that_is_gone_has_nothing(house: House) -> None:
    gone = Actor(404, "gone")
    changing, others = calls(house.users)[:3], calls(house.users)[3:]
    for call in changing:
        with pytest.raises(NotFound) as missing:
            await call(gone)
        assert missing.value.code == "user_not_found"
    assert [await call(gone) for call in others[:-1]] == [[], [], 0, False, False]
    assert (await house.users.get_audit_events(gone, PageRequest())).events == []
    assert house.revoked == []


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_sessions_are_listed_and_ended(house: House) -> None:
    alice, bob = await house.register("alice"), await house.register("bob")
    tokens = [(await house.log_in(alice)).token for _ in range(3)]
    other = await house.log_in(bob)
    listed = await house.users.list_sessions(alice.ref)
    assert [record.client for record in listed] == ["a browser"] * 3
    assert [record.id for record in listed] == sorted((record.id for record in listed), reverse=True)
    assert listed[0].expires_at == house.clock.time + SESSION_LIFETIME
    assert listed[0].scopes == tuple(Scope)
    newest = (await house.users.authenticate(tokens[-1])).token.id
    assert newest == listed[0].id
    assert not await house.users.end_session(bob.ref, newest)
    assert house.revoked == []
    assert await house.users.end_session(alice.ref, newest)
    assert house.revoked == [alice.id]
    assert not await house.users.end_session(alice.ref, newest)
    assert [await house.is_known(token) for token in tokens] == [True, True, False]
    assert await house.is_known(other.token)
    assert not await house.users.end_session(alice.ref, 2**63)


async def test_all_sessions_end_but_the_one_that_asks(house: House) -> None:
    alice, bob = await house.register("alice"), await house.register("bob")
    tokens = [(await house.log_in(alice)).token for _ in range(3)]
    made = await house.users.create_token(alice.ref, request())
    other = await house.log_in(bob)
    mine = (await house.users.authenticate(tokens[1])).token.id
    assert await house.users.end_sessions(alice.ref, mine) == 2
    assert [await house.is_known(token) for token in tokens] == [False, True, False]
    assert await house.users.end_sessions(alice.ref, mine) == 0
    assert house.revoked == [alice.id], "nothing ended the second time"
    assert await house.users.end_sessions(alice.ref) == 1
    assert await house.is_known(other.token)
    assert await house.is_known(made.token), "tokens are not sessions"


async def test_a_client_is_kept_in_short(house: House) -> None:
    alice = await house.register("alice")
    await house.users.login("alice", await house.ticket("alice"), "a\nb\x00c\u202e" + "x" * 5_000)
    (session,) = await house.users.list_sessions(alice.ref)
    assert session.client.startswith("abcx")
    assert len(session.client) <= MAX_NOTE_CHARACTERS


async def test_a_session_is_no_token_to_be_revoked_and_a_token_no_session_to_be_ended(house: House) -> None:
    alice = await house.register("alice")
    session = await house.log_in(alice)
    made = await house.users.create_token(alice.ref, request())
    known = await house.users.authenticate(session.token)
    assert not await house.users.revoke_token(alice.ref, known.token.id)
    assert not await house.users.end_session(alice.ref, made.record.id)
    await house.users.logout("alice", made.token)
    assert await house.is_known(session.token)
    assert await house.is_known(made.token)


async def test_a_logout_is_told(house: House) -> None:
    alice = await house.register("alice")
    session = await house.log_in(alice)
    for _ in range(2):
        await house.users.logout("alice", session.token)
    assert house.revoked == [alice.id]


# --- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_token_is_shown_once_and_does_what_it_may(house: House) -> None:
    alice = await house.register("alice")
    scopes = (Scope.NEWS, Scope.LINKS_READ, Scope.NEWS)
    made = await house.users.create_token(alice.ref, request(" My laptop ", scopes=scopes, days=30))
    assert made.token.startswith("dlt_")
    record = made.record
    assert (record.name, record.scopes, record.kind) == (
        "My laptop",
        (Scope.LINKS_READ, Scope.NEWS),
        TokenKind.API_TOKEN,
    )
    assert (record.created_at, record.expires_at) == (house.clock.time, house.clock.time + timedelta(days=30))
    identity = await house.users.authenticate(made.token)
    assert identity.actor == alice.ref
    assert (identity.token.id, identity.token.name, identity.token.scopes) == (record.id, "My laptop", record.scopes)
    assert await house.users.list_tokens(alice.ref) == [record]
    entry = house.store._by_id[alice.id]
    assert list(entry.tokens) == [hash_token(made.token)]
    assert made.token[4:] not in repr(entry)
    assert await house.users.list_sessions(alice.ref) == []


async def test_a_token_expires_and_is_not_idle(house: House) -> None:
    alice = await house.register("alice")
    made = await house.users.create_token(alice.ref, request(days=366))
    house.clock.time = made.record.expires_at - timedelta(microseconds=1)
    assert await house.is_known(made.token)
    house.clock.time = made.record.expires_at
    assert not await house.is_known(made.token)
    assert await house.users.list_tokens(alice.ref) == []


async def test_a_token_is_revoked(house: House) -> None:
    alice, bob = await house.register("alice"), await house.register("bob")
    made = await house.users.create_token(alice.ref, request())
    kept = await house.users.create_token(alice.ref, request("desktop"))
    assert not await house.users.revoke_token(bob.ref, made.record.id)
    assert await house.is_known(made.token)
    assert await house.users.revoke_token(alice.ref, made.record.id)
    assert house.revoked == [alice.id]
    assert not await house.is_known(made.token)
    assert not await house.users.revoke_token(alice.ref, made.record.id)
    assert await house.users.list_tokens(alice.ref) == [kept.record]


async def test_a_name_of_a_token_is_of_one_of_a_users(house: House) -> None:
    alice, bob = await house.register("alice"), await house.register("bob")
    made = await house.users.create_token(alice.ref, request("laptop"))
    await house.users.create_token(bob.ref, request("laptop"))
    with pytest.raises(Conflict) as taken:
        await house.users.create_token(alice.ref, request("laptop"))
    assert taken.value.code == "token_name_taken"
    await house.users.revoke_token(alice.ref, made.record.id)
    again = await house.users.create_token(alice.ref, request("laptop", days=1))
    house.clock.time = again.record.expires_at
    await house.users.create_token(alice.ref, request("laptop"))


async def test_tokens_are_few_and_none_ends_another(house: House) -> None:
    alice = await house.register("alice")
    made = [await house.users.create_token(alice.ref, request(f"t{number}")) for number in range(MAX_API_TOKENS)]
    with pytest.raises(Conflict) as refused:
        await house.users.create_token(alice.ref, request("one more"))
    assert refused.value.code == "token_limit_reached"
    assert all([await house.is_known(token.token) for token in made])
    for _ in range(MAX_SESSIONS + 1):
        await house.log_in(alice)
    assert len(await house.users.list_tokens(alice.ref)) == MAX_API_TOKENS


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(""), "invalid_token_name"),
        (request(" \n"), "invalid_token_name"),
        (request("a\x00"), "invalid_token_name"),
        (request("a\u202eb"), "invalid_token_name"),
        (request("x" * (MAX_TOKEN_NAME_CHARACTERS + 1)), "invalid_token_name"),
        (request(scopes=()), "invalid_scopes"),
        (request(days=0), "invalid_expiry"),
        (request(days=-1), "invalid_expiry"),
        (request(days=367), "invalid_expiry"),
        (request(days=2**62), "invalid_expiry"),
    ],
)
async def test_tokens_that_are_not_made(house: House, asked: CreateTokenRequest, code: str) -> None:
    alice = await house.register("alice")
    with pytest.raises(InvalidArgument) as refused:
        await house.users.create_token(alice.ref, asked)
    assert refused.value.code == code
    assert await house.users.list_tokens(alice.ref) == []


# --- when they were last used ---------------------------------------------------------------------------------------


async def test_a_use_is_written_down_later_and_once_an_hour(house: House) -> None:
    alice = await house.register("alice")
    made = await house.users.create_token(alice.ref, request())

    async def last_used() -> datetime | None:
        (record,) = await house.users.list_tokens(alice.ref)
        return record.last_used_at

    await house.users.authenticate(made.token)
    assert await last_used() is None, "nothing is written where a token is looked up"
    house.clock.advance(10)
    await house.users.authenticate(made.token)
    used_at = house.clock.time
    assert await house.users.record_uses() == 1
    assert await last_used() == used_at
    assert await house.users.record_uses() == 0
    house.clock.time = used_at + RESOLUTION - timedelta(microseconds=1)
    await house.users.authenticate(made.token)
    assert await house.users.record_uses() == 0
    house.clock.time = used_at + RESOLUTION
    await house.users.authenticate(made.token)
    assert await house.users.record_uses() == 1
    assert await last_used() == used_at + RESOLUTION


class AbsentStore(CountingStore):
    away = True
    written: dict[TokenKey, datetime]

    async def record_uses(self, uses: Any) -> None:
        if self.away:
            raise Unavailable("the database is away")
        self.written = dict(uses)


async def test_what_cannot_be_written_waits(house: House) -> None:
    store = AbsentStore()
    uses = TokenUses(store)
    alice = await house.register("alice")
    tokens = [(await house.log_in(alice)).token for _ in range(2)]
    known = [await house.store.find_identity(hash_token(token), house.clock.time) for token in tokens]
    assert known[0] is not None
    assert known[1] is not None
    first = house.clock.time
    uses.note(known[0], first)
    with pytest.raises(Unavailable):
        await uses.write()
    uses.note(known[1], first)
    uses.note(known[0], first + timedelta(seconds=1))
    store.away = False
    assert await uses.write() == 2
    assert sorted(store.written.values()) == [first, first + timedelta(seconds=1)]


async def test_uses_that_wait_are_bounded(house: House) -> None:
    uses = TokenUses(house.store, max_noted=3)
    alice = await house.register("alice")
    tokens = [(await house.log_in(alice)).token for _ in range(5)]

    async def use_all() -> int:
        for token in tokens:
            known = await house.store.find_identity(hash_token(token), house.clock.time)
            assert known is not None
            uses.note(known, house.clock.time)
        return await uses.write()

    assert await use_all() == 3
    assert await use_all() == 2


# --- the audit log --------------------------------------------------------------------------------------------------


async def test_what_happens_to_an_account_is_written_down(house: House) -> None:
    alice = await house.register("alice")
    session = await house.log_in(alice)
    made = await house.users.create_token(alice.ref, request("laptop"))
    await house.users.revoke_token(alice.ref, made.record.id)
    await house.users.update_user(alice.ref, UpdateUserRequest(display_name="A", private=True))
    await house.users.end_session(alice.ref, (await house.users.authenticate(session.token)).token.id)
    sessions = [await house.log_in(alice) for _ in range(3)]
    await house.users.logout("alice", sessions[0].token)
    await house.users.end_sessions(alice.ref)
    await house.users.record_audit_event(alice.ref, AuditEventType.FOLLOW_APPROVED, "bob", "another browser")
    events = await house.events(alice)
    assert [(event.type, event.detail, event.client) for event in reversed(events)] == [
        ("ticket_issued", "", ""),
        ("login", "", "a browser"),
        ("token_made", "laptop", ""),
        ("token_revoked", "laptop", ""),
        ("account_changed", "display name, private", ""),
        ("session_ended", "a browser", ""),
        *[("ticket_issued", "", ""), ("login", "", "a browser")] * 3,
        ("logout", "", ""),
        ("session_ended", "2 sessions", ""),
        ("follow_approved", "bob", "another browser"),
    ]
    assert {event.timestamp for event in events} == {house.clock.time}
    shown = repr(events)
    for secret in (session.token, made.token, *(other.token for other in sessions)):
        assert secret not in shown
        assert secret[4:] not in shown


async def test_nothing_is_written_down_of_what_did_not_happen(house: House) -> None:
    alice = await house.register("alice")
    made = await house.users.create_token(alice.ref, request())
    before = await house.events(alice)
    await asyncio.gather(
        house.users.create_token(alice.ref, request()),
        house.users.login("alice", "dli_" + "x" * 43),
        house.users.admit(github("alice", subject="")),
        return_exceptions=True,
    )
    await house.users.revoke_token(alice.ref, made.record.id + 1)
    await house.users.end_sessions(alice.ref)
    await house.users.logout("alice", "dls_" + "x" * 43)
    assert await house.events(alice) == before


async def test_events_come_in_pages_newest_first(house: House) -> None:
    alice, bob = await house.register("alice"), await house.register("bob")
    for number in range(5):
        await house.users.record_audit_event(alice.ref, AuditEventType.USER_BLOCKED, str(number))
        await house.users.record_audit_event(bob.ref, AuditEventType.USER_BLOCKED, "of bob")
    details, token = [], ""
    while True:
        page = await house.users.get_audit_events(alice.ref, PageRequest(limit=2, start_token=token))
        details.append([event.detail for event in page.events])
        token = page.next_page_token
        if not token:
            break
        # What comes in between is on none of the pages that follow.
        await house.users.record_audit_event(alice.ref, AuditEventType.USER_BLOCKED, "later")
    assert details == [["4", "3"], ["2", "1"], ["0"]]
    first = await house.users.get_audit_events(alice.ref, PageRequest(limit=2))
    for actor, asked in (
        (bob.ref, PageRequest(start_token=first.next_page_token)),
        (alice.ref, PageRequest(start_token="?")),
        (alice.ref, PageRequest(limit=0)),
        (alice.ref, PageRequest(limit=201)),
    ):
        with pytest.raises(InvalidArgument):
            await house.users.get_audit_events(actor, asked)


async def test_a_full_last_page_is_the_last(house: House) -> None:
    alice = await house.register("alice")
    for number in range(2):
        await house.users.record_audit_event(alice.ref, AuditEventType.USER_BLOCKED, str(number))
    page = await house.users.get_audit_events(alice.ref, PageRequest(limit=2))
    assert (len(page.events), page.next_page_token) == (2, "")


async def test_a_long_note_is_shortened(house: House) -> None:
    alice = await house.register("alice")
    await house.users.record_audit_event(alice.ref, AuditEventType.USER_BLOCKED, "a\nb" + "x" * 5_000)
    (event,) = await house.events(alice)
    assert event.detail == "ab" + "x" * (MAX_NOTE_CHARACTERS - 3)


# --- what is over ---------------------------------------------------------------------------------------------------


async def test_a_sweep_takes_what_is_over_and_nothing_else(house: House) -> None:
    alice = await house.register("alice")
    short = await house.users.create_token(alice.ref, request("short", days=1))
    long = await house.users.create_token(alice.ref, request("long", days=366))
    await house.log_in(alice)
    await house.ticket("alice")
    assert await sweep(house.store, house.clock) == 0
    house.clock.time = short.record.expires_at - timedelta(microseconds=1)
    assert await sweep(house.store, house.clock) == 1, "the ticket"
    house.clock.time = short.record.expires_at
    assert await sweep(house.store, house.clock) == 1, "the token"
    house.clock.time += SESSION_LIFETIME
    assert await sweep(house.store, house.clock) == 1, "the session"
    assert await house.is_known(long.token)
    assert len(await house.events(alice)) == 5


async def test_a_sweep_takes_what_happened_long_ago(house: House) -> None:
    alice = await house.register("alice")
    first = house.clock.time
    await house.users.record_audit_event(alice.ref, AuditEventType.USER_BLOCKED, "long ago")
    house.clock.advance(1)
    await house.users.record_audit_event(alice.ref, AuditEventType.USER_BLOCKED, "a second later")
    house.clock.time = first + AUDIT_LIFETIME
    assert await sweep(house.store, house.clock) == 0
    house.clock.time += timedelta(microseconds=1)
    assert await sweep(house.store, house.clock) == 1
    assert [event.detail for event in await house.events(alice)] == ["a second later"]


async def test_a_sweep_goes_on_until_nothing_is_left(house: House) -> None:
    alice = await house.register("alice")
    count = SWEEP_BATCH + 10
    for number in range(count):
        await house.users.record_audit_event(alice.ref, AuditEventType.USER_BLOCKED, str(number))
    house.clock.time += AUDIT_LIFETIME + timedelta(microseconds=1)
    assert await sweep(house.store, house.clock) == count
