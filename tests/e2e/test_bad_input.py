"""Whatever is sent, the answer is a 4xx that says what is wrong, and nothing changes."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.e2e.client import ApiClient, api_client, as_saved
from tests.e2e.stack import Stack, running_stack

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
KIB = 1024
MIB = 1024 * KIB


@dataclass
class Case:
    method: str
    path: str
    status: int
    code: str
    arguments: dict[str, Any] = field(default_factory=dict)


def _body(text: str | bytes) -> dict[str, Any]:
    return {"data": text, "headers": JSON}


CASES = {
    "malformed JSON": Case("POST", "/v1/links", 400, "malformed_json", _body('{"url": "https://a.example/", ')),
    "JSON that is no object": Case("POST", "/v1/links", 400, "malformed_json", _body("[1, 2]")),
    "deep JSON": Case("POST", "/v1/links", 400, "malformed_json", _body("[" * 100_000)),
    "bad UTF-8 in JSON": Case("POST", "/v1/links", 400, "malformed_json", _body(b'{"url": "\xff\xfe"}')),
    "a number too long to read": Case("PUT", "/v1/links", 400, "malformed_json", _body('{"url": ' + "9" * 5000 + "}")),
    "an unknown field": Case(
        "POST",
        "/v1/links",
        400,
        "unknown_argument",
        {"body": {"url": "https://a.example/", "title": "a", "colour": "red"}},
    ),
    "a repeated field": Case(
        "POST",
        "/v1/links",
        400,
        "conflicting_argument",
        _body('{"url": "https://a.example/", "url": "https://b.example/", "title": "a"}'),
    ),
    "one argument in two places": Case(
        "POST",
        "/v1/links",
        400,
        "conflicting_argument",
        {"params": {"title": "b"}, "body": {"url": "https://a.example/", "title": "a"}},
    ),
    "an oversized body": Case("POST", "/v1/links", 413, "body_too_large", _body('{"url": "' + "a" * (2 * MIB) + '"}')),
    "ten thousand tags": Case(
        "POST",
        "/v1/links",
        400,
        "too_many_tags",
        {"body": {"url": "https://a.example/", "title": "a", "tags": [f"t{n}" for n in range(10_000)]}},
    ),
    "a NUL": Case("POST", "/v1/links", 400, "invalid_text", {"body": {"url": "https://a.example/", "title": "a\0b"}}),
    "a long URL": Case(
        "POST",
        "/v1/links",
        400,
        "url_too_long",
        {"body": {"url": "https://a.example/" + "a" * 2048, "title": "a"}},
    ),
    "credentials in a URL": Case(
        "POST",
        "/v1/links",
        400,
        "url_with_credentials",
        {"body": {"url": "https://me:secret@a.example/", "title": "a"}},
    ),
    "a foreign page token": Case(
        "GET", "/v1/links", 400, "invalid_start_token", {"params": {"start_token": "bm90IG9uZSBvZiBvdXJz"}}
    ),
    "a runaway regex": Case(
        "GET", "/v1/links", 400, "regex_too_complex", {"params": {"url_regex": "((a{200}){200}){200}"}}
    ),
    "a regex with a back-reference": Case(
        "GET", "/v1/links", 400, "invalid_regex", {"params": {"url_regex": r"(a)\1"}}
    ),
    "a limit beyond the limit": Case("GET", "/v1/links", 400, "invalid_limit", {"params": {"limit": "201"}}),
    "a limit that is no number": Case("GET", "/v1/links", 400, "invalid_argument", {"params": {"limit": "many"}}),
    "a 50 MB import": Case(
        "POST",
        "/v1/import",
        413,
        "body_too_large",
        {"data": b"<DT><A HREF='https://big.example/'>x</A>\n" * 1_250_000, "headers": HTML},
    ),
    "a binary file as import": Case(
        "POST", "/v1/import", 400, "not_a_bookmark_file", {"data": os.urandom(64 * KIB), "headers": HTML}
    ),
    "a person that does not exist": Case(
        "POST", "/v1/following", 404, "user_not_found", {"params": {"followed": "nobody-at-all"}}
    ),
    "oneself": Case("POST", "/v1/following", 400, "cannot_follow_yourself", {"params": {"followed": "eve"}}),
    "no such page": Case("GET", "/v1/nothing", 404, "no_such_path"),
    "no such method": Case("PATCH", "/v1/links", 405, "method_not_allowed"),
}


@pytest.fixture
async def eve(shared_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(shared_stack.gateway, shared_stack.token("eve")) as client:
        yield client


async def state(client: ApiClient) -> tuple[Any, ...]:
    return (
        as_saved(await client.all_links(limit="200")),
        await client.expect("GET", "/v1/tags"),
        await client.expect("GET", "/v1/following"),
        (await client.expect("GET", "/v1/me"))["user"],
    )


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_is_refused_in_words(eve: ApiClient, name: str) -> None:
    case = CASES[name]
    keep = {"url": "https://keep.example/", "title": "keep", "tags": "kept"}
    await eve.call("POST", "/v1/links", body=keep)
    before = await state(eve)
    reply = await eve.call(case.method, case.path, **case.arguments)
    assert (reply.status, reply.json["code"]) == (case.status, case.code), reply.json
    assert len(reply.json["err"]) > 10
    assert reply.json["request_id"] == reply.headers["X-Request-ID"]
    assert await state(eve) == before


@pytest.mark.parametrize("headers", [{}, {"Access-Token": "wrong"}, {"Authorization": "Bearer wrong"}])
async def test_nobody_gets_nothing(shared_stack: Stack, headers: dict[str, str]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(shared_stack.gateway + "/v1/links", headers=headers) as response,
    ):
        assert response.status == 401
        assert (await response.json())["code"] == ("invalid_token" if headers else "missing_token")


async def test_the_limit_is_exact_under_concurrent_adds(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("limit") / "data"
    environment = {"MAX_LINKS_PER_USER": "20"}
    with running_stack(data, users=["lena"], environment=environment) as stack:
        async with api_client(stack.gateway, stack.token("lena")) as lena:
            adds = [
                lena.call("POST", "/v1/links", body={"url": f"https://limit.example/{n}", "title": "x"})
                for n in range(100)
            ]
            replies = await asyncio.gather(*adds)
            refused = [reply for reply in replies if reply.status != 200]
            assert len(refused) == 80
            assert {reply.json["code"] for reply in refused} == {"link_limit_reached"}
            assert len(await lena.all_links()) == 20
            me = (await lena.expect("GET", "/v1/me"))["user"]
            assert (me["LinkCount"], me["MaxLinks"]) == (20, 20)
            await lena.expect("DELETE", "/v1/links", params={"url": "https://limit.example/" + _number(replies)})
            await lena.expect("POST", "/v1/links", body={"url": "https://room.example/", "title": "again"})


def _number(replies: list[Any]) -> str:
    return str(next(number for number, reply in enumerate(replies) if reply.status == 200))
