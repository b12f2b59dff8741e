"""The API's description in the form of OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html), made of the table that
serves it."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from pkg.runtime.version import package_version
from svc.api_gateway_service.arguments import Argument, Schema
from svc.api_gateway_service.error_codes import (
    COMMON_ERRORS,
    CROSS_SITE_ERRORS,
    INSUFFICIENT_SCOPE,
    INVALID_TICKET,
    INVALID_TOKEN,
    MISSING_ARGUMENT,
    MISSING_TOKEN,
    NOT_A_SESSION,
    UNSUPPORTED_MEDIA,
    ErrorCode,
)
from svc.api_gateway_service.multipart import MULTIPART
from svc.api_gateway_service.operation import PREFIXES, Operation
from svc.api_gateway_service.readers import FILE_FIELD, FORM, JSON, Upload
from svc.api_gateway_service.schemas import DONE, LOGIN, SCHEMAS, Reply
from svc.api_gateway_service.sessions import CREDENTIALS

_ABOUT: Final = """\
Save links, tag and search them, follow people and read what they save.

**Token.** Every call carries yours, in the header `Access-Token` or as `Authorization: Bearer`. Make one at
[/account](/account), after you have logged in, or with `POST /me/tokens`. A token is good for its scopes alone; each
operation names the one that it needs. Programs that act for somebody who is there use the token of a session, which has
all scopes: `POST /login` opens one, `POST /logout` ends it.

**Cookie.** In the browser of somebody who is logged in, the session's cookie is as good as a token. What changes
anything then needs the header `X-CSRF-Token`, with the token that pages of ours have in their forms.

**Arguments** go in the query, in a form (`application/x-www-form-urlencoded` or `multipart/form-data`) or in a JSON
body, as you like, with every method; spread over them, too, as long as nothing is said twice in different ways. Since
OpenAPI cannot say "required in one of three", all are declared optional here; the text of an operation says which ones
it needs.
An empty or null argument counts as not sent, but for `title` and `description` of `PUT /links`.

**Answers.** Every success is a 200 with an empty `err`, or a 304 for who has it and says so with `If-None-Match`. A
failure has another status, and says in `err` what to do and in `code` what happened: codes are stable, words are not.
429, 503 and 504 are worth another try, after `Retry-After` seconds where that is told; do not repeat a POST after a 504
without an `Idempotency-Key`.

**Limits.** So many requests a minute, for each user and for each address: `RateLimit-Policy` tells the limit and
`RateLimit` what is left of it, as in draft-ietf-httpapi-ratelimit-headers-10. What is more is refused with a 429.

