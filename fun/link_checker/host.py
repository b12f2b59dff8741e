"""``python -m fun.link_checker.host`` serves the function where there is no Nuclio: each POST is an event.

It is called with what Nuclio would give it, and has around it what every service of ours has: probes, metrics, limits.
What Nuclio cannot do is send an answer as it is made: here lines come as soon as there is something to say.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from fun.link_checker.handler import close, handler, prepare, read_headers, receive
from fun.link_checker.question import LINES, MAX_REQUEST_BYTES, Form, answer_lines
from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.object_model.errors import DelinkciousError
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


def open_lines(context: HostedContext, event: HostedEvent) -> AsyncIterator[bytes] | None:
    """None if something else is asked for, or nothing that is let in: the handler answers that."""
    if b'"Lines"' not in event.body:
        # Nearly always; nothing is read twice then.
        return None
    try:
        question = receive(context.user_data, read_headers(event.headers), event.body)
    except DelinkciousError:
        return None
    return answer_lines(question, context.user_data.checker) if question.form is Form.LINES else None


@asynccontextmanager
async def create_app(settings: LinkCheckFunctionSettings) -> AsyncIterator[HttpService]:
    context = HostedContext()
    prepare(context, settings)

    async def serve(http: Request) -> Response:
        event = HostedEvent(await http.body(), dict(http.headers))
        lines = open_lines(context, event)
        if lines is not None:
            return StreamingResponse(lines, media_type=LINES)
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
