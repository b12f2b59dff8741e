"""The link check dispatcher, put together: settings, bus, function, dispatcher, consumer."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from pkg.clients.link_check_client import LinkCheckClient
from pkg.events.consumers import BULK_LINK_CHECKS, LINK_CHECKS
from pkg.events.nats_bus import connect_nats
from pkg.link_checker.batched_checks import BatchedChecks
from pkg.link_checker.canary import CanaryChecker
from pkg.link_checker.checker import CHECK_DEADLINE
from pkg.link_checker.dispatcher import Dispatcher
from pkg.link_checker.shared_checks import SharedChecks
from pkg.link_manager.urls import parse_url
from pkg.object_model.clock import SystemClock
from pkg.runtime.access import LINK_CHECK_FUNCTION
from pkg.runtime.background import run_in_background
from pkg.runtime.http_service import HttpService, build_http_service
from pkg.runtime.http_session import HttpSession
from pkg.runtime.peers import connect_peer
from svc.link_checker_service.routes import build_app, build_consumer
from svc.link_checker_service.settings import LinkCheckerServiceSettings

#: Seconds.
FUNCTION_TIMEOUT: Final = CHECK_DEADLINE + 2.0


@asynccontextmanager
async def create_app(settings: LinkCheckerServiceSettings) -> AsyncIterator[HttpService]:
    clock = SystemClock()
    mutual_auth = settings.load_mutual_auth()
    async with connect_nats(settings) as bus, HttpSession() as session:
        function = LinkCheckClient(
            connect_peer(settings, mutual_auth, session, LINK_CHECK_FUNCTION, settings.function, clock),
            timeout=FUNCTION_TIMEOUT,
        )
        batches = BatchedChecks(function, max_batch=settings.batch)
        checks = SharedChecks(CanaryChecker(batches, settings.canaries), page_of)
        async with AsyncExitStack() as stack:
            # Each lane with places of its own, so that a link just saved is looked at while thousands are imported.
            for lane in (LINK_CHECKS, BULK_LINK_CHECKS) if settings.consume else ():
                dispatcher = Dispatcher(checks, bus, clock, settings.service_name)
                consumer = build_consumer(dispatcher, bus.subscribe(lane), lane, bus)
                await stack.enter_async_context(run_in_background(consumer.run()))
            # Not the function: while it is away events wait, and a dispatcher that called itself unready would not
            # bring it back.
            yield build_http_service(settings, build_app(), readiness={"events": bus.check})


def page_of(url: str) -> str:
    """What is looked at for a link: a fragment is a place in the page, and never sent.

    Raises:
        InvalidArgument: it is no URL that could have been saved.
    """
    return parse_url(url).canonical.partition("#")[0]
