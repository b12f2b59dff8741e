"""One kept connection to a service, and one question at a time on it: as much of HTTP/1.1 (RFC 9112) as they speak.

No TLS, proxies, cookies, redirects, HEAD, pipelining or upgrades. What is left costs a fraction of what a client for
the whole web costs (docs/adr/009). Answers are parsed by httptools, as requests are by our servers.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

#: What an answer may have besides its body, in one piece: its head, the frame of a chunk, trailers.
MAX_HEAD_BYTES: Final = 64 * 1024
#: Bytes of a body that wait for their reader; what is beyond stays with the sender.
_MAX_WAITING: Final = 256 * 1024


class ConnectionFailure(Exception):
    """No whole answer; whether the question was heard is not known. The text names no address and no content."""


def write_head(method: str, host: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request.

    Raises:
        ValueError: a value would end its line, and say more than it is meant to.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *[f"{name}: {value}" for name, value in headers.items()]]
    for line in lines:
        if not line.isprintable():
            raise ValueError(f"a header or path has a control character: {line[:32]!a}")
    if lines[0].count(" ") != 2:
        raise ValueError("a path has a space")
    lines += ("", "")
    return "\r\n".join(lines).encode("ascii")


class HttpConnection(asyncio.Protocol):
    """``send``, ``read_head``, and ``read`` to the end. What did not get there is good for nothing else."""

    def __init__(self, connections: "set[HttpConnection]") -> None:
        """``connections`` is where it stands as long as it is open."""
        self._loop = asyncio.get_running_loop()
        self._connections = connections
        self._lost = asyncio.Event()
        self._transport: asyncio.Transport
        self._parser = HttpResponseParser(self)
        #: Whoever waits for more of the answer.
        self._waiting: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._failure: Exception | None = None
        self._keeps_alive = True
        self._head_is_read = False
        #: No question is open.
        self._complete = True
        self._sent = True
        self._pieces: list[bytes] = []
        self._piece_bytes = 0
        self._paused = False
        #: Bytes that came since the last of a body.
        self._frame_bytes = 0
        self.status = 0
        #: Names in lower case.
        self.headers: dict[bytes, bytes] = {}
        #: Loop time since which it is idle.
        self.idle_since = 0.0

    # --- for its user -------------------------------------------------------------------------------------------------

    @property
    def is_reusable(self) -> bool:
        """The last question and its answer are through to their ends, and both sides are ready for another."""
        whole = self._sent and self._complete and not self._pieces and self._failure is None
        return whole and self._keeps_alive and self.is_open

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def send(self, request: bytes, *, more: bool = False) -> None:
        """A head, and the body if it is here; if not, ``more`` says that pieces follow. Begins a question."""
        self._complete = self._head_is_read = False
        self._sent = not more
        self._frame_bytes = 0
        self.headers = {}
        self._transport.write(request)

    async def send_pieces(self, body: AsyncIterator[bytes]) -> None:
        """After a head that says ``Transfer-Encoding: chunked``. What ``body`` raises, reading the answer raises."""
        try:
            async for piece in body:
                if piece:
                    # Not writelines: up to Python 3.13.0 asyncio's never pauses the writer (CVE-2024-12254).
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await self._writable.wait()
                if not self.is_open:
                    return
            self._transport.write(b"0\r\n\r\n")
            self._sent = True
        except Exception as error:  # noqa: BLE001  # raised again where the answer is waited for
            self._fail(error)

    async def read_head(self) -> int:
        """The status. Then ``headers`` are there.

        Raises:
            ConnectionFailure: what came is no answer, or nothing did.
        """
        while not self._head_is_read:
            await self._wait()
        return self.status

    async def read(self) -> bytes:
        """The next of the body, empty at its end.

        Raises:
            ConnectionFailure: it broke off.
        """
        while not self._pieces:
            if self._complete and self._failure is None:
                return b""
            await self._wait()
        content = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._piece_bytes = 0
        if self._paused and self.is_open:
            self._paused = False
            self._transport.resume_reading()
        return content

    def abort(self) -> None:
        """Closes at once, whatever is still to be sent or read."""
        self._transport.abort()

    async def wait_closed(self) -> None:
        await self._lost.wait()

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self._transport.abort()
        self._wake()

    # --- for the transport --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP's reads and writes
        self._transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._complete:
            # Nobody asked: taken for the answer to the next question, it would be somebody else's.
            self._fail(ConnectionFailure("it spoke without being asked"))
            return
        self._frame_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail(ConnectionFailure("it does not answer in HTTP"))
            return
        if self._frame_bytes > MAX_HEAD_BYTES:
            self._fail(ConnectionFailure("the head of its answer is too large"))
            return
        if self._piece_bytes > _MAX_WAITING and not self._paused and self.is_open:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._complete:
            if exc is None and self._ends_with_connection():
                self._complete, self._keeps_alive = True, False
            elif self._failure is None:
                self._failure = ConnectionFailure("it closed the connection before its answer was whole")
        self._writable.set()
        self._wake()
        self._connections.discard(self)
        self._lost.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _ends_with_connection(self) -> bool:
        framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        return self._head_is_read and not framed and self._failure is None

    # --- for the parser -----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            raise ConnectionFailure("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_is_read:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        # 1xx: the answer itself is still to come.
        self._head_is_read = self.status >= 200

    def on_body(self, body: bytes) -> None:
        self._frame_bytes = 0
        self._piece_bytes += len(body)
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._head_is_read:
            self._complete = True
            self._keeps_alive = self._parser.should_keep_alive()
        else:
            self.headers = {}
