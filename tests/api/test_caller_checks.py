"""Every endpoint of every internal service checks its caller, by one table.

The original checked one endpoint of one service; the rest trusted whom they were told.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pkg.object_model.types import Actor
from pkg.runtime.access import ALLOWED_CALLERS, LINK_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.endpoint import Endpoint
from svc.link_service import routes as link_routes
from svc.social_graph_service import routes as social_graph_routes
from svc.user_service import routes as user_routes
from tests.internal_service import CALLERS, InternalService, serve
from tests.memory_world import build_world

ALICE = Actor(7, "alice")
WORLD = build_world()
ENDPOINTS: dict[str, list[Endpoint[Any]]] = {
    LINK_MANAGER: link_routes.link_endpoints(WORLD.links),
    USER_MANAGER: user_routes.user_endpoints(WORLD.users),
    SOCIAL_GRAPH_MANAGER: social_graph_routes.social_graph_endpoints(WORLD.graph),
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


@pytest.mark.parametrize(("service", "endpoint"), ALL, ids=IDS)
async def test_no_endpoint_without_a_caller(service: str, endpoint: Endpoint[Any]) -> None:
    for headers in headers_that_do_not_help():
        refused = await build(service).refused(endpoint.method, path_of(endpoint), caller=None, headers=headers)
        assert refused == (401, "caller_unknown"), headers


@pytest.mark.parametrize(("service", "endpoint"), ALL, ids=IDS)
async def test_only_the_callers_of_the_table(service: str, endpoint: Endpoint[Any]) -> None:
    allowed = ALLOWED_CALLERS[service][endpoint.operation]
    assert allowed
    for caller in CALLERS:
        response = await build(service).call(endpoint.method, path_of(endpoint), caller=caller)
        refused = (response.status, b"caller_not_allowed" in response.body) == (403, True)
        assert refused == (caller not in allowed), (caller, response.body)


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


def test_every_operation_of_the_table_has_an_endpoint() -> None:
    for service, endpoints in ENDPOINTS.items():
        assert {endpoint.operation for endpoint in endpoints} == set(ALLOWED_CALLERS[service])


@pytest.mark.parametrize("service", ENDPOINTS)
def test_every_route_is_an_endpoint(service: str) -> None:
    """Nothing is mounted past the one way in."""
    routes = build(service).app.app.routes  # type: ignore[attr-defined]  # a FastAPI
    assert {route.path for route in routes} == {endpoint.path for endpoint in ENDPOINTS[service]}
    assert len(routes) == len(ENDPOINTS[service])
