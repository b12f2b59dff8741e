"""What the user service tells, and what it does unasked."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from pkg.events.announcements import TOKEN_REVOCATIONS, Announcer, write_revocation
from pkg.events.metrics import ANNOUNCEMENTS
from pkg.object_model.errors import DelinkciousError
from pkg.runtime.logs import get_logger
from pkg.user_manager.manager import OnRevoked

#: Seconds between two times that uses are written down, give or take a tenth.
RECORD_INTERVAL: Final = 45.0

_log = get_logger(__name__)


def announce_revocations(announcer: Announcer) -> OnRevoked:
    """Tells every gateway. One that does not hear of it, since NATS is away, forgets by itself within seconds: nobody's
    logout fails for it."""
    sent, lost = (ANNOUNCEMENTS.labels(TOKEN_REVOCATIONS, outcome) for outcome in ("sent", "lost"))

    async def on_revoked(user_id: int) -> None:
        try:
            await announcer.announce(TOKEN_REVOCATIONS, write_revocation(user_id))
            sent.inc()
        except DelinkciousError as error:
            lost.inc()
            _log.warning("gateways are not told that sessions or tokens have ended", code=error.code)

    return on_revoked


async def record_uses_for_ever(record_uses: Callable[[], Awaitable[int]], interval: float = RECORD_INTERVAL) -> None:
    """Has uses written down now and then, until it is cancelled, and then once more."""
    try:
        while True:
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311  # not a secret
            await _try_to_record(record_uses)
    finally:
        await _try_to_record(record_uses)


async def _try_to_record(record_uses: Callable[[], Awaitable[int]]) -> None:
    try:
        await record_uses()
    except DelinkciousError as error:
        _log.warning("when sessions and tokens were last used cannot be written down", code=error.code)
