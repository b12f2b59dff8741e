"""The link service's wire: what goes in, what comes out, for everyone who may ask."""

from typing import Any

import pytest

from pkg.object_model.types import MAX_BODY_BYTES, AddLinkRequest, FollowRequest, GetLinksRequest
from tests.api.link_service.conftest import LinkHouse

URL = "https://github.com/the-gigi"

BOOKMARKS = b"""<!DOCTYPE NETSCAPE-Bookmark-file-1>
<DL><p>
<DT><A HREF="https://a.example/" ADD_DATE="1600000000" TAGS="one,two">A</A>
<DD>about a
<DT><A HREF="https://b.example/" ADD_DATE="1600000001">B</A>
<DT><A HREF="javascript:alert(1)">not a link</A>
</DL><p>
"""


async def add(house: LinkHouse, url: str = URL, **fields: object) -> Any:
    sent = {"Url": url, "Username": "alice", "Title": "Gigi"} | fields
    return (await house.service.ok("POST", "/links", actor=house.alice, json=sent))["link"]


async def links_of_alice(house: LinkHouse) -> list[Any]:
    page = await house.service.ok("GET", "/links", actor=house.alice, query={"username": "alice", "limit": "200"})
    links: list[Any] = page["links"]
    return links


# --- happy paths ----------------------------------------------------------------------------------------------------


async def test_a_saved_link_comes_back_in_the_contracts_shape(house: LinkHouse) -> None:
    added = await add(house, Description="code", Tags={"python": True, "go": False})
    assert added == {
        "Id": added["Id"],
        "Url": URL,
        "Title": "Gigi",
        "Description": "code",
        "Status": "pending",
        "Tags": {"python": True},
        "CreatedAt": added["CreatedAt"],
        "UpdatedAt": added["CreatedAt"],
        "Visibility": "public",
        "Version": 1,
        "StatusReason": "",
        "CheckedAt": None,
        "MovedTo": "",
        "ArchivedUrl": "",
    }
    assert added["Id"].isdigit()
    assert added["CreatedAt"].endswith("Z")
    page = await house.service.ok("GET", "/links", actor=house.alice, query={"username": "alice"})
    assert page == {"links": [added], "NextPageToken": "", "err": ""}


async def test_what_the_original_go_clients_send(house: LinkHouse) -> None:
    """No Content-Type, nil maps as null, empty strings for what is not meant, no Visibility."""
    body = b'{"Url":"https://github.com/the-gigi","Title":"Gigi","Description":"","Username":"alice","Tags":null}'
    response = await house.service.call("POST", "/links", actor=house.alice, body=body)
    assert (response.status, response.json()["err"]) == (200, "")
    body = (
        b'{"Url":"https://github.com/the-gigi","Title":"","Description":"","Username":"alice",'
        b'"AddTags":{"go":true},"RemoveTags":null}'
    )
    response = await house.service.call("PUT", "/links", actor=house.alice, body=body)
    assert response.status == 200
    link = response.json()["link"]
    assert (link["Title"], link["Tags"], link["Version"]) == ("Gigi", {"go": True}, 2)


async def test_an_update_changes_what_is_sent(house: LinkHouse) -> None:
    await add(house, Description="old", Tags=["a", "b"])
    sent = {"Url": URL, "Username": "alice", "Title": "new", "AddTags": "c,d", "RemoveTags": ["a"]}
    link = (await house.service.ok("PUT", "/links", actor=house.alice, json=sent))["link"]
    assert (link["Title"], link["Description"]) == ("new", "old")
    assert link["Tags"] == {"b": True, "c": True, "d": True}
    assert link["UpdatedAt"] > link["CreatedAt"]


async def test_deleting_says_whether_there_was_one(house: LinkHouse) -> None:
    await add(house)
    query = {"username": "alice", "url": URL}
    assert await house.service.ok("DELETE", "/links", actor=house.alice, query=query) == {
        "deleted": True,
        "err": "",
    }
    assert await house.service.ok("DELETE", "/links", actor=house.alice, query=query) == {
        "deleted": False,
        "err": "",
    }


async def test_the_short_filter_names_filter(house: LinkHouse) -> None:
    """The original's gateway sent one name and its service read another, so that filters were dropped in silence."""
    await add(house, "https://a.example/", Title="first", Description="red", Tags=["x"])
    await add(house, "https://b.example/", Title="second", Description="blue", Tags=["y"], Visibility="private")
    for name, value in {
        "url": "b\\.example",
        "title": "^sec",
        "description": "blu",
        "tag": "y",
        "q": "second",
        "visibility": "private",
    }.items():
        query = {"username": "alice", name: value}
        page = await house.service.ok("GET", "/links", actor=house.alice, query=query)
        assert [link["Title"] for link in page["links"]] == ["second"], name
    query = {"username": "alice", "status": "invalid"}
    assert (await house.service.ok("GET", "/links", actor=house.alice, query=query))["links"] == []


