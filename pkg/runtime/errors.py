"""The one table from a kind of error to a status, and the answer that a caller gets.

``{"err": what is wrong and what to do, "code": a stable name, "request_id": what to quote}``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from pkg.object_model.errors import DelinkciousError
from pkg.runtime.context import current_context
from pkg.runtime.json import encode


@dataclass(frozen=True, slots=True)
class Status:
    http: int
    #: Number and name of the gRPC status code (https://grpc.io/docs/guides/status-codes/).
    grpc: int
    grpc_name: str


ERROR_STATUS: Final[Mapping[str, Status]] = MappingProxyType(
    {
        "invalid_argument": Status(400, 3, "INVALID_ARGUMENT"),
        "unauthenticated": Status(401, 16, "UNAUTHENTICATED"),
        "permission_denied": Status(403, 7, "PERMISSION_DENIED"),
        "not_found": Status(404, 5, "NOT_FOUND"),
        # "The state of the system forbids it" is gRPC's FAILED_PRECONDITION; a stale version, worth reading
        # again and trying once more, is its ABORTED.
        "conflict": Status(409, 9, "FAILED_PRECONDITION"),
        "precondition_failed": Status(412, 10, "ABORTED"),
        "too_large": Status(413, 8, "RESOURCE_EXHAUSTED"),
        "unsupported_media": Status(415, 3, "INVALID_ARGUMENT"),
        "rate_limited": Status(429, 8, "RESOURCE_EXHAUSTED"),
        "unavailable": Status(503, 14, "UNAVAILABLE"),
        "deadline_exceeded": Status(504, 4, "DEADLINE_EXCEEDED"),
        "internal": Status(500, 13, "INTERNAL"),
    }
)
#: A path that no route answers, and a method that its route does not take. Between services either is our
#: mistake.
NO_SUCH_PATH: Final = "no_such_path"
METHOD_NOT_ALLOWED: Final = "method_not_allowed"

#: For what nobody foresaw; what it was is in the log.
INTERNAL_MESSAGE: Final = "something went wrong on our side; try again, and quote the request id if it persists"
#: What Starlette or FastAPI itself refuses, by status.
_FRAMEWORK_ERRORS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        400: ("invalid_argument", "the request cannot be read; check its body and its headers"),
        404: (NO_SUCH_PATH, "there is nothing at this path; check its spelling"),
        405: (METHOD_NOT_ALLOWED, "this path does not take this method; see the Allow header"),
        413: ("body_too_large", "the body is too large; send less at once"),
        415: ("unsupported_media_type", "this kind of body is not read here; send JSON"),
    }
)


def status_of(error: DelinkciousError) -> Status:
    return ERROR_STATUS.get(error.kind) or ERROR_STATUS["internal"]


def error_body(message: str, code: str, request_id: str) -> bytes:
    return encode({"err": message, "code": code, "request_id": request_id})


def retry_after_seconds(error: DelinkciousError) -> int | None:
    """Whole seconds, at least one, as the Retry-After header has it."""
    return None if error.retry_after is None else max(1, math.ceil(error.retry_after))


def error_response(error: DelinkciousError, request_id: str) -> Response:
    retry_after = retry_after_seconds(error)
    return Response(
        error_body(error.message, error.code, request_id),
        status_code=status_of(error).http,
        media_type="application/json",
        headers=None if retry_after is None else {"Retry-After": str(retry_after)},
    )


def internal_error_response(request_id: str) -> Response:
    """For what nobody foresaw. Says nothing of what it was: that is in the log, under the request id."""
    return Response(
        error_body(INTERNAL_MESSAGE, "internal", request_id), status_code=500, media_type="application/json"
    )


def install_error_handlers(app: Starlette) -> None:
    """Has a Starlette or FastAPI application answer every error in our form."""
    app.add_exception_handler(DelinkciousError, _answer_delinkcious_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    # Starlette raises the error again after this answer, so that the layer around the application logs it.
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_delinkcious_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DelinkciousError)  # noqa: S101  # Starlette types handlers by Exception
    return error_response(error, _request_id())


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # as above
    status = error.status_code
    code, message = _FRAMEWORK_ERRORS.get(status, ("internal", INTERNAL_MESSAGE))
    if status < 400 or (code == "internal" and status < 500):
        status = 500
    return Response(
        error_body(message, code, _request_id()),
        status_code=status,
        media_type="application/json",
        headers={"Allow": _allowed_methods(request)} if status == 405 else error.headers,
    )


def _allowed_methods(request: Request) -> str:
    """Those of all routes of the path: Starlette names the first one's."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route.path for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    # A path of its own says more than one with a parameter in the same place.
    path = min(matching, key=lambda path: "{" in path, default=None)
    return ", ".join(sorted({method for route in routes if route.path == path for method in route.methods or ()}))


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    return internal_error_response(_request_id())


def _request_id() -> str:
    context = current_context()
    return context.request_id if context else ""