**Pages.** A list that goes on has a `NextPageToken`: send it back as `start_token`, with the same filters.
"""
_GROUPS: Final = {
    "Sessions": "In and out, for programs. Browsers have pages for it at the same places.",
    "Links": "Your links and tags.",
    "News": "What the people whom you follow do.",
    "People": "You and others: who they are, what they share, who follows whom.",
    "Account": "Your account: what it says of you, and what can act as you.",
    "Files": "In from a browser or another service, and out again.",
}
_SCHEMES: Final = ("AccessToken", "Bearer", "Session")
#: A session is of all versions.
_ROOT: Final = [{"url": "/", "description": "Outside of every version."}]
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "DELETE"})
_REQUEST_ID: Final[Schema] = {"$ref": "#/components/headers/X-Request-ID"}
#: Where the limits are known, which they are not while their store is away.
_STANDING: Final[dict[str, Schema]] = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit-Policy", "RateLimit")
}
#: What anything can give to whom nobody asks for a token.
_WITHOUT_TOKEN: Final = [error for error in COMMON_ERRORS if error not in (MISSING_TOKEN, INVALID_TOKEN)]
_SOME_REQUEST_ID: Final = "5f0c7a1e9b"
_STATUS_WORDS: Final = {413: "Content Too Large", 414: "URI Too Long"}


def describe_api(operations: Sequence[Operation], cookie_name: str) -> dict[str, Any]:
    """``cookie_name``: what the session's cookie is called."""
    paths: dict[str, dict[str, Any]] = {"/login": {"post": _login()}, "/logout": {"post": _logout()}}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Delinkcious", "version": package_version(), "description": _ABOUT},
        "servers": [
            {"url": PREFIXES[0], "description": "This system."},
            {"url": PREFIXES[1], "description": "The same, under its other name."},
        ],
        "tags": [{"name": name, "description": description} for name, description in _GROUPS.items()],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "AccessToken": {"type": "apiKey", "in": "header", "name": "Access-Token", "description": "Your token."},
                "Bearer": {"type": "http", "scheme": "bearer", "description": "The same token, as others send theirs."},
                "Session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie_name,
                    "description": "A browser's session; see Cookie, above.",
                },
            },
            "headers": {
                "X-Request-ID": {
                    "description": "Names this request in our logs: the one that you sent, or a new one.",
                    "schema": {"type": "string", "examples": [_SOME_REQUEST_ID]},
                },
                "Retry-After": {
                    "description": "Seconds after which another try may succeed.",
                    "schema": {"type": "integer", "minimum": 1, "examples": [1]},
                },
                "RateLimit-Policy": {
                    "description": "The limit that this request counts for: its name, requests, seconds.",
                    "schema": {"type": "string", "examples": ['"reads";q=1200;w=60']},
                },
                "RateLimit": {
                    "description": "How many requests are left, and in how many seconds there is one more.",
                    "schema": {"type": "string", "examples": ['"reads";r=1199;t=1']},
                },
                "WWW-Authenticate": {
                    "description": "How to send a token.",
                    "schema": {"type": "string", "examples": ["Bearer"]},
                },
            },
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.summary,
        "description": _text(operation),
        # Not only OAuth's schemes may name what they must be good for (OpenAPI 3.1, Security Requirement Object).
        "security": [{scheme: _scopes(operation)} for scheme in _SCHEMES],
        "parameters": [
            *(_parameter(argument, "path") for argument in operation.path_arguments),
            *(_query_parameter(argument, operation) for argument in operation.reads.arguments),
            *(_parameter(argument, "header") for argument in operation.header_arguments),
        ],
        "responses": {"200": _success(operation.reply)} | _unchanged(operation) | _failures(_errors_of(operation)),
    }
    if isinstance(operation.reads, Upload):
        described["requestBody"] = _file_body(operation.reads.arguments)
    elif operation.reads.arguments and operation.method in _METHODS_WITH_BODY:
        described["requestBody"] = _body(operation.reads.arguments)
    return described


def _login() -> dict[str, Any]:
    schema = _fields(CREDENTIALS.arguments, json=True)
    return {
        "operationId": "log_in",
        "tags": ["Sessions"],
        "servers": _ROOT,
        "summary": "Open a session",
        "description": "A ticket is good once. In the body alone: what is in a URL is written down on its way.",
        "security": [],
        "parameters": [],
        "requestBody": {
            "required": True,
            "description": "A form is taken for the page's.",
            "content": {JSON: {"schema": schema | {"required": [argument.name for argument in CREDENTIALS.arguments]}}},
        },
        "responses": {"200": _success(LOGIN)} | _failures([*_WITHOUT_TOKEN, INVALID_TICKET, MISSING_ARGUMENT]),
    }


def _logout() -> dict[str, Any]:
    return {
        "operationId": "log_out",
        "tags": ["Sessions"],
        "servers": _ROOT,
        "summary": "End a session",
        "description": "The one whose token is in the header. With none there the page is meant, and its form.",
        "security": [{"AccessToken": []}, {"Bearer": []}],
        "parameters": [],
        "responses": {"200": _success(DONE)} | _failures([*_WITHOUT_TOKEN, INVALID_TOKEN, NOT_A_SESSION]),
    }


def _scopes(operation: Operation) -> list[str]:
    return [] if operation.scope is None else [operation.scope.value]


def _text(operation: Operation) -> str:
    required = [f"`{argument.name}`" for argument in operation.reads.arguments if argument.required]
    parts = [operation.description]
    parts += [f"**Scope**: `{scope}`." for scope in _scopes(operation)]
    if required:
        parts.append(f"**Required**, in the query, a form or a JSON body: {', '.join(required)}.")
    elif operation.reads.arguments and operation.method not in _METHODS_WITH_BODY:
        parts.append("Arguments may also come in a form or a JSON body, from clients that can send one with GET.")
    return "\n\n".join(parts)


def _parameter(argument: Argument, place: str) -> dict[str, Any]:
    schema = argument.kind.text_schema()
    # In the schema, not beside it: documentation pages would fill every field with it.
    schema["examples"] = [_example(argument, schema)]
    return {
        "name": argument.name,
        "in": place,
        "required": place == "path",
        "description": argument.description,
        "schema": schema,
    }


def _query_parameter(argument: Argument, operation: Operation) -> dict[str, Any]:
    parameter = _parameter(argument, "query")
    if argument.required:
        parameter["description"] += " Required, here or in the body."
    if operation.method in _METHODS_WITH_BODY:
        # Told with the body. Documentation pages would send it from here, against what the body says.
        parameter["schema"].pop("default", None)
    return parameter


