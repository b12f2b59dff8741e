"""The news service, put together: settings, store, clients, manager, transport, events."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from pkg.clients.link_client import LinkClient
from pkg.clients.social_graph_client import SocialGraphClient
from pkg.events.consumer import PATIENCE, Consumer
from pkg.events.consumers import NEWS
from pkg.events.nats_bus import connect_nats
from pkg.news_manager.feed_builder import FeedBuilder
from pkg.news_manager.feed_writer import FeedWriter
from pkg.news_manager.manager import NewsManager
from pkg.news_manager.redis_store import RedisNewsStore
from pkg.object_model.clock import SystemClock
from pkg.runtime.access import LINK_MANAGER, SOCIAL_GRAPH_MANAGER
from pkg.runtime.background import run_in_background
from pkg.runtime.grpc_service import GrpcService, serve_grpc
from pkg.runtime.health import Check, once
from pkg.runtime.http_service import HttpService, build_http_service
from pkg.runtime.http_session import HttpSession
from pkg.runtime.peers import check_callers, connect_peer
from pkg.runtime.redis import connect_redis
from svc.news_service.events import write_feeds
from svc.news_service.grpc_methods import SERVICES, register
from svc.news_service.routes import build_app
from svc.news_service.settings import NewsServiceSettings

#: Sixteen partitions share them. The longer the run of one is, the less an event costs.
EVENTS_IN_HAND: Final = 1_000


@asynccontextmanager
async def create_app(settings: NewsServiceSettings) -> AsyncIterator[HttpService]:
    clock = SystemClock()
    mutual_auth = settings.load_mutual_auth()
    async with connect_redis(settings.redis) as redis, HttpSession() as session, connect_nats(settings) as bus:
        store = RedisNewsStore(
            redis, max_length=settings.feed_length, lifetime=settings.lifetime, replicas=settings.redis_replicas
        )
        peer = partial(connect_peer, settings, mutual_auth, session, clock=clock)
        graph = SocialGraphClient(peer(SOCIAL_GRAPH_MANAGER, settings.social_graph_manager))
        links = LinkClient(peer(LINK_MANAGER, settings.link_manager))
        writer = FeedWriter(
            store, graph, links, clock, lifetime=settings.lifetime, push_threshold=settings.push_threshold
        )
        builder = FeedBuilder(store, graph, links, max_length=settings.feed_length)
        readiness: dict[str, Check] = {"store": store.check}
        async with AsyncExitStack() as stack:
            stack.push_async_callback(builder.close)
            if settings.consume:
                consumer = Consumer(
                    bus.subscribe(NEWS),
                    NEWS,
                    write_feeds(writer, bus),
                    bus,
                    max_in_hand=EVENTS_IN_HAND,
                    patience=PATIENCE,
                )
                # Once: before that, a version that cannot hear must not replace one that does. After that, people go on
                # reading while NATS is away, and events wait in the outboxes.
                readiness["events"] = once(bus.check)
                await stack.enter_async_context(run_in_background(consumer.run()))
            manager = NewsManager(store, builder)
            caller_auth = check_callers(settings, mutual_auth, clock)
            http = build_http_service(
                settings, build_app(manager, caller_auth, docs=settings.is_local), readiness=readiness
            )
            service = GrpcService(settings, caller_auth, http.is_ready)
            await stack.enter_async_context(
                serve_grpc(settings, service, SERVICES, partial(register, manager, service))
            )
            yield http
