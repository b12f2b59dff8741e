"""How one service calls another over HTTP: in time, within bounds, and with errors that are ours again.

Repeats are for calls that the interface says are safe to repeat; a write whose answer was lost may have
happened.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from pkg.object_model.errors import (
    ERROR_KINDS,
    DeadlineExceeded,
    DelinkciousError,
    Internal,
    InvalidArgument,
    Unavailable,
)
from pkg.object_model.types import Actor
from pkg.runtime.caller_auth import CALLER_REFUSAL_CODES, EdgeCredentials
from pkg.runtime.client_address import CLIENT_ADDRESS_HEADER
from pkg.runtime.context import RequestContext, current_context
from pkg.runtime.errors import ERROR_STATUS, METHOD_NOT_ALLOWED, NO_SUCH_PATH
from pkg.runtime.http_connection import ConnectionFailure, HttpConnection, write_head
from pkg.runtime.http_service import MAX_URL_BYTES, REQUEST_ID_HEADER, REQUEST_TIMEOUT_HEADER
from pkg.runtime.http_session import HttpSession
from pkg.runtime.logs import get_logger
from pkg.runtime.metrics import CalleeMetrics

DEFAULT_TIMEOUT: Final = 2.0
MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024
MAX_RETRIES: Final = 2

#: Seconds kept back of the caller's own deadline, to make an answer of what happened here.
_MARGIN: Final = 0.01
#: Seconds before the first repeat; doubled for the second, and jittered.
_RETRY_PAUSE: Final = 0.03
_MAX_ERROR_BYTES: Final = 64 * 1024
_MAX_ERROR_TEXT: Final = 2_000

_KINDS_BY_STATUS: Final[Mapping[int, str]] = {
    status.http: kind for kind, status in ERROR_STATUS.items() if status.http < 500
} | {502: "unavailable", 503: "unavailable", 504: "deadline_exceeded"}
#: A server may wait for the body of these, unless told that there is none.
_HAS_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
#: Answers that say "not now" on behalf of something in between or of the callee itself.
_REPEATABLE_STATUSES: Final = frozenset({502, 503})
#: What we passed on came too late for the callee, as it did for us.
_BODY_TOO_SLOW: Final = 408

_log = get_logger(__name__)


class ServiceHttpClient:
    """One callee, as one caller sees it."""

    def __init__(
        self,
        session: HttpSession,
        base_url: str,
        credentials: EdgeCredentials,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        tell_address: Callable[[], str] | None = None,
    ) -> None:
        """``base_url`` is ``http://host:port``. ``tell_address`` knows from where whoever we call for asks; without it
        the callee is not told.
        """
        self.callee = credentials.callee
        self._pool = session.pool(base_url)
        self._credentials = credentials
        self._timeout = timeout
        self._tell_address = tell_address
        self._metrics = CalleeMetrics(credentials.callee)

    async def request(
        self,
        method: str,
        path: str,
        *,
        actor: Actor | None,
        params: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        content_type: str = "application/json",
        repeatable: bool,
        timeout: float | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> bytes:
        """The body of the answer, which was a success.

        ``timeout`` is in seconds, for all attempts together; the deadline of the request that we serve bounds
        it. A body that is an iterator can be sent once: such a call is never repeated.

        Raises:
            DelinkciousError: what the callee answered, as it raised it there.
            Unavailable: it cannot be reached (``<callee>_unavailable``).
            DeadlineExceeded: it did not answer in time.
            InvalidArgument: path and query are longer than a service takes (``url_too_long``).
            Internal: it does not let us in (``upstream_refused``), or answers nonsense
            (``bad_upstream_reply``).
        """
        began = time.monotonic()
        context = current_context()
        deadline = self._deadline(began, timeout, context)
        attempts = 1 + (MAX_RETRIES if repeatable and (body is None or isinstance(body, bytes)) else 0)
        target = _target(path, params)
        outcome = "internal"
        try:
            while True:
                attempts -= 1
                try:
                    reply = await self._attempt(
                        method, target, actor, body, content_type, deadline, context, max_response_bytes
                    )
                except _Transient as failure:
                    pause = _pause(MAX_RETRIES - attempts, failure)
                    if attempts <= 0 or time.monotonic() + pause >= deadline:
                        raise failure.error from failure.__cause__
                    self._metrics.retries.inc()
                    await asyncio.sleep(pause)
                else:
                    outcome = "ok"
                    return reply
        except DelinkciousError as error:
            outcome = error.kind
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._metrics.observe(outcome, time.monotonic() - began)

    async def stream(
        self,
        method: str,
        path: str,
        *,
        actor: Actor | None,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[bytes]:
        """The answer's body as it comes. ``timeout`` (seconds) is for the whole of it.

        The deadline of the request that we serve bounds only its beginning. Raises as ``request`` does;
        nothing is repeated.
        """
        began = time.monotonic()
        context = current_context()
        whole = began + (self._timeout if timeout is None else timeout)
        outcome = "cancelled"
        connection: HttpConnection | None = None
        try:
            first = self._deadline(began, timeout, context)
            target = _target(path, params)
            try:
                async with _until(first):
                    connection = await self._pool.take()
                    head = self._head(method, target, actor, body, "application/json", whole, context)
                    connection.send(head + body if body else head)
                    if await connection.read_head() != 200:
                        raise self._refusal(connection, await self._read(connection, _MAX_ERROR_BYTES))
                while True:
                    async with _until(whole):
                        piece = await connection.read()
                    if not piece:
                        break
                    yield piece
            except ConnectionFailure as error:
                raise self._away(error) from error
            except TimeoutError:
                raise self._late() from None
            except _Transient as failure:
                raise failure.error from failure.__cause__
            outcome = "ok"
        except DelinkciousError as error:
            outcome = error.kind
            raise
        finally:
            if connection is not None:
                self._pool.give_back(connection)
            self._metrics.observe(outcome, time.monotonic() - began)

    def _deadline(self, now: float, timeout: float | None, context: RequestContext | None) -> float:
        deadline = now + (self._timeout if timeout is None else timeout)
        if context is not None and context.deadline is not None:
            deadline = min(deadline, context.deadline - _MARGIN)
        if deadline <= now:
            raise self._late()
        return deadline

    async def _attempt(
        self,
        method: str,
        target: str,
        actor: Actor | None,
        body: bytes | AsyncIterator[bytes] | None,
        content_type: str,
        deadline: float,
        context: RequestContext | None,
        max_bytes: int,
    ) -> bytes:
        try:
            async with _until(deadline):
                connection = await self._pool.take()
                try:
                    head = self._head(method, target, actor, body, content_type, deadline, context)
                    if body is None or isinstance(body, bytes):
                        connection.send(head + body if body else head)
                        status, content = await self._receive(connection, max_bytes)
                    else:
                        connection.send(head, more=True)
                        async with _beside(connection.send_pieces(body)):
                            status, content = await self._receive(connection, max_bytes)
                    if status == 200:
                        return content
                    raise self._refusal(connection, content)
                finally:
                    self._pool.give_back(connection)
        except ConnectionFailure as error:
            raise _Transient(self._away(error)) from error
        except TimeoutError:
            raise self._late() from None

    def _head(
        self,
        method: str,
        target: str,
        actor: Actor | None,
        body: bytes | AsyncIterator[bytes] | None,
        content_type: str,
        deadline: float,
        context: RequestContext | None,
    ) -> bytes:
        headers = self._credentials.headers(actor)
        if context is not None:
            headers[REQUEST_ID_HEADER] = context.request_id
            headers["traceparent"] = context.traceparent
        if self._tell_address is not None and (address := self._tell_address()):
            headers[CLIENT_ADDRESS_HEADER] = address
        headers[REQUEST_TIMEOUT_HEADER] = str(max(1, int((deadline - time.monotonic()) * 1000)))
        if isinstance(body, bytes):
            headers["Content-Type"] = content_type
            headers["Content-Length"] = str(len(body))
        elif body is not None:
            headers["Content-Type"] = content_type
            headers["Transfer-Encoding"] = "chunked"
        elif method in _HAS_BODY:
            headers["Content-Length"] = "0"
        return write_head(method, self._pool.host_header, target, headers)

    async def _receive(self, connection: HttpConnection, max_bytes: int) -> tuple[int, bytes]:
        return await connection.read_head(), await self._read(connection, max_bytes)

    async def _read(self, connection: HttpConnection, max_bytes: int) -> bytes:
        pieces = []
        size = 0
        while piece := await connection.read():
            size += len(piece)
            if size > max_bytes:
                raise Internal(f"{self.callee} answered more than {max_bytes} bytes", code="bad_upstream_reply")
            pieces.append(piece)
        return b"".join(pieces)

    def _refusal(self, connection: HttpConnection, content: bytes) -> "DelinkciousError | _Transient":
        """What to raise for an answer that is no success."""
        status = connection.status
        kind = _KINDS_BY_STATUS.get(status)
        message, code = _read_error(content)
        if code in CALLER_REFUSAL_CODES or (status in (401, 403) and code is None):
            # About us, not about the user: they must not be asked to log in for it.
            _log.error("a service does not let us in", callee=self.callee, reason=code, status=status)
            return Internal(
                f"{self.callee} did not accept a call of {self._credentials.caller}", code="upstream_refused"
            )
        if status == _BODY_TOO_SLOW:
            return self._late()
        if status in _REPEATABLE_STATUSES:
            retry_after = _read_retry_after(connection.headers.get(b"retry-after"))
            return _Transient(
                Unavailable(
                    message or f"{self.callee} cannot answer now; try again shortly",
                    code=code or self._unavailable_code,
                    retry_after=retry_after,
                ),
                retry_after or 0.0,
            )
        if kind is None or code is None or code in (NO_SUCH_PATH, METHOD_NOT_ALLOWED):
            _log.error("a service answered out of its contract", callee=self.callee, status=status, code=code)
            if status >= 500 and code is not None:
                return Internal(f"{self.callee} failed", code=code)
            return Internal(f"{self.callee} gave an answer that we cannot read", code="bad_upstream_reply")
        return ERROR_KINDS[kind](message, code=code)

    @property
    def _unavailable_code(self) -> str:
        return f"{self.callee.replace('-', '_')}_unavailable"

    def _away(self, failure: ConnectionFailure) -> Unavailable:
        _log.warning("a service cannot be reached", callee=self.callee, reason=str(failure))
        return Unavailable(
            f"{self.callee} cannot be reached; try again shortly", code=self._unavailable_code, retry_after=1
        )

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self.callee} did not answer in time")


class _Transient(Exception):
    """Worth another attempt, if the call may be repeated; otherwise ``error`` it is."""

    def __init__(self, error: DelinkciousError, not_before: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        #: Seconds that the callee wants to be left alone.
        self.not_before = not_before


def _pause(retries_done: int, failure: _Transient) -> float:
    jitter = random.uniform(0.5, 1.5)  # noqa: S311  # spreads load, hides nothing
    return failure.not_before + _RETRY_PAUSE * float(2**retries_done) * jitter


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Does ``work`` until what is within is done."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _target(path: str, params: Mapping[str, str] | None) -> str:
    query = f"?{urlencode(params)}" if params else ""
    if len(path) + len(query) > MAX_URL_BYTES:
        raise InvalidArgument("the arguments are too long; shorten the longest of them", code="url_too_long")
    return path + query


def _until(deadline: float) -> asyncio.Timeout:
    """``deadline`` is on the scale of ``time.monotonic()``."""
    return asyncio.timeout(max(0.0, deadline - time.monotonic()))


def _read_error(content: bytes) -> tuple[str, str | None]:
    try:
        body: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        return "", None
    if not isinstance(body, dict):
        return "", None
    message, code = body.get("err"), body.get("code")
    if not isinstance(message, str) or not isinstance(code, str) or not code:
        return "", None
    return message[:_MAX_ERROR_TEXT], code


def _read_retry_after(header: bytes | None) -> float | None:
    """Seconds. The other form of the header, a date, is none that we send."""
    return float(header) if header and header.isdigit() and len(header) < 6 else None