async def test_pages_follow_each_other(house: LinkHouse) -> None:
    for number in range(5):
        await add(house, f"https://{number}.example/")
    seen: list[str] = []
    start = ""
    for _ in range(3):
        query = {"username": "alice", "limit": "2", "start": start}
        page = await house.service.ok("GET", "/links", actor=house.alice, query=query)
        seen += [link["Url"] for link in page["links"]]
        start = page["NextPageToken"]
    assert start == ""
    assert seen == [f"https://{number}.example/" for number in (4, 3, 2, 1, 0)]


async def test_tags_with_counts(house: LinkHouse) -> None:
    await add(house, "https://a.example/", Tags=["python", "go"])
    await add(house, "https://b.example/", Tags=["python"])
    page = await house.service.ok("GET", "/tags", actor=house.alice, query={"username": "alice", "prefix": "PY"})
    assert page == {"tags": [{"Tag": "python", "Count": 2}], "NextPageToken": "", "err": ""}


async def test_counts_are_what_the_asker_sees(house: LinkHouse) -> None:
    await add(house, "https://a.example/")
    await add(house, "https://b.example/", Visibility="private")
    await add(house, "https://c.example/", Visibility="followers")
    query = {"username": "alice"}

    async def count(**options: Any) -> Any:
        return await house.service.ok("GET", "/links/count", query=query, **options)

    assert await count(actor=house.alice) == {"count": 3, "limit": 100, "dead": 0, "err": ""}
    assert await count(actor=house.bob) == {"count": 1, "limit": 100, "dead": 0, "err": ""}
    assert await count() == {"count": 1, "limit": 100, "dead": 0, "err": ""}
    await house.world.graph.follow(house.bob, FollowRequest(followed="alice", follower="bob"))
    assert await count(actor=house.bob) == {"count": 2, "limit": 100, "dead": 0, "err": ""}


async def test_a_bookmarks_file_goes_in_and_comes_out(house: LinkHouse) -> None:
    query = {"username": "alice", "visibility": "public"}
    first = await house.service.ok("POST", "/import", actor=house.alice, query=query, body=BOOKMARKS)
    report = first["report"]
    assert {name: report[name] for name in ("Total", "Imported", "Merged", "Unchanged", "Skipped")} == {
        "Total": 3,
        "Imported": 2,
        "Merged": 0,
        "Unchanged": 0,
        "Skipped": 1,
    }
    assert report["ImportId"].isdigit()
    assert report["RowsTruncated"] is False
    (row,) = report["Rows"]
    assert row.keys() == {"Line", "Url", "Action", "Reason"}
    assert row["Action"] == "skipped"

    again = await house.service.ok("POST", "/import", actor=house.alice, query=query, body=BOOKMARKS)
    assert (again["report"]["Imported"], again["report"]["Unchanged"]) == (0, 2)

    exported = await house.service.call("GET", "/export", actor=house.alice, query={"username": "alice"})
    assert exported.status == 200
    assert exported.headers["content-type"] == "text/html; charset=utf-8"
    assert exported.body.startswith(b"<!DOCTYPE NETSCAPE-Bookmark-file-1>")
    assert b"https://a.example/" in exported.body
    assert b"https://b.example/" in exported.body


# --- who may --------------------------------------------------------------------------------------------------------

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/links", {"json": {"Url": "https://new.example/", "Username": "alice"}}),
    ("PUT", "/links", {"json": {"Url": URL, "Username": "alice", "Title": "stolen"}}),
    ("DELETE", "/links", {"query": {"username": "alice", "url": URL}}),
    ("POST", "/import", {"query": {"username": "alice"}, "body": BOOKMARKS}),
]


@pytest.mark.parametrize(("method", "path", "options"), WRITES)
async def test_nobody_writes_for_somebody_else(
    house: LinkHouse, method: str, path: str, options: dict[str, Any]
) -> None:
    """The original trusted the user name that it was sent."""
    await add(house)
    before = await links_of_alice(house)
    for actor in (house.bob, None):
        status, code = await house.service.refused(method, path, actor=actor, **options)
        assert (status, code) == (403, "not_yours")
    assert await links_of_alice(house) == before


async def test_the_private_stays_private(house: LinkHouse) -> None:
    await add(house, "https://secret.example/", Visibility="private", Tags=["hidden"])
    for actor in (house.bob, None):
        query = {"username": "alice"}
        assert (await house.service.ok("GET", "/links", actor=actor, query=query))["links"] == []
        assert (await house.service.ok("GET", "/tags", actor=actor, query=query))["tags"] == []
        assert (await house.service.ok("GET", "/links", actor=actor, query=query | {"q": "secret"}))["links"] == []


