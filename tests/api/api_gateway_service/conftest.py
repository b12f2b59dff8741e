"""The gateway in this process, its services behind real sockets, their managers in memory."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pkg.clients.link_client import LinkClient
from pkg.clients.news_client import NewsClient
from pkg.clients.social_graph_client import SocialGraphClient
from pkg.clients.user_client import UserClient
from pkg.identity_providers.provider import IdentityProvider
from pkg.object_model.clock import SystemClock
from pkg.object_model.types import Actor
from pkg.rate_limits.memory_store import MemoryLimitStore
from pkg.rate_limits.store import LimitStore
from pkg.runtime.access import LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_service import HttpService
from pkg.runtime.http_session import HttpSession
from pkg.runtime.secret import Secret
from pkg.runtime.settings import Mode
from svc.api_gateway_service.app import build_gateway, build_limits, build_verdicts
from svc.api_gateway_service.handlers import Handlers
from svc.api_gateway_service.limits import told_address
from svc.api_gateway_service.news_streams import NewsStreams
from svc.api_gateway_service.openapi import describe_api
from svc.api_gateway_service.peers import Peers
from svc.api_gateway_service.routes import api_operations
from svc.api_gateway_service.settings import ApiGatewaySettings
from svc.link_service import routes as link_routes
from svc.news_service import routes as news_routes
from svc.social_graph_service import routes as social_graph_routes
from svc.user_service import routes as user_routes
from tests.api.api_gateway_service.conformance import Conformance
from tests.asgi_client import AsgiClient, AsgiResponse, Headers
from tests.fakes import FakeClock
from tests.internal_service import API_GATEWAY, InternalService, edge_secret, serve
from tests.loopback_server import served
from tests.memory_world import MemoryWorld, build_world

SETTINGS = ApiGatewaySettings(
    nats_host="127.0.0.1",
    nats_password=Secret.of("a long password"),
    mode=Mode.LOCAL,
    link_manager_host="127.0.0.1",
    user_manager_host="127.0.0.1",
    social_graph_manager_host="127.0.0.1",
    news_manager_host="127.0.0.1",
    limit_redis_host="127.0.0.1",
    limit_redis_password=Secret.of("unused"),
    # A stream tells what there is and ends, so that it is an answer like any other.
    news_stream_lifetime=0.05,
)


class CurrentWorld:
    """The managers of the test that is running. Services are started once, and serve each test its own world."""

    current: MemoryWorld

    def part(self, name: str) -> Any:
        """A stand-in for one of its managers."""
        return _Part(self, name)


class _Part:
    def __init__(self, world: CurrentWorld, name: str) -> None:
        self._world, self._name = world, name

    def __getattr__(self, method: str) -> Any:
        return getattr(getattr(self._world.current, self._name), method)


@dataclass(frozen=True)
class InternalServices:
    peers: Peers
    world: CurrentWorld
    #: By service.
    base_urls: Mapping[str, str]


@dataclass(frozen=True)
class Gateway:
    app: HttpService
    conformance: Conformance

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        query: Mapping[str, str] | str = "",
        json: object = None,
        body: bytes | AsyncIterable[bytes] = b"",
        headers: Headers = (),
    ) -> AsgiResponse:
        """The answer, which is one that the API's description allows."""
        sent = list(headers.items() if isinstance(headers, Mapping) else headers)
        if token is not None:
            sent.append(("Access-Token", token))
        if json is not None:
            sent.append(("Content-Type", "application/json"))
        async with AsgiClient(self.app) as client:
            response = await client.request(method, path, query=query, headers=sent, json=json, body=body)
        self.conformance.check(method, path, response)
        return response


