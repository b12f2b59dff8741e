"""What people get from the link checker, through the gateway."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pkg.object_model.types import LinkReason, LinkStatus
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse, Person

URL = "https://a.example/"
NEW = "https://new.example/"
MOVED = (LinkStatus.VALID, LinkReason.MOVED)
GONE = (LinkStatus.INVALID, LinkReason.GONE)


async def add(person: Person, url: str = URL, **fields: object) -> Any:
    return (await person.ok("POST", "/v1/links", json={"url": url, "title": "A"} | fields))["link"]


async def find(house: GatewayHouse, status: LinkStatus, reason: LinkReason, url: str = URL, moved_to: str = "") -> None:
    await house.world.find(url, status, reason, moved_to)


async def links(person: Person, **query: str) -> list[Any]:
    page: list[Any] = (await person.ok("GET", "/v1/links", query=query))["links"]
    return page


# --- how one's links are ----------------------------------------------------------------------------------------------


async def test_links_are_counted_by_status_and_reason(house: GatewayHouse) -> None:
    assert await house.alice.ok("GET", "/v1/links/status") == {
        "statuses": {"pending": 0, "valid": 0, "invalid": 0},
        "reasons": [],
        "err": "",
    }
    for number in range(4):
        await add(house.alice, f"https://{number}.example/")
    await add(house.bob, URL)
    await find(house, *MOVED, "https://1.example/", moved_to=NEW)
    await find(house, *GONE, "https://2.example/")
    assert await house.alice.ok("GET", "/v1/links/status") == {
        "statuses": {"pending": 2, "valid": 1, "invalid": 1},
        "reasons": [
            {"Status": "pending", "StatusReason": "", "Count": 2},
            {"Status": "valid", "StatusReason": "moved", "Count": 1},
            {"Status": "invalid", "StatusReason": "gone", "Count": 1},
        ],
        "err": "",
    }


async def test_what_is_to_be_mended_can_be_listed(house: GatewayHouse) -> None:
    for number in range(3):
        await add(house.alice, f"https://{number}.example/")
    await find(house, *MOVED, "https://1.example/", moved_to=NEW)
    await find(house, *GONE, "https://2.example/")
    (moved,) = await links(house.alice, status_reason="moved")
    (dead,) = await links(house.alice, status="invalid")
    assert (moved["Url"], moved["MovedTo"], moved["ArchivedUrl"]) == ("https://1.example/", NEW, "")
    assert (dead["Url"], dead["MovedTo"]) == ("https://2.example/", "")
    assert dead["ArchivedUrl"] == "https://web.archive.org/web/https://2.example/"
    assert await links(house.alice, status_reason="moved", status="invalid") == []
    assert (await house.alice.ok("GET", "/v1/me"))["user"]["DeadLinkCount"] == 1
    seen = await house.world.links.count_links(house.bob.actor, "alice")
    assert (seen.count, seen.dead) == (3, 0), "how many are dead is hers to know"
    refused = await house.alice.refused("GET", "/v1/links", query={"status_reason": "dead"})
    assert refused == (400, "invalid_argument")


async def test_a_token_of_a_list_with_another_reason_is_refused(house: GatewayHouse) -> None:
    for number in range(2):
        await add(house.alice, f"https://{number}.example/")
        await find(house, *GONE, f"https://{number}.example/")
    page = await house.alice.ok("GET", "/v1/links", query={"status_reason": "gone", "limit": "1"})
    token = page["NextPageToken"]
    assert await house.alice.ok("GET", "/v1/links", query={"status_reason": "gone", "limit": "1", "start_token": token})
    refused = await house.alice.refused("GET", "/v1/links", query={"limit": "1", "start_token": token})
    assert refused == (400, "invalid_start_token")


async def test_the_last_changes_of_a_link(house: GatewayHouse) -> None:
    await add(house.alice)
    assert (await house.alice.ok("GET", "/v1/links/history", query={"url": URL}))["changes"] == []
    await find(house, LinkStatus.VALID, LinkReason.OK)
    await find(house, *MOVED, moved_to=NEW)
    history = await house.alice.ok("GET", "/v1/links/history", query={"url": "HTTPS://a.example"})
    assert [(change["Status"], change["StatusReason"]) for change in history["changes"]] == [
        ("valid", "moved"),
        ("valid", "ok"),
    ]
    assert datetime.fromisoformat(history["changes"][0]["At"]).tzinfo == UTC
    assert history["link"] == (await links(house.alice))[0]
    # Not of what is somebody else's, known as it may be.
    assert await house.bob.refused("GET", "/v1/links/history", query={"url": URL}) == (404, "link_not_found")
    assert await house.alice.refused("GET", "/v1/links/history") == (400, "missing_argument")


@pytest.mark.parametrize("status", LinkStatus)
async def test_the_statuses_are_those_of_the_original(house: GatewayHouse, status: LinkStatus) -> None:
    await add(house.alice)
    await find(house, status, LinkReason.NOT_FOUND)
    assert [link["Status"] for link in await links(house.alice)] == [status]
    assert set(LinkStatus) == {"pending", "valid", "invalid"}


# --- a look now, a new address ----------------------------------------------------------------------------------------


async def test_a_look_can_be_asked_for(house: GatewayHouse) -> None:
    added = await add(house.alice)
    await find(house, LinkStatus.VALID, LinkReason.OK)
    asked = await house.alice.ok("POST", "/v1/links/check", query={"url": "HTTPS://a.example"})
    assert asked["link"] == (await links(house.alice))[0]
    assert asked["link"]["Version"] == added["Version"]
    assert await house.bob.refused("POST", "/v1/links/check", json={"url": URL}) == (404, "link_not_found")
    assert await house.alice.refused("POST", "/v1/links/check") == (400, "missing_argument")
    assert await house.alice.refused("POST", "/v1/links/check", json={"url": "x"}) == (400, "invalid_url")


async def test_looks_have_a_limit_of_their_own(house: GatewayHouse) -> None:
    await add(house.alice)
    limited = house.with_peers(SETTINGS.model_copy(update={"limit_factor": 1.0, "user_checks": 2}))
    for _ in range(2):
        await limited.alice.ok("POST", "/v1/links/check", json={"url": URL})
    refused = await limited.alice.call("POST", "/v1/links/check", json={"url": URL})
    assert (refused.status, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["err"] == "more than 2 checks in 60 seconds; try again in 30"
    assert refused.headers["retry-after"] == "30"
    assert refused.headers["ratelimit-policy"] == '"checks";q=2;w=60'
    # Nobody else's, and nothing else.
    assert await limited.bob.refused("POST", "/v1/links/check", json={"url": URL}) == (404, "link_not_found")
    await limited.alice.ok("PUT", "/v1/links", json={"url": URL, "title": "B"})


async def test_a_link_moves_in_one_call(house: GatewayHouse) -> None:
    added = await add(house.alice, tags="x")
    await add(house.alice, NEW, title="B", tags="y")
    refused = await house.alice.refused("POST", "/v1/links/move", json={"url": URL})
    assert refused == (409, "link_not_moved")
    await find(house, *MOVED, moved_to=NEW)
    stale = await house.alice.refused("POST", "/v1/links/move", json={"url": URL}, headers={"If-Match": '"7"'})
    assert stale == (412, "version_mismatch")
    link = (await house.alice.ok("POST", "/v1/links/move", query={"url": URL}, headers={"If-Match": '"1"'}))["link"]
    assert (link["Id"], link["CreatedAt"], link["Url"]) == (added["Id"], added["CreatedAt"], NEW)
    assert (link["Tags"], link["Title"], link["Description"]) == ({"x": True, "y": True}, "A", "B")
    assert await links(house.alice) == [link]
    assert await house.alice.refused("POST", "/v1/links/move", json={"url": URL}) == (404, "link_not_found")


async def test_a_move_whose_answer_was_lost_is_answered_again(house: GatewayHouse) -> None:
    await add(house.alice)
    await find(house, *MOVED, moved_to=NEW)
    key = {"Idempotency-Key": "k"}
    first = await house.alice.ok("POST", "/v1/links/move", json={"url": URL}, headers=key)
    assert await house.alice.ok("POST", "/v1/links/move", json={"url": URL}, headers=key) == first
    reused = await house.alice.refused("POST", "/v1/links/move", json={"url": NEW}, headers=key)
    assert reused == (409, "idempotency_key_reused")


async def test_followers_see_where_a_link_is_now(house: GatewayHouse) -> None:
    await house.bob.ok("POST", "/v1/following", json={"followed": "alice"})
    await add(house.alice)
    await add(house.alice, NEW, title="B")
    await find(house, *MOVED, moved_to=NEW)
    await house.alice.ok("POST", "/v1/links/move", json={"url": URL})
    await house.world.tell()
    news = (await house.bob.ok("GET", "/v1/news"))["events"]
    assert [(event["Url"], event["Title"], event["EventType"]) for event in news] == [(NEW, "A", 1)]
