"""One way in for every operation: checked caller, strictly read request, encoded answer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import DelinkciousError, NotFound
from pkg.object_model.types import Actor, AddLinkRequest, GetLinksRequest, ImportRequest
from pkg.object_model.wire_requests import IMPORT_QUERY, LINKS_QUERY, UserNameRequest
from pkg.runtime.access import LINK_MANAGER
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.endpoint import Answer, Body, Download, Endpoint, Query, Upload, Uploaded, build_endpoints
from pkg.runtime.metrics import RequestMetrics
from tests.internal_service import InternalService, serve

ALICE = Actor(7, "alice")


class Handlers:
    """Gives back what it was asked."""

    async def get(self, call: Call, request: GetLinksRequest) -> Answer:
        """Some links."""
        return {"actor": call.actor and call.actor.name, "tag": request.tag, "limit": request.limit, "err": ""}

    async def add(self, call: Call, request: AddLinkRequest) -> Answer:
        return {"caller": call.caller, "url": request.url, "tags": list(request.tags), "err": ""}

    async def upload(self, call: Call, upload: Uploaded[ImportRequest]) -> Answer:
        pieces = [piece async for piece in upload.content if piece]
        return {"pieces": len(pieces), "bytes": sum(map(len, pieces)), "name": upload.request.username, "err": ""}

    async def download(self, call: Call, request: UserNameRequest) -> Answer:
        return Download(self._pieces(request.username), "text/plain; charset=utf-8")

    async def _pieces(self, name: str) -> AsyncIterator[bytes]:
        if name == "nobody":
            raise NotFound("nobody is here", code="user_not_found")
        if name == "empty":
            return
        yield b"one "
        if name == "half":
            raise NotFound("the rest is gone")
        yield b"two"


def endpoints(handlers: Handlers) -> list[Endpoint[Any]]:
    name = {"username": "username"}
    return [
        Endpoint(
            method="GET",
            path="/links",
            operation="links.read",
            reads=Query(GetLinksRequest, LINKS_QUERY),
            handle=handlers.get,
            hot=True,
        ),
        Endpoint(
            method="POST", path="/links", operation="links.write", reads=Body(AddLinkRequest), handle=handlers.add
        ),
        Endpoint(
            method="POST",
            path="/import",
            operation="links.import",
            reads=Upload(Query(ImportRequest, IMPORT_QUERY)),
            handle=handlers.upload,
        ),
        Endpoint(
            method="GET",
            path="/export/{username:path}",
            operation="links.export",
            reads=Query(UserNameRequest, name),
            handle=handlers.download,
        ),
    ]


@pytest.fixture
def service() -> InternalService:
    def build(auth: CallerAuth) -> Any:
        return build_endpoints(LINK_MANAGER, auth, endpoints(Handlers()))

    return serve(LINK_MANAGER, build)


async def test_a_query(service: InternalService) -> None:
    sent = {"username": "alice", "tag": "ä&b", "limit": "5"}
    answer = await service.ok("GET", "/links", actor=ALICE, query=sent)
    assert answer == {"actor": "alice", "tag": "ä&b", "limit": 5, "err": ""}
    assert await service.refused("GET", "/links", query="limit=5") == (400, "invalid_argument")


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_is_json_whatever_it_is_called(service: InternalService, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    sent = {"Url": "https://a.example/", "Username": "alice", "Tags": {"x": True}}
    answer = await service.ok("POST", "/links", json=sent, headers=headers)
    assert answer == {"caller": "api-gateway", "url": "https://a.example/", "tags": ["x"], "err": ""}


async def test_a_field_has_one_name(service: InternalService) -> None:
    sent = {"url": "https://a.example/", "username": "alice"}
    assert await service.refused("POST", "/links", json=sent) == (400, "invalid_argument")


async def test_an_upload_is_read_as_it_comes(service: InternalService) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 10

    answer = await service.ok("POST", "/import", query={"username": "alice"}, body=pieces())
    assert answer == {"pieces": 5, "bytes": 50, "name": "alice", "err": ""}


async def test_a_download_is_sent_as_it_is_made(service: InternalService) -> None:
    response = await service.call("GET", "/export/alice")
    assert (response.status, response.body, response.complete) == (200, b"one two", True)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await service.call("GET", "/export/empty")).body == b""


async def test_a_download_that_is_refused_has_a_status(service: InternalService) -> None:
    assert await service.refused("GET", "/export/nobody") == (404, "user_not_found")


async def test_a_download_that_breaks_off_is_incomplete(service: InternalService) -> None:
    response = await service.call("GET", "/export/half")
    assert (response.status, response.complete) == (200, False)


async def test_a_path_may_hold_anything(service: InternalService) -> None:
    assert (await service.call("GET", "/export/a/b c")).status == 200


async def test_the_caller_is_checked_before_anything_is_read(service: InternalService) -> None:
    assert await service.refused("POST", "/links", caller=None, body=b"nonsense") == (401, "caller_unknown")
    assert await service.refused("GET", "/links", caller="stranger", query="limit=x") == (403, "caller_not_allowed")


async def test_paths_are_exact_and_errors_are_ours(service: InternalService) -> None:
    assert await service.refused("GET", "/links/") == (404, "no_such_path")
    assert await service.refused("PATCH", "/links") == (405, "method_not_allowed")
    allowed = (await service.call("PATCH", "/links")).headers["allow"]
    assert allowed == "GET, POST"
    assert await service.refused("GET", "/import") == (405, "method_not_allowed")


async def test_metrics_know_each_route_by_its_template(service: InternalService) -> None:
    await service.call("GET", "/links", query={"username": "alice"})
    await service.call("GET", "/links", caller=None)
    await service.call("GET", "/export/somebody")
    counted = RequestMetrics.of(LINK_MANAGER)._routes
    assert ("GET", "/links") in counted
    assert set(counted["GET", "/links"].statuses) >= {200, 401}
    assert ("GET", "/export/{username:path}") in counted
    assert "somebody" not in str(counted)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc"])
async def test_documentation_is_for_developers(service: InternalService, path: str) -> None:
    assert await service.refused("GET", path) == (404, "no_such_path")


def test_the_documentation_says_what_is_read() -> None:
    app = build_endpoints(LINK_MANAGER, CallerAuth(LINK_MANAGER, {}, SystemClock()), endpoints(Handlers()), docs=True)
    paths = app.openapi()["paths"]
    add = paths["/links"]["post"]
    assert add["requestBody"]["content"]["application/json"]["schema"]["required"] == ["Url", "Username"]
    (name,) = paths["/export/{username}"]["get"]["parameters"]
    assert (name["name"], name["in"], name["required"]) == ("username", "path", True)
    upload = paths["/import"]["post"]
    assert {parameter["name"] for parameter in upload["parameters"]} == set(IMPORT_QUERY.values())
    assert upload["requestBody"]["required"] is True


async def test_reading_says_what_is_wrong() -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"[1]", "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    with pytest.raises(DelinkciousError, match="JSON object"):
        await Body(AddLinkRequest).read(Request(scope, receive))
