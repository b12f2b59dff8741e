"""How one service calls another over gRPC: with the promises of ``http_client``."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from pkg.object_model.errors import ERROR_KINDS, DeadlineExceeded, DelinkciousError, Internal, Unavailable
from pkg.object_model.types import Actor
from pkg.runtime.caller_auth import CALLER_REFUSAL_CODES, EdgeCredentials
from pkg.runtime.context import RequestContext, current_context
from pkg.runtime.errors import ERROR_STATUS
from pkg.runtime.grpc_wire import (
    CODE_KEY,
    MAX_METADATA_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    REQUEST_ID_KEY,
    RETRY_AFTER_KEY,
    TRACEPARENT_KEY,
)
from pkg.runtime.http_client import DEFAULT_TIMEOUT, MAX_RETRIES
from pkg.runtime.logs import get_logger
from pkg.runtime.metrics import CalleeMetrics
from pkg.runtime.settings import ServiceAddress

#: Seconds kept back of the caller's own deadline, to make an answer of what happened here.
_MARGIN: Final = 0.01
#: Seconds before the first repeat; doubled for the second, and jittered.
_RETRY_PAUSE: Final = 0.03
_MAX_ERROR_TEXT: Final = 2_000
_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    # Repeats are ours, within the deadline.
    ("grpc.enable_retries", 0),
    # Services find each other directly.
    ("grpc.enable_http_proxy", 0),
    # One that is away is found soon after it is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A peer that vanished without a word is noticed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Calls go to every address that the name stands for.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
)
#: Of several kinds with one status the first: the others are none that a service of ours answers over gRPC.
_KINDS_BY_STATUS: Final[Mapping[int, str]] = {
    status.grpc: kind for kind, status in reversed(list(ERROR_STATUS.items())) if status.http < 500
} | {14: "unavailable", 4: "deadline_exceeded"}

_log = get_logger(__name__)


@asynccontextmanager
async def open_channel(address: ServiceAddress) -> AsyncIterator[grpc.aio.Channel]:
    """The one channel of a process to a service. Connects when it is first used."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    async with grpc.aio.insecure_channel(f"{host}:{address.port}", options=_OPTIONS) as channel:
        yield channel


class ServiceGrpcClient:
    """One callee, as one caller sees it."""

    def __init__(
        self, channel: grpc.aio.Channel, credentials: EdgeCredentials, *, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.channel = channel
        self.callee = credentials.callee
        self._credentials = credentials
        self._timeout = timeout
        self._metrics = CalleeMetrics(credentials.callee)

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable, request: object, *, actor: Actor | None, repeatable: bool
    ) -> Any:  # noqa: ANN401  # gRPC's methods have no types
        """The reply. The deadline of the request that we serve bounds all attempts together.

        Raises:
            DelinkciousError: what the callee answered, as it raised it there.
            Unavailable: it cannot be reached (``<callee>_unavailable``).
            DeadlineExceeded: it did not answer in time.
            Internal: it does not let us in (``upstream_refused``), or answers nonsense (``bad_upstream_reply``).
        """
        began = time.monotonic()
        context = current_context()
        deadline = self._deadline(began, context)
        retries_left = MAX_RETRIES if repeatable else 0
        outcome = "cancelled"
        try:
            while True:
                try:
                    reply = await self._attempt(method, request, actor, context, deadline)
                except _Transient as failure:
                    pause = _pause(MAX_RETRIES - retries_left, failure)
                    if retries_left == 0 or time.monotonic() + pause >= deadline:
                        raise failure.error from None
                    retries_left -= 1
                    self._metrics.retries.inc()
                    await asyncio.sleep(pause)
                else:
                    outcome = "ok"
                    return reply
        except DelinkciousError as error:
            outcome = error.kind
            raise
        finally:
            self._metrics.observe(outcome, time.monotonic() - began)

    def _deadline(self, now: float, context: RequestContext | None) -> float:
        deadline = now + self._timeout
        if context is not None and context.deadline is not None:
            deadline = min(deadline, context.deadline - _MARGIN)
        if deadline <= now:
            raise self._late()
        return deadline

    async def _attempt(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable,
        request: object,
        actor: Actor | None,
        context: RequestContext | None,
        deadline: float,
    ) -> Any:  # noqa: ANN401  # as above
        metadata = [(name.lower(), value) for name, value in self._credentials.headers(actor).items()]
        if context is not None:
            metadata += [(REQUEST_ID_KEY, context.request_id), (TRACEPARENT_KEY, context.traceparent)]
        try:
            return await method(request, timeout=max(0.001, deadline - time.monotonic()), metadata=tuple(metadata))
        except grpc.aio.AioRpcError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: grpc.aio.AioRpcError) -> "DelinkciousError | _Transient":
        """What to raise for an answer that is no success."""
        status = error.code().value[0]
        trailer = dict(error.trailing_metadata() or ())
        code = trailer.get(CODE_KEY)
        message = (error.details() or "")[:_MAX_ERROR_TEXT]
        if code in CALLER_REFUSAL_CODES:
            # About us, not about the user: they must not be asked to log in for it.
            _log.error("a service does not let us in", callee=self.callee, reason=code)
            return Internal(
                f"{self.callee} did not accept a call of {self._credentials.caller}", code="upstream_refused"
            )
        kind = _KINDS_BY_STATUS.get(status)
        if code is not None and kind is not None:
            retry_after = _read_retry_after(trailer.get(RETRY_AFTER_KEY))
            told = ERROR_KINDS[kind](message, code=code, retry_after=retry_after)
            return _Transient(told, retry_after or 0.0) if isinstance(told, Unavailable) else told
        # From here on it is gRPC that speaks, not the service.
        if kind == "unavailable" or error.code() is grpc.StatusCode.CANCELLED:
            return _Transient(self._away(error.code().name))
        if kind == "deadline_exceeded":
            return self._late()
        _log.error("a service answered out of its contract", callee=self.callee, status=error.code().name, code=code)
        if code is not None:
            return Internal(f"{self.callee} failed", code=code)
        return Internal(f"{self.callee} gave an answer that we cannot read", code="bad_upstream_reply")

    def _away(self, reason: str) -> Unavailable:
        _log.warning("a service cannot be reached", callee=self.callee, reason=reason)
        return Unavailable(
            f"{self.callee} cannot be reached; try again shortly",
            code=f"{self.callee.replace('-', '_')}_unavailable",
            retry_after=1,
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


def _read_retry_after(value: object) -> float | None:
    """Seconds."""
    return float(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6 else None
