"""The outbox: events kept in the transaction of the change that they tell of (see docs/adr/010).

A row is written by a store, published by the relay (``pkg.events.relay``), kept for a while so that it can be published
again, and then removed. Positions rise in the order in which one user's changes were committed, since a user's changes
wait for each other; between users nothing is promised.
"""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from pkg.events.messages import describe, partition_of, time_of
from pkg.object_model.events import Event
from pkg.runtime.context import current_context
from pkg.runtime.json import encode

#: What is notified, with the partition as payload, when a row is committed.
CHANNEL: Final = "outbox"

#: Takes the columns of ``outbox_rows``, as arrays.
INSERT_EVENTS: Final = """
INSERT INTO outbox (partition, id, type, subject, body, traceparent, request_id, created_at)
SELECT * FROM unnest(
    $1::smallint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[]
)"""
#: Once for each partition; several of one transaction are one.
NOTIFY: Final = "SELECT pg_notify('outbox', partition::text) FROM unnest($1::smallint[]) AS partition"

#: Rows that are looked at, at once, for those to erase.
ERASE_BATCH: Final = 2_000
# What a text holds is escaped in JSON: what is found is the field.
_ERASE_EVENTS: Final = """
WITH seen AS MATERIALIZED (
    SELECT partition, position, body FROM outbox
    WHERE (partition, position) > ($1::smallint, $2::bigint) AND partition <= $3
    ORDER BY partition, position
    LIMIT $4
), erased AS (
    DELETE FROM outbox USING seen
    WHERE outbox.partition = seen.partition AND outbox.position = seen.position AND seen.body LIKE ANY ($5::text[])
)
SELECT partition, position FROM seen ORDER BY partition, position OFFSET $4 - 1"""

type OutboxRow = tuple[Any, ...]
#: Of a row: its partition, and its position in it.
type OutboxPlace = tuple[int, int]


def outbox_row(event: Event) -> OutboxRow:
    """partition, id, type, subject, body, traceparent, request_id, created_at"""
    name, subject = describe(event)
    context = current_context()
    return (
        partition_of(event.user_id),
        event.id,
        str(name),
        subject,
        encode(event.to_wire()).decode(),
        context.traceparent if context else "",
        context.request_id if context else "",
        time_of(event),
    )


async def insert_events(
    connection: "asyncpg.Connection | asyncpg.pool.PoolConnectionProxy", events: Sequence[Event]
) -> None:
    """In the caller's transaction."""
    if not events:
        return
    columns = [list(column) for column in zip(*map(outbox_row, events), strict=True)]
    await connection.execute(INSERT_EVENTS, *columns)
    await connection.execute(NOTIFY, sorted(set(columns[0])))


async def erase_events(
    connection: "asyncpg.Connection | asyncpg.pool.PoolConnectionProxy",
    fields: Sequence[str],
    user_id: int,
    partitions: range,
    after: OutboxPlace,
) -> OutboxPlace | None:
    """Erases, of the next rows, those whose body has the user's id in one of these fields; where it ended.

    None: there are no more. Published or not, they are erased: of whoever has left, nothing is told any more. Rows are
    not found by an index, which every event would have to pay for.
    """
    patterns = [f'%"{field}":"{user_id}"%' for field in fields]
    first = max(after, (partitions.start, 0))
    row = await connection.fetchrow(_ERASE_EVENTS, *first, partitions.stop - 1, ERASE_BATCH, patterns)
    return (row["partition"], row["position"]) if row else None
