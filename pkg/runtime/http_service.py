"""The one layer around a service's application: what every request needs, in one pure ASGI class.

In order: own pages (health, metrics, version), request id and trace, limits of URL and headers, shedding,
body limit, deadline, the application, errors turned into JSON, metrics, one log line. ``BaseHTTPMiddleware``
would cost more for each of these than all of them cost together (docs/adr/003).
"""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pkg.object_model.errors import (
    DeadlineExceeded,
    DelinkciousError,
    InvalidArgument,
    TooLarge,
    Unavailable,
)
from pkg.object_model.types import MAX_BODY_BYTES
from pkg.runtime.context import CLIENT_ADDRESS, CURRENT_CONTEXT, RequestContext
from pkg.runtime.errors import (
    ERROR_STATUS,
    METHOD_NOT_ALLOWED,
    error_body,
    install_error_handlers,
    internal_error_response,
    retry_after_seconds,
    status_of,
)
from pkg.runtime.health import Check, ReadinessProbe
from pkg.runtime.json import encode
from pkg.runtime.logs import describe_exception, get_logger, write_event
from pkg.runtime.metrics import METRICS_CONTENT_TYPE, UNMATCHED, RequestMetrics, render_metrics
from pkg.runtime.settings import ServiceSettings
from pkg.runtime.tracing import child_traceparent
from pkg.runtime.version import package_version

REQUEST_ID_HEADER: Final = "X-Request-ID"
#: Milliseconds that the caller still waits. It can shorten our own limit, never lengthen it.
REQUEST_TIMEOUT_HEADER: Final = "X-Request-Timeout-Ms"

MAX_URL_BYTES: Final = 16 * 1024
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
#: Seconds after which a shed request may come back.
RETRY_AFTER_SHED: Final = 1
#: What logs and metrics show for a client that left (nginx's 499); nobody gets it as an answer.
CLIENT_GONE: Final = 499
#: The status with which a stream begins.
STREAM_BEGUN: Final = 200
#: The client did not send its body in time: nobody behind us is to blame.
BODY_TOO_SLOW: Final = 408
URI_TOO_LONG: Final = 414
HEADERS_TOO_LARGE: Final = 431

_DEADLINE_EXCEEDED: Final = ERROR_STATUS[DeadlineExceeded.kind].http
_MAX_REQUEST_ID: Final = 128
_REQUEST_ID_CHARACTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_JSON: Final = b"application/json"
_REPLACEMENT: Final = "\ufffd"

type Headers = list[tuple[bytes, bytes]]
type Limit = Callable[[str], int] | int

_log = get_logger(__name__)


def build_http_service(
    settings: ServiceSettings,
    app: ASGIApp,
    *,
    readiness: Mapping[str, Check],
    body_limit: Limit = MAX_BODY_BYTES,
    timeouts: Mapping[str, float] | None = None,
) -> "HttpService":
    """``app`` with everything around it that a service needs.

    ``body_limit`` is in bytes, by path. ``timeouts`` is in seconds, for paths that need more or less than
    ``settings.request_timeout``.
    """
    if isinstance(app, Starlette):
        install_error_handlers(app)
    return HttpService(settings, app, ReadinessProbe(readiness), body_limit, timeouts or {})


