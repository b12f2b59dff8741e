"""What each thing that every request pays for costs by itself, in microseconds of one process."""

import asyncio
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pkg.object_model.clock import SystemClock
from pkg.object_model.types import Actor
from pkg.rate_limits.limiter import TAKEN_AT_ONCE, RateLimiter
from pkg.rate_limits.redis_store import RedisLimitStore
from pkg.rate_limits.store import Bucket, Limit
from pkg.runtime.access import API_GATEWAY
from pkg.runtime.caller_auth import CallerAuth, EdgeCredentials
from pkg.runtime.context import RequestContext, use_context
from pkg.runtime.health import ReadinessProbe
from pkg.runtime.http_service import HttpService
from pkg.runtime.logs import logs_written_to, write_event
from pkg.runtime.metrics import RequestMetrics
from pkg.runtime.mutual_auth import EdgeSecret, new_secret
from pkg.runtime.redis import connect_redis
from pkg.runtime.settings import Mode, ServiceSettings
from pkg.runtime.tracing import child_traceparent, new_traceparent
from tests.conftest import running_valkey

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
        parts["limits of user and address, taken in advance"] = asyncio.run(_limits(TAKEN_AT_ONCE))
        parts["limits of user and address, asked for in Valkey"] = asyncio.run(_limits(0.0))
    parts["the whole layer around an application"] = layered - bare
    return parts


async def _limits(share: float) -> float:
    """The processor time of Valkey itself is not in it."""
    buckets = [Bucket(Limit("reads", 1_000_000_000), "1"), Bucket(Limit("address-reads", 1_000_000_000), "203.0.113.7")]
    with tempfile.TemporaryDirectory() as folder:
        async with running_valkey(Path(folder), {}) as valkey, connect_redis(valkey.address(API_GATEWAY)) as redis:
            limiter = RateLimiter(RedisLimitStore(redis, timeout=10), taken_at_once=share)
            best = float("inf")
            for _ in range(_ROUNDS):
                begun = time.process_time()
                for _ in range(_CALLS):
                    await limiter.spend(buckets)
                best = min(best, (time.process_time() - begun) / _CALLS * 1e6)
            return best


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