# --- what cannot be accepted ----------------------------------------------------------------------------------------

LINK = b'"Url":"https://bad.example/","Username":"alice"'

BAD_BODIES: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "malformed_json"),
    ("cut", b"{" + LINK, 400, "malformed_json"),
    ("trailing", b"{" + LINK + b"} x", 400, "malformed_json"),
    ("not a number", b"{" + LINK + b',"Title":NaN}', 400, "malformed_json"),
    ("bad utf-8", b"{" + LINK + b',"Title":"\xff\xfe"}', 400, "malformed_json"),
    ("half a surrogate", b"{" + LINK + b',"Title":"\\ud800"}', 400, "malformed_json"),
    ("too deep", b"[" * 100_000 + b"]" * 100_000, 400, "malformed_json"),
    ("an array", b"[{" + LINK + b"}]", 400, "invalid_argument"),
    ("a string", b'"https://bad.example/"', 400, "invalid_argument"),
    ("null", b"null", 400, "invalid_argument"),
    ("no url", b'{"Username":"alice"}', 400, "invalid_argument"),
    ("url a number", b'{"Url":3,"Username":"alice"}', 400, "invalid_argument"),
    ("tags a number", b"{" + LINK + b',"Tags":3}', 400, "invalid_argument"),
    ("tags to numbers", b"{" + LINK + b',"Tags":{"a":1}}', 400, "invalid_argument"),
    ("a deep tag", b"{" + LINK + b',"Tags":[' + b"[" * 900 + b"]" * 900 + b"]}", 400, "invalid_argument"),
    ("NUL in the title", b"{" + LINK + b',"Title":"a\\u0000b"}', 400, "invalid_argument"),
    ("NUL in a tag", b"{" + LINK + b',"Tags":["a\\u0000"]}', 400, "invalid_argument"),
    ("unknown visibility", b"{" + LINK + b',"Visibility":"secret"}', 400, "invalid_argument"),
    ("too large", b"{" + LINK + b',"Description":"' + b"a" * MAX_BODY_BYTES + b'"}', 413, "body_too_large"),
]


async def test_a_new_link_has_a_title_that_is_text(house: LinkHouse) -> None:
    """In a change, null says the same as nothing."""
    body = {"Url": "https://bad.example/", "Username": "alice", "Title": None}
    assert await house.service.refused("POST", "/links", actor=house.alice, json=body) == (400, "invalid_argument")
    await add(house, "https://bad.example/", Title="kept")
    assert (await house.service.ok("PUT", "/links", actor=house.alice, json=body))["link"]["Title"] == "kept"


@pytest.mark.parametrize(("body", "status", "code"), [case[1:] for case in BAD_BODIES], ids=[c[0] for c in BAD_BODIES])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_bad_body_changes_nothing(house: LinkHouse, method: str, body: bytes, status: int, code: str) -> None:
    await add(house)
    before = await links_of_alice(house)
    if method == "PUT":
        body = body.replace(b'"Tags"', b'"AddTags"')
    assert await house.service.refused(method, "/links", actor=house.alice, body=body) == (status, code)
    assert await links_of_alice(house) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"Tags": [f"tag{number}" for number in range(10_000)]},
        {"Tags": {"a" * 256: True}},
        {"Tags": ["a\ud7ff,b"]},
        {"Title": "a" * 1_025},
        {"Description": "a" * 65_537},
        {"Url": "ftp://a.example/"},
        {"Url": "https://user:secret@a.example/"},
        {"Url": "https://a.example/" + "a" * 2_048},
        {"Url": ""},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_value_that_breaks_a_rule_changes_nothing(house: LinkHouse, fields: dict[str, Any]) -> None:
    sent = {"Url": "https://bad.example/", "Username": "alice"} | fields
    status, _ = await house.service.refused("POST", "/links", actor=house.alice, json=sent)
    assert status == 400
    assert await links_of_alice(house) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "invalid_argument"),
        ("username=alice&limit=ten", "invalid_argument"),
        ("username=alice&limit=0", "invalid_limit"),
        ("username=alice&limit=201", "invalid_limit"),
        ("username=alice&limit=99999999999999999999999", "invalid_argument"),
        ("username=alice&username=bob", "conflicting_argument"),
        ("username=alice&tag=a&tag=b", "conflicting_argument"),
        ("username=alice&status=dead", "invalid_argument"),
        ("username=alice&visibility=mine", "invalid_argument"),
        ("username=alice&title=a%00b", "invalid_argument"),
        ("username=alice&title=%ff", "malformed_query"),
        ("username=alice&" + "&".join(["x=1"] * 200), "malformed_query"),
        ("username=alice&start=nonsense!", "invalid_start_token"),
        ("username=alice&start=" + "a" * 3_000, "invalid_start_token"),
    ],
)
async def test_a_bad_query_is_told(house: LinkHouse, query: str, code: str) -> None:
    assert await house.service.refused("GET", "/links", actor=house.alice, query=query) == (400, code)


