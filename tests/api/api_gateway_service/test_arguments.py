"""How arguments are sent: three places, three forms of tags, and everything that cannot be meant."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.api_gateway_service.conftest import GatewayHouse

URL = "https://github.com/the-gigi"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=edge"}


def parts(*fields: tuple[str, str | bytes], extra: bytes = b"", end: bytes = b"--edge--\r\n") -> bytes:
    body = b""
    for name, value in fields:
        content = value.encode() if isinstance(value, str) else value
        body += b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (name.encode(), extra)
        body += content + b"\r\n"
    return body + end


PLACES: dict[str, Any] = {
    "query": lambda fields: {"query": fields},
    "form": lambda fields: {"body": urlencode(fields).encode(), "headers": FORM},
    "parts": lambda fields: {"body": parts(*fields.items()), "headers": MULTIPART},
    "json": lambda fields: {"json": fields},
    "unnamed json": lambda fields: {"body": _json(fields)},
    "query and json": lambda fields: {
        "query": {"url": fields["url"]},
        "json": {name: value for name, value in fields.items() if name != "url"},
    },
    "the same twice": lambda fields: {"query": fields, "json": fields},
}


def _json(fields: dict[str, str]) -> bytes:
    return ("{" + ",".join(f'"{name}": "{value}"' for name, value in fields.items()) + "}").encode()


@pytest.mark.parametrize("place", PLACES)
async def test_every_method_takes_arguments_from_everywhere(house: GatewayHouse, place: str) -> None:
    sent = PLACES[place]
    await house.alice.ok("POST", "/v1/links", **sent({"url": URL, "title": "Grüße + 100%", "tags": "a, b"}))
    await house.alice.ok("POST", "/v1/links", query={"url": "https://other.example/", "title": "x"})
    link = (await house.alice.ok("PUT", "/v1/links", **sent({"url": URL, "add_tags": "c"})))["link"]
    assert (link["Title"], link["Tags"]) == ("Grüße + 100%", {"a": True, "b": True, "c": True})
    if place != "query and json":
        page = await house.alice.ok("GET", "/v1/links", **sent({"tag": "c"}))
        assert [found["Url"] for found in page["links"]] == [URL]
    assert (await house.alice.ok("DELETE", "/v1/links", **sent({"url": URL})))["deleted"] is True


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["a", "b"], {"a", "b"}),
        ("a,b", {"a", "b"}),
        ("a,,b,", {"a", "b"}),
        ({"a": True, "b": True, "c": False}, {"a", "b"}),
        ([], set()),
        ("", set()),
        ({}, set()),
        (None, set()),
    ],
)
async def test_tags_in_all_their_forms(house: GatewayHouse, tags: object, expected: set[str]) -> None:
    sent = {"url": URL, "title": "x", "tags": tags}
    assert (await house.alice.ok("POST", "/v1/links", json=sent))["link"]["Tags"].keys() == expected


async def test_numbers_in_json(house: GatewayHouse) -> None:
    await house.alice.ok("GET", "/v1/links", json={"limit": 5})
    await house.alice.ok("GET", "/v1/links", json={"limit": 5}, query={"limit": "5"})


@pytest.mark.parametrize("path", ["/v1/links", "/v1/tags", "/v1/followers", "/v1/users/bob/links"])
async def test_an_empty_parameter_is_as_good_as_none(house: GatewayHouse, path: str) -> None:
    await house.alice.ok("GET", path, query={"limit": "", "start_token": ""})


LINK = b'"url": "https://bad.example/", "title": "x"'
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "two values in the query": (
        "POST",
        {"query": "url=https://a.example/&url=https://b.example/&title=x"},
        "conflicting",
    ),
    "two values in a form": (
        "POST",
        {"body": b"url=https://a.example/&title=x&title=y", "headers": FORM},
        "conflicting",
    ),
    "two values in parts": (
        "POST",
        {"body": parts(("url", URL), ("title", "x"), ("title", "y")), "headers": MULTIPART},
        "conflicting",
    ),
    "a key twice": ("POST", {"body": b"{" + LINK + b', "title": "y"}', "headers": JSON}, "conflicting"),
    "a tag twice": (
        "POST",
        {"body": b"{" + LINK + b', "tags": {"a": true, "a": false}}', "headers": JSON},
        "conflicting",
    ),
    "two places": ("POST", {"query": {"title": "a"}, "json": {"url": URL, "title": "b"}}, "conflicting"),
    "tags in two places": (
        "POST",
        {"query": {"tags": "a"}, "json": {"url": URL, "title": "b", "tags": ["b"]}},
        "conflicting",
    ),
    "unknown in the query": ("POST", {"query": {"url": URL, "title": "x", "colour": "red"}}, "unknown"),
    "unknown in JSON": ("POST", {"json": {"url": URL, "title": "x", "colour": "red"}}, "unknown"),
    "unknown in a form": ("POST", {"body": b"colour=", "headers": FORM}, "unknown"),
    "unknown and not printable": ("POST", {"body": b'{"\\ud800\\u0000": 1}', "headers": JSON}, "unknown"),
    "of another method": ("DELETE", {"query": {"url": URL, "title": "x"}}, "unknown"),
    "no url": ("POST", {"query": {"title": "x"}}, "missing"),
    "no title": ("POST", {"query": {"url": URL}}, "missing"),
    "an empty url": ("POST", {"query": {"url": "", "title": "x"}}, "missing"),
    "an empty title": ("POST", {"json": {"url": URL, "title": ""}}, "missing"),
    "a title of null": ("POST", {"json": {"url": URL, "title": None}}, "missing"),
    "nothing to change": ("PUT", {}, "missing"),
    "nothing to delete": ("DELETE", {}, "missing"),
    "a url that is a number": ("POST", {"json": {"url": 3, "title": "x"}}, "invalid"),
    "a title that is a list": ("POST", {"json": {"url": URL, "title": ["x"]}}, "invalid"),
    "tags that are a number": ("POST", {"json": {"url": URL, "title": "x", "tags": 3}}, "invalid"),
    "a tag that is a number": ("POST", {"json": {"url": URL, "title": "x", "tags": [3]}}, "invalid"),
    "a set of numbers": ("POST", {"json": {"url": URL, "title": "x", "tags": {"a": 1}}}, "invalid"),
    "deep tags": (
        "POST",
        {"body": b"{" + LINK + b', "tags": ' + b"[" * 500 + b"]" * 500 + b"}", "headers": JSON},
        "invalid",
    ),
    "an unknown visibility": ("POST", {"query": {"url": URL, "title": "x", "visibility": "secret"}}, "invalid"),
    "a visibility that is a number": ("POST", {"json": {"url": URL, "title": "x", "visibility": 1}}, "invalid"),
    "an unknown status": ("GET", {"query": {"status": "dead"}}, "invalid"),
    "a limit in words": ("GET", {"query": {"limit": "many"}}, "invalid"),
    "a limit of two digits too many": ("GET", {"query": {"limit": "9" * 30}}, "invalid"),
    "a limit beyond 64 bits": ("GET", {"body": b'{"limit": 18446744073709551616}', "headers": JSON}, "invalid"),
    "a limit in Arabic digits": ("GET", {"query": {"limit": "٣"}}, "invalid"),
    "a limit as text in JSON": ("GET", {"json": {"limit": "5"}}, "invalid"),
    "a limit that is true": ("GET", {"json": {"limit": True}}, "invalid"),
    "a limit that is no whole number": ("GET", {"json": {"limit": 5.0}}, "invalid"),
    "a file as a field": (
        "POST",
        {"body": parts(("url", URL), extra=b'; filename="a"'), "headers": MULTIPART},
        "invalid",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_meant_is_refused(house: GatewayHouse, name: str) -> None:
    method, sent, code = REFUSED[name]
    await house.alice.ok("POST", "/v1/links", query={"url": "https://keep.example/", "title": "keep"})
    assert await house.alice.refused(method, "/v1/links", **sent) == (400, f"{code}_argument")
    assert [link["Title"] for link in (await house.alice.ok("GET", "/v1/links"))["links"]] == ["keep"]


MALFORMED: dict[str, tuple[dict[str, Any], int, str]] = {
    "cut JSON": ({"body": b"{" + LINK, "headers": JSON}, 400, "malformed_json"),
    "JSON and more": ({"body": b"{" + LINK + b"} x", "headers": JSON}, 400, "malformed_json"),
    "JSON that is a list": ({"body": b"[1, 2]", "headers": JSON}, 400, "malformed_json"),
    "JSON that is null": ({"body": b"null", "headers": JSON}, 400, "malformed_json"),
    "JSON that is deep": ({"body": b"[" * 100_000, "headers": JSON}, 400, "malformed_json"),
    "JSON that is deep and whole": (
        {"body": b'{"url":' * 100_000 + b"1" + b"}" * 100_000, "headers": JSON},
        400,
        "malformed_json",
    ),
    "a byte-order mark": ({"body": b"\xef\xbb\xbf{" + LINK + b"}", "headers": JSON}, 400, "malformed_json"),
    "UTF-16": ({"body": ("{" + LINK.decode() + "}").encode("utf-16"), "headers": JSON}, 400, "malformed_json"),
    "bad UTF-8 in JSON": ({"body": b'{"url": "\xff\xfe"}', "headers": JSON}, 400, "malformed_json"),
    "NaN": ({"body": b'{"url": NaN}', "headers": JSON}, 400, "malformed_json"),
    "a long number": ({"body": b'{"url": ' + b"9" * 5_000 + b"}", "headers": JSON}, 400, "malformed_json"),
    "JSON without a name": ({"body": b"url=1"}, 400, "malformed_json"),
    "bad UTF-8 in the query": ({"query": "url=%ff"}, 400, "malformed_query"),
    "half a character in the query": ({"query": "url=%ed%a0%80"}, 400, "malformed_query"),
    "bad UTF-8 in a form": ({"body": b"url=%ff", "headers": FORM}, 400, "malformed_form"),
    "bad UTF-8 in a part": ({"body": parts(("url", b"\xff")), "headers": MULTIPART}, 400, "malformed_form"),
    "parts without a boundary": (
        {"body": parts(("url", URL)), "headers": {"Content-Type": "multipart/form-data"}},
        400,
        "malformed_form",
    ),
    "parts of another boundary": (
        {"body": parts(("url", URL)), "headers": {"Content-Type": "multipart/form-data; boundary=other"}},
        400,
        "malformed_form",
    ),
    "parts that are cut": ({"body": parts(("url", URL), end=b""), "headers": MULTIPART}, 400, "malformed_form"),
    "a part without a name": (
        {"body": b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--\r\n", "headers": MULTIPART},
        400,
        "malformed_form",
    ),
    "a part without headers": (
        {"body": b"--edge\r\n\r\nx\r\n--edge--\r\n", "headers": MULTIPART},
        400,
        "malformed_form",
    ),
    "a NUL in JSON": ({"json": {"url": URL, "title": "a\0b"}}, 400, "invalid_text"),
    "a NUL in the query": ({"query": {"url": URL, "title": "a\0b"}}, 400, "invalid_text"),
    "a NUL in a tag": ({"json": {"url": URL, "title": "a", "tags": ["a\0"]}}, 400, "invalid_text"),
    "half a character in JSON": ({"body": b'{"url": "https://a.example/", "title": "\\ud800"}'}, 400, "invalid_text"),
    "many parameters": ({"query": "&".join(f"url={number}" for number in range(101))}, 400, "too_many_arguments"),
    "many fields": (
        {"body": "&".join(f"url={number}" for number in range(101)).encode(), "headers": FORM},
        400,
        "too_many_arguments",
    ),
    "many parts": (
        {"body": parts(*[("url", URL)] * 101), "headers": MULTIPART},
        400,
        "too_many_arguments",
    ),
    "XML": ({"body": b"<url/>", "headers": {"Content-Type": "text/xml"}}, 415, "unsupported_media_type"),
    "a large body": ({"body": b" " * (2**20 + 1), "headers": JSON}, 413, "body_too_large"),
    "a long URL": ({"query": "url=" + "a" * 20_000}, 414, "url_too_long"),
    "large headers": ({"headers": {"X-Large": "a" * 40_000}}, 431, "headers_too_large"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_cannot_be_read_is_refused(house: GatewayHouse, name: str) -> None:
    sent, status, code = MALFORMED[name]
    assert await house.alice.refused("POST", "/v1/links", **sent) == (status, code)
    assert (await house.alice.ok("GET", "/v1/links"))["links"] == []


async def test_a_body_without_end_is_refused(house: GatewayHouse) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 2**16

    headers = JSON | {"Transfer-Encoding": "chunked"}
    assert await house.alice.refused("POST", "/v1/links", body=endless(), headers=headers) == (413, "body_too_large")


async def test_an_empty_body_of_any_kind_is_none(house: GatewayHouse) -> None:
    await house.alice.ok("GET", "/v1/links", headers={"Content-Type": "text/xml"})
    await house.alice.ok("GET", "/v1/links", headers={"Content-Type": "text/xml", "Transfer-Encoding": "chunked"})


async def test_the_words_name_the_argument_and_what_there_is(house: GatewayHouse) -> None:
    unknown = (await house.alice.call("DELETE", "/v1/links", query={"colour": "red"})).json()["err"]
    assert unknown == "'colour' is no argument of DELETE /v1/links; it takes url"
    none = (await house.alice.call("GET", "/v1/me", query={"colour": "red"})).json()["err"]
    assert none == "'colour' is no argument of GET /v1/me; it takes none"
    missing = (await house.alice.call("POST", "/v1/links", query={"url": URL})).json()["err"]
    assert missing == "title is missing; POST /v1/links needs it"
    long = (await house.alice.call("GET", "/v1/me", query={"c" * 10_000: "red"})).json()["err"]
    assert len(long) < 200


async def test_a_name_in_the_path_is_read_strictly(house: GatewayHouse) -> None:
    assert await house.alice.refused("GET", "/v1/users/a%00b") == (400, "invalid_text")
    assert await house.alice.refused("GET", "/v1/users/%ff") == (400, "malformed_path")
    assert await house.alice.refused("GET", "/v1/users/bob", query={"name": "alice"}) == (400, "unknown_argument")
