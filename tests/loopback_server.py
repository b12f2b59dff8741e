"""An application behind a real server and a real socket, in the test's own loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import uvicorn
from aiohttp import web
from starlette.types import ASGIApp

from pkg.runtime.server import KEEP_ALIVE

#: Seconds; a test that waits longer has found a fault.
DEADLINE = 10.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the test run's."""
        yield


@contextlib.asynccontextmanager
async def served(app: ASGIApp, protocol: type[asyncio.Protocol] | Literal["auto"] = "auto") -> AsyncIterator[str]:
    """The base URL under which ``app`` is served."""
    # Named, the protocol makes asyncio switch Nagle's algorithm off; without it every answer takes 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        host, port = listener.getsockname()
        server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                lifespan="off",
                access_log=False,
                log_config=None,
                ws="none",
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(DEADLINE):
            while not server.started:
                assert not serving.done(), "the server did not start"
                await asyncio.sleep(0.01)
        try:
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            async with asyncio.timeout(DEADLINE):
                await serving


@contextlib.asynccontextmanager
async def served_by_aiohttp(app: web.Application) -> AsyncIterator[str]:
    """The base URL of ``app`` on a free port."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
