"""The relay's side of the outbox: who publishes which partition, what waits, what is done and what is old.

A partition is owned by whoever holds its advisory lock, of the session kind (PostgreSQL, "Advisory Locks"): the lock
goes with the connection, so that a worker that dies leaves nothing behind. How many workers there are is how many hold
a shared lock that all of them take.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from pkg.events.messages import PARTITIONS, Message

#: First halves of the locks' names; the second half of a partition's is its number.
_PARTITION_LOCKS: Final = 7_301
_WORKER_LOCKS: Final = 7_302

# Seconds until Postgres drops a worker whose machine is gone without a word, and with it the worker's locks.
_NOTICE_DEATH: Final = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3"

_JOIN: Final = "SELECT pg_advisory_lock_shared($1, 0)"
_COUNT_WORKERS: Final = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = $1::int::oid AND objid = 0 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_TAKE: Final = "SELECT pg_try_advisory_lock($1, $2)"
_GIVE_BACK: Final = "SELECT pg_advisory_unlock($1, $2)"
_LEAVE: Final = "SELECT pg_advisory_unlock_all()"

# Per partition, so that one user's import does not keep everybody else waiting. Always from the first that waits: a row
# may be committed after one that was written later, and one user's rows must not overtake each other.
_READ: Final = """
SELECT row.*
FROM unnest($1::smallint[]) WITH ORDINALITY AS owned (partition, place),
LATERAL (
    SELECT partition, position, id, type, subject, body, traceparent, request_id, created_at
    FROM outbox
    WHERE outbox.partition = owned.partition AND published_at IS NULL
    ORDER BY position
    LIMIT $2
) AS row
ORDER BY owned.place, row.position
LIMIT $3"""
_MARK: Final = """
UPDATE outbox SET published_at = $3
FROM unnest($1::smallint[], $2::bigint[]) AS done (partition, position)
WHERE outbox.partition = done.partition AND outbox.position = done.position"""
# By where they lie, which nobody can change while they are locked: joined by their key, a short table is read whole.
_REMOVE: Final = """
DELETE FROM outbox WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM outbox WHERE published_at < $1 ORDER BY published_at LIMIT $2
    FOR UPDATE SKIP LOCKED
))"""
_COUNT: Final = """
SELECT count(*) FROM (
    SELECT FROM outbox WHERE partition = ANY($1::smallint[]) AND published_at IS NULL LIMIT $2
) AS waiting"""
_OLDEST: Final = """
SELECT min(row.created_at)
FROM unnest($1::smallint[]) AS owned (partition),
LATERAL (
    SELECT created_at FROM outbox
    WHERE outbox.partition = owned.partition AND published_at IS NULL
    ORDER BY position
    LIMIT 1
) AS row"""
_MARK_AGAIN: Final = """
UPDATE outbox SET published_at = NULL WHERE (partition, position) IN (
    SELECT partition, position FROM outbox
    WHERE published_at >= $1 AND published_at < $2
    ORDER BY published_at, position
    LIMIT $3
)"""
_NOTIFY_ALL: Final = "SELECT pg_notify('outbox', number::text) FROM generate_series(0, $1 - 1) AS number"

#: Rows that are counted; beyond it there are too many in any case.
MAX_COUNT: Final = 100_000
_REPLAY_BATCH: Final = 5_000


class WaitingRow(NamedTuple):
    partition: int
    position: int
    message: Message


class OutboxReader:
    """One worker's view, on a connection of its own. Raises what the driver raises."""

    def __init__(self, connection: "asyncpg.pool.PoolConnectionProxy", source: str) -> None:
        self._connection = connection
        self._source = source

    async def join(self) -> None:
        """From now on this worker counts."""
        await self._connection.execute(_NOTICE_DEATH)
        await self._connection.execute(_JOIN, _WORKER_LOCKS)

    async def leave(self) -> None:
        """Gives back everything at once; Postgres takes a moment to notice that a connection has ended."""
        await self._connection.execute(_LEAVE)

    async def count_workers(self) -> int:
        return int(await self._connection.fetchval(_COUNT_WORKERS, _WORKER_LOCKS))

    async def take(self, partition: int) -> bool:
        """False if another worker has it."""
        return bool(await self._connection.fetchval(_TAKE, _PARTITION_LOCKS, partition))

    async def give_back(self, partition: int) -> None:
        await self._connection.execute(_GIVE_BACK, _PARTITION_LOCKS, partition)

    async def read_waiting(self, partitions: Sequence[int], per_partition: int, limit: int) -> list[WaitingRow]:
        """Of each partition the first that wait, in order; the partitions in the order given."""
        rows = await self._connection.fetch(_READ, list(partitions), per_partition, limit)
        return [
            WaitingRow(
                row["partition"],
                row["position"],
                Message(
                    id=str(row["id"]),
                    source=self._source,
                    type=row["type"],
                    subject=row["subject"],
                    time=row["created_at"],
                    body=row["body"].encode(),
                    traceparent=row["traceparent"],
                    request_id=row["request_id"],
                ),
            )
            for row in rows
        ]

    async def mark_published(self, rows: Sequence[WaitingRow], now: datetime) -> None:
        await self._connection.execute(_MARK, [row.partition for row in rows], [row.position for row in rows], now)

    async def remove_published(self, before: datetime, limit: int) -> int:
        status = await self._connection.execute(_REMOVE, before, limit)
        return int(status.rpartition(" ")[2])

    async def measure(self, partitions: Collection[int]) -> tuple[int, datetime | None]:
        """How many wait, up to MAX_COUNT, and when the oldest happened."""
        count = await self._connection.fetchval(_COUNT, list(partitions), MAX_COUNT)
        oldest = await self._connection.fetchval(_OLDEST, list(partitions))
        return count, oldest


async def replay(pool: asyncpg.Pool, since: datetime, until: datetime) -> int:
    """Has everything published in a span of time published again, in its order; gives the number of events.

    ``until`` must not be later than now. NATS drops what it has had within its duplicate window, and consumers know an
    event that they have heard.

    Raises what the driver raises; what was marked by then stays so.
    """
    total = 0
    while True:
        status = await pool.execute(_MARK_AGAIN, since, until, _REPLAY_BATCH)
        marked = int(status.rpartition(" ")[2])
        total += marked
        await pool.execute(_NOTIFY_ALL, PARTITIONS)
        if marked < _REPLAY_BATCH:
            return total
