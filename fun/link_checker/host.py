"""``python -m fun.link_checker.host`` serves the function where there is no Nuclio: each POST is an event.

It is called with what Nuclio would give it, and has around it what every service of ours has: probes, metrics, limits.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fun.link_checker.handler import MAX_REQUEST_BYTES, close, handler, prepare
from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.runtime.http_service import HttpService, build_http_service
from pkg.runtime.server import run_service


@dataclass(frozen=True, kw_only=True)
class HostedResponse:
    body: str
    headers: dict[str, str]
    content_type: str
    status_code: int


@dataclass(frozen=True)
class HostedContext:
    """The part of a Nuclio context that the function uses."""

    user_data: Any = field(default_factory=SimpleNamespace)
    Response = HostedResponse


@dataclass(frozen=True)
class HostedEvent:
    body: bytes
    headers: dict[str, str]


@asynccontextmanager
async def create_app(settings: LinkCheckFunctionSettings) -> AsyncIterator[HttpService]:
    context = HostedContext()
    prepare(context, settings)

    async def serve(http: Request) -> Response:
        event = HostedEvent(await http.body(), dict(http.headers))
        answer = await handler(context, event)
        return Response(
            answer.body, status_code=answer.status_code, headers=answer.headers, media_type=answer.content_type
        )

    try:
        yield build_http_service(
            settings,
            Starlette(routes=[Route("/", serve, methods=["POST"])]),
            readiness={},
            body_limit=MAX_REQUEST_BYTES,
        )
    finally:
        await close(context)


if __name__ == "__main__":
    run_service(LinkCheckFunctionSettings, create_app)
