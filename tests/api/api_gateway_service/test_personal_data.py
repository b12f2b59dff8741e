"""All that is somebody's, to take along; and the end of an account."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest

from pkg.object_model.errors import Unavailable
from pkg.object_model.types import Actor, CreateTokenRequest, GetLinksRequest, LinkPage, Scope
from svc.api_gateway_service.zip_stream import PIECE, Member, pack
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse, Person
from tests.fakes import FakeClock, away

FILES = {
    "index.html",
    "account.json",
    "links.json",
    "bookmarks.html",
    "followers.json",
    "following.json",
    "follow_requests.json",
    "blocks.json",
    "sessions.json",
    "tokens.json",
    "audit_events.json",
}


def unpack(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def export(person: Person) -> dict[str, bytes]:
    response = await person.call("GET", "/v1/me/export")
    assert response.status == 200, response.body
    assert response.complete
    return unpack(response.body)


async def token_of(house: GatewayHouse, person: Person, *scopes: Scope) -> Person:
    made = await house.world.users.create_token(
        person.actor, CreateTokenRequest(name="-".join(scopes).replace(":", "-"), scopes=scopes)
    )
    return Person(person.gateway, person.actor, made.token)


def content_of(files: dict[str, bytes], name: str) -> Any:
    return json.loads(files[f"{name}.json"])


# --- export ---------------------------------------------------------------------------------------------------------


async def test_everything_is_in_it(house: GatewayHouse) -> None:
    alice, bob = house.alice, house.bob
    carol = await house.world.person("carol")
    for number in range(5):
        link = {"url": f"https://{number}.example/", "title": f"Ü {number}", "tags": [f"t{number}", "all"]}
        await alice.ok("POST", "/v1/links", json=link | {"visibility": ("private", "public")[number % 2]})
    await bob.ok("POST", "/v1/following", json={"followed": "alice"})
    await alice.ok("POST", "/v1/following", json={"followed": "bob"})
    await alice.ok("POST", "/v1/blocks", json={"blocked": carol.name})
    await token_of(house, alice, Scope.LINKS_READ)
    response = await alice.call("GET", "/v1/me/export")
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == 'attachment; filename="delinkcious-alice.zip"'
    assert response.headers["cache-control"] == "no-store"
    files = unpack(response.body)
    assert set(files) == FILES
    me = (await alice.ok("GET", "/v1/me"))["user"]
    account = content_of(files, "account")["user"]
    assert account == {name: me[name] for name in ("Name", "DisplayName", "Email", "Private", "CreatedAt")}
    assert content_of(files, "links")["links"] == (await alice.ok("GET", "/v1/links"))["links"]
    assert files["bookmarks.html"] == (await alice.call("GET", "/v1/export")).body
    assert content_of(files, "followers") == {"followers": ["bob"]}
    assert content_of(files, "following") == {"following": ["bob"]}
    assert content_of(files, "follow_requests") == {"incoming": [], "outgoing": []}
    assert content_of(files, "blocks") == {"blocked": ["carol"]}
    assert [token["Scopes"] for token in content_of(files, "tokens")["tokens"]] == [["links:read"]]
    assert len(content_of(files, "sessions")["sessions"]) == 1
    kinds = [event["Type"] for event in content_of(files, "audit_events")["events"]]
    assert kinds[0] == "data_exported", "that it was done is told, too"
    assert "token_made" in kinds


async def test_requests_are_in_it(house: GatewayHouse) -> None:
    await house.world.make_private(house.alice.actor)
    await house.world.make_private(house.bob.actor)
    await house.bob.ok("POST", "/v1/following", json={"followed": "alice"})
    await house.alice.ok("POST", "/v1/following", json={"followed": "bob"})
    assert content_of(await export(house.alice), "follow_requests") == {"incoming": ["bob"], "outgoing": ["bob"]}


async def test_of_others_there_are_names_alone(house: GatewayHouse) -> None:
    secret = {"url": "https://bobs.example/", "title": "Bob's own", "tags": ["bobtag"]}
    await house.bob.ok("POST", "/v1/links", json=secret)
    await house.alice.ok("POST", "/v1/following", json={"followed": "bob"})
    await house.world.tell()
    everything = b"".join((await export(house.alice)).values())
    assert b'"bob"' in everything
    for theirs in ("bobs.example", "Bob's own", "bobtag", "bob@mail.example", str(house.bob.actor.user_id)):
        assert theirs.encode() not in everything, theirs


async def test_nothing_in_it_opens_a_door(house: GatewayHouse) -> None:
    token = await token_of(house, house.alice, Scope.LINKS_READ, Scope.ACCOUNT)
    files = await export(token)
    everything = b"".join(files.values())
    for secret in (house.alice.token, token.token):
        assert secret.encode() not in everything


async def test_of_whoever_has_nothing_too(house: GatewayHouse) -> None:
    files = await export(house.alice)
    assert set(files) == FILES
    assert content_of(files, "links") == {"links": []}


async def test_more_than_a_page_of_each(house: GatewayHouse) -> None:
    world = house.world
    people = [await world.person(f"user{number}") for number in range(205)]
    for person in people:
        world.graph._store._follows.add(person.user_id, house.alice.actor.user_id, FakeClock().now())  # type: ignore[attr-defined]  # one by one it would take long
    followers = content_of(await export(house.alice), "followers")["followers"]
    assert sorted(followers) == sorted(person.name for person in people)


async def test_the_page_in_it_leads_to_every_file(house: GatewayHouse) -> None:
    class Links(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str | None] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value for name, value in attrs if (tag, name) == ("a", "href")]
            assert tag != "script"

    page = Links()
    page.feed((await export(house.alice))["index.html"].decode())
    assert set(page.found) == FILES - {"index.html"}


async def test_without_a_service_there_is_a_refusal_and_no_half_a_file(house: GatewayHouse) -> None:
    class LinksAway:
        async def get_links(self, actor: Actor | None, request: GetLinksRequest) -> LinkPage:
            raise away("link-manager")

        async def export_links(self, actor: Actor | None, username: str) -> AsyncIterator[bytes]:
            for _ in range(1):
                raise away("link-manager")
            yield b""

    failing = house.with_peers(links=LinksAway())
    assert await failing.alice.refused("GET", "/v1/me/export") == (503, "link_manager_unavailable")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_token_has_to_be_made_for_it(house: GatewayHouse, method: str) -> None:
    path = {"GET": "/v1/me/export", "DELETE": "/v1/me?confirm=alice"}[method].split("?")
    query = path[1] if len(path) > 1 else ""
    others = await token_of(house, house.alice, *(scope for scope in Scope if scope is not Scope.ACCOUNT))
    assert await others.refused(method, path[0], query=query) == (403, "insufficient_scope")
    made_for_it = await token_of(house, house.alice, Scope.ACCOUNT)
    assert (await made_for_it.call(method, path[0], query=query)).status == 200


# --- the archive ----------------------------------------------------------------------------------------------------


async def noise(size: int) -> AsyncIterator[bytes]:
    state = 1
    for _ in range(size // 1_024):
        state = state * 6_364_136_223_846_793_005 % 2**64
        yield bytes((state >> shift) & 0xFF for shift in range(8, 40, 8)) + state.to_bytes(8) * 127 + b"...."


async def test_an_archive_is_sent_while_it_is_made() -> None:
    """However much goes in, little is held."""
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for piece in noise(8 * 2**20):
            taken += len(piece)
            yield piece

    pieces, sent_at = [], []
    async for piece in pack([Member("a.bin", counted()), Member("b.txt", counted())], FakeClock().now()):
        pieces.append(piece)
        sent_at.append(taken)
    assert len(pieces) > 2, "not all at the end"
    assert max(map(len, pieces)) < 2 * PIECE
    files = unpack(b"".join(pieces))
    assert len(files["a.bin"]) == len(files["b.txt"]) == 8 * 2**20


async def test_one_that_breaks_off_is_none() -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in noise(2**20):
            yield piece
        raise Unavailable("away")

    pieces: list[bytes] = []

    async def send() -> None:
        async for piece in pack([Member("a.bin", broken())], FakeClock().now()):
            pieces.append(piece)  # noqa: PERF401  # what was sent before it broke counts

    with pytest.raises(Unavailable):
        await send()
    with pytest.raises(zipfile.BadZipFile):
        unpack(b"".join(pieces))


# --- the end of an account ------------------------------------------------------------------------------------------


async def test_an_account_ends(house: GatewayHouse) -> None:
    alice, bob = house.alice, house.bob
    await alice.ok("POST", "/v1/links", json={"url": "https://a.example/", "title": "A"})
    await bob.ok("POST", "/v1/following", json={"followed": "alice"})
    await house.world.tell()
    assert (await bob.ok("GET", "/v1/news"))["events"]
    assert await alice.ok("DELETE", "/v1/me", query={"confirm": "Alice"}) == {"State": "deleting", "err": ""}
    assert await bob.refused("GET", "/v1/users/alice") == (404, "user_not_found")
    assert await bob.refused("GET", "/v1/users/alice/links") == (404, "user_not_found")
    assert await house.world.deletions.work()
    assert (await bob.ok("GET", "/v1/news"))["events"] == []
    assert (await bob.ok("GET", "/v1/following"))["following"] == {}
    assert await house.world.users.find_names([alice.actor.user_id]) == {}


@pytest.mark.parametrize("way", ["query", "json"])
async def test_it_has_to_be_confirmed(house: GatewayHouse, way: str) -> None:
    assert await house.alice.refused("DELETE", "/v1/me", **{way: {"confirm": "bob"}}) == (400, "not_confirmed")
    assert await house.alice.refused("DELETE", "/v1/me") == (400, "missing_argument")
    assert (await house.alice.ok("GET", "/v1/me"))["user"]["Name"] == "alice"


async def test_the_token_is_nobodys_after_it(house: GatewayHouse) -> None:
    await house.alice.ok("DELETE", "/v1/me", json={"confirm": "alice"})
    asked_anew = house.with_peers(SETTINGS)
    assert await asked_anew.alice.refused("GET", "/v1/me") == (401, "invalid_token")
