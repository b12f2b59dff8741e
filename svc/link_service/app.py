"""The link service, put together: settings, stores, clients, manager, transport, events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from pkg.clients.social_graph_client import SocialGraphClient
from pkg.clients.user_client import UserClient
from pkg.events.consumer import PATIENCE, Consumer
from pkg.events.consumers import BULK_LINK_STATUS, LINK_STATUS
from pkg.events.nats_bus import connect_nats
from pkg.events.relay import Relay
from pkg.link_manager.manager import LinkManager
from pkg.link_manager.sql_store import SqlLinkStore
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.runtime.access import SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.background import run_in_background
from pkg.runtime.http_service import HttpService, build_http_service
from pkg.runtime.http_session import HttpSession
from pkg.runtime.migrations import check_schema
from pkg.runtime.peers import check_callers, connect_peer
from pkg.runtime.postgres import open_pool
from svc.link_service.events import hear_verdicts, sweep_for_ever
from svc.link_service.routes import body_limit, build_app
from svc.link_service.settings import LinkServiceSettings


@asynccontextmanager
async def create_app(settings: LinkServiceSettings) -> AsyncIterator[HttpService]:
    clock = SystemClock()
    mutual_auth = settings.load_mutual_auth()
    async with (
        await open_pool(settings.database, application_name=settings.service_name) as pool,
        HttpSession() as session,
        connect_nats(settings) as bus,
    ):
        peer = partial(connect_peer, settings, mutual_auth, session, clock=clock)
        users = UserClient(peer(USER_MANAGER, settings.user_manager))
        social_graph = SocialGraphClient(peer(SOCIAL_GRAPH_MANAGER, settings.social_graph_manager))
        relay = Relay(pool, bus, settings.service_name, clock)
        manager = LinkManager(
            SqlLinkStore(pool, relay.wake),
            users,
            social_graph,
            clock,
            TimeOrderedIds(clock),
            max_links_per_user=settings.max_links_per_user,
            archive_template=settings.archive_template,
        )
        caller_auth = check_callers(settings, mutual_auth, clock)
        jobs = [relay.run()]
        if settings.consume:
            # A version that nobody has promoted yet works on nothing by itself.
            jobs += [
                Consumer(bus.subscribe(lane), lane, hear_verdicts(manager), bus, patience=PATIENCE).run()
                for lane in (LINK_STATUS, BULK_LINK_STATUS)
            ]
            jobs.append(sweep_for_ever(manager.ask_again))
        async with run_in_background(*jobs):
            yield build_http_service(
                settings,
                build_app(manager, caller_auth, docs=settings.is_local),
                # The database only. People go on reading and saving their own links while NATS, the user or the social
                # graph service is away; a link service that called itself unready then would take that from them as
                # well. Events wait in the outbox.
                readiness={"database": partial(check_schema, pool, "pkg.link_manager.migrations")},
                body_limit=body_limit,
                timeouts={"/import": settings.stream_timeout, "/export": settings.stream_timeout},
            )
