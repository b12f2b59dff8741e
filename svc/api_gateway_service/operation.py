"""One operation of the public API: where it is, what it reads, what it does, what it answers.

``routes.py`` is a table of these, and both the routes and the documentation are made of it, so that neither can say
what the other does not.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pkg.object_model.types import Actor, Identity, Scope
from pkg.runtime.json import encode
from svc.api_gateway_service.arguments import Argument
from svc.api_gateway_service.door import Door
from svc.api_gateway_service.entity_tags import answer_unless_known
from svc.api_gateway_service.error_codes import ErrorCode
from svc.api_gateway_service.limits import Pace
from svc.api_gateway_service.readers import JSON, Reader, read_path
from svc.api_gateway_service.request_head import RequestHead, read_head
from svc.api_gateway_service.schemas import Reply

#: Where every operation is, and where else: the original had both.
PREFIXES: Final = ("/v1", "/v1.0")

#: A JSON object; one that is encoded already; or an answer of another kind.
type Answer = Mapping[str, Any] | bytes | Response


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler is given."""

    identity: Identity
    #: Says anew whose the token is. Raises as ``Door.admit``, but for limits.
    confirm: Callable[[], Awaitable[Identity]]
    head: RequestHead
    #: By name; what was not sent is not in it.
    arguments: dict[str, Any]
    #: The file of an upload, still on its way.
    content: AsyncIterator[bytes] | None

    @property
    def actor(self) -> Actor:
        return self.identity.actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    name: str
    method: str
    #: Without the prefix.
    path: str
    #: Under which heading it is documented.
    group: str
    summary: str
    description: str
    #: What a token must be good for; None: any will do.
    scope: Scope | None
    reads: Reader
    handle: Callable[[Call], Awaitable[Answer]]
    reply: Reply
    path_arguments: tuple[Argument, ...] = ()
    header_arguments: tuple[Argument, ...] = ()
    #: Beyond those that any operation can give.
    errors: tuple[ErrorCode, ...] = ()
    #: Whether an answer has a tag, by which a client asks for it only if it has changed.
    has_tag: bool = False
    #: Which limit it falls under, if not that of its method.
    limited_as: Pace | None = None

    @property
    def title(self) -> str:
        """As it is called in messages."""
        return f"{self.method} {PREFIXES[0]}{self.path}"

    @property
    def pace(self) -> Pace:
        return self.limited_as or (Pace.READS if self.method == "GET" else Pace.WRITES)

    def bind(self, door: Door) -> Callable[[Request], Awaitable[Response]]:
        """The handler that Starlette calls."""

        pace = self.pace

        async def serve(http: Request) -> Response:
            head = read_head(http.scope["headers"])
            identity = await door.admit(http.method, head, pace, self.scope)
            arguments, content = await self.reads.read(http, head, self.title)
            if self.path_arguments:
                arguments |= read_path(http)
            answer = await self.handle(
                Call(identity, partial(door.confirm, head, self.scope), head, arguments, content)
            )
            if isinstance(answer, Response):
                return answer
            encoded = answer if isinstance(answer, bytes) else encode(answer)
            return (
                answer_unless_known(encoded, head.if_none_match) if self.has_tag else Response(encoded, media_type=JSON)
            )

        return serve


def mount(operations: Sequence[Operation], door: Door) -> list[Route]:
    """A route for each path under each prefix, in the order of the table.

    One route for all methods of a path: Starlette would name only the first route's in the Allow header of a 405.
    """
    by_path: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation.bind(door)
    return [
        Route(prefix + path, dispatch(by_method), methods=list(by_method))
        for path, by_method in by_path.items()
        for prefix in PREFIXES
    ]


def dispatch(
    by_method: Mapping[str, Callable[[Request], Awaitable[Response]]],
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(http: Request) -> Response:
        # Starlette lets HEAD in wherever GET is; the server leaves the body out.
        return await by_method["GET" if http.method == "HEAD" else http.method](http)

    return serve
