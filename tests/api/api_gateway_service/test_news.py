"""GET /v1/news, from the gateway's door to the news manager; each answer is held against the API's description."""

import pytest

from pkg.object_model.errors import Unavailable
from pkg.object_model.interfaces import News
from pkg.object_model.types import Actor, GetNewsRequest, NewsPage
from tests.api.api_gateway_service.conftest import GatewayHouse


async def follow_and_save(house: GatewayHouse, count: int = 3) -> None:
    await house.bob.ok("POST", "/v1/following", json={"followed": "alice"})
    await house.world.tell()
    for number in range(count):
        link = {"url": f"https://{number}.example/", "title": f"Title {number}", "tags": ["x", "y"]}
        await house.alice.ok("POST", "/v1/links", json=link)
    await house.world.tell()


async def test_an_entry_in_the_contracts_form(house: GatewayHouse) -> None:
    assert await house.bob.ok("GET", "/v1/news") == {"events": [], "NextPageToken": "", "PrevPageToken": "", "err": ""}
    await follow_and_save(house, 1)
    body = await house.bob.ok("GET", "/v1/news")
    (event,) = body["events"]
    assert event.pop("Id").isdecimal()
    assert event.pop("Timestamp").endswith("Z")
    assert event == {
        "EventType": 0,
        "Username": "alice",
        "Url": "https://0.example/",
        "Title": "Title 0",
        "Description": "",
        "Tags": {"x": True, "y": True},
        "Status": "pending",
        "Version": 1,
    }
    assert (await house.alice.ok("GET", "/v1.0/news"))["events"] == []


async def test_changes_and_imports(house: GatewayHouse) -> None:
    await follow_and_save(house, 2)
    await house.bob.ok("GET", "/v1/news")
    await house.alice.ok("PUT", "/v1/links", json={"url": "https://0.example/", "title": "new"})
    await house.alice.ok("DELETE", "/v1/links", json={"url": "https://1.example/"})
    file = b'<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n<DT><A HREF="https://a.example/">A</A>\n</DL><p>\n'
    await house.alice.ok("POST", "/v1/import", query={"visibility": "public"}, body=file)
    await house.world.tell()
    imported, changed = (await house.bob.ok("GET", "/v1/news"))["events"]
    assert (imported["EventType"], imported["Count"], imported["Url"]) == (3, 1, "")
    assert (changed["EventType"], changed["Title"], changed["Version"]) == (1, "new", 2)
    assert "Count" not in changed


async def test_pages(house: GatewayHouse) -> None:
    await follow_and_save(house, 5)
    urls, token = [], ""
    for _ in range(3):
        body = await house.bob.ok("GET", "/v1/news", query={"limit": "2", "start_token": token})
        urls += [event["Url"] for event in body["events"]]
        token = body["NextPageToken"]
    assert token == ""
    assert urls == [f"https://{number}.example/" for number in (4, 3, 2, 1, 0)]


async def test_there_and_back(house: GatewayHouse) -> None:
    await follow_and_save(house, 5)
    first = await house.bob.ok("GET", "/v1/news", query={"limit": "2"})
    second = await house.bob.ok("GET", "/v1/news", query={"limit": "2", "start_token": first["NextPageToken"]})
    await house.alice.ok("POST", "/v1/links", json={"url": "https://5.example/", "title": "new"})
    await house.world.tell()
    back = await house.bob.ok("GET", "/v1/news", query={"limit": "2", "start_token": second["PrevPageToken"]})
    assert back["events"] == first["events"]
    newest = await house.bob.ok("GET", "/v1/news", query={"limit": "2", "start_token": back["PrevPageToken"]})
    assert [event["Url"] for event in newest["events"]] == ["https://5.example/"]
    assert newest["PrevPageToken"] == ""
    since = first["events"][0]["Id"]
    assert (await house.bob.ok("GET", "/v1/news", query={"since": since}))["events"] == newest["events"]
    for nothing in (newest["events"][0]["Id"], "9" * 19):
        assert (await house.bob.ok("GET", "/v1/news", query={"since": nothing}))["events"] == []


@pytest.mark.parametrize("since", ["-1", "x", "9" * 20, "٣", "1.0"])
async def test_what_is_no_id(house: GatewayHouse, since: str) -> None:
    assert await house.bob.refused("GET", "/v1/news", query={"since": since}) == (400, "invalid_since")


async def test_a_page_that_the_client_has_is_not_sent_again(house: GatewayHouse) -> None:
    await follow_and_save(house, 2)
    first = await house.bob.call("GET", "/v1/news")
    tag = first.headers["etag"]
    for shown in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await house.bob.call("GET", "/v1/news", headers={"If-None-Match": shown})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
        assert again.headers["cache-control"] == "no-store"
    assert (await house.bob.call("GET", "/v1/news", headers={"If-None-Match": tag[:-2] + '"'})).body == first.body
    assert (await house.bob.call("GET", "/v1/news", query={"limit": "1"}, headers={"If-None-Match": tag})).status == 200
    await house.alice.ok("PUT", "/v1/links", json={"url": "https://0.example/", "title": "new"})
    await house.world.tell()
    changed = await house.bob.call("GET", "/v1/news", headers={"If-None-Match": tag})
    assert changed.status == 200
    assert changed.headers["etag"] != tag


async def test_refusals(house: GatewayHouse) -> None:
    await follow_and_save(house, 3)
    token = (await house.bob.ok("GET", "/v1/news", query={"limit": "1"}))["NextPageToken"]
    assert await house.alice.refused("GET", "/v1/news", query={"start_token": token}) == (400, "invalid_start_token")
    assert await house.bob.refused("GET", "/v1/news", query={"start_token": "x"}) == (400, "invalid_start_token")
    assert (await house.bob.refused("GET", "/v1/news", query={"limit": "0"}))[0] == 400
    assert await house.bob.refused("GET", "/v1/news", query={"username": "alice"}) == (400, "unknown_argument")
    assert (await house.gateway.call("GET", "/v1/news")).status == 401


class NewsAway(News):
    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage:
        raise NotImplementedError

    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        raise Unavailable("news-manager cannot be reached", code="news_manager_unavailable", retry_after=1)


async def test_everything_else_goes_on_while_news_is_away(house: GatewayHouse) -> None:
    house = house.with_peers(news=NewsAway())
    response = await house.bob.call("GET", "/v1/news")
    assert (response.status, response.json()["code"]) == (503, "news_manager_unavailable")
    assert response.headers["retry-after"] == "1"
    await house.bob.ok("GET", "/v1/links")
    await house.bob.ok("POST", "/v1/links", json={"url": "https://a.example/", "title": "a"})
    await house.bob.ok("GET", "/v1/me")
