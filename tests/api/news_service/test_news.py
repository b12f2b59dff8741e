"""The news service as the gateway calls it, its manager in memory."""

from pkg.object_model.types import Actor, AddLinkRequest, FollowRequest
from pkg.runtime.access import LINK_MANAGER, NEWS_MANAGER
from svc.news_service.routes import build_app
from tests.internal_service import InternalService, serve
from tests.memory_world import build_world


async def house() -> tuple[InternalService, Actor]:
    """Bob, whose feed has three entries."""
    world = build_world()
    alice, bob = await world.person("alice"), await world.person("bob")
    await world.graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    await world.tell()
    for number in range(3):
        await world.links.add_link(alice, AddLinkRequest(url=f"https://{number}.example/", username="alice"))
    await world.tell()
    return serve(NEWS_MANAGER, lambda auth: build_app(world.news, auth)), bob


async def test_pages() -> None:
    service, bob = await house()
    first = await service.ok("GET", "/news", actor=bob, query={"username": "bob", "limit": "2"})
    assert [event["Url"] for event in first["events"]] == ["https://2.example/", "https://1.example/"]
    query = {"username": "bob", "limit": "2", "start": first["NextPageToken"]}
    second = await service.ok("GET", "/news", actor=bob, query=query)
    assert [event["Url"] for event in second["events"]] == ["https://0.example/"]
    assert second["NextPageToken"] == ""


async def test_refusals() -> None:
    service, bob = await house()
    mine = {"username": "bob"}
    assert await service.refused("GET", "/news", actor=bob) == (400, "invalid_argument")
    assert await service.refused("GET", "/news", actor=bob, query=mine | {"limit": "x"}) == (400, "invalid_argument")
    assert await service.refused("GET", "/news", actor=bob, query=mine | {"limit": "0"}) == (400, "invalid_limit")
    assert await service.refused("GET", "/news", actor=bob, query={"username": "alice"}) == (403, "not_yours")
    assert await service.refused("GET", "/news", query=mine) == (403, "not_yours")
    assert await service.refused("GET", "/news", actor=bob, query=mine, caller=None) == (401, "caller_unknown")
    assert await service.refused("GET", "/news", actor=bob, query=mine, caller=LINK_MANAGER) == (
        403,
        "caller_not_allowed",
    )
