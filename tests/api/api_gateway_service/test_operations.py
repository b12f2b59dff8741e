"""What each operation of the public API does, through real services."""

from typing import Any

import pytest

from pkg.object_model.types import Actor, AddLinkRequest, FollowRequest
from tests.api.api_gateway_service.conftest import GatewayHouse, Person

URL = "https://github.com/the-gigi"


async def add(person: Person, url: str = URL, title: str = "Gigi", **fields: object) -> Any:
    return (await person.ok("POST", "/v1/links", json={"url": url, "title": title} | fields))["link"]


async def urls(person: Person, path: str = "/v1/links", **query: str) -> list[str]:
    return [link["Url"] for link in (await person.ok("GET", path, query=query))["links"]]


# --- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/v1", "/v1.0"])
async def test_the_script_of_the_original(house: GatewayHouse, prefix: str) -> None:
    """Arguments in the query string, with every method."""
    target = {"url": URL}
    await house.alice.ok("DELETE", f"{prefix}/links", query=target)
    await house.alice.ok("POST", f"{prefix}/links", query=target | {"title": "Gigi on GitHub"})
    page = await house.alice.ok("GET", f"{prefix}/links")
    assert [(link["Url"], link["Status"]) for link in page["links"]] == [(URL, "pending")]


async def test_a_saved_link_in_full(house: GatewayHouse) -> None:
    link = await add(house.alice, description="code", tags={"python": True, "go": False}, visibility="private")
    assert link == {
        "Id": link["Id"],
        "Url": URL,
        "Title": "Gigi",
        "Description": "code",
        "Status": "pending",
        "Tags": {"python": True},
        "CreatedAt": link["CreatedAt"],
        "UpdatedAt": link["CreatedAt"],
        "Visibility": "private",
        "Version": 1,
        "StatusReason": "",
        "CheckedAt": None,
        "MovedTo": "",
        "ArchivedUrl": "",
    }
    assert await house.alice.ok("GET", "/v1/links") == {"links": [link], "NextPageToken": "", "err": ""}


async def test_an_update_changes_what_is_sent(house: GatewayHouse) -> None:
    await add(house.alice, description="old", tags="a,b")
    sent = {"url": URL, "add_tags": ["c"], "remove_tags": {"a": True}, "visibility": "followers"}
    link = (await house.alice.ok("PUT", "/v1/links", json=sent))["link"]
    assert (link["Title"], link["Description"], link["Version"]) == ("Gigi", "old", 2)
    assert (link["Tags"], link["Visibility"]) == ({"b": True, "c": True}, "followers")
    assert await house.alice.refused("PUT", "/v1/links", json={"url": "https://other.example/", "title": "x"}) == (
        404,
        "link_not_found",
    )


