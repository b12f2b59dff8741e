"""Deletions of accounts, as the user service works on them unasked."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter, Gauge

from pkg.object_model.clock import Clock
from pkg.object_model.errors import DelinkciousError
from pkg.runtime.logs import describe_exception, get_logger
from pkg.user_manager.deletion_store import DeletionStore
from pkg.user_manager.deletions import DeletionWorker, Outcome

#: Seconds between two looks, give or take a tenth.
INTERVAL: Final = 2.0

_UNDER_WAY: Final = Gauge("delinkcious_account_deletions_under_way", "Accounts that are being deleted.")
_OLDEST: Final = Gauge(
    "delinkcious_account_deletions_oldest_seconds", "Since the first of them was asked for, in seconds; 0 if none is."
)
_WORKED_ON: Final = Counter(
    "delinkcious_account_deletions_total",
    "Times that a deletion was worked on, by what came of it: finished, failed, undone.",
    ("outcome",),
)

_log = get_logger(__name__)


async def delete_accounts_for_ever(
    worker: DeletionWorker, store: DeletionStore, clock: Clock, interval: float = INTERVAL
) -> None:
    """Works until it is cancelled, whatever happens: what was begun has to be ended."""
    while True:
        try:
            _note(await worker.work())
            await _measure(store, clock)
        except DelinkciousError as error:
            _log.warning("deletions of accounts cannot be looked for", code=error.code)
        except Exception as error:  # noqa: BLE001  # somebody has to go on trying
            _log.error("deletions of accounts failed; they are begun anew", exception=describe_exception(error))
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311  # not a secret


def _note(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        _WORKED_ON.labels(outcome).inc()
        match outcome:
            case Outcome.FINISHED:
                _log.info("an account is deleted")
            case Outcome.FAILED:
                _log.warning("the deletion of an account is put off")
            case Outcome.UNDONE:
                _log.error("the deletion of an account is undone")


async def _measure(store: DeletionStore, clock: Clock) -> None:
    number, oldest = await store.count()
    _UNDER_WAY.set(number)
    _OLDEST.set(max(0.0, (clock.now() - oldest).total_seconds()) if oldest else 0)
