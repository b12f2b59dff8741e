"""Users for whom a provider vouches."""

import asyncio

import pytest

from pkg.object_model.errors import InvalidArgument, PermissionDenied, Unauthenticated
from pkg.object_model.types import Actor, ProviderProfile, UpdateUserRequest
from pkg.user_manager.manager import TICKET_LIFETIME
from pkg.user_manager.names import hash_name
from pkg.user_manager.profiles import MAX_DISPLAY_NAME_CHARACTERS
from pkg.user_manager.providers import LocalProvider, ProviderIdentity
from pkg.user_manager.store import UserState
from tests.unit.user_manager.house import House, github


async def test_a_newcomer_gets_a_user_and_a_ticket(house: House) -> None:
    ticket = await house.users.admit(github("Octocat", display_name="The Octocat", email="octo@mail.example"))
    assert ticket.expires_at == house.clock.time + TICKET_LIFETIME
    user = await house.users.get_user(None, "octocat")
    assert ticket.user == user.ref
    assert (user.name, user.display_name, user.email, user.private) == (
        "Octocat",
        "The Octocat",
        "octo@mail.example",
        False,
    )
    session = await house.users.login("octocat", ticket.ticket)
    assert (await house.users.authenticate(session.token)).actor == user.ref
    with pytest.raises(Unauthenticated):
        await house.users.login("octocat", ticket.ticket)


async def test_who_comes_back_is_known_whatever_they_are_called_now(house: House) -> None:
    """The original's users were keyed on a display name."""
    first = await house.users.admit(github("octocat", display_name="Octo", email="old@mail.example"))
    await house.users.update_user(first.user, UpdateUserRequest(display_name="Myself"))
    again = await house.users.admit(github("renamed", display_name="Other", email="new@mail.example"))
    assert again.user == first.user
    user = await house.users.get_user(None, "octocat")
    assert (user.display_name, user.email) == ("Myself", "old@mail.example")
    assert await house.users.find_users(["renamed"]) == {}


async def test_nobody_becomes_somebody_else_by_their_name(house: House) -> None:
    alice = await house.register("alice")
    names = [(await house.users.admit(github("ALICE", subject=str(number)))).user.name for number in range(3)]
    assert names == ["ALICE-2", "ALICE-3", "ALICE-4"]
    other = ProviderProfile(provider="oidc", subject="0", login="alice", display_name="", email="")
    assert (await house.users.admit(other)).user.name == "alice-5", "another provider's subject is another user"
    assert (await house.users.get_user(None, "alice")) == alice


async def test_a_name_that_many_want_is_made_unique_by_chance(house: House) -> None:
    names = {(await house.users.admit(github("alice", subject=str(number)))).user.name for number in range(25)}
    assert len(names) == 25
    assert {"alice", "alice-20"} < names
    assert all(name.startswith("alice") for name in names)


async def test_two_logins_at_once_make_one_user(house: House) -> None:
    tickets = await asyncio.gather(*(house.users.admit(github("octocat")) for _ in range(5)))
    assert len({ticket.user for ticket in tickets}) == 1
    assert len({ticket.ticket for ticket in tickets}) == 5


async def test_a_name_of_a_deleted_account_is_given_to_nobody(house: House) -> None:
    house.store._retired.add(hash_name("octocat"))
    assert (await house.users.admit(github("OctoCat"))).user.name == "OctoCat-2"


async def test_an_account_that_is_being_deleted_admits_nobody(house: House) -> None:
    ticket = await house.users.admit(github("octocat"))
    session = await house.users.login("octocat", ticket.ticket)
    late = await house.users.admit(github("octocat"))
    house.store._by_id[ticket.user.user_id].state = UserState.DELETING
    with pytest.raises(PermissionDenied) as refused:
        await house.users.admit(github("octocat"))
    assert refused.value.code == "account_deleting"
    with pytest.raises(Unauthenticated):
        await house.users.login("octocat", late.ticket)
    assert not await house.is_known(session.token)
    assert await house.users.find_users(["octocat"]) == {}


async def test_a_user_of_a_provider_logs_in_with_a_ticket_alone() -> None:
    house = House(LocalProvider())
    ticket = await house.users.admit(github("octocat"))
    with pytest.raises(Unauthenticated):
        await house.users.login("octocat", "any")
    assert (await house.users.login("octocat", ticket.ticket)).user == ticket.user


async def test_what_a_provider_says_is_made_fit_to_be_shown(house: House) -> None:
    profile = github("octocat", display_name="  Zoe\u0308 \u202etxt\x00 " + "x" * 1_000, email="not an address")
    ticket = await house.users.admit(profile)
    user = await house.users.get_user(None, ticket.user.name)
    assert user.display_name.startswith("Zo\u00eb txt x")
    assert len(user.display_name) == MAX_DISPLAY_NAME_CHARACTERS
    assert user.email == ""
    nameless = await house.users.admit(github("ann", subject="2", display_name="\u202e"))
    assert (await house.users.get_user(None, nameless.user.name)).display_name == "ann"


@pytest.mark.parametrize(
    "identity",
    [
        ProviderIdentity("local", "1"),
        ProviderIdentity("", "1"),
        ProviderIdentity("GitHub", "1"),
        ProviderIdentity("git hub", "1"),
        ProviderIdentity("x" * 33, "1"),
        ProviderIdentity("github", ""),
        ProviderIdentity("github", "x" * 256),
        ProviderIdentity("github", "1\x00"),
    ],
)
async def test_what_no_user_is_keyed_on(house: House, identity: ProviderIdentity) -> None:
    profile = ProviderProfile(
        provider=identity.provider, subject=identity.subject, login="octocat", display_name="", email=""
    )
    with pytest.raises(InvalidArgument) as refused:
        await house.users.admit(profile)
    assert refused.value.code == "invalid_profile"
    assert await house.users.find_users(["octocat"]) == {}


async def test_a_ticket_is_for_the_user_it_names(house: House) -> None:
    await house.register("alice")
    ticket = await house.users.issue_ticket("ALICE")
    assert isinstance(ticket.user, Actor)
    assert ticket.user.name == "alice"
