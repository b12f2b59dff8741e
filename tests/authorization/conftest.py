"""alice, whose account is private; bob, who follows her; dave, who asks to; carol, who is anybody else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pkg.object_model.types import (
    Actor,
    AddLinkRequest,
    CreateTokenRequest,
    FollowRequest,
    GetLinksRequest,
    Scope,
    Visibility,
)
from tests.api.api_gateway_service.conftest import GatewayHouse, house, services, shared_gateway
from tests.memory_world import MemoryWorld

#: The fixtures are those of the gateway's own tests.
__all__ = ["house", "services", "shared_gateway"]

TABLE: Final[dict[str, dict[str, dict[str, Any]]]] = yaml.safe_load(
    Path(__file__).with_name("table.yaml").read_text(encoding="utf-8")
)
SHARED: Final = b"secret.example"
ROLES: Final = {"owner": "alice", "follower": "bob", "other": "carol"}
#: What is alice's alone.
PRIVATE: Final = (b"mine.example", b"alice@mail.example")


@dataclass(frozen=True)
class People:
    world: MemoryWorld
    by_name: Mapping[str, Actor]
    #: Of sessions.
    tokens: Mapping[str, str]
    #: What the table's placeholders stand for.
    names: Mapping[str, str]

    def actor(self, who: str) -> Actor | None:
        return self.by_name[ROLES[who]] if who in ROLES else None

    def fill(self, value: Any) -> Any:
        """``value`` of the table, with its placeholders filled in."""
        if isinstance(value, dict):
            return {key: self.fill(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.fill(part) for part in value]
        if isinstance(value, str):
            for name, stands_for in self.names.items():
                value = value.replace(f"{{{name}}}", stands_for)
        return value

    async def api_token(self, who: str, scopes: Iterable[Scope]) -> str:
        request = CreateTokenRequest(name="told", scopes=tuple(scopes))
        return (await self.world.users.create_token(self.by_name[who], request)).token

    async def everything_of_alice(self) -> object:
        """All that nobody else may change."""
        alice, world = self.by_name["alice"], self.world
        links = await world.links.get_links(alice, GetLinksRequest(username="alice"))
        user = await world.users.get_user(alice, "alice")
        credentials = [*await world.users.list_sessions(alice), *await world.users.list_tokens(alice)]
        return links.links, user, [credential.id for credential in credentials]


@pytest.fixture
async def people(house: GatewayHouse) -> People:
    world, alice, bob = house.world, house.alice.actor, house.bob.actor
    carol, dave = await world.person("carol"), await world.person("dave")
    by_name = {"alice": alice, "bob": bob, "carol": carol, "dave": dave}
    await world.make_private(alice)
    for follower in (bob, dave):
        await world.graph.follow(follower, FollowRequest(followed="alice", follower=follower.name))
    await world.graph.accept_follow_request(alice, FollowRequest(followed="alice", follower="bob"))
    for url, visibility in (
        ("https://secret.example/", Visibility.FOLLOWERS),
        ("https://mine.example/", Visibility.PRIVATE),
    ):
        request = AddLinkRequest(username="alice", url=url, title=url, tags=(f"tag of {url}",), visibility=visibility)
        await world.links.add_link(alice, request)
    await world.tell()
    tokens = {"alice": house.alice.token, "bob": house.bob.token}
    tokens["carol"] = (await world.users.login("carol", "any")).token
    session = (await world.users.login("alice", "any", "another browser")).token
    token = await world.users.create_token(alice, CreateTokenRequest(name="laptop", scopes=(Scope.NEWS,)))
    names = {name: str(actor.user_id) for name, actor in by_name.items()} | {
        "session": str((await world.users.authenticate(session)).token.id),
        "token": str(token.record.id),
        "credential": session,
    }
    return People(world, by_name, tokens, names)
