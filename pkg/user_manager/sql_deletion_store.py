"""Deletions under way in Postgres, beside the accounts. The user's row is locked first, as in ``sql_store``."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import asyncpg

from pkg.object_model.types import AuditEvent
from pkg.runtime.postgres import database_errors, hold_alone
from pkg.user_manager.deletion_store import Deletion, DeletionStep, DeletionStore, DeletionsUnderWay
from pkg.user_manager.names import hash_name
from pkg.user_manager.sql_store import insert_audit_event

_CLOSE: Final = "UPDATE users SET state = 'deleting' WHERE id = $1 AND state = 'active' RETURNING true"
_IS_THERE: Final = "SELECT true FROM users WHERE id = $1"
_END_TOKENS: Final = "DELETE FROM tokens WHERE user_id = $1"
_END_TICKETS: Final = "DELETE FROM tickets WHERE user_id = $1"
_BEGIN: Final = """
    INSERT INTO account_deletions (user_id, step, attempts, last_error, started_at, due_at)
    VALUES ($1, 'waiting', 0, '', $2, $3)
"""
_LOCK_USER: Final = "SELECT name_key FROM users WHERE id = $1 FOR UPDATE"
_UNDO: Final = "DELETE FROM account_deletions WHERE user_id = $1 AND step = 'waiting' RETURNING true"
_OPEN: Final = "UPDATE users SET state = 'active' WHERE id = $1"
_MOVE: Final = """
    UPDATE account_deletions SET step = $3, attempts = 0, last_error = '' WHERE user_id = $1 AND step = $2
    RETURNING user_id, step, started_at, attempts
"""
_PUT_OFF: Final = """
    UPDATE account_deletions SET attempts = attempts + 1, last_error = $4, due_at = $3 WHERE user_id = $1 AND step = $2
"""
_RETIRE_NAME: Final = "INSERT INTO retired_names (name_hash, retired_at) VALUES ($1, $2) ON CONFLICT DO NOTHING"
# All else that is the user's goes with the row.
_FORGET: Final = "DELETE FROM users WHERE id = $1"
_FIND_DUE: Final = """
    SELECT user_id, step, started_at, attempts FROM account_deletions WHERE due_at <= $1 ORDER BY due_at LIMIT $2
"""
_COUNT: Final = "SELECT count(*), min(started_at) FROM account_deletions"
#: Any number, the same in all processes of the user service; the database has no other use of it.
_WORK_LOCK: Final = 4_011_973


class SqlDeletionStore(DeletionStore):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def begin(self, user_id: int, now: datetime, due_at: datetime, event: AuditEvent) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(_CLOSE, user_id):
                    return bool(await connection.fetchval(_IS_THERE, user_id))
                await connection.execute(_END_TOKENS, user_id)
                await connection.execute(_END_TICKETS, user_id)
                await connection.execute(_BEGIN, user_id, now, due_at)
                await insert_audit_event(connection, user_id, event)
                return True

    async def undo(self, user_id: int, event: AuditEvent) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK_USER, user_id)
                if not await connection.fetchval(_UNDO, user_id):
                    return False
                await connection.execute(_OPEN, user_id)
                await insert_audit_event(connection, user_id, event)
                return True

    async def move(self, deletion: Deletion, step: DeletionStep) -> Deletion | None:
        with database_errors():
            row = await self._pool.fetchrow(_MOVE, deletion.user_id, deletion.step, step)
        return _read_deletion(row) if row else None

    async def put_off(self, deletion: Deletion, due_at: datetime, error: str) -> None:
        with database_errors():
            await self._pool.execute(_PUT_OFF, deletion.user_id, deletion.step, due_at, error)

    async def finish(self, user_id: int, now: datetime) -> None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                name_key = await connection.fetchval(_LOCK_USER, user_id)
                if name_key is None:
                    return
                await connection.execute(_RETIRE_NAME, hash_name(name_key), now)
                await connection.execute(_FORGET, user_id)

    async def find_due(self, now: datetime, limit: int) -> Sequence[Deletion]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_DUE, now, limit)
        return [_read_deletion(row) for row in rows]

    async def count(self) -> DeletionsUnderWay:
        with database_errors():
            row = await self._pool.fetchrow(_COUNT)
        return DeletionsUnderWay(*row) if row else DeletionsUnderWay(0, None)

    @asynccontextmanager
    async def work_alone(self) -> AsyncIterator[bool]:
        with database_errors():
            async with hold_alone(self._pool, _WORK_LOCK) as alone:
                yield alone


def _read_deletion(row: asyncpg.Record) -> Deletion:
    return Deletion(
        user_id=row["user_id"],
        step=DeletionStep(row["step"]),
        started_at=row["started_at"],
        attempts=row["attempts"],
    )
