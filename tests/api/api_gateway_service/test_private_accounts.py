"""Requests to follow, followers who are removed, blocks: from the gateway's door to the managers and into the news."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.api.api_gateway_service.conftest import GatewayHouse, Person

BOB, ALICE = {"follower": "bob"}, {"followed": "alice"}


async def news(house: GatewayHouse, reader: Person) -> Sequence[str]:
    await house.world.tell()
    return [event["Title"] for event in (await reader.ok("GET", "/v1/news"))["events"]]


async def links(reader: Person) -> Sequence[str]:
    return [link["Title"] for link in (await reader.ok("GET", "/v1/users/alice/links"))["links"]]


async def about_alice(reader: Person) -> dict[str, Any]:
    user = (await reader.ok("GET", "/v1/users/alice"))["user"]
    return {name: user[name] for name in ("Private", "LinkCount", "FollowerCount", "Relationship")}


@pytest.fixture
async def asked(house: GatewayHouse) -> GatewayHouse:
    """Bob has asked Alice, whose account is private and has a link."""
    await house.world.make_private(house.alice.actor)
    await house.alice.ok("POST", "/v1/links", json={"url": "https://a.example/", "title": "Hers"})
    assert await house.bob.ok("POST", "/v1/following", json=ALICE) == {"State": "requested", "err": ""}
    return house


async def test_a_private_account_shows_itself_and_nothing_more(asked: GatewayHouse) -> None:
    assert await about_alice(asked.bob) == {
        "Private": True,
        "LinkCount": 0,
        "FollowerCount": 0,
        "Relationship": "requested",
    }
    assert await links(asked.bob) == []
    assert await news(asked, asked.bob) == []


async def test_a_yes_opens_it_and_brings_what_was_saved_before(asked: GatewayHouse) -> None:
    incoming = {"requests": {"bob": True}, "NextPageToken": "", "err": ""}
    outgoing = {"requests": {"alice": True}, "NextPageToken": "", "err": ""}
    assert await asked.alice.ok("GET", "/v1/follow-requests") == incoming
    assert await asked.alice.ok("GET", "/v1/follow-requests", query={"direction": "incoming", "limit": "1"}) == incoming
    assert await asked.bob.ok("GET", "/v1/follow-requests", query={"direction": "outgoing"}) == outgoing
    for _ in range(2):
        assert await asked.alice.ok("POST", "/v1/follow-requests", json=BOB) == {"err": ""}
    assert (await asked.alice.ok("GET", "/v1/follow-requests"))["requests"] == {}
    assert (await about_alice(asked.bob))["Relationship"] == "following"
    assert await links(asked.bob) == await news(asked, asked.bob) == ["Hers"]
    assert await asked.bob.ok("POST", "/v1/following", json=ALICE) == {"State": "following", "err": ""}


async def test_a_no_closes_nothing_for_ever(asked: GatewayHouse) -> None:
    for _ in range(2):
        assert await asked.alice.ok("DELETE", "/v1/follow-requests", json=BOB) == {"err": ""}
    assert await asked.alice.refused("POST", "/v1/follow-requests", json=BOB) == (404, "follow_request_not_found")
    assert (await about_alice(asked.bob))["Relationship"] == "none"
    assert await asked.bob.ok("POST", "/v1/following", json=ALICE) == {"State": "requested", "err": ""}
    await asked.bob.ok("DELETE", "/v1/following", json=ALICE)
    assert (await asked.alice.ok("GET", "/v1/follow-requests"))["requests"] == {}


async def test_who_is_removed_sees_and_hears_nothing_more(asked: GatewayHouse) -> None:
    await asked.alice.ok("POST", "/v1/follow-requests", json=BOB)
    assert await news(asked, asked.bob) == ["Hers"]
    for _ in range(2):
        assert await asked.alice.ok("DELETE", "/v1/followers", query=BOB) == {"err": ""}
    assert await news(asked, asked.bob) == []
    assert await links(asked.bob) == []
    assert (await asked.alice.ok("GET", "/v1/followers"))["followers"] == {}


async def test_a_block_takes_each_from_the_others_sight(house: GatewayHouse) -> None:
    for author, reader in ((house.alice, house.bob), (house.bob, house.alice)):
        await author.ok("POST", "/v1/links", json={"url": "https://a.example/", "title": "Shared"})
        await reader.ok("POST", "/v1/following", json={"followed": author.actor.name})
    assert await news(house, house.alice) == await news(house, house.bob) == ["Shared"]
    for _ in range(2):
        assert await house.alice.ok("POST", "/v1/blocks", json={"blocked": "bob"}) == {"err": ""}
    assert await house.alice.ok("GET", "/v1/blocks") == {"blocked": {"bob": True}, "NextPageToken": "", "err": ""}
    assert await news(house, house.alice) == await news(house, house.bob) == []
    for person, other in ((house.alice, "bob"), (house.bob, "alice")):
        for path in (f"/v1/users/{other}", f"/v1/users/{other}/links"):
            there = await person.call("GET", path)
            missing = await person.call("GET", path.replace(other, "nobody"))
            assert there.status == missing.status == 404
            assert {**there.json(), "request_id": ""} == {**missing.json(), "request_id": ""}
    assert await house.bob.refused("POST", "/v1/following", json=ALICE) == (404, "user_not_found")
    assert await house.alice.refused("POST", "/v1/following", json={"followed": "bob"}) == (409, "user_blocked")
    for _ in range(2):
        assert await house.alice.ok("DELETE", "/v1/blocks", query={"blocked": "bob"}) == {"err": ""}
    assert (await about_alice(house.bob))["Relationship"] == "none"
    assert await links(house.bob) == ["Shared"]


@pytest.mark.parametrize(
    ("method", "path", "arguments", "expected"),
    [
        ("POST", "/v1/follow-requests", {}, (400, "missing_argument")),
        ("DELETE", "/v1/follow-requests", {"follower": "nobody"}, (404, "user_not_found")),
        ("POST", "/v1/follow-requests", {"follower": "a/b"}, (404, "user_not_found")),
        ("DELETE", "/v1/followers", {"follower": ""}, (400, "missing_argument")),
        ("DELETE", "/v1/followers", {"follower": "nobody"}, (404, "user_not_found")),
        ("GET", "/v1/follow-requests", {"direction": "sideways"}, (400, "invalid_argument")),
        ("GET", "/v1/follow-requests", {"limit": "201"}, (400, "invalid_limit")),
        ("GET", "/v1/blocks", {"limit": "1", "start_token": "x"}, (400, "invalid_start_token")),
        ("GET", "/v1/blocks", {"start_token": "x"}, (400, "limit_required")),
        ("POST", "/v1/blocks", {"blocked": "alice"}, (400, "cannot_block_yourself")),
        ("POST", "/v1/blocks", {"blocked": "nobody"}, (404, "user_not_found")),
        ("DELETE", "/v1/blocks", {"blocked": "nobody"}, (404, "user_not_found")),
        ("DELETE", "/v1/blocks", {"follower": "bob"}, (400, "unknown_argument")),
    ],
)
async def test_what_makes_no_sense_is_told(
    house: GatewayHouse, method: str, path: str, arguments: dict[str, str], expected: tuple[int, str]
) -> None:
    assert await house.alice.refused(method, path, query=arguments) == expected


async def test_requests_in_pages(house: GatewayHouse) -> None:
    await house.world.make_private(house.alice.actor)
    for name in ("carol", "dave", "erin"):
        fan = await house.world.person(name)
        token = (await house.world.users.login(name, "any")).token
        await Person(house.gateway, fan, token).ok("POST", "/v1/following", json=ALICE)
    seen: list[str] = []
    token = ""
    for _ in range(2):
        page = await house.alice.ok("GET", "/v1/follow-requests", query={"limit": "2", "start_token": token})
        seen += page["requests"]
        token = page["NextPageToken"]
    assert (seen, token) == (["erin", "dave", "carol"], "")
