"""What is over goes: it has no effect while it is there, but it is about somebody."""

from datetime import timedelta
from functools import partial
from typing import Final

from pkg.object_model.clock import Clock
from pkg.user_manager.store import UserStore

AUDIT_LIFETIME: Final = timedelta(days=400)
#: Rows of each kind that go in one statement.
SWEEP_BATCH: Final = 1_000


async def sweep(store: UserStore, clock: Clock) -> int:
    """Removes tickets, sessions and API tokens of anybody that have expired, and old events. How many.

    Raises:
        Unavailable: the store cannot be reached; what went until then is gone.
    """
    now = clock.now()
    swept = 0
    for remove in (
        partial(store.remove_expired, now, SWEEP_BATCH),
        partial(store.remove_events, now - AUDIT_LIFETIME, SWEEP_BATCH),
    ):
        while removed := await remove():
            swept += removed
    return swept
