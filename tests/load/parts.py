"""What each thing that every request pays for costs by itself, in microseconds of one process."""

import asyncio
import io
import time
from collections.abc import Callable
from typing import Any

from pkg.object_model.clock import SystemClock
from pkg.object_model.types import Actor
from pkg.runtime.caller_auth import CallerAuth, EdgeCredentials
from pkg.runtime.context import RequestContext, use_context
from pkg.runtime.health import ReadinessProbe
from pkg.runtime.http_service import HttpService
from pkg.runtime.logs import logs_written_to, write_event
from pkg.runtime.metrics import RequestMetrics
from pkg.runtime.mutual_auth import EdgeSecret, new_secret
from pkg.runtime.settings import Mode, ServiceSettings
from pkg.runtime.tracing import child_traceparent, new_traceparent

_ROUNDS = 5
_CALLS = 5_000


class _Settings(ServiceSettings):
    service_name = "link-manager"


def measure_parts() -> dict[str, float]:
    secret = EdgeSecret(new_secret(), new_secret())
    clock, alice = SystemClock(), Actor(1, "alice")
    credentials = EdgeCredentials("api-gateway", "link-manager", secret, clock)
    caller_auth = CallerAuth("link-manager", {"api-gateway": secret}, clock)
    presented = credentials.headers(alice)
    metrics = RequestMetrics("parts")
    parent = new_traceparent()
    line: dict[str, object] = {"method": "GET", "route": "/links", "status": 200, "ms": 1.25}
    with logs_written_to(io.BytesIO(), "info"), use_context(RequestContext("id", parent)):
        parts = {
            "caller token and user statement, sent": _micros(lambda: credentials.headers(alice)),
            "caller token and user statement, checked": _micros(lambda: caller_auth.authorize(presented, "links.read")),
            "log line": _micros(lambda: write_event("info", "request", line)),
            "metrics": _micros(lambda: metrics.observe("GET", "/links", 200, 0.001)),
            "trace header": _micros(lambda: child_traceparent(parent)),
        }
        bare, layered = asyncio.run(_layer())
    parts["the whole layer around an application"] = layered - bare
    return parts


def _micros(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for _ in range(_CALLS):
            call()
        best = min(best, (time.process_time() - begun) / _CALLS * 1e6)
    return best


async def _layer() -> tuple[float, float]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    service = HttpService(_Settings(mode=Mode.LOCAL), app, ReadinessProbe({}), 1_000, {})
    return await _calls(app), await _calls(service)


async def _calls(app: Any) -> float:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/links",
        "raw_path": b"/links",
        "query_string": b"username=alice",
        "headers": [(b"host", b"x"), (b"traceparent", new_traceparent().encode()), (b"x-request-id", b"abc")],
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        return None

    best = float("inf")
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for _ in range(_CALLS):
            await app(dict(scope), receive, send)
        best = min(best, (time.process_time() - begun) / _CALLS * 1e6)
    return best
