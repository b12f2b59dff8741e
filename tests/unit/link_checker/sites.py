"""Sites on this machine that answer as the worst of the web do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

type Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
type Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """What it was asked: ``HEAD /path``, in order."""

    url: str
    place: tuple[str, int]
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextlib.asynccontextmanager
async def http_site(serve: Serve) -> AsyncIterator[Site]:
    async def note(request: web.BaseRequest) -> web.StreamResponse:
        site.asked.append(f"{request.method} {request.path_qs}")
        site.headers.append(dict(request.headers))
        return await serve(request)

    runner = web.ServerRunner(web.Server(note), shutdown_timeout=0.1)
    await runner.setup()
    try:
        listening = web.TCPSite(runner, "127.0.0.1", 0)
        await listening.start()
        host, port = runner.addresses[0][:2]
        site = Site(f"http://{host}:{port}", (host, port))
        yield site
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw_site(converse: Converse) -> AsyncIterator[Site]:
    """One that speaks what it likes, once the head of a request is there."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.decode().split(" ", 2)
            site.asked.append(f"{method} {path}")
            await converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    site = Site(f"http://{host}:{port}", (host, port))
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
