"""``python -m svc.user_service.sweep`` removes what is over: tickets, sessions and tokens past their time, old events.

What is over has no effect while it is there, so this may run seldom; it may run beside another one, and be stopped.
"""

import asyncio
import sys

from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import DelinkciousError
from pkg.runtime.logs import configure_logs, get_logger
from pkg.runtime.postgres import open_pool
from pkg.runtime.settings import load_settings
from pkg.user_manager.sql_store import SqlUserStore
from pkg.user_manager.sweep import sweep
from svc.user_service.settings import UserSweepSettings

_log = get_logger(__name__)


async def remove_what_is_over(settings: UserSweepSettings) -> int:
    """How many rows went.

    Raises:
        Unavailable: the database cannot be reached.
    """
    async with await open_pool(
        settings.database, application_name=f"{settings.service_name} sweep", max_size=1
    ) as pool:
        return await sweep(SqlUserStore(pool), SystemClock())


def main() -> int:
    settings = load_settings(UserSweepSettings)
    configure_logs(settings.service_name, settings.log_level)
    try:
        swept = asyncio.run(remove_what_is_over(settings))
    except DelinkciousError as error:
        _log.error("what is over cannot be removed", code=error.code)  # no surprise
        return 1
    _log.info("swept", rows=swept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
