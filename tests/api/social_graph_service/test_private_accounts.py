"""The social graph service's wire: requests, followers who are removed, blocks."""

import pytest

from pkg.object_model.types import Actor
from tests.api.social_graph_service.conftest import GraphHouse

BOB_FOLLOWS_ALICE = {"followed": "alice", "follower": "bob"}


@pytest.fixture
async def asked(house: GraphHouse) -> GraphHouse:
    """Bob has asked Alice, whose account is private."""
    await house.world.make_private(house.alice)
    followed = await house.service.ok("POST", "/follow", actor=house.bob, json=BOB_FOLLOWS_ALICE)
    assert followed == {"State": "requested", "err": ""}
    return house


async def names(house: GraphHouse, path: str, actor: Actor, key: str) -> list[str]:
    page = await house.service.ok("GET", f"{path}/{actor.name}", actor=actor)
    assert page.keys() == {key, "NextPageToken", "err"}
    return list(page[key])


async def test_a_request_and_its_answer(asked: GraphHouse) -> None:
    assert await names(asked, "/incoming-requests", asked.alice, "requests") == ["bob"]
    assert await names(asked, "/outgoing-requests", asked.bob, "requests") == ["alice"]
    path = f"/relationships/{asked.bob.user_id}/{asked.alice.user_id}"
    assert (await asked.service.ok("GET", path))["Relationship"] == "requested"
    for _ in range(2):
        assert await asked.service.ok("POST", "/accept", actor=asked.alice, json=BOB_FOLLOWS_ALICE) == {"err": ""}
    assert (await asked.service.ok("GET", path))["Relationship"] == "following"
    for _ in range(2):
        assert await asked.service.ok("POST", "/kick", actor=asked.alice, json=BOB_FOLLOWS_ALICE) == {"err": ""}
    assert (await asked.service.ok("GET", path))["Relationship"] == "none"
    await asked.service.ok("POST", "/follow", actor=asked.bob, json=BOB_FOLLOWS_ALICE)
    for _ in range(2):
        assert await asked.service.ok("POST", "/reject", actor=asked.alice, json=BOB_FOLLOWS_ALICE) == {"err": ""}
    refused = await asked.service.refused("POST", "/accept", actor=asked.alice, json=BOB_FOLLOWS_ALICE)
    assert refused == (404, "follow_request_not_found")


async def test_a_block_and_its_end(house: GraphHouse) -> None:
    bob, relationship = {"Username": "bob"}, f"/relationships/{house.bob.user_id}/{house.alice.user_id}"
    for _ in range(2):
        assert await house.service.ok("POST", "/block", actor=house.alice, json=bob) == {"err": ""}
    assert await names(house, "/blocked", house.alice, "blocked") == ["bob"]
    assert await house.service.refused("GET", relationship) == (404, "user_not_found")
    refused = await house.service.refused("POST", "/follow", actor=house.bob, json=BOB_FOLLOWS_ALICE)
    assert refused == (404, "user_not_found")
    theirs = {"followed": "bob", "follower": "alice"}
    assert await house.service.refused("POST", "/follow", actor=house.alice, json=theirs) == (409, "user_blocked")
    for _ in range(2):
        assert await house.service.ok("POST", "/unblock", actor=house.alice, json=bob) == {"err": ""}
    assert (await house.service.ok("GET", relationship))["Relationship"] == "none"
    assert await house.service.refused("POST", "/block", actor=house.bob, json=bob) == (400, "cannot_block_yourself")


@pytest.mark.parametrize("path", ["/accept", "/reject", "/kick"])
async def test_nobody_answers_for_somebody_else(asked: GraphHouse, path: str) -> None:
    for actor in (asked.bob, None):
        assert await asked.service.refused("POST", path, actor=actor, json=BOB_FOLLOWS_ALICE) == (403, "not_yours")


@pytest.mark.parametrize("path", ["/incoming-requests/alice", "/outgoing-requests/alice", "/blocked/alice"])
async def test_what_is_the_users_alone(asked: GraphHouse, path: str) -> None:
    for actor in (asked.bob, None):
        assert await asked.service.refused("GET", path, actor=actor) == (403, "not_yours")
    for caller in ("link-manager", "news-manager"):
        status, _ = await asked.service.refused("GET", path, actor=asked.alice, caller=caller)
        assert status == 403
    assert await asked.service.refused("GET", path, actor=asked.alice, query="limit=0") == (400, "invalid_limit")


@pytest.mark.parametrize("path", ["/accept", "/reject", "/kick", "/block", "/unblock"])
async def test_a_bad_body(house: GraphHouse, path: str) -> None:
    for body in (b"", b"{", b"[]", b"{}", b'{"followed":1,"follower":2,"Username":3}'):
        assert (await house.service.refused("POST", path, actor=house.alice, body=body))[0] == 400
