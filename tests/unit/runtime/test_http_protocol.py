"""Bounds of the connection itself, on real sockets: what the parser would wait for, or keep, without end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pkg.runtime.http_protocol import (
    CLOSE_DEADLINE,
    HEAD_DEADLINE,
    REFUSED_BODY_DEADLINE,
    BoundedHttpProtocol,
    sweep_for_ever,
)
from pkg.runtime.http_service import build_http_service
from pkg.runtime.settings import Mode, ServiceSettings
from tests.loopback_server import served

DEADLINE = 10.0


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "spoken-to"


class Watched(BoundedHttpProtocol):
    made: ClassVar[list["Watched"]] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(transport)
        self.made.append(self)

    @property
    def now(self) -> float:
        return self.loop.time()


class Bounded(BoundedHttpProtocol):
    max_connections = 1


@asynccontextmanager
async def echoing(protocol: type[BoundedHttpProtocol]) -> AsyncIterator[tuple[str, int]]:
    async def echo(request: Request) -> Response:
        return JSONResponse({"bytes": len(await request.body())})

    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    service = build_http_service(Settings(mode=Mode.LOCAL), app, readiness={}, body_limit=100)
    async with served(service, protocol) as url:
        place = urlsplit(url)
        assert place.hostname is not None and place.port is not None
        yield place.hostname, place.port


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[tuple[str, int]]:
    async with echoing(Watched) as address:
        yield address


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        async with asyncio.timeout(DEADLINE):
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        async with asyncio.timeout(DEADLINE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, orjson.loads(body)

    async def end(self) -> None:
        """Returns when the server has closed."""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(DEADLINE):
                while await self.reader.read(65_536):
                    pass


@pytest.fixture
async def connection(address: tuple[str, int]) -> AsyncIterator[Connection]:
    Watched.made.clear()
    reader, writer = await asyncio.open_connection(*address)
    yield Connection(reader, writer)
    writer.close()


async def eventually(check: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE
    while not check():
        assert loop.time() < deadline
        await asyncio.sleep(0.001)


async def protocol() -> Watched:
    """The server's end of the one connection."""
    await eventually(lambda: bool(Watched.made))
    return Watched.made[-1]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        # Two who read it would not agree on where one request ends and the next begins.
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: a\r\n\r\n",
    ],
)
async def test_garbage_is_answered_in_our_form(connection: Connection, garbage: bytes) -> None:
    await connection.send(garbage)
    status, headers, body = await connection.answer()
    assert (status, body["code"], headers["connection"]) == (400, "malformed_request", "close")
    assert body.keys() == {"err", "code", "request_id"}
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    await connection.end()


POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("sent", [b"zz\r\n", b"1\r\nab\r\n", b"1\r\na\r\n-1\r\n"])
async def test_a_body_that_is_garbage_is_answered_in_our_form(connection: Connection, sent: bytes) -> None:
    await connection.send(POST + sent)
    status, headers, body = await connection.answer()
    assert (status, body["code"], headers["connection"]) == (400, "malformed_request", "close")
    await connection.end()


async def test_garbage_behind_a_request_spoils_no_answer(connection: Connection) -> None:
    await connection.send(POST + b"1\r\na\r\n0\r\n\r\n" + b"GET / HTTP/9.9\r\n\r\n")
    assert b"malformed_request" not in await connection.reader.read()


async def test_a_head_without_end_is_refused(connection: Connection) -> None:
    async def send_much() -> None:
        await connection.send(b"GET / HTTP/1.1\r\n")
        for _ in range(2_000):
            await connection.send(b"X-More: " + b"x" * 8_000 + b"\r\n")

    with pytest.raises(ConnectionError):
        await send_much()


async def test_an_oversized_head_is_431(connection: Connection) -> None:
    await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-More: " + b"x" * 90_000)
    status, _, body = await connection.answer()
    assert (status, body["code"]) == (431, "headers_too_large")
    await connection.end()


async def test_a_url_without_end_is_414(connection: Connection) -> None:
    await connection.send(b"GET /" + b"x" * 90_000)
    status, _, body = await connection.answer()
    assert (status, body["code"]) == (414, "url_too_long")
    await connection.end()


async def test_small_requests_on_one_connection_are_not_added_up(connection: Connection) -> None:
    for _ in range(30):
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-More: " + b"x" * 5_000 + b"\r\n\r\n")
        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize("begun", [b"", b"GET / HT"])
async def test_a_head_must_come_in_time(connection: Connection, begun: bytes) -> None:
    await connection.send(begun)
    served_by = await protocol()
    served_by.sweep(served_by.now + HEAD_DEADLINE - 1)
    assert not served_by.transport.is_closing()
    served_by.sweep(served_by.now + HEAD_DEADLINE + 1)
    await connection.end()


async def test_who_waits_for_an_answer_or_is_idle_is_not_swept(connection: Connection) -> None:
    await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
    served_by = await protocol()
    await eventually(lambda: not served_by.awaiting_head_since)
    served_by.sweep(served_by.now + 1_000)
    await connection.send(b"cd")
    assert (await connection.answer())[::2] == (200, {"bytes": 4})
    served_by.sweep(served_by.now + 1_000)
    assert not served_by.transport.is_closing()


async def test_the_rest_of_a_refused_body_is_read_for_a_while(connection: Connection) -> None:
    await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
    assert (await connection.answer())[0] == 413
    served_by = await protocol()
    now = served_by.now
    served_by.sweep(now)
    served_by.sweep(now + REFUSED_BODY_DEADLINE - 1)
    assert not served_by.transport.is_closing()
    served_by.sweep(now + REFUSED_BODY_DEADLINE + 1)
    await connection.end()


async def test_who_does_not_read_is_left_after_a_while(connection: Connection) -> None:
    served_by = await protocol()
    # More than the buffers of both sides hold.
    served_by.transport.write(b"x" * 50_000_000)
    served_by.transport.close()
    now = served_by.now
    served_by.sweep(now)
    served_by.sweep(now + CLOSE_DEADLINE - 1)
    assert served_by in served_by.connections
    served_by.sweep(now + CLOSE_DEADLINE + 1)
    await eventually(lambda: served_by not in served_by.connections)


async def test_connections_are_bounded() -> None:
    async with asyncio.timeout(DEADLINE), echoing(Bounded) as address:
        first = Connection(*await asyncio.open_connection(*address))
        await first.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await first.answer())[0] == 200
        second = Connection(*await asyncio.open_connection(*address))
        await second.end()
        await first.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await first.answer())[0] == 200
        first.writer.close()
        second.writer.close()


async def test_the_sweep_reaches_every_connection() -> None:
    class Swept(BoundedHttpProtocol):
        def __init__(self) -> None:
            self.swept = asyncio.Event()

        def __hash__(self) -> int:
            return id(self)

        def sweep(self, now: float) -> None:
            self.swept.set()

    connections = {Swept(), Swept()}
    sweeping = asyncio.create_task(sweep_for_ever(connections))
    async with asyncio.timeout(DEADLINE):
        for connection in connections:
            await connection.swept.wait()
    sweeping.cancel()