@pytest.mark.parametrize("pattern", ["(", "[a", "(?<=a)b", "(a+)+\\1"])
async def test_a_bad_regex_is_told(house: LinkHouse, pattern: str) -> None:
    await add(house)
    status, _ = await house.service.refused(
        "GET", "/links", actor=house.alice, query={"username": "alice", "url": pattern}
    )
    assert status == 400


async def test_a_page_token_of_another_list_is_told(house: LinkHouse) -> None:
    for number in range(3):
        await add(house, f"https://{number}.example/")
    query = {"username": "alice", "limit": "1"}
    token = (await house.service.ok("GET", "/links", actor=house.alice, query=query))["NextPageToken"]
    assert token
    refused = await house.service.refused(
        "GET", "/links", actor=house.alice, query=query | {"start": token, "title": "x"}
    )
    assert refused == (400, "invalid_start_token")


async def test_unknown_fields_and_parameters_are_ignored(house: LinkHouse) -> None:
    """A newer gateway can talk to an older service."""
    await add(house, Colour="green")
    page = await house.service.ok("GET", "/links", query="username=alice&colour=green&colour=red")
    assert len(page["links"]) == 1


async def test_missing_things(house: LinkHouse) -> None:
    sent = {"Url": URL, "Username": "alice", "Title": "x"}
    assert await house.service.refused("PUT", "/links", actor=house.alice, json=sent) == (
        404,
        "link_not_found",
    )
    for path in ("/links", "/tags", "/links/count", "/export"):
        assert await house.service.refused("GET", path, actor=house.alice, query={"username": "nobody"}) == (
            404,
            "user_not_found",
        ), path
    await add(house)
    assert await house.service.refused("POST", "/links", actor=house.alice, json=sent) == (409, "link_exists")
    stale = sent | {"IfVersion": 7}
    status, _ = await house.service.refused("PUT", "/links", actor=house.alice, json=stale)
    assert status == 412


async def test_the_limit_is_told(house: LinkHouse) -> None:
    for number in range(100):
        request = AddLinkRequest(url=f"https://{number}.example/", username="alice")
        await house.world.links.add_link(house.alice, request)
    sent = {"Url": URL, "Username": "alice"}
    assert await house.service.refused("POST", "/links", actor=house.alice, json=sent) == (
        409,
        "link_limit_reached",
    )


@pytest.mark.parametrize(
    "body", [b"", b"\x00\x01\x02\xff" * 1_000, b"\x89PNG\r\n\x1a\n" + bytes(1_000), b'{"links": []}']
)
async def test_a_file_that_is_no_bookmarks_file(house: LinkHouse, body: bytes) -> None:
    status, _ = await house.service.refused(
        "POST", "/import", actor=house.alice, query={"username": "alice"}, body=body
    )
    assert status in (400, 415)
    assert await links_of_alice(house) == []


async def test_an_import_that_is_too_large_changes_nothing(house: LinkHouse) -> None:
    async def endless() -> Any:
        yield BOOKMARKS
        for _ in range(21):
            yield b" " * 2**20

    refused = await house.service.refused(
        "POST", "/import", actor=house.alice, query={"username": "alice"}, body=endless()
    )
    assert refused[0] == 413
    assert await links_of_alice(house) == []


async def test_an_import_may_be_larger_than_other_bodies(house: LinkHouse) -> None:
    body = BOOKMARKS + b"\n" * (2 * MAX_BODY_BYTES)
    report = await house.service.ok("POST", "/import", actor=house.alice, query={"username": "alice"}, body=body)
    assert report["report"]["Imported"] == 2


async def test_paths_and_methods_that_are_not_there(house: LinkHouse) -> None:
    assert (await house.service.refused("GET", "/link"))[0] == 404
    assert (await house.service.refused("GET", "/links/"))[0] == 404
    assert (await house.service.refused("PATCH", "/links"))[0] == 405
    assert (await house.service.refused("GET", "/docs"))[0] == 404


async def test_reading_for_oneself_needs_no_user_service(house: LinkHouse) -> None:
    page = await house.world.links.get_links(house.alice, GetLinksRequest(username="alice"))
    assert page.links == []
