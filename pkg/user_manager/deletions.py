"""Deleting accounts: a saga over all services that hold something of users (docs/adr/026).

An account is closed at once. Then, when nothing that was begun before can still be running, what the services hold is
erased, step by step, and at last the account. Up to the first step that erases, the deletion can be undone; after it,
it can only go on. Each step may be repeated, so whoever comes after a crash begins the step anew.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pkg.object_model.clock import Clock, IdGenerator
from pkg.object_model.errors import DelinkciousError
from pkg.object_model.interfaces import UserData
from pkg.object_model.types import AuditEvent, AuditEventType
from pkg.user_manager.deletion_store import Deletion, DeletionStep, DeletionStore

#: Longer than anything may run that a token opened the door to: a file that is imported (120 s), and before it the
#: gateway's memory of tokens (5 s).
SETTLE: Final = timedelta(seconds=150)
#: Deletions that are worked on at once.
AT_ONCE: Final = 4
FIRST_PAUSE: Final = timedelta(seconds=1)
LONGEST_PAUSE: Final = timedelta(minutes=5)
#: What has erased nothing yet is undone when a service refuses so often: for a day.
MAX_CHECKS: Final = timedelta(days=1) // LONGEST_PAUSE

#: Knows the address that the current call is for; empty if nobody does.
type WhereFrom = Callable[[], str]

#: Whose data nobody holds: ids begin at 1. Erasing it shows that a service is there and lets us.
_NOBODY: Final = 0


def from_nowhere() -> str:
    return ""


class AccountDeletions:
    """What users ask for."""

    def __init__(
        self,
        store: DeletionStore,
        clock: Clock,
        ids: IdGenerator,
        *,
        settle: timedelta = SETTLE,
        grace: timedelta = timedelta(0),
        where_from: WhereFrom = from_nowhere,
    ) -> None:
        """``grace``: for so long users may change their minds. ``where_from``: as in ``UserManager``."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._wait = max(settle, grace)
        self._grace = grace
        self._where_from = where_from

    async def begin(self, user_id: int) -> bool:
        """Closes the account. Whether there is such a user."""
        now = self._clock.now()
        event = _event(self._clock, self._ids, AuditEventType.DELETION_REQUESTED, self._where_from())
        return await self._store.begin(user_id, now, now + self._wait, event)

    async def cancel(self, user_id: int) -> bool:
        """Opens the account again, if its user may still change their mind; whether it did."""
        if not self._grace:
            return False
        event = _event(self._clock, self._ids, AuditEventType.DELETION_UNDONE, self._where_from())
        return await self._store.undo(user_id, event)


class Outcome(StrEnum):
    """What came of a deletion that was worked on."""

    FINISHED = "finished"
    FAILED = "failed"
    UNDONE = "undone"


class DeletionWorker:
    """What becomes of it."""

    def __init__(
        self, store: DeletionStore, holders: Mapping[DeletionStep, UserData], clock: Clock, ids: IdGenerator
    ) -> None:
        """``holders``: whom each step asks."""
        self._store = store
        self._holders = holders
        self._clock = clock
        self._ids = ids

    async def work(self) -> list[Outcome]:
        """Goes on with what is due, as far as it goes.

        Raises:
            Unavailable: the store cannot be reached.
        """
        async with self._store.work_alone() as alone:
            due = await self._store.find_due(self._clock.now(), AT_ONCE) if alone else []
            outcomes = await asyncio.gather(*map(self._go_on, due), return_exceptions=True)
        # Not before each has come as far as it can.
        return [_checked(outcome) for outcome in outcomes]

    async def _go_on(self, deletion: Deletion) -> Outcome:
        try:
            while deletion.step is not DeletionStep.ACCOUNT:
                await self._take_step(deletion)
                moved = await self._store.move(deletion, _STEPS[_STEPS.index(deletion.step) + 1])
                if moved is None:
                    # Its user was faster.
                    return Outcome.UNDONE
                deletion = moved
            await self._store.finish(deletion.user_id, self._clock.now())
        except DelinkciousError as error:
            return await self._note_failure(deletion, error)
        return Outcome.FINISHED

    async def _take_step(self, deletion: Deletion) -> None:
        if deletion.step is DeletionStep.WAITING:
            # Who refuses must do so now, not when half is gone.
            for holder in self._holders.values():
                await holder.erase_user(_NOBODY, "")
            return
        holder = self._holders[deletion.step]
        token = await holder.erase_user(deletion.user_id, "")
        while token:
            token = await holder.erase_user(deletion.user_id, token)

    async def _note_failure(self, deletion: Deletion, error: DelinkciousError) -> Outcome:
        if deletion.step is DeletionStep.WAITING and deletion.attempts >= MAX_CHECKS:
            event = _event(self._clock, self._ids, AuditEventType.DELETION_UNDONE)
            await self._store.undo(deletion.user_id, event)
            return Outcome.UNDONE
        pause = min(FIRST_PAUSE * 2 ** min(deletion.attempts, 16), LONGEST_PAUSE)
        await self._store.put_off(deletion, self._clock.now() + pause, error.code)
        return Outcome.FAILED


_STEPS: Final = tuple(DeletionStep)


def _event(clock: Clock, ids: IdGenerator, event_type: AuditEventType, address: str = "") -> AuditEvent:
    return AuditEvent(id=ids.new_id(), type=event_type, timestamp=clock.now(), detail="", client="", address=address)


def _checked(outcome: Outcome | BaseException) -> Outcome:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
