"""Server-sent events: how they are written, and the answer that sends them as they come.

The form is that of https://html.spec.whatwg.org/multipage/server-sent-events.html, which every browser reads by itself.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pkg.runtime.http_protocol import OUTPUT_BOUND

#: Bytes that wait for a client, before it counts as slow.
_MAX_WAITING: Final = 64 * 1024
MEDIA_TYPE: Final = "text/event-stream"
#: A comment, so that whoever is in between sees that the connection is in use.
HEARTBEAT: Final = b":\n\n"


class ClientTooSlow(Exception):
    """The client has not taken in time what was written for it."""


def write_event(event_id: int, data: bytes, name: str = "") -> bytes:
    """``data`` is one line. Without a name it is a message, which is what listens for by itself."""
    event = b"event: %b\n" % name.encode() if name else b""
    return b"%bid: %d\ndata: %b\n\n" % (event, event_id, data)


def write_place(event_id: int) -> bytes:
    """Nothing that anybody is shown: from here a client goes on when it comes back."""
    return b"id: %d\n\n" % event_id


def write_retry(milliseconds: int) -> bytes:
    """After so long a client comes back whose connection has ended."""
    return b"retry: %d\n\n" % milliseconds


class EventStream(Response):
    """Opens when it is sent, so that what keeps it from opening becomes an answer of its own.

    A client that does not take in time what is written for it is left; nothing is made for it meanwhile.
    """

    def __init__(
        self,
        open_pieces: Callable[[], AbstractAsyncContextManager[AsyncGenerator[bytes]]],
        *,
        write_timeout: float,
    ) -> None:
        """``write_timeout`` is in seconds, for each piece: ``open_pieces`` is left with ClientTooSlow after that."""
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.headers["content-type"] = MEDIA_TYPE
        self._open_pieces = open_pieces
        self._write_timeout = write_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Without its end the server closes the connection.
        with suppress(ClientTooSlow, ClientDisconnect):
            async with self._open_pieces() as pieces, aclosing(pieces):
                if (bound := scope.get("extensions", {}).get(OUTPUT_BOUND)) is not None:
                    bound(_MAX_WAITING)
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                if scope["method"] != "HEAD":
                    await self._send_while_there(pieces, receive, send)
                await send({"type": "http.response.body", "body": b""})

    async def _send_while_there(self, pieces: AsyncGenerator[bytes], receive: Receive, send: Send) -> None:
        tasks = [
            sending := asyncio.create_task(self._send_all(pieces, send)),
            leaving := asyncio.create_task(_wait_until_gone(receive)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not sending.cancelled():
            sending.result()
        elif not leaving.cancelled():
            leaving.result()

    async def _send_all(self, pieces: AsyncGenerator[bytes], send: Send) -> None:
        async for piece in pieces:
            try:
                async with asyncio.timeout(self._write_timeout):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                raise ClientTooSlow from None


async def _wait_until_gone(receive: Receive) -> None:
    """Raises ClientDisconnect, at last."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
