"""Sites on this machine that answer as the worst of the web do."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.exceptions import ProtocolError

type Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
type Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """What it was asked: ``HEAD /path``, in order; but for its robots.txt."""

    url: str
    place: tuple[str, int]
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    robots_asked: int = 0


async def no_such_page(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=404)


@contextlib.asynccontextmanager
async def http_site(
    serve: Serve, robots: Serve = no_such_page, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    async def note(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/robots.txt":
            site.robots_asked += 1
            return await robots(request)
        site.asked.append(f"{request.method} {request.path_qs}")
        site.headers.append(dict(request.headers))
        return await serve(request)

    runner = web.ServerRunner(web.Server(note), shutdown_timeout=0.1)
    await runner.setup()
    try:
        listening = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await listening.start()
        host, port = runner.addresses[0][:2]
        site = Site(f"http{'s' if tls else ''}://{host}:{port}", (host, port))
        yield site
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw_site(converse: Converse, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """One that speaks what it likes, once the head of a request is there."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.decode().split(" ", 2)
            if path == "/robots.txt":
                site.robots_asked += 1
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return
            site.asked.append(f"{method} {path}")
            await converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    host, port = server.sockets[0].getsockname()[:2]
    site = Site(f"http{'s' if tls else ''}://{host}:{port}", (host, port))
    try:
        yield site
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()


def redirecting(routes: dict[str, str], status: int = 302) -> Serve:
    """Each path to its place; ``/end`` is a page, all else is none."""

    async def serve(request: web.BaseRequest) -> web.Response:
        location = routes.get(request.path)
        if location is None:
            return web.Response(status=200 if request.path == "/end" else 404)
        return web.Response(status=status, headers={"Location": location})

    return serve


@contextlib.asynccontextmanager
async def http2_site(tls: ssl.SSLContext, answers: dict[str, tuple[int, dict[str, str]]]) -> AsyncIterator[Site]:
    """One that speaks HTTP/2 and nothing else. ``answers``: by path, status and headers."""
    tls.set_alpn_protocols(["h2"])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        try:
            while data := await reader.read(65_536):
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        answer(connection, event)
                writer.write(connection.data_to_send())
                await writer.drain()
        except (OSError, ProtocolError):
            # Of HTTP/1.1 it makes nothing.
            writer.write(connection.data_to_send())
        finally:
            writer.close()

    def answer(connection: H2Connection, event: RequestReceived) -> None:
        head = {str(name): str(value) for name, value in event.headers or ()}
        status, headers = answers.get(head[":path"], (404, {}))
        if head[":path"] == "/robots.txt":
            site.robots_asked += 1
        else:
            site.asked.append(f"{head[':method']} {head[':path']}")
            site.headers.append(head)
        stream = event.stream_id
        connection.send_headers(stream, [(":status", str(status)), *headers.items()], end_stream=True)

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    host, port = server.sockets[0].getsockname()[:2]
    site = Site(f"https://{host}:{port}", (host, port))
    async with server:
        yield site