def _example(argument: Argument, schema: Schema) -> object:
    return argument.kind.read_text(argument.name, argument.example) if schema["type"] != "string" else argument.example


def _fields(arguments: Iterable[Argument], *, json: bool) -> Schema:
    properties = {}
    for argument in arguments:
        schema = argument.kind.text_schema()
        example = _example(argument, schema)
        if json:
            schema = _or_null(argument.kind.json_schema())
        properties[argument.name] = {**schema, "description": argument.description, "examples": [example]}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    """Null counts as not sent."""
    if "oneOf" in schema:
        return schema | {"oneOf": [*schema["oneOf"], {"type": "null"}]}
    nullable = schema | {"type": [schema["type"], "null"]}
    return nullable | {"enum": [*schema["enum"], None]} if "enum" in schema else nullable


def _body(arguments: Sequence[Argument]) -> dict[str, Any]:
    form = {"schema": _fields(arguments, json=False)}
    return {
        "required": False,
        "description": "Instead of the query, or beside it.",
        "content": {JSON: {"schema": _fields(arguments, json=True)}, FORM: form, MULTIPART: form},
    }


def _file_body(arguments: Sequence[Argument]) -> dict[str, Any]:
    form = _fields(arguments, json=False)
    # Last: what stands after the file comes too late.
    form["properties"][FILE_FIELD] = {
        "type": "string",
        "description": "The bookmarks file.",
        "contentMediaType": "text/html",
        "examples": ["<!DOCTYPE NETSCAPE-Bookmark-file-1>\n..."],
    }
    form["required"] = [FILE_FIELD]
    return {
        "required": True,
        "description": "The file, whatever its Content-Type says, or a form with the file in it.",
        "content": {
            "text/html": {"schema": {"type": "string", "examples": ["<!DOCTYPE NETSCAPE-Bookmark-file-1>\n..."]}},
            MULTIPART: {"schema": form},
            "*/*": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}},
        },
    }


def _success(reply: Reply) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-ID": _REQUEST_ID} | _STANDING
    headers |= {
        name: {"description": schema["description"], "schema": {"type": "string", "examples": schema["examples"]}}
        for name, schema in reply.headers
    }
    return {
        "description": reply.description,
        "headers": headers,
        "content": {reply.media_type: {"schema": reply.schema}},
    }


def _unchanged(operation: Operation) -> dict[str, Any]:
    if not operation.has_tag:
        return {}
    tag = _success(operation.reply)["headers"]["ETag"]
    return {
        "304": {
            "description": "What you have, by If-None-Match, is as it is now.",
            "headers": {"X-Request-ID": _REQUEST_ID, "ETag": tag} | _STANDING,
        }
    }


def _errors_of(operation: Operation) -> list[ErrorCode]:
    errors = [*COMMON_ERRORS, *operation.errors]
    if operation.scope is not None:
        errors.append(INSUFFICIENT_SCOPE)
    if operation.method in _METHODS_WITH_BODY:
        errors += CROSS_SITE_ERRORS
    if isinstance(operation.reads, Upload):
        errors.append(MISSING_ARGUMENT)
    else:
        errors.append(UNSUPPORTED_MEDIA)
        if any(argument.required for argument in operation.reads.arguments):
            errors.append(MISSING_ARGUMENT)
    return errors


def _failures(errors: Iterable[ErrorCode]) -> dict[str, Any]:
    by_status: dict[int, dict[str, str]] = {}
    for error in errors:
        by_status.setdefault(error.status, {})[error.code] = error.meaning
    return {str(status): _failure(status, by_status[status]) for status in sorted(by_status)}


def _failure(status: int, meanings: dict[str, str]) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-ID": _REQUEST_ID}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers |= _STANDING
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    codes = sorted(meanings)
    return {
        "description": f"{_STATUS_WORDS.get(status) or HTTPStatus(status).phrase}.\n\n"
        + "\n".join(f"- `{code}`: {meanings[code]}" for code in codes),
        "headers": headers,
        "content": {
            JSON: {
                "schema": {
                    "allOf": [{"$ref": "#/components/schemas/Error"}],
                    "properties": {"code": {"enum": codes}},
                },
                "examples": {
                    code: {"value": {"err": meanings[code], "code": code, "request_id": _SOME_REQUEST_ID}}
                    for code in codes
                },
            }
        },
    }
