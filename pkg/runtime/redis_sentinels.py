"""Valkey of several, of whom one is the primary, which all writes go to; sentinels know who it is, and make another one
the primary when it is lost (https://valkey.io/topics/sentinel/).

A connection goes to whoever is the primary when it is made, and is made anew when that is somebody else. The library
has such connections too. They believe the first sentinel that answers, which may be one that was cut off together with
the primary of before; they ask one sentinel after the other, for each connection anew; and they stay with a primary
that takes no writes since nobody copies them.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import batched
from typing import Any, Final, NamedTuple

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from pkg.runtime.secret import Password

#: Seconds, for one sentinel's answer, of which connecting is a part.
_ASK_TIMEOUT: Final = 1.0
#: Of a primary that is lost, or is about to be another one.
_IN_DOUBT: Final = frozenset({"s_down", "o_down", "failover_in_progress"})
#: Seconds for which an answer holds: many connections may be made at once.
_FRESH: Final = 0.25


class Place(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RedisSentinels:
    """They let the same users in as the servers, with the same passwords."""

    places: Sequence[Place]
    #: What they call the servers that they watch.
    name: str
    user: str
    password: Password = field(repr=False)
    #: Whether connections are encrypted, to sentinels and servers.
    tls: bool = False


class _Report(NamedTuple):
    """What one sentinel says. Each failover has a higher epoch than the one before."""

    epoch: int
    primary: Place


class PrimaryFinder:
    """Asks all sentinels at once, and once for all who want to know at the moment."""

    def __init__(self, sentinels: RedisSentinels, credentials: CredentialProvider) -> None:
        self._sentinels = sentinels
        self._credentials = credentials
        self._asking: asyncio.Task[Place] | None = None
        self._fresh_until = 0.0
        #: As it was last heard; None before that.
        self.primary: Place | None = None
        #: Whether it may be another one by now.
        self.in_doubt = False

    async def find(self) -> Place:
        """
        Raises:
            redis.exceptions.ConnectionError: no sentinel answers, or none knows.
        """
        if self.primary is not None and time.monotonic() < self._fresh_until:
            return self.primary
        if self._asking is None:
            # Not in the context of who happens to ask, and not ended with them: the next one wants to know as well.
            self._asking = asyncio.create_task(self._ask_all(), name="who is the primary?", context=Context())
            self._asking.add_done_callback(self._note)
        return await asyncio.shield(self._asking)

    def doubt(self) -> None:
        """Before a connection is used again, they are asked anew."""
        self._fresh_until = 0.0
        self.in_doubt = True

    def _note(self, asking: "asyncio.Task[Place]") -> None:
        self._asking = None
        if not asking.cancelled() and asking.exception() is None:
            self.primary = asking.result()
            self.in_doubt = False
            self._fresh_until = time.monotonic() + _FRESH

    async def _ask_all(self) -> Place:
        """What the newest says, when a majority has answered or all have who can."""
        places = self._sentinels.places
        questions = [asyncio.create_task(self._ask(place)) for place in places]
        reports: list[_Report] = []
        try:
            for question in asyncio.as_completed(questions):
                try:
                    report = await question
                except (RedisError, OSError):
                    continue
                if report is not None:
                    reports.append(report)
                if 2 * len(reports) > len(places):
                    break
        finally:
            for one in questions:
                one.cancel()
            await asyncio.gather(*questions, return_exceptions=True)
        if not reports:
            raise RedisConnectionError(f"no sentinel says who is the primary of {self._sentinels.name}")
        return max(reports).primary

    async def _ask(self, place: Place) -> _Report | None:
        """None while it doubts the primary itself."""
        kind = SSLConnection if self._sentinels.tls else Connection
        connection = kind(
            host=place.host, port=place.port, credential_provider=self._credentials, retry=Retry(NoBackoff(), 0)
        )
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]  # it has no types
                await connection.send_command("SENTINEL", "MASTER", self._sentinels.name)
                reply = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        about = {name.decode(): value.decode() for name, value in batched(reply, 2)}
        if not _IN_DOUBT.isdisjoint(about["flags"].split(",")):
            return None
        return _Report(int(about["config-epoch"]), Place(about["ip"], int(about["port"])))


class _ToPrimary(Connection):
    """Half of a connection: where it goes to."""

    def __init__(self, *, finder: PrimaryFinder, **settings: Any) -> None:  # noqa: ANN401  # the library's
        super().__init__(**settings)
        self._finder = finder

    @property
    def leads(self) -> bool:
        """Whether it leads to the primary, as far as is known."""
        return not (self._finder.in_doubt or self.is_stale)

    @property
    def is_stale(self) -> bool:
        """Whether it leads to somebody who is no longer the primary."""
        return self._finder.primary is not None and self._finder.primary != (self.host, self.port)

    async def connect(self) -> None:
        if self.is_connected and self._finder.in_doubt:
            # Who finds nothing out goes on as before.
            with suppress(RedisError, OSError):
                await self._finder.find()
        if self.is_connected and self.is_stale:
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call]  # it has no types

    async def _connect(self) -> None:
        self.host, self.port = await self._finder.find()
        await super()._connect()  # type: ignore[no-untyped-call]  # likewise

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # the library's
        try:
            return await super().read_response(*arguments, **options)
        except (RedisConnectionError, asyncio.CancelledError):
            # It broke, or nobody waits for it any longer. One that stands still breaks no connection.
            self._finder.doubt()
            raise
        except ResponseError as refusal:
            if not _is_of_who_leads_no_more(refusal):
                raise
            # The command is repeated, as after any break, on a connection to whom the sentinels name by then.
            self._finder.doubt()
            await self.disconnect(nowait=True)
            raise RedisConnectionError(str(refusal)) from refusal


def _is_of_who_leads_no_more(refusal: ResponseError) -> bool:
    """A replica, or a primary that is cut off from all of them."""
    return isinstance(refusal, ReadOnlyError) or str(refusal).startswith("NOREPLICAS")


class PrimaryConnection(_ToPrimary):
    pass


class PrimarySslConnection(_ToPrimary, SSLConnection):
    pass


def may_be_used(connection: Connection) -> bool:
    """Whether a connection that was kept is still one to the server that it should be."""
    reader = connection._reader  # noqa: SLF001  # nobody else knows whether the server hung up
    if reader is None or reader.at_eof():
        return False
    return not isinstance(connection, _ToPrimary) or connection.leads