@dataclass(frozen=True)
class Person:
    gateway: Gateway
    actor: Actor
    token: str

    async def call(self, method: str, path: str, **options: Any) -> AsgiResponse:
        return await self.gateway.call(method, path, token=self.token, **options)

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        """The body of a success, which is exactly 200."""
        response = await self.call(method, path, **options)
        assert response.status == 200, (response.status, response.body)
        body = response.json()
        assert body["err"] == ""
        return body

    async def refused(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Status and code of a failure in the contract's form."""
        response = await self.call(method, path, **options)
        body = response.json()
        assert body.keys() == {"err", "code", "request_id"}, body
        assert len(body["err"]) > 10, "a failure says what is wrong and what to do"
        assert body["request_id"] == response.headers["x-request-id"]
        return response.status, body["code"]


@dataclass(frozen=True)
class GatewayHouse:
    gateway: Gateway
    peers: Peers
    world: MemoryWorld
    clock: FakeClock
    alice: Person
    bob: Person

    def with_peers(
        self,
        settings: ApiGatewaySettings = SETTINGS,
        *,
        providers: Sequence[IdentityProvider] = (),
        **others: Any,
    ) -> "GatewayHouse":
        """The same world behind a gateway of its own, in which some peers are others."""
        peers = replace(self.peers, **others)
        gateway = make_gateway(peers, self.clock, self.gateway.conformance.document, settings, providers)
        return replace(
            self,
            gateway=gateway,
            peers=peers,
            alice=replace(self.alice, gateway=gateway),
            bob=replace(self.bob, gateway=gateway),
        )


def make_gateway(
    peers: Peers,
    clock: FakeClock,
    document: dict[str, Any],
    settings: ApiGatewaySettings = SETTINGS,
    providers: Sequence[IdentityProvider] = (),
) -> Gateway:
    return Gateway(assemble(settings, peers, clock, providers=providers), Conformance(document))


def assemble(
    settings: ApiGatewaySettings,
    peers: Peers,
    clock: FakeClock,
    limit_store: LimitStore | None = None,
    providers: Sequence[IdentityProvider] = (),
) -> HttpService:
    """A gateway that hears of no revocations."""
    limits = build_limits(settings, limit_store or MemoryLimitStore(time.monotonic))
    verdicts = build_verdicts(settings, peers.users, limits, clock)
    return build_gateway(settings, peers, make_streams(peers, clock, settings), clock, limits, verdicts, providers)


def make_streams(peers: Peers, clock: FakeClock, settings: ApiGatewaySettings = SETTINGS) -> NewsStreams:
    return NewsStreams(peers.news, peers.social_graph, clock, settings.stream_bounds)


@asynccontextmanager
async def internal_services(stack: AsyncExitStack) -> AsyncIterator[InternalServices]:
    world = CurrentWorld()
    base_urls: dict[str, str] = {}
    session = await stack.enter_async_context(HttpSession())

    async def client(service: InternalService, tell_address: Callable[[], str] | None = None) -> ServiceHttpClient:
        base_url = base_urls[service.name] = await stack.enter_async_context(served(service.app))
        credentials = EdgeCredentials(API_GATEWAY, service.name, edge_secret(API_GATEWAY, service.name), SystemClock())
        return ServiceHttpClient(session, base_url, credentials, timeout=10, tell_address=tell_address)

    links, users, graph, news = (world.part(name) for name in ("links", "users", "graph", "news"))
    link_service = serve(LINK_MANAGER, lambda auth: link_routes.build_app(links, auth), link_routes.body_limit)
    user_service = serve(USER_MANAGER, lambda auth: user_routes.build_app(users, auth))
    graph_service = serve(SOCIAL_GRAPH_MANAGER, lambda auth: social_graph_routes.build_app(graph, auth))
    news_service = serve(NEWS_MANAGER, lambda auth: news_routes.build_app(news, auth))
    peers = Peers(
        links=LinkClient(await client(link_service)),
        users=UserClient(await client(user_service, told_address)),
        social_graph=SocialGraphClient(await client(graph_service)),
        news=NewsClient(await client(news_service)),
    )
    yield InternalServices(peers, world, base_urls)


@pytest.fixture(scope="session")
async def services() -> AsyncIterator[InternalServices]:
    async with AsyncExitStack() as stack, internal_services(stack) as these:
        yield these


@pytest.fixture(scope="session")
def shared_gateway(services: InternalServices) -> Gateway:
    document = describe_api(
        api_operations(Handlers(services.peers, make_streams(services.peers, FakeClock()))), "delinkcious"
    )
    # Every world's clock begins here, and moves on with each look.
    return make_gateway(services.peers, FakeClock(), document)


@pytest.fixture
async def house(services: InternalServices, shared_gateway: Gateway) -> GatewayHouse:
    world = services.world.current = build_world(max_links_per_user=20)

    async def person(name: str) -> Person:
        actor = await world.person(name)
        return Person(shared_gateway, actor, (await world.users.login(name, "any")).token)

    return GatewayHouse(shared_gateway, services.peers, world, FakeClock(), await person("alice"), await person("bob"))
