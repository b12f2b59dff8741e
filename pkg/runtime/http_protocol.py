"""HTTP/1.1 as uvicorn and httptools speak it, with the bounds that they leave to the one who uses them.

The parser itself takes headers of any length and waits for them for ever; a client that sends one byte a
minute would hold its connection as long as it likes. What cannot be parsed is answered in our form.
"""

import asyncio
import socket
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pkg.runtime.errors import error_body
from pkg.runtime.http_service import MAX_HEADER_BYTES, MAX_URL_BYTES

#: Seconds in which the head of a request must be here, from the connection's start or the head's first byte.
HEAD_DEADLINE: Final = 15.0
#: Seconds for which the rest of a refused body is read, so that the client gets to read the refusal.
REFUSED_BODY_DEADLINE: Final = 30.0
#: Seconds in which a client has to read the rest of its answer when its connection is being closed.
CLOSE_DEADLINE: Final = 30.0
SWEEP_INTERVAL: Final = 1.0

#: In ``scope["extensions"]``: takes a number of bytes, and has no more than about three times as many wait for the
#: client, here and in the kernel, which otherwise takes millions for one that never reads.
OUTPUT_BOUND: Final = "delinkcious.output_bound"

_MAX_HEAD_BYTES: Final = MAX_URL_BYTES + 2 * MAX_HEADER_BYTES

#: No browser may take a refusal for more than it is, and no cache keep it.
_REFUSAL_HEADERS: Final = b"\r\n".join(
    (
        b"content-type: application/json",
        b"content-length: %d",
        b"cache-control: no-store",
        b"content-security-policy: default-src 'none'; frame-ancestors 'none'; sandbox",
        b"x-content-type-options: nosniff",
        b"connection: close",
        b"",
        b"",
    )
)


class BoundedHttpProtocol(HttpToolsProtocol):
    #: For all connections of the process; the server sets it.
    max_connections = 2_000

    #: Loop time since which we wait for the rest of a head; 0 when we do not.
    awaiting_head_since = 0.0
    #: Loop time since which we read a body whose answer is given; 0 when we do not.
    discarding_since = 0.0
    #: Loop time since which a connection that is to be closed waits for its client to read; 0 when it does not.
    closing_since = 0.0
    _head_bytes = 0
    _in_message = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(transport)
        self.awaiting_head_since = self.loop.time()
        if len(self.connections) > self.max_connections:
            # No answer: at this point each byte written is work for somebody who may be an attacker.
            transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.awaiting_head_since and self._in_message:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse_head(431, "the URL and headers are too large", "headers_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {OUTPUT_BOUND: self._bound_output}  # type: ignore[dict-item]  # a function is shorter
        self.awaiting_head_since = self.loop.time()
        self._head_bytes = 0
        self._in_message = True

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.awaiting_head_since = 0.0

    def on_message_complete(self) -> None:
        self._in_message = False
        self.discarding_since = 0.0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse_head(400, "this is not a valid HTTP request", "malformed_request")

    def sweep(self, now: float) -> None:
        """Closes the connection if its client has had its time. ``now`` is loop time."""
        if self.transport.is_closing():
            # A client that does not read what it asked for would keep it, and its connection, for ever.
            if not self.closing_since:
                self.closing_since = now
            elif now - self.closing_since > CLOSE_DEADLINE:
                self.transport.abort()
        elif self.awaiting_head_since and now - self.awaiting_head_since > HEAD_DEADLINE:
            self.transport.close()
        elif self._in_message and self.cycle is not None and self.cycle.response_complete:
            if not self.discarding_since:
                self.discarding_since = now
            elif now - self.discarding_since > REFUSED_BODY_DEADLINE:
                self.transport.close()

    def _refuse_head(self, status: int, message: str, code: str) -> None:
        # The parser gives up on a URL of more than 64 KiB, and says no more than that it did.
        if self.awaiting_head_since and self._in_message and len(self.url) > MAX_URL_BYTES:
            status, message, code = 414, "the URL is too long; send arguments in the body", "url_too_long"
        self._refuse(status, message, code)

    def _bound_output(self, size: int) -> None:
        self.transport.set_write_buffer_limits(high=size)
        connected = self.transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def _is_reading_body(self) -> bool:
        """Whether what arrives is the body of the request that is being served, with none before it."""
        return self._in_message and not self.awaiting_head_since and not self.pipeline

    def _refuse(self, status: int, message: str, code: str) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            if not self._is_reading_body() or self.cycle.response_started:
                # An earlier request is being answered here; bytes in between would spoil its answer.
                self.transport.close()
                return
            # Whoever reads this body learns that no more of it comes, and gets no word in.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = error_body(message, code, "")
        head = (
            STATUS_LINE[status],
            _REFUSAL_HEADERS % len(body),
        )
        self.transport.write(b"".join((*head, body)))
        self.transport.close()


async def sweep_for_ever(connections: "set[Any]") -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        now = loop.time()
        for connection in list(connections):
            if isinstance(connection, BoundedHttpProtocol):
                connection.sweep(now)