class HttpService:
    def __init__(
        self,
        settings: ServiceSettings,
        app: ASGIApp,
        readiness: ReadinessProbe,
        body_limit: Limit,
        timeouts: Mapping[str, float],
        streams: Collection[str] = (),
    ) -> None:
        """``streams``: paths whose answers, once they have begun, go on for as long as they like."""
        self.app = app
        self.streams = frozenset(streams)
        self.metrics = RequestMetrics.of(settings.service_name)
        self.request_timeout = settings.request_timeout
        self.stream_timeout = settings.stream_timeout
        self.max_in_flight = settings.max_concurrent_requests
        self.in_flight = 0
        self.draining = False
        self.body_limit: Callable[[str], int] = body_limit if callable(body_limit) else lambda _path: body_limit
        self.timeouts = timeouts
        self._service_name = settings.service_name
        self._commit = settings.commit
        self._readiness = readiness
        self._pages: Mapping[str, Callable[[], Awaitable[tuple[int, bytes, bytes]]]] = {
            "/livez": self._livez,
            "/startupz": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
            "/version": self._version,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        page = self._pages.get(scope["path"])
        if page is not None:
            await self._serve_page(page, scope, send)
            return
        await _Exchange(self, scope, receive, send).run()

    def begin_drain(self) -> None:
        """From here on not ready, and every answer asks its client to connect anew (elsewhere)."""
        self.draining = True

    async def is_ready(self) -> bool:
        """What /readyz says."""
        return not self.draining and (await self._readiness.check()).ready

    async def _serve_page(
        self, page: Callable[[], Awaitable[tuple[int, bytes, bytes]]], scope: Scope, send: Send
    ) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            status, content_type = 405, _JSON
            body = error_body("this path takes GET only", METHOD_NOT_ALLOWED, "")
        else:
            status, content_type, body = await page()
        headers = _headers(content_type, len(body))
        headers.append((b"cache-control", b"no-store"))
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    async def _livez(self) -> tuple[int, bytes, bytes]:
        return 200, _JSON, b'{"err":""}'

    async def _readyz(self) -> tuple[int, bytes, bytes]:
        if self.draining:
            return 503, _JSON, encode({"ready": False, "dependencies": {}, "err": "shutting down"})
        result = await self._readiness.check()
        wrong = [f"{name}: {state}" for name, state in result.dependencies.items() if state != "ok"]
        body = encode(
            {
                "ready": result.ready,
                "dependencies": dict(result.dependencies),
                "err": f"not ready ({', '.join(wrong)})" if wrong else "",
            }
        )
        return 200 if result.ready else 503, _JSON, body

    async def _metrics_page(self) -> tuple[int, bytes, bytes]:
        return 200, METRICS_CONTENT_TYPE.encode(), render_metrics()

    async def _version(self) -> tuple[int, bytes, bytes]:
        body = {
            "service": self._service_name,
            "version": package_version(),
            "commit": self._commit,
            "err": "",
        }
        return 200, _JSON, encode(body)


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_app_receive",
        "_app_send",
        "_awaiting_body",
        "_began",
        "_body_bytes",
        "_body_is_whole",
        "_body_limit",
        "_caller_waits_until",
        "_complete",
        "_extra_headers",
        "_gone",
        "_late",
        "_more_time",
        "_refusal",
        "_scope",
        "_service",
        "_set_aside_at",
        "_status",
        "_timeout",
        "request_id",
    )

    def __init__(self, service: HttpService, scope: Scope, receive: Receive, send: Send) -> None:
        self._service = service
        self._scope = scope
        self._app_receive = receive
        self._app_send = send
        self._body_bytes = 0
        self._body_limit = 0
        self._body_is_whole = False
        self._awaiting_body = False
        #: Time ran out while the rest of the body was still to come.
        self._late = False
        #: Of the answer; 0 until it begins.
        self._status = 0
        self._complete = False
        #: The client left before its answer was whole.
        self._gone = False
        #: What ``receive`` raised, which no handler in between may turn into something else.
        self._refusal: DelinkciousError | None = None
        self._timeout: asyncio.Timeout | None = None
        self._more_time = 0.0
        #: Loop time until which the caller waits, as it says.
        self._caller_waits_until = math.inf
        self._extra_headers: Headers = []
        self._began = time.perf_counter()
        #: When a stream began, which from then on is no request that is being worked on; 0 otherwise.
        self._set_aside_at = 0.0
        self.request_id = ""

    async def run(self) -> None:
        scope = self._scope
        request_id = traceparent = timeout_ms = content_length = None
        header_bytes = 0
        headers = scope["headers"]
        for name, value in headers:
            header_bytes += len(name) + len(value)
            if name == b"x-request-id":
                request_id = value
            elif name == b"traceparent":
                traceparent = value
            elif name == b"content-length":
                content_length = value
            elif name == b"x-request-timeout-ms":
                timeout_ms = value
        if request_id and is_request_id(request_id):
            self.request_id = request_id.decode("ascii")
        else:
            self.request_id = os.urandom(16).hex()
            request_id = self.request_id.encode("ascii")
        self._extra_headers.append((b"x-request-id", request_id))
        trace = child_traceparent(traceparent.decode("latin-1") if traceparent else None)
        allowed = self._time_allowed(timeout_ms)
        context = RequestContext(self.request_id, trace, time.monotonic() + allowed)
        token = CURRENT_CONTEXT.set(context)
        try:
            refusal = self._refuse_head(header_bytes, len(headers), content_length)
            if refusal is not None:
                await self._answer(*refusal)
            else:
                await self._serve_if_there_is_room(allowed)
        finally:
            if self._set_aside_at:
                self._record_stream()
            else:
                self._record(time.perf_counter() - self._began)
            CURRENT_CONTEXT.reset(token)

    async def _serve_if_there_is_room(self, allowed: float) -> None:
        service = self._service
        if service.in_flight >= service.max_in_flight:
            service.metrics.shed.inc()
            await self._answer_error(
                Unavailable(
                    "too many requests at once; try again shortly", code="overloaded", retry_after=RETRY_AFTER_SHED
                )
            )
            return
        service.in_flight += 1
        service.metrics.in_flight += 1
        try:
            await self._serve(allowed)
        finally:
            if not self._set_aside_at:
                service.in_flight -= 1
                service.metrics.in_flight -= 1

    def _time_allowed(self, timeout_ms: bytes | None) -> float:
        service = self._service
        allowed = service.request_timeout
        self._more_time = service.stream_timeout
        own = service.timeouts.get(self._scope["path"])
        if own is not None:
            allowed = self._more_time = own
        if timeout_ms is not None and len(timeout_ms) <= 9 and timeout_ms.isdigit():
            caller_waits = int(timeout_ms) / 1000
            allowed = min(allowed, caller_waits)
            self._caller_waits_until = asyncio.get_running_loop().time() + caller_waits
        return allowed

    def _refuse_head(
        self, header_bytes: int, header_count: int, content_length: bytes | None
    ) -> tuple[int, bytes, int | None] | None:
        """An answer to what needs no reading of the body, or None."""
        scope = self._scope
        path = scope["path"]
        raw_path = scope.get("raw_path") or b""
        if len(raw_path) + len(scope["query_string"]) > MAX_URL_BYTES:
            message = f"the URL is longer than {MAX_URL_BYTES} bytes; send arguments in the body"
            return URI_TOO_LONG, error_body(message, "url_too_long", self.request_id), None
        if header_bytes > MAX_HEADER_BYTES or header_count > MAX_HEADERS:
            message = f"the headers are more than {MAX_HEADERS}, or larger than {MAX_HEADER_BYTES} bytes"
            return HEADERS_TOO_LARGE, error_body(message, "headers_too_large", self.request_id), None
        # The server decodes what is not UTF-8 to this character; sent as such, it is refused as well.
        if _REPLACEMENT in path:
            return self._render(InvalidArgument("the path must be percent-encoded UTF-8", code="malformed_path"))
        self._body_limit = limit = self._service.body_limit(path)
        if content_length is not None and content_length.isdigit() and int(content_length[:19]) > limit:
            return self._render(_too_large(limit))
        return None

    async def _serve(self, allowed: float) -> None:
        try:
            async with asyncio.timeout(allowed) as self._timeout:
                await self._service.app(self._scope, self._receive, self._send)
        except DelinkciousError as error:
            await self._answer_error(error)
        except ClientDisconnect:
            self._gone = True
        except asyncio.CancelledError:
            # The server cancels what is left when the grace is over: an answer beats a closed connection.
            if not self._service.draining:
                self._gone = True
                raise
            await self._answer_error(Unavailable("shutting down; try again", code="shutting_down", retry_after=1))
        except Exception as error:  # noqa: BLE001  # the last place where it can still become an answer
            await self._answer_exception(error)
        if self._status or self._gone:
            return
        if self._refusal is not None:
            await self._answer_error(self._refusal)
        elif self._late:
            message = "the body did not arrive in time; send it faster, or less at once"
            await self._answer(BODY_TOO_SLOW, error_body(message, "body_too_slow", self.request_id), None)
        else:
            _log.error("the application did not answer")
            await self._answer(*self._render_internal())

    async def _receive(self) -> Message:
        self._awaiting_body = not self._body_is_whole
        message = await self._app_receive()
        self._awaiting_body = False
        if message["type"] == "http.request":
            self._body_is_whole = not message.get("more_body", False)
            self._body_bytes += len(message.get("body", b""))
            if self._body_bytes > self._body_limit:
                self._refusal = _too_large(self._body_limit)
                raise self._refusal
        elif not self._complete:
            self._gone = True
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._awaiting_body and message["status"] == _DEADLINE_EXCEEDED:
                self._late = True
            if self._refusal is not None or self._late:
                return
            self._status = message["status"]
            if self._status == STREAM_BEGUN and self._scope["path"] in self._service.streams:
                self._set_aside()
            extra = self._extra_headers
            if self._service.draining:
                extra.append((b"connection", b"close"))
            message["headers"] = [*message.get("headers", ()), *extra]
        elif (self._refusal is not None or self._late) and not self._status:
            return
        elif not message.get("more_body", False):
            self._complete = True
        elif self._more_time and self._timeout is not None and not self._timeout.expired():
            # The answer has begun and is long: from here on the limit of a stream holds.
            more = asyncio.get_running_loop().time() + self._more_time
            self._timeout.reschedule(min(more, self._caller_waits_until))
            self._more_time = 0.0
        await self._app_send(message)

    async def _answer_exception(self, error: Exception) -> None:
        if isinstance(error, TimeoutError) and self._timeout is not None and self._timeout.expired():
            if self._awaiting_body and not self._status:
                self._late = True
                return
            await self._answer_error(
                DeadlineExceeded("this took longer than the time allowed for it; it may still have happened")
            )
        elif self._refusal is None:
            await self._answer_unexpected(error)

    async def _answer_unexpected(self, error: Exception) -> None:
        _log.error("unexpected error", exception=describe_exception(error))
        if not self._status:
            await self._answer(*self._render_internal())

    async def _answer_error(self, error: DelinkciousError) -> None:
        if self._status:
            # Too late for another status; the connection closes, so that nobody takes half for the whole.
            _log.error("the answer broke off", code=error.code)
            return
        await self._answer(*self._render(error))

    def _render(self, error: DelinkciousError) -> tuple[int, bytes, int | None]:
        body = error_body(error.message, error.code, self.request_id)
        return status_of(error).http, body, retry_after_seconds(error)

    def _render_internal(self) -> tuple[int, bytes, int | None]:
        return 500, bytes(internal_error_response(self.request_id).body), None

    async def _answer(self, status: int, body: bytes, retry_after: int | None) -> None:
        headers = _headers(_JSON, len(body))
        headers += self._extra_headers
        if retry_after is not None:
            headers.append((b"retry-after", b"%d" % retry_after))
        if self._service.draining:
            headers.append((b"connection", b"close"))
        self._status = status
        await self._app_send({"type": "http.response.start", "status": status, "headers": headers})
        await self._app_send({"type": "http.response.body", "body": body})
        self._complete = True

    def _set_aside(self) -> None:
        """The request is answered as far as others are concerned: what follows takes no room, and is not slow."""
        self._set_aside_at = time.perf_counter()
        self._service.in_flight -= 1
        self._service.metrics.in_flight -= 1
        self._record(self._set_aside_at - self._began)

    def _record_stream(self) -> None:
        values: dict[str, object] = {
            "route": getattr(self._scope.get("route"), "path", UNMATCHED),
            "seconds": round(time.perf_counter() - self._set_aside_at, 3),
            "ended_by": "client" if self._gone else "us",
        }
        if client := CLIENT_ADDRESS.get():
            values["client"] = client
        write_event("info", "stream", values)

    def _record(self, seconds: float) -> None:
        scope = self._scope
        route: Any = scope.get("route")
        template = getattr(route, "path", UNMATCHED)
        status = CLIENT_GONE if self._gone else self._status or 500
        method = scope["method"]
        self._service.metrics.observe(method, template, status, seconds)
        values: dict[str, object] = {
            "method": method,
            "route": template,
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if self._status and not self._complete and not self._set_aside_at:
            values["incomplete"] = True
        if client := CLIENT_ADDRESS.get():
            values["client"] = client
        write_event("info", "request", values)


def is_request_id(given: bytes) -> bool:
    """Whether a caller's id may stand in our logs and answers."""
    return 0 < len(given) <= _MAX_REQUEST_ID and _REQUEST_ID_CHARACTERS.issuperset(given)


def _headers(content_type: bytes, length: int) -> Headers:
    return [(b"content-type", content_type), (b"content-length", b"%d" % length)]


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes, the most that is taken here; send less at once")


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses WebSockets. Lifespan needs nothing done: a service's things are opened and closed around it."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
