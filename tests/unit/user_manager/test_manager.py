"""The rules of users, on a store in memory."""

import asyncio
import string
from datetime import timedelta

import pytest

from pkg.object_model.errors import Conflict, DelinkciousError, InvalidArgument, NotFound, Unauthenticated
from pkg.object_model.types import Actor, RegisterRequest, Scope, Session, TokenKind, User
from pkg.user_manager.manager import (
    MAX_AUTH_TOKEN_CHARACTERS,
    MAX_SESSIONS,
    MAX_TICKETS,
    SESSION_LIFETIME,
    TICKET_LIFETIME,
)
from pkg.user_manager.profiles import MAX_DISPLAY_NAME_CHARACTERS
from pkg.user_manager.providers import LocalProvider, ProviderIdentity
from pkg.user_manager.store import SESSION_IDLE_LIFETIME
from pkg.user_manager.tokens import hash_token
from tests.unit.user_manager.house import House

# --- registering ----------------------------------------------------------------------------------------------------


async def test_a_new_user(house: House) -> None:
    user = await house.register("Alice", email=" alice@mail.example ", display_name=" Alice  Ü ")
    assert (user.name, user.display_name, user.email, user.private) == (
        "Alice",
        "Alice  Ü",
        "alice@mail.example",
        False,
    )
    assert user.created_at == house.clock.time
    assert await house.users.get_user(None, "aLICE") == user
    plain = await house.register("bob")
    assert (plain.display_name, plain.email) == ("bob", "")
    assert plain.id != user.id


async def test_a_name_belongs_to_one_whatever_its_case(house: House) -> None:
    """The original's user name was a display name: not unique, so that anybody could become anybody."""
    await house.register("Alice")
    with pytest.raises(Conflict) as taken:
        await house.register("aLiCe")
    assert taken.value.code == "name_taken"
    assert "aLiCe" in taken.value.message


async def test_of_many_who_want_a_name_at_once_one_gets_it(house: House) -> None:
    results = await asyncio.gather(*(house.register("alice") for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results].count(User) == 1


async def test_a_local_user_is_keyed_on_what_never_changes(house: House) -> None:
    user = await house.register("alice")
    account = await house.store.find_account("alice")
    assert account is not None
    assert account.identity == ProviderIdentity("local", str(user.id))


@pytest.mark.parametrize("name", ["a", "7", "a" * 39, "a.b_c-D", "0x"])
async def test_names_that_are_taken_as_they_are(house: House, name: str) -> None:
    assert (await house.register(name)).name == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", " a", "a\n", "-a", "a-", ".", "..", "_", "a" * 40, "a/b", "a@b", "é", "ａ", "a\x00", "a\u202e",
     "\u212a", "\ud800", "a" * 100_000],
)  # fmt: skip
async def test_names_that_are_none(house: House, name: str) -> None:
    await refuse(house, "invalid_name", name=name)
    with pytest.raises(NotFound) as missing:
        await house.users.get_user(None, name)
    assert missing.value.code == "user_not_found"


