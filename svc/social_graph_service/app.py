"""The social graph service, put together: settings, stores, clients, manager, transport, events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from pkg.clients.user_client import UserClient
from pkg.events.nats_bus import connect_nats
from pkg.events.relay import Relay
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.runtime.access import USER_MANAGER
from pkg.runtime.background import run_in_background
from pkg.runtime.http_service import HttpService, build_http_service
from pkg.runtime.http_session import HttpSession
from pkg.runtime.migrations import check_schema
from pkg.runtime.peers import check_callers, connect_peer
from pkg.runtime.postgres import open_pool
from pkg.social_graph_manager.manager import SocialGraphManager
from pkg.social_graph_manager.sql_store import SqlSocialGraphStore
from svc.social_graph_service.routes import body_limit, build_app
from svc.social_graph_service.settings import SocialGraphServiceSettings


@asynccontextmanager
async def create_app(settings: SocialGraphServiceSettings) -> AsyncIterator[HttpService]:
    clock = SystemClock()
    mutual_auth = settings.load_mutual_auth()
    async with (
        await open_pool(settings.database, application_name=settings.service_name) as pool,
        HttpSession() as session,
        connect_nats(settings) as bus,
    ):
        users = UserClient(connect_peer(settings, mutual_auth, session, USER_MANAGER, settings.user_manager, clock))
        manager = SocialGraphManager(SqlSocialGraphStore(pool), users, clock, TimeOrderedIds(clock))
        caller_auth = check_callers(settings, mutual_auth, clock)
        async with run_in_background(Relay(pool, bus, settings.service_name, clock).run()):
            yield build_http_service(
                settings,
                build_app(manager, caller_auth, docs=settings.is_local),
                # The database only: counts and relationships, by id, need nobody else while the user service is away,
                # and events wait in the outbox while NATS is.
                readiness={"database": partial(check_schema, pool, "pkg.social_graph_manager.migrations")},
                body_limit=body_limit,
            )
