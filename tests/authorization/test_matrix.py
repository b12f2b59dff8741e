"""The table holds for every operation there is, and there is no operation that is not in it."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from fun.link_checker.host import create_app
from fun.link_checker.settings import LinkCheckFunctionSettings
from pb.news_service.pb import news_pb2, news_pb2_grpc
from pkg.clients.news_grpc_client import NewsGrpcClient
from pkg.object_model.errors import DelinkciousError
from pkg.object_model.types import Actor, GetNewsRequest, Scope
from pkg.runtime.access import (
    ALLOWED_CALLERS,
    API_GATEWAY,
    LINK_CHECK_FUNCTION,
    LINK_MANAGER,
    NEWS_MANAGER,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
)
from pkg.runtime.errors import ERROR_STATUS
from pkg.runtime.grpc_client import ServiceGrpcClient, open_channel
from pkg.runtime.settings import Mode
from svc.link_service import routes as link_routes
from svc.news_service import routes as news_routes
from svc.social_graph_service import routes as social_graph_routes
from svc.user_service import routes as user_routes
from tests.api.api_gateway_service.conftest import GatewayHouse, InternalServices
from tests.api.link_check_function.conftest import write_mutual_auth
from tests.asgi_client import AsgiResponse
from tests.authorization.conftest import PRIVATE, ROLES, SHARED, TABLE, People
from tests.grpc_service import news_caller, served_news
from tests.internal_service import CALLERS, InternalService, serve

PUBLIC = TABLE[API_GATEWAY]
INTERNAL = [
    (service, operation)
    for service in TABLE
    for operation in TABLE[service]
    if service not in (API_GATEWAY, LINK_CHECK_FUNCTION) and not operation.startswith("gRPC ")
]
IDS = [f"{service} {operation}" for service, operation in INTERNAL]
GRPC = [operation for operation in TABLE[NEWS_MANAGER] if operation.startswith("gRPC ")]


def outcome(response: AsgiResponse) -> str:
    """As the table has it."""
    if response.status == 200:
        return "200+" if SHARED in response.body else "200"
    return f"{response.status} {response.json()['code']}"


@pytest.fixture(scope="session")
def apps(services: InternalServices) -> dict[str, InternalService]:
    """Each service on the managers of the world of the test that is running."""
    links, users, graph, news = (services.world.part(name) for name in ("links", "users", "graph", "news"))
    return {
        app.name: app
        for app in (
            serve(LINK_MANAGER, lambda auth: link_routes.build_app(links, auth, docs=True), link_routes.body_limit),
            serve(USER_MANAGER, lambda auth: user_routes.build_app(users, auth, docs=True)),
            serve(SOCIAL_GRAPH_MANAGER, lambda auth: social_graph_routes.build_app(graph, auth, docs=True)),
            serve(NEWS_MANAGER, lambda auth: news_routes.build_app(news, auth, docs=True)),
        )
    }


def described(document: dict[str, Any]) -> set[str]:
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


# --- the table is whole ---------------------------------------------------------------------------------------------


def test_every_public_operation_is_in_the_table(house: GatewayHouse) -> None:
    document = house.gateway.conformance.document
    # In and out need no token, or any session's.
    assert described(document) - {"POST /login", "POST /logout"} == set(PUBLIC)


@pytest.mark.parametrize("service", [LINK_MANAGER, USER_MANAGER, SOCIAL_GRAPH_MANAGER, NEWS_MANAGER])
def test_every_internal_operation_is_in_the_table(apps: dict[str, InternalService], service: str) -> None:
    app: Any = apps[service].app.app
    listed = {operation for operation in TABLE[service] if not operation.startswith("gRPC ")}
    assert described(app.openapi()) == listed


def test_every_method_of_grpc_is_in_the_table() -> None:
    services = news_pb2.DESCRIPTOR.services_by_name.values()
    assert {f"gRPC /{service.full_name}/{method.name}" for service in services for method in service.methods} == set(
        GRPC
    )


def test_there_is_no_service_without_a_table() -> None:
    assert set(TABLE) == set(ALLOWED_CALLERS)


# --- the public API -------------------------------------------------------------------------------------------------


async def ask(house: GatewayHouse, people: People, operation: str, token: str | None) -> AsgiResponse:
    method, path = operation.split()
    row = people.fill(PUBLIC[operation])
    return await house.gateway.call(
        method,
        "/v1" + row.get("path", path),
        token=token,
        query=row.get("query", {}),
        body=row.get("body", "").encode(),
    )


@pytest.mark.parametrize("operation", PUBLIC)
@pytest.mark.parametrize("who", ROLES)
async def test_who_sees_and_changes_what(house: GatewayHouse, people: People, operation: str, who: str) -> None:
    before = await people.everything_of_alice()
    response = await ask(house, people, operation, people.tokens[ROLES[who]])
    assert outcome(response) == PUBLIC[operation][who]
    if who != "owner":
        assert not any(secret in response.body for secret in PRIVATE)
        assert await people.everything_of_alice() == before


@pytest.mark.parametrize("operation", PUBLIC)
async def test_nobody_without_a_token_that_is_good_for_it(house: GatewayHouse, people: People, operation: str) -> None:
    before = await people.everything_of_alice()
    assert outcome(await ask(house, people, operation, None)) == "401 missing_token"
    assert outcome(await ask(house, people, operation, "dlt_nobodys")) == "401 invalid_token"
    revoked = await people.world.users.login("alice", "any")
    await people.world.users.logout("alice", revoked.token)
    assert outcome(await ask(house, people, operation, revoked.token)) == "401 invalid_token"
    assert await people.everything_of_alice() == before


@pytest.mark.parametrize("operation", PUBLIC)
async def test_a_token_is_good_for_its_scopes(house: GatewayHouse, people: People, operation: str) -> None:
    scope = PUBLIC[operation]["scope"]
    needed = set() if scope is None else {Scope(scope)}
    others = await people.api_token("alice", set(Scope) - needed)
    refused = outcome(await ask(house, people, operation, others))
    if scope is None:
        assert refused == PUBLIC[operation]["owner"]
        return
    assert refused == "403 insufficient_scope"
    await people.world.users.revoke_token(people.by_name["alice"], int(await token_id(people, others)))
    wanted = await people.api_token("alice", needed)
    assert outcome(await ask(house, people, operation, wanted)) == PUBLIC[operation].get(
        "token", PUBLIC[operation]["owner"]
    )


async def token_id(people: People, token: str) -> int:
    return (await people.world.users.authenticate(token)).token.id


# --- between services -----------------------------------------------------------------------------------------------


async def call(
    app: InternalService, people: People, operation: str, caller: str | None, actor: Actor | None
) -> AsgiResponse:
    method, path = operation.split()
    row = people.fill(TABLE[app.name][operation])
    return await app.call(
        method,
        row.get("path", path),
        caller=caller,
        actor=actor,
        query=row.get("query", {}),
        json=row.get("json"),
        body=row.get("body", "").encode(),
    )


@pytest.mark.parametrize(("service", "operation"), INTERNAL, ids=IDS)
async def test_which_service_may_call(
    apps: dict[str, InternalService], people: People, service: str, operation: str
) -> None:
    before = await people.everything_of_alice()
    row = TABLE[service][operation]
    alice = people.by_name["alice"]
    assert outcome(await call(apps[service], people, operation, None, None)) == "401 caller_unknown"
    for caller in sorted(CALLERS - set(row["callers"])):
        refused = outcome(await call(apps[service], people, operation, caller, alice))
        assert refused == "403 caller_not_allowed", caller
    assert await people.everything_of_alice() == before
    assert set(row["callers"]) == ALLOWED_CALLERS[service][operation_of(apps[service], operation)]


def operation_of(app: InternalService, operation: str) -> str:
    """The row of the access table that ``operation`` falls under."""
    method, path = operation.split()
    document: Any = app.app.app.openapi()  # type: ignore[attr-defined]  # a FastAPI
    (name,) = document["paths"][path][method.lower()]["tags"]
    return str(name)


@pytest.mark.parametrize(("service", "operation"), INTERNAL, ids=IDS)
@pytest.mark.parametrize("who", [*ROLES, "none"])
async def test_for_whom_a_service_does_what(
    apps: dict[str, InternalService], people: People, service: str, operation: str, who: str
) -> None:
    row = TABLE[service][operation]
    before = await people.everything_of_alice()
    response = await call(apps[service], people, operation, row["callers"][0], people.actor(who))
    assert outcome(response) == row[who]
    if who != "owner" and not row.get("changes"):
        assert await people.everything_of_alice() == before


@pytest.mark.parametrize("operation", GRPC)
async def test_grpc(people: People, operation: str) -> None:
    row = TABLE[NEWS_MANAGER][operation]
    assert set(row["callers"]) == ALLOWED_CALLERS[NEWS_MANAGER]["news.read"]
    async with served_news(people.world.news) as (_, address):
        async with open_channel(address) as channel:
            stub: Any = news_pb2_grpc.NewsStub(channel)  # type: ignore[no-untyped-call]  # generated
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetNews(news_pb2.GetNewsRequest(username="bob"))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        for caller in sorted(CALLERS):
            async with news_caller(address, caller) as client:
                for who in (*ROLES, "none"):
                    # That is what our client makes of a refusal of the caller: no fault of the user's.
                    expected = row[who] if caller in row["callers"] else "500 upstream_refused"
                    assert await outcome_of_grpc(client, people.actor(who)) == expected, (caller, who)


async def outcome_of_grpc(client: ServiceGrpcClient, actor: Actor | None) -> str:
    try:
        page = await NewsGrpcClient(client).get_news(actor, GetNewsRequest(username="bob"))
    except DelinkciousError as refusal:
        return f"{ERROR_STATUS[refusal.kind].http} {refusal.code}"
    return "200+" if any(SHARED.decode() in event.url for event in page.events) else "200"


# --- the function ---------------------------------------------------------------------------------------------------


async def test_the_link_check_function(tmp_path: Path) -> None:
    (operation,) = TABLE[LINK_CHECK_FUNCTION]
    row = TABLE[LINK_CHECK_FUNCTION][operation]
    method, path = operation.split()
    assert set(row["callers"]) == ALLOWED_CALLERS[LINK_CHECK_FUNCTION]["links.check"]
    settings = LinkCheckFunctionSettings(mode=Mode.LOCAL, mutual_auth_file=write_mutual_auth(tmp_path))
    async with create_app(settings) as app:
        function = InternalService(LINK_CHECK_FUNCTION, app)
        for caller, expected in ((None, "401 caller_unknown"), ("stranger", "403 caller_not_allowed")):
            assert outcome(await function.call(method, path, caller=caller, json={})) == expected
        answered = outcome(await function.call(method, path, caller=row["callers"][0], json={}))
        assert answered == row["none"]