@pytest.mark.parametrize("place", ["query", "json", "form"])
async def test_an_empty_description_clears_and_an_empty_title_is_refused(house: GatewayHouse, place: str) -> None:
    await add(house.alice, description="old")

    def sent(**fields: str) -> dict[str, Any]:
        if place == "form":
            text = "&".join(f"{name}={value}" for name, value in {"url": URL, **fields}.items())
            return {"body": text.encode(), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
        return {place: {"url": URL} | fields}

    assert await house.alice.refused("PUT", "/v1/links", **sent(title="")) == (400, "invalid_argument")
    link = (await house.alice.ok("PUT", "/v1/links", **sent(title="New")))["link"]
    assert (link["Title"], link["Description"]) == ("New", "old")
    link = (await house.alice.ok("PUT", "/v1/links", **sent(description="")))["link"]
    assert (link["Title"], link["Description"]) == ("New", "")


@pytest.mark.parametrize("header", ["1", '"1"', "*"])
async def test_if_match_lets_the_right_version_pass(house: GatewayHouse, header: str) -> None:
    await add(house.alice)
    sent = {"url": URL, "title": "New"}
    link = (await house.alice.ok("PUT", "/v1/links", json=sent, headers={"If-Match": header}))["link"]
    assert link["Version"] == 2


async def test_if_match_stops_a_stale_version(house: GatewayHouse) -> None:
    await add(house.alice)
    sent = {"url": URL, "title": "New"}
    stale = await house.alice.refused("PUT", "/v1/links", json=sent, headers={"If-Match": '"7"'})
    assert stale == (412, "version_mismatch")
    for header in ("x", 'W/"1"', '"1", "2"', "", "-1", "9" * 30):
        refused = await house.alice.refused("PUT", "/v1/links", json=sent, headers={"If-Match": header})
        assert refused == (400, "invalid_argument"), header
    assert (await house.alice.ok("GET", "/v1/links"))["links"][0]["Title"] == "Gigi"


async def test_a_repeat_with_an_idempotency_key_gets_the_first_answer(house: GatewayHouse) -> None:
    sent = {"url": URL, "title": "Gigi"}
    key = {"Idempotency-Key": "k" * 255}
    first = await house.alice.ok("POST", "/v1/links", json=sent, headers=key)
    assert await house.alice.ok("POST", "/v1/links", json=sent, headers=key) == first
    assert await house.alice.refused("POST", "/v1/links", json=sent) == (409, "link_exists")
    other = await house.alice.refused("POST", "/v1/links", json=sent | {"title": "Other"}, headers=key)
    assert other == (409, "idempotency_key_reused")
    for bad in ("", "k" * 256, "k\x7f", "k\u00e9"):
        refused = await house.alice.refused("POST", "/v1/links", json=sent, headers={"Idempotency-Key": bad})
        assert refused == (400, "invalid_argument"), bad


async def test_every_filter_reaches_the_service(house: GatewayHouse) -> None:
    """The original's gateway sent one name and its service read another, so that filters were dropped in silence."""
    await add(house.alice, "https://a.example/", "first", description="red", tags=["x"])
    await add(house.alice, "https://b.example/", "second", description="blue", tags=["y"], visibility="private")
    for name, value in {
        "url_regex": r"b\.example",
        "title_regex": "^sec",
        "description_regex": "blu",
        "tag": "Y",
        "q": "seco",
        "visibility": "private",
    }.items():
        assert await urls(house.alice, **{name: value}) == ["https://b.example/"], name
    assert await urls(house.alice, status="invalid") == await urls(house.alice, status_reason="moved") == []
    assert len(await urls(house.alice, status="pending")) == 2
    assert await urls(house.alice, limit="1") == ["https://b.example/"]


@pytest.mark.parametrize("path", ["/v1/links", "/v1/users/alice/links"])
async def test_the_page_token_comes_back_and_works(house: GatewayHouse, path: str) -> None:
    """It never reached the client of the original."""
    for number in range(5):
        await add(house.alice, f"https://{number}.example/")
    seen: list[str] = []
    query = {"limit": "2"}
    for _ in range(3):
        page = await house.alice.ok("GET", path, query=query)
        seen += [link["Url"] for link in page["links"]]
        query = {"limit": "2", "start_token": page["NextPageToken"]}
    assert seen == [f"https://{number}.example/" for number in (4, 3, 2, 1, 0)]
    assert page["NextPageToken"] == ""
    first = await house.alice.ok("GET", path, query={"limit": "2"})
    other = {"limit": "2", "start_token": first["NextPageToken"], "tag": "x"}
    assert await house.alice.refused("GET", path, query=other) == (400, "invalid_start_token")


async def test_tags(house: GatewayHouse) -> None:
    await add(house.alice, "https://a.example/", tags=["python", "go"])
    await add(house.alice, "https://b.example/", tags=["python"])
    page = await house.alice.ok("GET", "/v1/tags", query={"prefix": "PY"})
    assert page == {"tags": [{"Tag": "python", "Count": 2}], "NextPageToken": "", "err": ""}
    first = await house.alice.ok("GET", "/v1/tags", query={"limit": "1"})
    rest = await house.alice.ok("GET", "/v1/tags", query={"limit": "1", "start_token": first["NextPageToken"]})
    assert [row["Tag"] for row in first["tags"] + rest["tags"]] == ["go", "python"]


async def test_deleting_says_whether_there_was_one(house: GatewayHouse) -> None:
    await add(house.alice)
    assert await house.alice.ok("DELETE", "/v1/links", json={"url": URL}) == {"deleted": True, "err": ""}
    assert await house.alice.ok("DELETE", "/v1/links", query={"url": URL}) == {"deleted": False, "err": ""}


# --- people ---------------------------------------------------------------------------------------------------------


async def test_following_and_being_followed(house: GatewayHouse) -> None:
    assert await house.bob.ok("POST", "/v1/following", query={"followed": "alice"}) == {
        "State": "following",
        "err": "",
    }
    assert (await house.bob.ok("GET", "/v1/following"))["following"] == {"alice": True}
    assert (await house.alice.ok("GET", "/v1/followers"))["followers"] == {"bob": True}
    assert (await house.alice.ok("GET", "/v1/following"))["following"] == {}
    assert await house.bob.ok("DELETE", "/v1/following", json={"followed": "alice"}) == {"err": ""}
    assert (await house.alice.ok("GET", "/v1/followers"))["followers"] == {}
    assert await house.bob.refused("POST", "/v1/following", query={"followed": "bob"}) == (
        400,
        "cannot_follow_yourself",
    )
    assert await house.bob.refused("POST", "/v1/following", query={"followed": "nobody"}) == (404, "user_not_found")


async def test_followers_page_by_page(house: GatewayHouse) -> None:
    names = [f"fan{number}" for number in range(25)]
    for name in names:
        fan = await house.world.person(name)
        await house.world.graph.follow(fan, FollowRequest(followed="alice", follower=name))
    whole = await house.alice.ok("GET", "/v1/followers")
    assert (whole["followers"], whole["NextPageToken"]) == (dict.fromkeys(names, True), "")
    seen: list[str] = []
    query = {"limit": "10"}
    for _ in range(3):
        page = await house.alice.ok("GET", "/v1/followers", query=query)
        seen += page["followers"]
        query = {"limit": "10", "start_token": page["NextPageToken"]}
    assert (sorted(seen), page["NextPageToken"]) == (sorted(names), "")


async def test_me(house: GatewayHouse) -> None:
    await add(house.alice, visibility="private")
    await house.world.graph.follow(house.bob.actor, FollowRequest(followed="alice", follower="bob"))
    me = await house.alice.ok("GET", "/v1/me")
    assert me["user"] == {
        "Name": "alice",
        "DisplayName": "alice",
        "Email": "alice@mail.example",
        "CreatedAt": me["user"]["CreatedAt"],
        "Private": False,
        "LinkCount": 1,
        "FollowerCount": 1,
        "FollowingCount": 0,
        "DeadLinkCount": 0,
        "MaxLinks": 20,
    }
    assert me["token"].keys() == {"Name", "Scopes", "ExpiresAt"}
    assert house.alice.token not in str(me)


async def test_somebody_else(house: GatewayHouse) -> None:
    await add(house.alice, "https://a.example/")
    await add(house.alice, "https://b.example/", visibility="followers")
    await add(house.alice, "https://c.example/", visibility="private")
    user = (await house.bob.ok("GET", "/v1/users/ALICE"))["user"]
    assert user == {
        "Name": "alice",
        "DisplayName": "alice",
        "CreatedAt": user["CreatedAt"],
        "Private": False,
        "LinkCount": 1,
        "FollowerCount": 0,
        "FollowingCount": 0,
        "Relationship": "none",
    }
    assert await urls(house.bob, "/v1/users/alice/links") == ["https://a.example/"]
    await house.bob.ok("POST", "/v1/following", query={"followed": "alice"})
    user = (await house.bob.ok("GET", "/v1/users/alice"))["user"]
    assert (user["LinkCount"], user["FollowerCount"], user["Relationship"]) == (2, 1, "following")
    assert await urls(house.bob, "/v1/users/alice/links", url_regex="b") == ["https://b.example/"]
    assert (await house.alice.ok("GET", "/v1/users/alice"))["user"]["Relationship"] == "self"


@pytest.mark.parametrize("path", ["/v1/users/nobody", "/v1/users/nobody/links", "/v1/users/%F0%9F%98%80"])
async def test_nobody_is_not_found(house: GatewayHouse, path: str) -> None:
    assert await house.bob.refused("GET", path) == (404, "user_not_found")


# --- as the service has it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"url": "ftp://a.example/"}, "unsupported_scheme"),
        ({"url": "https://me:secret@a.example/"}, "url_with_credentials"),
        ({"url": "https://a.example/" + "a" * 2_048}, "url_too_long"),
        ({"url": "nothing"}, "invalid_url"),
        ({"title": "a" * 1_025}, "title_too_long"),
        ({"description": "a" * 65_537}, "description_too_long"),
        ({"tags": [f"t{number}" for number in range(10_000)]}, "too_many_tags"),
        ({"tags": ["a" * 256]}, "tag_too_long"),
        ({"tags": ["a,b"]}, "invalid_tag"),
    ],
)
async def test_a_rule_of_the_service_is_told_as_it_is(house: GatewayHouse, fields: dict[str, Any], code: str) -> None:
    """Every refusal of a service became a 500 in the original."""
    sent = {"url": URL, "title": "Gigi"} | fields
    assert await house.alice.refused("POST", "/v1/links", json=sent) == (400, code)
    assert await urls(house.alice) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": "0"}, "invalid_limit"),
        ({"limit": "201"}, "invalid_limit"),
        ({"start_token": "bm90IG9uZSBvZiBvdXJz"}, "invalid_start_token"),
        ({"url_regex": r"(a)\1"}, "invalid_regex"),
        ({"url_regex": "((a{200}){200}){200}"}, "regex_too_complex"),
        ({"title_regex": "a" * 1_001}, "regex_too_long"),
        ({"q": "..."}, "invalid_search"),
    ],
)
async def test_a_filter_that_cannot_be_is_told(house: GatewayHouse, query: dict[str, str], code: str) -> None:
    assert await house.alice.refused("GET", "/v1/links", query=query) == (400, code)


async def test_the_limit_of_links_is_told(house: GatewayHouse) -> None:
    for number in range(20):
        request = AddLinkRequest(url=f"https://{number}.example/", username="alice")
        await house.world.links.add_link(Actor(house.alice.actor.user_id, "alice"), request)
    assert await house.alice.refused("POST", "/v1/links", query={"url": URL, "title": "x"}) == (
        409,
        "link_limit_reached",
    )


async def test_paths_and_methods_that_are_not_there(house: GatewayHouse) -> None:
    for path in ("/v1/nothing", "/v2/links", "/links", "/v1/links/", "/v1", "/v1/users/alice/links/1"):
        assert await house.alice.refused("GET", path) == (404, "no_such_path"), path
    response = await house.alice.call("PATCH", "/v1/links")
    assert (response.status, response.json()["code"]) == (405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "PUT", "DELETE"}


async def test_head_is_get_without_a_body(house: GatewayHouse) -> None:
    assert (await house.alice.call("HEAD", "/v1/links")).status == 200
