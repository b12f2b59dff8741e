"""Publishes the outbox: reads what waits, publishes it in order, marks it.

Several workers share the partitions among them; a partition has one worker at a time, which keeps the order of each
user's events. A worker that loses its connection loses its partitions, and others take them. Should it still be
publishing then, both send the same events in the same order, and NATS drops the repeats.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import asyncpg

from pkg.events.bus import Publisher
from pkg.events.messages import PARTITIONS
from pkg.events.metrics import (
    RELAY_FAILURES,
    RELAY_OLDEST,
    RELAY_PARTITIONS,
    RELAY_PUBLISHED,
    RELAY_WAITING,
)
from pkg.events.outbox import CHANNEL, NOTIFY
from pkg.events.outbox_reader import OutboxReader, WaitingRow
from pkg.object_model.clock import Clock
from pkg.object_model.errors import DelinkciousError, TooLarge, Unavailable
from pkg.runtime.logs import describe_exception, get_logger
from pkg.runtime.postgres import database_errors

#: Events that are published at once, and of one partition.
BATCH: Final = 500
PARTITION_BATCH: Final = 250
RETENTION: Final = timedelta(days=7)
#: Rows that one statement removes.
REMOVE_BATCH: Final = 5_000

#: Seconds between two looks without being woken: a notification is a hint, not a promise.
_POLL: Final = 1.0
_MEASURE_INTERVAL: Final = 5.0
_REMOVE_INTERVAL: Final = 60.0
#: Seconds, when it is told to stop, for what waits still.
_FLUSH: Final = 2.0
_CLOSE_TIMEOUT: Final = 2.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

_log = get_logger(__name__)


class Relay:
    """``source`` is the service whose events these are. One connection of the pool is used for as long as it runs."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        publisher: Publisher,
        source: str,
        clock: Clock,
        *,
        retention: timedelta = RETENTION,
        poll: float = _POLL,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._source = source
        self._clock = clock
        self._retention = retention
        self._poll = poll
        self._owned: list[int] = []
        self._woken = asyncio.Event()
        #: Partitions of others in which something was told here.
        self._passed_on: set[int] = set()
        self._pause = _FIRST_PAUSE
        self._waiting = RELAY_WAITING.labels(source)
        self._oldest = RELAY_OLDEST.labels(source)
        self._partitions = RELAY_PARTITIONS.labels(source)
        self._published = RELAY_PUBLISHED.labels(source)

    @property
    def owned(self) -> Sequence[int]:
        """The partitions that this worker publishes now."""
        return tuple(self._owned)

    def wake(self, partition: int) -> None:
        """Tells of a commit in this process, whoever publishes the partition.

        For what is committed all the time. Postgres lets only one transaction that notifies commit at once (async.c,
        PreCommit_Notify): each would wait until the one before it is on disk.
        """
        if partition not in self._owned:
            self._passed_on.add(partition)
        self._woken.set()

    async def run(self) -> None:
        """Publishes until it is cancelled, whatever becomes of the database and of the bus; then, for a moment, what
        waits still of its partitions."""
        while True:
            try:
                with database_errors():
                    async with self._pool.acquire() as connection:
                        await self._work(connection)
            except DelinkciousError as error:
                self._note_failure(error)
            except Exception as error:  # noqa: BLE001  # events wait, and somebody has to go on trying
                RELAY_FAILURES.labels(self._source, "unexpected").inc()
                _log.error("the relay failed; it begins anew", exception=describe_exception(error))
            finally:
                self._owned.clear()
                self._partitions.set(0)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A fault on the way out, of a connection that was cut, does not undo what was asked for.
                raise asyncio.CancelledError
            await self._rest()

    async def _work(self, connection: "asyncpg.pool.PoolConnectionProxy") -> None:
        reader = OutboxReader(connection, self._source)
        try:
            await reader.join()
            await connection.add_listener(CHANNEL, self._wake)
            self._pause = _FIRST_PAUSE
            loop = asyncio.get_running_loop()
            next_look = next_measure = next_removal = 0.0
            while True:
                self._woken.clear()
                if self._passed_on:
                    partitions, self._passed_on = sorted(self._passed_on), set()
                    await connection.execute(NOTIFY, partitions)
                if loop.time() >= next_look:
                    await self._share(reader)
                    next_look = loop.time() + self._poll
                more = await self._publish_batch(reader)
                if loop.time() >= next_removal:
                    old = self._clock.now() - self._retention
                    full = await reader.remove_published(old, REMOVE_BATCH) == REMOVE_BATCH
                    next_removal = loop.time() + (0.0 if full else _REMOVE_INTERVAL)
                if loop.time() >= next_measure:
                    await self._measure(reader)
                    next_measure = loop.time() + _MEASURE_INTERVAL
                if not more:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), max(0.0, next_look - loop.time()))
        except asyncio.CancelledError:
            await self._flush(reader)
            raise
        finally:
            # Listening is the session's, and ends with it. Nobody else should get it from the pool.
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await reader.leave()
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=_CLOSE_TIMEOUT)

    def _wake(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        if not self._owned or any(payload == str(partition) for partition in self._owned):
            self._woken.set()

    async def _share(self, reader: OutboxReader) -> None:
        """Takes as many partitions as are this worker's share, and gives back what is beyond it."""
        share = -(-PARTITIONS // max(1, await reader.count_workers()))
        before = sorted(self._owned)
        while len(self._owned) > share:
            await reader.give_back(self._owned.pop())
        await self._take(reader, share)
        if sorted(self._owned) != before:
            self._partitions.set(len(self._owned))
            _log.info("outbox partitions", owned=sorted(self._owned), share=share)

    async def _take(self, reader: OutboxReader, share: int) -> None:
        """Of those that nobody has, until there are ``share``."""
        free = [partition for partition in range(PARTITIONS) if partition not in self._owned]
        # Two who take in the same order would be in each other's way.
        random.shuffle(free)
        for partition in free:
            if len(self._owned) >= share:
                break
            if await reader.take(partition):
                self._owned.append(partition)

    async def _publish_batch(self, reader: OutboxReader) -> bool:
        """Whether there may be more."""
        if not self._owned:
            return False
        rows = await reader.read_waiting(self._owned, PARTITION_BATCH, BATCH)
        if not rows:
            return False
        # The next time begins where this one ended, with whoever was cut off or with the one behind: so nobody gets a
        # second share before everybody had one.
        last = rows[-1].partition
        was_cut_off = len(rows) == BATCH and sum(row.partition == last for row in rows) < PARTITION_BATCH
        first = self._owned.index(last) + (0 if was_cut_off else 1)
        self._owned = self._owned[first:] + self._owned[:first]
        try:
            await self._publish(rows)
        except Unavailable as error:
            self._note_failure(error)
            await self._rest()
            return True
        await reader.mark_published(rows, self._clock.now())
        self._published.inc(len(rows))
        self._pause = _FIRST_PAUSE
        return True

    async def _flush(self, reader: OutboxReader) -> None:
        """What cannot be published now waits for another worker, or for the next start."""
        try:
            async with asyncio.timeout(_FLUSH):
                # What was told here may be of a partition that was to be another's, and that one may be gone.
                await self._take(reader, PARTITIONS)
                while self._owned and (rows := await reader.read_waiting(self._owned, PARTITION_BATCH, BATCH)):
                    await self._publish(rows)
                    await reader.mark_published(rows, self._clock.now())
                    self._published.inc(len(rows))
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DelinkciousError) as fault:
            _log.warning("events wait in the outbox", reason=type(fault).__name__)

    async def _publish(self, rows: Sequence[WaitingRow]) -> None:
        try:
            await self._publisher.publish([row.message for row in rows])
        except TooLarge:
            for row in rows:
                await self._publish_alone(row)

    async def _publish_alone(self, row: WaitingRow) -> None:
        try:
            await self._publisher.publish([row.message])
        except TooLarge as error:
            # It would hold up its partition for ever. It stays in the table for as long as any other.
            RELAY_FAILURES.labels(self._source, error.code).inc()
            _log.error("an event can never be published", event_id=row.message.id, code=error.code)

    async def _measure(self, reader: OutboxReader) -> None:
        count, oldest = await reader.measure(self._owned)
        self._waiting.set(count)
        self._oldest.set(max(0.0, (self._clock.now() - oldest).total_seconds()) if oldest else 0)

    def _note_failure(self, error: DelinkciousError) -> None:
        RELAY_FAILURES.labels(self._source, error.code).inc()
        _log.warning("events wait in the outbox", code=error.code, reason=error.message)

    async def _rest(self) -> None:
        await asyncio.sleep(random.uniform(self._pause / 2, self._pause))  # noqa: S311  # not a secret
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)
