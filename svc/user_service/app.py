"""The user service, put together: settings, stores, manager, transport."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from pkg.clients.link_client import LinkClient
from pkg.clients.news_client import NewsClient
from pkg.clients.social_graph_client import SocialGraphClient
from pkg.events.nats_bus import connect_nats
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.object_model.interfaces import UserData
from pkg.runtime.access import LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER
from pkg.runtime.background import run_in_background
from pkg.runtime.context import CLIENT_ADDRESS
from pkg.runtime.http_service import HttpService, build_http_service
from pkg.runtime.http_session import HttpSession
from pkg.runtime.migrations import check_schema
from pkg.runtime.peers import check_callers, connect_peer
from pkg.runtime.postgres import open_pool
from pkg.user_manager.deletion_store import DeletionStep
from pkg.user_manager.deletions import AccountDeletions, DeletionWorker
from pkg.user_manager.manager import UserManager
from pkg.user_manager.providers import LocalProvider
from pkg.user_manager.sql_deletion_store import SqlDeletionStore
from pkg.user_manager.sql_store import SqlUserStore
from svc.user_service.deletions import delete_accounts_for_ever
from svc.user_service.events import announce_revocations, record_uses_for_ever
from svc.user_service.routes import body_limit, build_app
from svc.user_service.settings import UserServiceSettings


@asynccontextmanager
async def create_app(settings: UserServiceSettings) -> AsyncIterator[HttpService]:
    clock = SystemClock()
    mutual_auth = settings.load_mutual_auth()
    async with (
        await open_pool(settings.database, application_name=settings.service_name) as pool,
        HttpSession() as session,
        connect_nats(settings) as bus,
    ):
        ids = TimeOrderedIds(clock)
        deletion_store = SqlDeletionStore(pool)
        manager = UserManager(
            SqlUserStore(pool),
            clock,
            ids,
            deletions=AccountDeletions(
                deletion_store,
                clock,
                ids,
                settle=timedelta(seconds=settings.deletion_settle),
                grace=timedelta(days=settings.deletion_grace),
                where_from=CLIENT_ADDRESS.get,
            ),
            # Takes everybody's word for who they are, hence local mode alone (loopback). Without a provider a login
            # needs a ticket that this service has issued.
            provider=LocalProvider() if settings.is_local else None,
            on_revoked=announce_revocations(bus),
            where_from=CLIENT_ADDRESS.get,
        )
        peer = partial(connect_peer, settings, mutual_auth, session, clock=clock)
        holders: dict[DeletionStep, UserData] = {
            DeletionStep.SOCIAL_GRAPH: SocialGraphClient(peer(SOCIAL_GRAPH_MANAGER, settings.social_graph_manager)),
            DeletionStep.LINKS: LinkClient(peer(LINK_MANAGER, settings.link_manager)),
            DeletionStep.NEWS: NewsClient(peer(NEWS_MANAGER, settings.news_manager)),
        }
        caller_auth = check_callers(settings, mutual_auth, clock)
        jobs = [record_uses_for_ever(manager.record_uses)]
        if settings.consume:
            # Erasing cannot be taken back: a version that nobody has promoted yet leaves it to the one that is.
            worker = DeletionWorker(deletion_store, holders, clock, ids)
            jobs.append(delete_accounts_for_ever(worker, deletion_store, clock))
        async with run_in_background(*jobs):
            yield build_http_service(
                settings,
                build_app(manager, caller_auth, docs=settings.is_local),
                # The database only: without NATS people log in and out as ever, and gateways notice seconds later.
                readiness={"database": partial(check_schema, pool, "pkg.user_manager.migrations")},
                body_limit=body_limit,
            )
