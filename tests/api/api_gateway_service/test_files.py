"""Bookmark files in and out."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pkg.object_model.types import MAX_BODY_BYTES, MAX_IMPORT_BYTES
from tests.api.api_gateway_service.conftest import GatewayHouse
from tests.api.api_gateway_service.test_arguments import MULTIPART

BOOKMARKS = b"""<!DOCTYPE NETSCAPE-Bookmark-file-1>
<DL><p>
<DT><H3>Papers</H3>
<DL><p>
<DT><A HREF="https://a.example/" ADD_DATE="1600000000" TAGS="one,two">\xc3\x84</A>
<DD>about a
</DL><p>
<DT><A HREF="https://b.example/" ADD_DATE="1600000001">B</A>
<DT><A HREF="javascript:alert(1)">not a link</A>
</DL><p>
"""


def field(name: str, content: bytes) -> bytes:
    return b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), content)


def file(content: bytes = BOOKMARKS, name: str = "file") -> bytes:
    head = b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="b\xc3\xbccher.html"\r\n' % name.encode()
    return head + b"Content-Type: text/html\r\n\r\n" + content + b"\r\n"


END = b"--edge--\r\n"

WAYS: dict[str, dict[str, Any]] = {
    "raw": {"body": BOOKMARKS},
    "raw html": {"body": BOOKMARKS, "headers": {"Content-Type": "text/html"}},
    "raw with curl's own type": {
        "body": BOOKMARKS,
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
    "raw called JSON": {"body": BOOKMARKS, "headers": {"Content-Type": "application/json"}},
    "a form": {"body": file() + END, "headers": MULTIPART},
}


async def links(house: GatewayHouse, **query: str) -> list[Any]:
    found: list[Any] = (await house.alice.ok("GET", "/v1/links", query=query))["links"]
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prefix", ["/v1", "/v1.0"])
async def test_a_file_goes_in(house: GatewayHouse, way: str, prefix: str) -> None:
    report = (await house.alice.ok("POST", f"{prefix}/import", **WAYS[way]))["report"]
    counts = {name: report[name] for name in ("Total", "Imported", "Merged", "Unchanged", "Skipped")}
    assert counts == {"Total": 3, "Imported": 2, "Merged": 0, "Unchanged": 0, "Skipped": 1}
    assert [row["Action"] for row in report["Rows"]] == ["skipped"]
    assert {(link["Title"], link["Visibility"]) for link in await links(house)} == {
        ("Ä", "private"),
        ("B", "private"),
    }
    again = (await house.alice.ok("POST", f"{prefix}/import", **WAYS[way]))["report"]
    assert (again["Imported"], again["Unchanged"]) == (0, 2)


@pytest.mark.parametrize(
    "sent",
    [
        {"query": {"visibility": "public", "folders_as_tags": "true"}, "body": BOOKMARKS},
        {
            "body": field("visibility", b"public") + field("folders_as_tags", b"true") + file() + END,
            "headers": MULTIPART,
        },
        {
            "query": {"visibility": "public"},
            "body": field("folders_as_tags", b"true") + file() + END,
            "headers": MULTIPART,
        },
    ],
    ids=["query", "form", "both"],
)
async def test_how_a_file_is_to_be_read(house: GatewayHouse, sent: dict[str, Any]) -> None:
    await house.alice.ok("POST", "/v1/import", **sent)
    (found,) = await links(house, tag="one")
    assert (found["Visibility"], found["Tags"].keys()) == ("public", {"one", "two", "Papers"})


async def test_a_repeated_import_with_a_key_gets_the_first_report(house: GatewayHouse) -> None:
    key = {"Idempotency-Key": "once"}
    first = await house.alice.ok("POST", "/v1/import", body=BOOKMARKS, headers=key)
    assert await house.alice.ok("POST", "/v1/import", body=BOOKMARKS, headers=key) == first


BAD_FILES: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 400, "not_a_bookmark_file"),
    "binary": ({"body": b"\x89PNG\r\n\x1a\n" + bytes(1_000)}, 400, "not_a_bookmark_file"),
    "JSON": ({"body": b'{"links": []}'}, 400, "not_a_bookmark_file"),
    "too large": ({"body": b" " * (MAX_IMPORT_BYTES + 1)}, 413, "body_too_large"),
    "an unknown option": ({"query": {"colour": "red"}, "body": BOOKMARKS}, 400, "unknown_argument"),
    "a bad option": ({"query": {"folders_as_tags": "yes"}, "body": BOOKMARKS}, 400, "invalid_argument"),
    "no file in the form": (
        {"body": field("visibility", b"public") + END, "headers": MULTIPART},
        400,
        "missing_argument",
    ),
    "a file of another name": ({"body": file(name="upload") + END, "headers": MULTIPART}, 400, "missing_argument"),
    "two files": ({"body": file() + file() + END, "headers": MULTIPART}, 400, "conflicting_argument"),
    "an option after the file": (
        {"body": file() + field("visibility", b"public") + END, "headers": MULTIPART},
        400,
        "invalid_argument",
    ),
    "an option twice": (
        {"query": {"visibility": "private"}, "body": field("visibility", b"public") + file(), "headers": MULTIPART},
        400,
        "conflicting_argument",
    ),
    "a long option": (
        {"body": field("visibility", b"x" * 2_000) + file(), "headers": MULTIPART},
        400,
        "invalid_argument",
    ),
    "a form that is cut": ({"body": file(), "headers": MULTIPART}, 400, "malformed_form"),
    "a form that is none": ({"body": BOOKMARKS, "headers": MULTIPART}, 400, "malformed_form"),
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_a_file_that_cannot_be_taken_changes_nothing(house: GatewayHouse, name: str) -> None:
    sent, status, code = BAD_FILES[name]
    assert await house.alice.refused("POST", "/v1/import", **sent) == (status, code)
    assert await links(house) == []


@pytest.mark.parametrize("way", ["raw", "form"])
async def test_a_file_that_turns_out_too_large_changes_nothing(house: GatewayHouse, way: str) -> None:
    """No Content-Length gives it away: it is noticed on the way."""

    async def endless() -> AsyncIterator[bytes]:
        yield BOOKMARKS if way == "raw" else file(BOOKMARKS)[:-2]
        for _ in range(21):
            yield b" " * 2**20

    headers = {"Transfer-Encoding": "chunked"} | (MULTIPART if way == "form" else {})
    refused = await house.alice.refused("POST", "/v1/import", body=endless(), headers=headers)
    assert refused == (413, "body_too_large")
    assert await links(house) == []


async def test_a_file_may_be_larger_than_other_bodies(house: GatewayHouse) -> None:
    body = BOOKMARKS + b"\n" * (3 * MAX_BODY_BYTES)
    assert (await house.alice.ok("POST", "/v1/import", body=body))["report"]["Imported"] == 2
    form = file(body) + END
    assert (await house.alice.ok("POST", "/v1/import", body=form, headers=MULTIPART))["report"]["Unchanged"] == 2


async def test_a_file_comes_out(house: GatewayHouse) -> None:
    await house.alice.ok("POST", "/v1/import", body=BOOKMARKS)
    response = await house.alice.call("GET", "/v1/export")
    assert response.status == 200
    assert response.complete
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="delinkcious-alice.html"'
    assert response.headers["cache-control"] == "no-store"
    assert "sandbox" in response.headers["content-security-policy"]
    assert b"https://a.example/" in response.body
    imported = (await house.bob.ok("POST", "/v1/import", body=response.body))["report"]
    assert imported["Imported"] == 2
    assert (await house.bob.call("GET", "/v1/export")).body == response.body
