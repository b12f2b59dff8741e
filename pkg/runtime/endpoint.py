"""One operation of a service over HTTP: who may call it, how its request is read, what it does.

A service's ``routes.py`` is a table of these. Everything that each of them has to do (check the caller, read
arguments strictly, encode the answer) happens here, once; a handler is left with its manager. Errors are raised, and
become answers in the layer around the application (``pkg.runtime.http_service``).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pkg.object_model.wire_requests import QueryNames
from pkg.runtime.arguments import parse_query, read_object, read_query
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.json import decode, encode

JSON: Final = "application/json"


class _Text(StringConvertor):
    """The rest of a path, whatever is in it: Starlette's own ``path`` ends at a line feed, which is then not found."""

    regex: ClassVar[str] = "(?s:.*)"


register_url_convertor("text", _Text())

#: What a handler returns: a JSON object; one that is encoded already; or a file that is sent as it is made.
type Answer = Mapping[str, Any] | bytes | Download


class Reader[RequestT](Protocol):
    """Makes a request of what came over HTTP. Raises InvalidArgument."""

    async def read(self, http: Request) -> RequestT: ...
    def describe(self, path: str) -> dict[str, Any]:
        """The part of an OpenAPI operation that says what is read."""


@dataclass(frozen=True, slots=True)
class Body[RequestT: BaseModel]:
    """A JSON object. Any Content-Type: the original's clients send none."""

    model: type[RequestT]

    async def read(self, http: Request) -> RequestT:
        return read_object(self.model, decode(await http.body()))

    def describe(self, path: str) -> dict[str, Any]:
        return {"requestBody": {"required": True, "content": {JSON: {"schema": _schema_of(self.model)}}}}


@dataclass(frozen=True, slots=True)
class Query[RequestT: BaseModel]:
    """Parameters of the query and of the path."""

    model: type[RequestT]
    names: QueryNames

    async def read(self, http: Request) -> RequestT:
        return self.parse(http)

    def parse(self, http: Request) -> RequestT:
        wanted = self.names.values()
        sent = parse_query(http.scope["query_string"], wanted) | {
            name: str(value) for name, value in http.path_params.items()
        }
        return read_query(self.model, sent, self.names)

    def describe(self, path: str) -> dict[str, Any]:
        properties = _schema_of(self.model, by_alias=False)["properties"]
        return {
            "parameters": [
                {
                    "name": name,
                    "in": "path" if f"{{{name}" in path else "query",
                    "required": self.model.model_fields[field].is_required(),
                    "schema": properties[field],
                }
                for field, name in self.names.items()
            ]
        }


@dataclass(frozen=True, slots=True)
class Uploaded[RequestT: BaseModel]:
    """A file that is still on its way, and what is to be done with it."""

    request: RequestT
    content: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Upload[RequestT: BaseModel]:
    """A file as the body, unread, and its parameters in the query."""

    query: Query[RequestT]

    async def read(self, http: Request) -> Uploaded[RequestT]:
        return Uploaded(self.query.parse(http), http.stream())

    def describe(self, path: str) -> dict[str, Any]:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        return self.query.describe(path) | {"requestBody": {"required": True, "content": content}}


@dataclass(frozen=True, slots=True)
class Download:
    """A file, sent as it is made."""

    content: AsyncIterator[bytes]
    media_type: str


#: Of every endpoint. What a success holds is for pkg.object_model.wire to say.
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A failure.",
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["err", "code", "request_id"],
                    "properties": {
                        "err": {"type": "string", "minLength": 1},
                        "code": {"type": "string", "pattern": "^[a-z_]+$"},
                        "request_id": {"type": "string"},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint[RequestT]:
    method: str
    path: str
    #: The row of ``pkg.runtime.access`` that says who may call this.
    operation: str
    reads: Reader[RequestT]
    handle: Callable[[Call, RequestT], Awaitable[Answer]]
    #: Found before FastAPI's own layers, which cost more than the rest of a short read.
    hot: bool = False

    def bind(self, caller_auth: CallerAuth) -> Callable[[Request], Awaitable[Response]]:
        """The handler that Starlette calls."""

        async def serve(http: Request) -> Response:
            # Metrics and logs show the route's template. FastAPI's routes leave it here, Starlette's do not.
            http.scope.setdefault("route", self)
            call = caller_auth.authorize(http.headers, self.operation)
            answer = await self.handle(call, await self.reads.read(http))
            if isinstance(answer, Download):
                return StreamingResponse(await begun(answer.content), media_type=answer.media_type)
            return Response(answer if isinstance(answer, bytes) else encode(answer), media_type=JSON)

        return serve


class _Application(FastAPI):
    """FastAPI with a table of hot endpoints in front; paths with parameters are served as the others are."""

    def __init__(self, title: str, *, docs: bool) -> None:
        super().__init__(
            title=title,
            docs_url="/docs" if docs else None,
            redoc_url=None,
            openapi_url="/openapi.json" if docs else None,
            # A misspelt path is a 404: a client that follows a redirect may drop the body on the way.
            redirect_slashes=False,
        )
        self.hot: dict[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self.hot.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if serve is None:
            await super().__call__(scope, receive, send)
        else:
            # What it raises becomes an answer in the layer around the application, as for any other.
            response = await serve(Request(scope, receive, send))
            await response(scope, receive, send)


def build_endpoints(
    title: str, caller_auth: CallerAuth, endpoints: Sequence[Endpoint[Any]], *, docs: bool = False
) -> FastAPI:
    """The application that serves ``endpoints``. ``docs`` adds ``/docs`` and ``/openapi.json``, for developers."""
    app = _Application(title, docs=docs)
    for endpoint in endpoints:
        serve = endpoint.bind(caller_auth)
        if endpoint.hot:
            app.hot[endpoint.method, endpoint.path] = serve
        app.add_api_route(
            endpoint.path,
            serve,
            methods=[endpoint.method],
            name=endpoint.operation,
            tags=[endpoint.operation],
            responses=_RESPONSES,
            operation_id=f"{endpoint.method.lower()}{endpoint.path}",
            description=endpoint.handle.__doc__ or "",
            response_class=Response,
            response_model=None,
            openapi_extra=endpoint.reads.describe(endpoint.path),
        )
    return app


def _schema_of(model: type[BaseModel], *, by_alias: bool = True) -> dict[str, Any]:
    """Whole, without references: those that pydantic makes would point to nowhere within a larger document."""
    schema = model.model_json_schema(by_alias=by_alias)
    definitions = schema.pop("$defs", {})

    def resolve(part: Any) -> Any:  # noqa: ANN401  # JSON
        if isinstance(part, list):
            return [resolve(member) for member in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolve(definitions[part["$ref"].rpartition("/")[2]])
        return {key: resolve(value) for key, value in part.items()}

    resolved: dict[str, Any] = resolve(schema)
    return resolved


async def begun(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """``content`` with its first piece made, so that a refusal is raised while there is a status to give it."""
    first = await anext(content, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in content:
            yield piece

    return whole()
