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

type OutboxRow = tuple[Any, ...]


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
