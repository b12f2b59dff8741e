"""What is too large, too much or too slow, over real sockets: refused in our form, and nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from pkg.runtime.http_protocol import BoundedHttpProtocol
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse, assemble
from tests.loopback_server import served

DEADLINE = 20.0
GET = b"GET /v1/links HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/links HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
MIB = 1024 * 1024


@pytest.fixture
async def place(house: GatewayHouse) -> AsyncIterator[tuple[str, int, bytes]]:
    """Where a gateway listens that has little time, and the header with alice's token."""
    settings = SETTINGS.model_copy(update={"request_timeout": 0.5})
    app = assemble(settings, house.peers, house.clock)
    async with served(app, BoundedHttpProtocol) as url:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        yield parts.hostname, parts.port, f"Access-Token: {house.alice.token}\r\n".encode()


async def send(place: tuple[str, int, bytes], *pieces: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    reader, writer = await asyncio.open_connection(*place[:2])
    try:
        async with asyncio.timeout(DEADLINE):
            for piece in pieces:
                writer.write(piece)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            body = orjson.loads(await reader.readexactly(int(headers["content-length"])))
    finally:
        writer.transport.abort()
    return int(head[0].split()[1]), headers, body


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ([POST, b"Content-Length: %d\r\n\r\n" % (MIB + 1)], 413, "body_too_large"),
        ([POST, b"Content-Length: 9999999999999999999\r\n\r\n"], 413, "body_too_large"),
        (
            [POST, b"Transfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + b" " * 65_536 + b"\r\n"] * 20],
            413,
            "body_too_large",
        ),
        ([GET.replace(b"links", b"links?q=" + b"a" * 17_000), b"\r\n"], 414, "url_too_long"),
        ([GET.replace(b"links", b"links?q=" + b"a" * 100_000), b"\r\n"], 414, "url_too_long"),
        ([GET, *[b"X-%d: a\r\n" % number for number in range(120)], b"\r\n"], 431, "headers_too_large"),
        ([GET, b"X-Large: " + b"a" * 40_000 + b"\r\n\r\n"], 431, "headers_too_large"),
        ([GET, b"X-Large: " + b"a" * 100_000 + b"\r\n\r\n"], 431, "headers_too_large"),
        ([GET, b"no colon\r\n\r\n"], 400, "malformed_request"),
        ([POST, b"Content-Length: 100\r\n\r\n", b'{"url": '], 408, "body_too_slow"),
        ([POST, b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n12"], 408, "body_too_slow"),
    ],
)
async def test_it_is_refused_in_our_form(
    place: tuple[str, int, bytes], sent: list[bytes], status: int, code: str
) -> None:
    first, *rest = sent
    answered, headers, body = await send(place, first + place[2], *rest)
    assert (answered, body["code"]) == (status, code)
    assert body.keys() == {"err", "code", "request_id"}
    assert len(body["err"]) > 10
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "sandbox" in headers["content-security-policy"]


async def test_an_import_may_be_larger(place: tuple[str, int, bytes]) -> None:
    head = POST.replace(b"links", b"import").replace(b"application/json", b"text/html") + place[2]
    accepted = await send(place, head + b"Content-Length: %d\r\n\r\n" % (2 * MIB), b"x" * 2 * MIB)
    assert (accepted[0], accepted[2]["code"]) == (400, "not_a_bookmark_file")
    refused = await send(place, head + b"Content-Length: %d\r\n\r\n" % (21 * MIB))
    assert (refused[0], refused[2]["code"]) == (413, "body_too_large")


async def test_others_are_served_while_many_dawdle(place: tuple[str, int, bytes]) -> None:
    dawdlers = [await asyncio.open_connection(*place[:2]) for _ in range(100)]
    try:
        for _, writer in dawdlers:
            writer.write(GET)
        assert (await send(place, GET + place[2] + b"\r\n"))[0] == 200
    finally:
        for _, writer in dawdlers:
            writer.transport.abort()
