"""Every endpoint of every internal service checks its caller, by one table.

The original checked one endpoint of one service; the rest trusted whom they were told.
"""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from fun.link_checker import handler as function
from pb.news_service.pb import news_pb2
from pkg.local_stack.services import SERVICES
from pkg.object_model.types import Actor
from pkg.provisioning.mutual_auth import edges
from pkg.runtime.access import (
    ALLOWED_CALLERS,
    API_GATEWAY,
    LINK_CHECK_FUNCTION,
    LINK_MANAGER,
    NEWS_MANAGER,
    OPERATOR,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
)
from pkg.runtime.endpoint import Endpoint
from pkg.runtime.grpc_service import GrpcService
from pkg.runtime.logs import logs_written_to
from pkg.runtime.metrics import CALLER_REFUSALS
from svc.link_service import routes as link_routes
from svc.news_service import routes as news_routes
from svc.news_service.grpc_methods import NewsServicer
from svc.social_graph_service import routes as social_graph_routes
from svc.user_service import routes as user_routes
from tests.internal_service import CALLERS, InternalService, serve
from tests.memory_world import build_world
from tests.metric_values import value_of

ALICE = Actor(7, "alice")
WORLD = build_world()
ENDPOINTS: dict[str, list[Endpoint[Any]]] = {
    LINK_MANAGER: link_routes.link_endpoints(WORLD.links),
    USER_MANAGER: user_routes.user_endpoints(WORLD.users),
    SOCIAL_GRAPH_MANAGER: social_graph_routes.social_graph_endpoints(WORLD.graph),
    NEWS_MANAGER: news_routes.news_endpoints(WORLD.news),
}
ALL = [(service, endpoint) for service, endpoints in ENDPOINTS.items() for endpoint in endpoints]
IDS = [f"{service} {endpoint.method} {endpoint.path}" for service, endpoint in ALL]


class FrozenClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def build(service: str) -> InternalService:
    match service:
        case "link-manager":
            return serve(service, lambda auth: link_routes.build_app(build_world().links, auth))
        case "news-manager":
            return serve(service, lambda auth: news_routes.build_app(build_world().news, auth))
        case "user-manager":
            return serve(service, lambda auth: user_routes.build_app(build_world().users, auth))
        case _:
            return serve(service, lambda auth: social_graph_routes.build_app(build_world().graph, auth))


def path_of(endpoint: Endpoint[Any]) -> str:
    return (
        endpoint.path.replace("{name:path}", "alice")
        .replace("{username:path}", "alice")
        .replace("{viewer_id}", "1")
        .replace("{user_id}", "2")
        .replace("{token_id}", "3")
    )


def headers_that_do_not_help() -> Iterator[dict[str, str]]:
    yield {}
    yield {"Delinkcious-Caller-Token": ""}
    yield {"Delinkcious-Caller-Token": "123"}
    yield {"Delinkcious-Caller-Token": "\xff\xfe"}
    yield {"Authorization": "Bearer 123"}


def counted(service: str, endpoint: Endpoint[Any], reason: str) -> float:
    return value_of(CALLER_REFUSALS.labels(service, endpoint.operation, reason))


@pytest.mark.parametrize(("service", "endpoint"), ALL, ids=IDS)
async def test_no_endpoint_without_a_caller(service: str, endpoint: Endpoint[Any]) -> None:
    before = counted(service, endpoint, "caller_unknown")
    for headers in headers_that_do_not_help():
        refused = await build(service).refused(endpoint.method, path_of(endpoint), caller=None, headers=headers)
        assert refused == (401, "caller_unknown"), headers
    assert counted(service, endpoint, "caller_unknown") - before == len(list(headers_that_do_not_help()))


@pytest.mark.parametrize(("service", "endpoint"), ALL, ids=IDS)
async def test_only_the_callers_of_the_table(service: str, endpoint: Endpoint[Any]) -> None:
    allowed = ALLOWED_CALLERS[service][endpoint.operation]
    assert allowed
    before = counted(service, endpoint, "caller_not_allowed")
    written = io.BytesIO()
    with logs_written_to(written):
        for caller in CALLERS:
            response = await build(service).call(endpoint.method, path_of(endpoint), caller=caller)
            refused = (response.status, b"caller_not_allowed" in response.body) == (403, True)
            assert refused == (caller not in allowed), (caller, response.body)
    assert counted(service, endpoint, "caller_not_allowed") - before == len(CALLERS - allowed)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    told = {
        line["caller"]
        for line in lines
        if (line["event"], line.get("operation")) == ("caller refused", endpoint.operation)
    }
    assert told == CALLERS - allowed


@pytest.mark.parametrize(("service", "endpoint"), ALL, ids=IDS)
async def test_a_statement_that_does_not_hold(service: str, endpoint: Endpoint[Any]) -> None:
    now = datetime.now(UTC)
    target = build(service)
    method, path = endpoint.method, path_of(endpoint)
    caller = min(ALLOWED_CALLERS[service][endpoint.operation])

    caller = min(ALLOWED_CALLERS[service][endpoint.operation])

    async def refused(**options: Any) -> tuple[int, str]:
        return await target.refused(method, path, caller=caller, **options)

    bad = (401, "user_statement_invalid")
    assert await refused(actor=ALICE, audience="somebody-else") == bad
    assert await refused(actor=ALICE, clock=FrozenClock(now - timedelta(minutes=5))) == bad
    assert await refused(actor=ALICE, clock=FrozenClock(now + timedelta(minutes=5))) == bad
    for statement in ("x", "x.y", "e30.e30", "", "." * 5_000):
        assert await refused(headers={"Delinkcious-User-Statement": statement}) == bad, statement


class Methods:
    """In the place of what wraps the methods of a gRPC service: the operation of each."""

    def __init__(self) -> None:
        self.operations: dict[str, str] = {}

    def method(self, path: str, operation: str, handle: object) -> object:
        self.operations[path] = operation
        return handle


def grpc_operations() -> dict[str, str]:
    methods = Methods()
    NewsServicer(WORLD.news, cast(GrpcService, methods))
    return methods.operations


def test_every_grpc_method_names_an_operation() -> None:
    services = news_pb2.DESCRIPTOR.services_by_name.values()
    assert grpc_operations().keys() == {
        f"/{service.full_name}/{method.name}" for service in services for method in service.methods
    }


def test_the_table_has_every_operation_and_none_that_nobody_offers() -> None:
    """Over REST, over gRPC, and the function's."""
    offered = {service: {endpoint.operation for endpoint in endpoints} for service, endpoints in ENDPOINTS.items()}
    offered[NEWS_MANAGER] |= set(grpc_operations().values())
    offered[LINK_CHECK_FUNCTION] = {function.OPERATION}
    # The gateway is called by everybody, and by no service.
    offered[API_GATEWAY] = set()
    assert {service: set(operations) for service, operations in ALLOWED_CALLERS.items()} == offered


def test_the_table_lets_in_whoever_calls_and_nobody_else() -> None:
    """By edges: a service is told where those are whom it calls, and of nobody else."""
    called = {(service.name, callee) for service in SERVICES for callee in service.needs}
    assert {edge for edge in edges() if OPERATOR not in edge} == called


@pytest.mark.parametrize("service", ENDPOINTS)
def test_every_route_is_an_endpoint(service: str) -> None:
    """Nothing is mounted past the one way in."""
    routes = build(service).app.app.routes  # type: ignore[attr-defined]  # a FastAPI
    assert {route.path for route in routes} == {endpoint.path for endpoint in ENDPOINTS[service]}
    assert len(routes) == len(ENDPOINTS[service])
