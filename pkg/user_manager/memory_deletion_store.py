"""Deletions under way in the memory of one process, of accounts that are there as well."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from pkg.object_model.types import AuditEvent
from pkg.user_manager.deletion_store import Deletion, DeletionStep, DeletionStore, DeletionsUnderWay
from pkg.user_manager.memory_store import MemoryUserStore


class MemoryDeletionStore(DeletionStore):
    def __init__(self, users: MemoryUserStore) -> None:
        self._users = users
        self._deletions: dict[int, Deletion] = {}
        self._due: dict[int, datetime] = {}
        #: Of the last failure of each.
        self.errors: dict[int, str] = {}
        self._working = False

    async def begin(self, user_id: int, now: datetime, due_at: datetime, event: AuditEvent) -> bool:
        if user_id in self._deletions:
            return True
        if not self._users.close(user_id, event):
            return False
        self._deletions[user_id] = Deletion(user_id=user_id, step=DeletionStep.WAITING, started_at=now)
        self._due[user_id] = due_at
        return True

    async def undo(self, user_id: int, event: AuditEvent) -> bool:
        deletion = self._deletions.get(user_id)
        if deletion is None or deletion.step is not DeletionStep.WAITING:
            return False
        self._drop(user_id)
        self._users.reopen(user_id, event)
        return True

    async def move(self, deletion: Deletion, step: DeletionStep) -> Deletion | None:
        known = self._deletions.get(deletion.user_id)
        if known is None or known.step is not deletion.step:
            return None
        moved = replace(known, step=step, attempts=0)
        self._deletions[deletion.user_id] = moved
        return moved

    async def put_off(self, deletion: Deletion, due_at: datetime, error: str) -> None:
        known = self._deletions.get(deletion.user_id)
        if known is not None and known.step is deletion.step:
            self._deletions[deletion.user_id] = replace(known, attempts=known.attempts + 1)
            self._due[deletion.user_id] = due_at
            self.errors[deletion.user_id] = error

    async def finish(self, user_id: int, now: datetime) -> None:
        self._drop(user_id)
        self._users.forget(user_id)

    async def find_due(self, now: datetime, limit: int) -> Sequence[Deletion]:
        due = sorted((due_at, user_id) for user_id, due_at in self._due.items() if due_at <= now)
        return [self._deletions[user_id] for _, user_id in due[:limit]]

    async def count(self) -> DeletionsUnderWay:
        started = [deletion.started_at for deletion in self._deletions.values()]
        return DeletionsUnderWay(len(started), min(started, default=None))

    @asynccontextmanager
    async def work_alone(self) -> AsyncIterator[bool]:
        if self._working:
            yield False
            return
        self._working = True
        try:
            yield True
        finally:
            self._working = False

    def _drop(self, user_id: int) -> None:
        self._deletions.pop(user_id, None)
        self._due.pop(user_id, None)
        self.errors.pop(user_id, None)
