"""The services, near (the managers) and far (their clients, real sockets, the services, the same managers)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from pkg.clients.link_client import LinkClient
from pkg.clients.news_client import NewsClient
from pkg.clients.news_grpc_client import NewsGrpcClient
from pkg.clients.social_graph_client import SocialGraphClient
from pkg.clients.user_client import UserClient
from pkg.object_model import interfaces
from pkg.object_model.clock import SystemClock
from pkg.object_model.types import Actor, LinkStatus
from pkg.runtime.access import LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from svc.link_service import routes as link_routes
from svc.news_service import routes as news_routes
from svc.social_graph_service import routes as social_graph_routes
from svc.user_service import routes as user_routes
from tests.grpc_service import news_caller, served_news
from tests.internal_service import API_GATEWAY, InternalService, edge_secret, serve
from tests.loopback_server import served
from tests.memory_world import MemoryWorld, build_world


@dataclass(frozen=True)
class Services:
    links: interfaces.LinkManager
    users: interfaces.UserManager
    graph: interfaces.SocialGraphManager
    news: interfaces.NewsManager
    #: The same feeds, the other way.
    news_by_grpc: interfaces.News
    #: As the news service meets them.
    links_for_news: interfaces.LinkManager
    #: Those that hold something of users, as the user service meets them.
    holders: Sequence[interfaces.UserData]
    #: Has feeds written for all that happened.
    tell: Callable[[], Awaitable[None]]
    make_private: Callable[[Actor], Awaitable[None]]
    #: Has the link manager hear of a look: URL, status, reason, new address.
    find: Callable[[str, LinkStatus, str, str], Awaitable[None]]
    alice: Actor
    bob: Actor
    carol: Actor


async def peopled(
    world: MemoryWorld,
    links: interfaces.LinkManager,
    users: interfaces.UserManager,
    graph: interfaces.SocialGraphManager,
    news: interfaces.NewsManager,
    news_by_grpc: interfaces.News,
    links_for_news: interfaces.LinkManager,
    holders: Sequence[interfaces.UserData],
) -> Services:
    alice, bob, carol = [await world.person(name) for name in ("alice", "bob", "carol")]
    near = (world.tell, world.make_private, world.find, alice, bob, carol)
    return Services(links, users, graph, news, news_by_grpc, links_for_news, holders, *near)


@asynccontextmanager
async def near() -> AsyncIterator[Services]:
    world = build_world(max_links_per_user=10)
    holders = (world.graph, world.links, world.news)
    yield await peopled(world, world.links, world.users, world.graph, world.news, world.news, world.links, holders)


@asynccontextmanager
async def far() -> AsyncIterator[Services]:
    world = build_world(max_links_per_user=10)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(HttpSession())

        async def client(service: InternalService, caller: str = API_GATEWAY) -> ServiceHttpClient:
            base_url = await stack.enter_async_context(served(service.app))
            secret = edge_secret(caller, service.name)
            credentials = EdgeCredentials(caller, service.name, secret, SystemClock())
            return ServiceHttpClient(session, base_url, credentials, timeout=10)

        links = serve(LINK_MANAGER, lambda auth: link_routes.build_app(world.links, auth), link_routes.body_limit)
        users = serve(USER_MANAGER, lambda auth: user_routes.build_app(world.users, auth))
        graph = serve(SOCIAL_GRAPH_MANAGER, lambda auth: social_graph_routes.build_app(world.graph, auth))
        news = serve(NEWS_MANAGER, lambda auth: news_routes.build_app(world.news, auth))
        _, news_address = await stack.enter_async_context(served_news(world.news))
        yield await peopled(
            world,
            LinkClient(await client(links)),
            UserClient(await client(users)),
            SocialGraphClient(await client(graph)),
            NewsClient(await client(news)),
            NewsGrpcClient(await stack.enter_async_context(news_caller(news_address))),
            LinkClient(await client(links, NEWS_MANAGER)),
            (
                SocialGraphClient(await client(graph, USER_MANAGER)),
                LinkClient(await client(links, USER_MANAGER)),
                NewsClient(await client(news, USER_MANAGER)),
            ),
        )


@pytest.fixture(params=["near", "far"])
async def services(request: pytest.FixtureRequest) -> AsyncIterator[Services]:
    async with near() if request.param == "near" else far() as these:
        yield these
