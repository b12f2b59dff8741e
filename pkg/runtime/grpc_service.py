"""The one layer around a gRPC service's methods: what every call needs, as ``http_service`` does it over HTTP.

In order: request id and trace, deadline, shedding, the caller, the method, errors turned into a status, metrics, one
log line. A failure is a status with words; the error's stable name is in the trailing metadata, under ``code``. In
metrics and logs a call is what it is on the wire, a POST, with the HTTP status of its outcome: one picture for all
services.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # it brings no types
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # likewise

from pkg.object_model.errors import DeadlineExceeded, DelinkciousError, Internal, Unavailable
from pkg.runtime.caller_auth import CALLER_TOKEN_HEADER, USER_STATEMENT_HEADER, Call, CallerAuth
from pkg.runtime.context import CURRENT_CONTEXT, RequestContext
from pkg.runtime.errors import INTERNAL_MESSAGE, retry_after_seconds, status_of
from pkg.runtime.grpc_wire import (
    CODE_KEY,
    MAX_METADATA_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    REQUEST_ID_KEY,
    RETRY_AFTER_KEY,
    TRACEPARENT_KEY,
)
from pkg.runtime.http_service import CLIENT_GONE, RETRY_AFTER_SHED, is_request_id
from pkg.runtime.logs import describe_exception, get_logger, write_event
from pkg.runtime.metrics import RequestMetrics
from pkg.runtime.settings import ServiceSettings
from pkg.runtime.start_error import StartError
from pkg.runtime.tracing import child_traceparent

_CALLER_KEYS: Final = {name.lower(): name for name in (CALLER_TOKEN_HEADER, USER_STATEMENT_HEADER)}

#: Seconds between two looks at the readiness, for those who watch it.
_WATCH_INTERVAL: Final = 1.0
_STATUS_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

type Handle[RequestT, ReplyT] = Callable[[Call, RequestT], Awaitable[ReplyT]]
#: Adds a service's methods to a server; generated code has one for each service.
type Register = Callable[[grpc.aio.Server], None]

_log = get_logger(__name__)


class GrpcService:
    """``is_ready`` is what the standard health service tells."""

    def __init__(
        self, settings: ServiceSettings, caller_auth: CallerAuth, is_ready: Callable[[], Awaitable[bool]]
    ) -> None:
        self.stopping = False
        self._is_ready = is_ready
        self._settings = settings
        self._caller_auth = caller_auth
        self._metrics = RequestMetrics.of(settings.service_name)
        self._in_flight = 0

    def method[RequestT, ReplyT](
        self, path: str, operation: str, handle: Handle[RequestT, ReplyT]
    ) -> Callable[[RequestT, grpc.aio.ServicerContext], Awaitable[ReplyT]]:
        """A unary method as gRPC calls it. ``operation`` is the row of ``pkg.runtime.access`` that says who may."""

        async def serve(request: RequestT, context: grpc.aio.ServicerContext) -> ReplyT:
            exchange = _Exchange(self._settings, context)
            token = CURRENT_CONTEXT.set(exchange.context)
            try:
                return await exchange.run(self._admitted(operation, handle, exchange, request))
            finally:
                self._record(path, exchange)
                CURRENT_CONTEXT.reset(token)

        return serve

    async def is_ready(self) -> bool:
        return not self.stopping and await self._is_ready()

    async def _admitted[RequestT, ReplyT](
        self, operation: str, handle: Handle[RequestT, ReplyT], exchange: "_Exchange", request: RequestT
    ) -> ReplyT:
        if self._in_flight >= self._settings.max_concurrent_requests:
            self._metrics.shed.inc()
            raise Unavailable(
                "too many requests at once; try again shortly", code="overloaded", retry_after=RETRY_AFTER_SHED
            )
        self._in_flight += 1
        self._metrics.in_flight += 1
        try:
            return await handle(self._caller_auth.authorize(exchange.caller_headers, operation), request)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight -= 1

    def _record(self, path: str, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.began
        self._metrics.observe("POST", path, exchange.http_status, seconds)
        values = {"method": "POST", "route": path, "status": exchange.http_status, "ms": round(seconds * 1000, 2)}
        write_event("info", "request", values)


class _Exchange:
    """One call and its answer."""

    def __init__(self, settings: ServiceSettings, call: grpc.aio.ServicerContext) -> None:
        self.began = time.perf_counter()
        #: Until the answer is known, the caller's leaving is the only way to end.
        self.http_status = CLIENT_GONE
        self.caller_headers: dict[str, str] = {}
        self._call = call
        request_id = ""
        traceparent: str | None = None
        for key, value in call.invocation_metadata() or ():
            if key == REQUEST_ID_KEY and is_request_id(value.encode()):
                request_id = value
            elif key == TRACEPARENT_KEY:
                traceparent = value
            elif key in _CALLER_KEYS:
                self.caller_headers[_CALLER_KEYS[key]] = value
        remaining = call.time_remaining()
        self.allowed = settings.request_timeout if remaining is None else min(settings.request_timeout, remaining)
        self.context = RequestContext(
            request_id or os.urandom(16).hex(), child_traceparent(traceparent), time.monotonic() + self.allowed
        )

    async def run[ReplyT](self, work: Awaitable[ReplyT]) -> ReplyT:
        try:
            async with asyncio.timeout(self.allowed):
                reply = await work
        except DelinkciousError as error:
            failure = error
        except TimeoutError:
            failure = DeadlineExceeded("this took longer than the time allowed for it; it may still have happened")
        except Exception as error:  # noqa: BLE001  # the last place where it can still become an answer
            _log.error("unexpected error", exception=describe_exception(error))
            failure = Internal(INTERNAL_MESSAGE)
        else:
            self.http_status = 200
            return reply
        status = status_of(failure)
        self.http_status = status.http
        trailer = [(CODE_KEY, failure.code), (REQUEST_ID_KEY, self.context.request_id)]
        retry_after = retry_after_seconds(failure)
        if retry_after is not None:
            trailer.append((RETRY_AFTER_KEY, str(retry_after)))
        await self._call.abort(_STATUS_CODES[status.grpc], failure.message, tuple(trailer))
        raise failure  # not reached: abort raises


@asynccontextmanager
async def serve_grpc(
    settings: ServiceSettings, service: GrpcService, names: Sequence[str], register: Register
) -> AsyncIterator[int]:
    """Serves on the settings' address while the block runs, with health and reflection beside; gives the port.

    At the end nothing new is accepted, and what is being worked on gets ``shutdown_grace`` to finish.

    Raises:
        StartError: the address cannot be listened on.
    """
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.max_send_message_length", MAX_REPLY_BYTES),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            # Two servers on one port would share its calls, and nobody would notice.
            ("grpc.so_reuseport", 0),
        ),
        # Health must be told even where requests are shed.
        maximum_concurrent_rpcs=2 * settings.max_concurrent_requests,
    )
    register(server)
    health_pb2_grpc.add_HealthServicer_to_server(_Health(service, names), server)
    reflection.enable_server_reflection(
        (*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME), server
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError:
        raise StartError(
            f"cannot listen on {settings.host} port {settings.port}; free it, or set PORT to another"
        ) from None
    await server.start()
    _log.info("listening", host=settings.host, port=port, protocol="grpc")
    try:
        yield port
    finally:
        service.stopping = True
        await server.stop(settings.shutdown_grace)


class _Health:
    """The standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): ready or not."""

    def __init__(self, service: GrpcService, names: Sequence[str]) -> None:
        self._service = service
        self._known = frozenset(("", *names))

    async def Check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: N802, ANN401  # gRPC's names and types
        if request.service not in self._known:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return await self._status()

    async def List(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: N802, ANN401  # likewise
        status = await self._status()
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._known, status))

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:  # noqa: N802, ANN401  # likewise
        told = None
        while not self._service.stopping:
            status = (
                await self._status()
                if request.service in self._known
                else health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            )
            if status != told:
                told = status
                yield status
            await asyncio.sleep(_WATCH_INTERVAL)
        yield await self._status()

    async def _status(self) -> Any:  # noqa: ANN401  # likewise
        answer = health_pb2.HealthCheckResponse
        return answer(status=answer.SERVING if await self._service.is_ready() else answer.NOT_SERVING)