@pytest.mark.parametrize(
    "email", ["x", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\n.c", "a@b\x00", "a@b\u202e", "a@\ud800", "a@" + "b" * 253]
)
async def test_emails_that_are_none(house: House, email: str) -> None:
    await refuse(house, "invalid_email", name="alice", email=email)


@pytest.mark.parametrize("email", ["a@b", "a+b.c@mail.example", "ü@müller.example", "a@" + "b" * 252])
async def test_emails_that_may_be_some(house: House, email: str) -> None:
    assert (await house.register("alice", email=email)).email == email


@pytest.mark.parametrize(
    "display_name",
    ["a\x00", "a\nb", "a\x1b[31m", "evil\u202etxt", "a\u2066b", "a\u200f", "a\u061c", "a\ufeff", "a\u2028b", "\ud800",
     "a\ue000", "a" * (MAX_DISPLAY_NAME_CHARACTERS + 1)],
)  # fmt: skip
async def test_display_names_that_mislead(house: House, display_name: str) -> None:
    await refuse(house, "invalid_display_name", name="alice", display_name=display_name)


@pytest.mark.parametrize(
    "display_name", ["a" * MAX_DISPLAY_NAME_CHARACTERS, "山田\u3000太郎", "می\u200cخواهم", "👩\u200d💻", "O'Neil & <b>"]
)
async def test_display_names_of_all_peoples(house: House, display_name: str) -> None:
    assert (await house.register("alice", display_name=display_name)).display_name == display_name


async def test_a_display_name_has_one_spelling(house: House) -> None:
    assert (await house.register("alice", display_name="Zoe\u0308")).display_name == "Zo\u00eb"


async def refuse(house: House, code: str, *, name: str, email: str = "", display_name: str = "") -> None:
    # Past pydantic, which has an opinion on lone surrogates of its own.
    request = RegisterRequest.model_construct(name=name, email=email, display_name=display_name)
    with pytest.raises(InvalidArgument) as refused:
        await house.users.register(None, request)
    assert refused.value.code == code
    assert len(refused.value.message) < 300, "what was sent is not sent back"


# --- logging in -----------------------------------------------------------------------------------------------------


async def test_a_ticket_opens_one_session(house: House) -> None:
    alice = await house.register("Alice")
    ticket = await house.ticket("alice")
    session = await house.users.login("alice", ticket)
    assert session.user == Actor(alice.id, "Alice")
    assert session.expires_at == house.clock.time + SESSION_LIFETIME
    identity = await house.users.authenticate(session.token)
    assert identity.actor == session.user
    assert (identity.token.kind, identity.token.expires_at) == (TokenKind.SESSION, session.expires_at)
    assert identity.token.scopes == tuple(Scope)
    await fail_to_log_in(house, "alice", ticket)


async def test_a_ticket_used_twice_at_once_opens_one_session(house: House) -> None:
    await house.register("alice")
    ticket = await house.ticket("alice")
    results = await asyncio.gather(*(house.users.login("alice", ticket) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results].count(Session) == 1
    assert {result.code for result in results if isinstance(result, DelinkciousError)} == {"invalid_ticket"}


async def test_a_ticket_is_of_one_user_and_for_a_short_time(house: House) -> None:
    await house.register("alice")
    await house.register("bob")
    ticket = await house.ticket("alice")
    await fail_to_log_in(house, "bob", ticket)
    house.clock.advance(TICKET_LIFETIME.total_seconds() - 1)
    await house.users.login("alice", ticket)
    late = await house.ticket("alice")
    house.clock.advance(TICKET_LIFETIME.total_seconds())
    await fail_to_log_in(house, "alice", late)


async def test_a_wrong_ticket_says_nothing_of_the_user(house: House) -> None:
    alice = await house.register("alice")
    session = await house.log_in(alice)
    ticket = await house.ticket("alice")
    answers = set()
    for name in ("alice", "nobody", "", "a b", "\ud800", "a" * 100_000):
        for token in (
            "",
            "any",
            ticket[:-1],
            ticket + "x",
            "dli_" + "x" * 43,
            session.token,
            "é",
            "\ud800",
            "x" * 100_000,
        ):
            answers.add(await fail_to_log_in(house, name, token))
    assert len(answers) == 1
    assert await house.users.login("alice", ticket)


async def test_tickets_are_few(house: House) -> None:
    await house.register("alice")
    tickets = []
    for _ in range(MAX_TICKETS + 1):
        tickets.append(await house.ticket("alice"))
        house.clock.advance(1)
    await fail_to_log_in(house, "alice", tickets[0])
    await house.users.login("alice", tickets[1])


async def test_nobody_gets_no_ticket(house: House) -> None:
    for name in ("nobody", "", "a b", "\ud800"):
        with pytest.raises(NotFound) as missing:
            await house.users.issue_ticket(name)
        assert missing.value.code == "user_not_found"


async def test_without_a_provider_nobodys_word_is_taken(house: House) -> None:
    """The original never looked at the AuthToken."""
    await house.register("alice")
    await fail_to_log_in(house, "alice", "any")


async def test_the_local_provider_takes_the_word_of_local_users_alone() -> None:
    house = House(LocalProvider())
    alice = await house.register("alice")
    octocat = User(id=99, name="octocat", display_name="", email="", private=False, created_at=house.clock.time)
    await house.store.add_user(octocat, "octocat", ProviderIdentity("github", "583231"))
    assert (await house.users.login("ALICE", "any")).user == alice.ref
    assert (await house.users.login("alice", "")).user == alice.ref
    await fail_to_log_in(house, "octocat", "any")
    await fail_to_log_in(house, "nobody", "any")
    await fail_to_log_in(house, "alice", "x" * (MAX_AUTH_TOKEN_CHARACTERS + 1))
    assert (await house.users.login("octocat", await house.ticket("octocat"))).user == octocat.ref


async def fail_to_log_in(house: House, name: str, token: str) -> tuple[str, str]:
    with pytest.raises(Unauthenticated) as refused:
        await house.users.login(name, token)
    assert refused.value.code == "invalid_ticket"
    return refused.value.code, refused.value.message


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_a_second_login_neither_fails_nor_ends_the_first(house: House) -> None:
    """In the original it failed on a unique index."""
    alice = await house.register("alice")
    first, second = await house.log_in(alice), await house.log_in(alice)
    assert first.token != second.token
    assert await house.is_known(first.token)
    assert await house.is_known(second.token)


async def test_one_session_too_many_ends_the_oldest(house: House) -> None:
    alice = await house.register("alice")
    tokens = [(await house.log_in(alice)).token for _ in range(MAX_SESSIONS + 2)]
    assert [await house.is_known(token) for token in tokens] == [False] * 2 + [True] * MAX_SESSIONS


async def test_a_session_is_long_and_random(house: House) -> None:
    """The original's came from a generator that can be foretold."""
    alice = await house.register("alice")
    tokens = [(await house.log_in(alice)).token for _ in range(50)]
    assert {token[:4] for token in tokens} == {"dls_"}
    assert {len(token) for token in tokens} == {47}, "43 characters of 6 bits: 256 bits and two to spare"
    assert set("".join(tokens)) <= set(string.ascii_letters + string.digits + "-_")
    for place in range(4, 46):
        assert len({token[place] for token in tokens}) > 10


async def test_a_session_expires(house: House) -> None:
    """The original's never did."""
    session = await house.log_in(await house.register("alice"))
    while house.clock.time + timedelta(days=1) < session.expires_at:
        house.clock.advance(24 * 3600)
        assert await house.is_known(session.token)
        await house.users.record_uses()
    house.clock.time = session.expires_at - timedelta(microseconds=1)
    assert await house.is_known(session.token)
    house.clock.time = session.expires_at
    assert not await house.is_known(session.token)


async def test_a_session_that_nobody_uses_ends(house: House) -> None:
    session = await house.log_in(await house.register("alice"))
    house.clock.time += SESSION_IDLE_LIFETIME - timedelta(microseconds=1)
    assert await house.is_known(session.token)
    await house.users.record_uses()
    house.clock.time += SESSION_IDLE_LIFETIME - timedelta(microseconds=1)
    assert await house.is_known(session.token), "it was used in between"
    house.clock.time += timedelta(microseconds=1)
    assert not await house.is_known(session.token)


async def test_a_session_is_stored_as_a_hash(house: House) -> None:
    session = await house.log_in(await house.register("alice"))
    (entry,) = house.store._by_id.values()
    assert list(entry.tokens) == [hash_token(session.token)]
    assert session.token not in repr(entry)
    assert session.token[4:] not in repr(entry)


async def test_logout_ends_the_session_and_nothing_else(house: House) -> None:
    """The original's would have deleted the user."""
    alice = await house.register("alice")
    first, second = await house.log_in(alice), await house.log_in(alice)
    for _ in range(2):
        await house.users.logout("ALICE", first.token)
    assert not await house.is_known(first.token)
    assert await house.is_known(second.token)
    assert await house.users.get_user(None, "alice") == alice
    await house.log_in(alice)


async def test_nobody_ends_anothers_session(house: House) -> None:
    session = await house.log_in(await house.register("alice"))
    await house.register("bob")
    for name in ("bob", "nobody", "", "\ud800"):
        await house.users.logout(name, session.token)
    for token in ("", "x", "é", session.token[:-1], "x" * 100_000):
        await house.users.logout("alice", token)
    assert await house.is_known(session.token)


@pytest.mark.parametrize(
    "token",
    ["", "x", "dls_", "dls_" + "a" * 42, "dls_" + "a" * 44, "dls_" + "é" * 43, "dlx_" + "a" * 43, "\ud800" * 47,
     "a" * 1_000_000],
)  # fmt: skip
async def test_what_is_no_token_costs_no_look(house: House, token: str) -> None:
    assert not await house.is_known(token)
    assert house.store.asked == 0
    assert not await house.is_known("dls_" + "a" * 43)
    assert house.store.asked == 1


async def test_a_ticket_is_no_token(house: House) -> None:
    await house.register("alice")
    assert not await house.is_known(await house.ticket("alice"))


# --- looking up -----------------------------------------------------------------------------------------------------


async def test_users_by_name_in_one_look(house: House) -> None:
    alice, bob = await house.register("Alice"), await house.register("bob")
    found = await house.users.find_users(["alice", "ALICE", "bob", "nobody", "", "a b", "\ud800", "x" * 100_000])
    assert found == {"alice": alice.entry, "ALICE": alice.entry, "bob": bob.entry}
    assert house.store.asked == 1
    assert await house.users.find_users(["", "a b", "é"]) == {}
    assert house.store.asked == 1, "what cannot be a name is nobody's"


async def test_names_by_id_in_one_look(house: House) -> None:
    alice, bob = await house.register("Alice"), await house.register("bob")
    assert await house.users.find_names([alice.id, bob.id, alice.id, 404]) == {alice.id: "Alice", bob.id: "bob"}
    assert house.store.asked == 1
    assert await house.users.find_names([-1, 2**63, 2**200]) == {}
    assert house.store.asked == 1, "what cannot be an id is nobody's"
