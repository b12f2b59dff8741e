"""``python -m svc.link_service.sweep`` asks for the checks of links that are due, and for those that were not answered.

A service that works on events does so each minute by itself. This is for when none does, and for whoever does not want
to wait: it may run beside them.
"""

import asyncio
import sys

from pkg.clients.social_graph_client import SocialGraphClient
from pkg.clients.user_client import UserClient
from pkg.link_manager.manager import LinkManager
from pkg.link_manager.sql_store import SqlLinkStore
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.object_model.errors import DelinkciousError
from pkg.runtime.access import SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.http_session import HttpSession
from pkg.runtime.logs import configure_logs, get_logger
from pkg.runtime.peers import connect_peer
from pkg.runtime.postgres import open_pool
from pkg.runtime.settings import load_settings
from svc.link_service.settings import LinkSweepSettings

_log = get_logger(__name__)


async def sweep(settings: LinkSweepSettings) -> int:
    """About how many URLs was asked. What is to be told of them waits in the outbox for a relay.

    Raises:
        Unavailable: the database or the user service cannot be reached.
    """
    clock = SystemClock()
    mutual_auth = settings.load_mutual_auth()
    async with (
        await open_pool(settings.database, application_name=f"{settings.service_name} sweep", max_size=2) as pool,
        HttpSession() as session,
    ):
        users = connect_peer(settings, mutual_auth, session, USER_MANAGER, settings.user_manager, clock)
        graph = connect_peer(settings, mutual_auth, session, SOCIAL_GRAPH_MANAGER, settings.social_graph_manager, clock)
        manager = LinkManager(
            SqlLinkStore(pool), UserClient(users), SocialGraphClient(graph), clock, TimeOrderedIds(clock)
        )
        return await manager.ask_again()


def main() -> int:
    settings = load_settings(LinkSweepSettings)
    configure_logs(settings.service_name, settings.log_level)
    try:
        asked = asyncio.run(sweep(settings))
    except DelinkciousError as error:
        _log.error("looks at links that are due cannot be asked for", code=error.code)  # no surprise
        return 1
    _log.info("swept", links=asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
