"""How much is asked of one site at a time."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from prometheus_client import Counter

from pkg.link_checker.host_leases import HostLeases, Lease
from pkg.object_model.errors import Unavailable
from pkg.runtime.logs import describe_exception, get_logger

#: Seconds, at most, between two questions for a host that another process has.
POLL: Final = 0.3
#: Seconds for which a store that failed is not asked again: most would wait in vain.
AWAY: Final = 1.0
#: Seconds between two lines of log that say that it is away.
_SILENCE: Final = 10.0

STORE_FAILURES: Final = Counter(
    "delinkcious_host_lease_failures_total", "Requests to sites that other processes may not have known of."
)

_log = get_logger(__name__)


class HostSlots(Protocol):
    def slot(self, host: str) -> AbstractAsyncContextManager[None]:
        """To be in while something is asked of the host. Waits for as long as the caller does."""


class OwnHostSlots(HostSlots):
    """A few slots for each host, of this process; hosts of whom nobody wants anything are forgotten."""

    def __init__(self, slots: int, pause: float = 0.0) -> None:
        """``pause``: seconds that a slot stays taken after its use."""
        self._slots = slots
        self._pause = pause
        #: Host -> (its slots, how many have, await or rest in one).
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        semaphore, users = self._hosts.get(host) or (asyncio.Semaphore(self._slots), 0)
        self._hosts[host] = semaphore, users + 1
        try:
            await semaphore.acquire()
        except BaseException:
            self._leave(host)
            raise
        try:
            yield
        finally:
            if self._pause:
                asyncio.get_running_loop().call_later(self._pause, self._free, host)
            else:
                self._free(host)

    def _free(self, host: str) -> None:
        self._hosts[host][0].release()
        self._leave(host)

    def _leave(self, host: str) -> None:
        semaphore, users = self._hosts[host]
        if users > 1:
            self._hosts[host] = semaphore, users - 1
        else:
            del self._hosts[host]

    def __len__(self) -> int:
        return len(self._hosts)


class SharedHostSlots(HostSlots):
    """One slot for each host, of all processes that have these leases.

    While their store is away each process has one of its own: politeness must not keep links from being looked at.
    """

    def __init__(
        self, leases: HostLeases, *, pause: float, lifetime: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """``lifetime``: seconds after which a host is free again whose process died; longer than any use of a slot."""
        self._leases = leases
        self._pause = pause
        self._lifetime = lifetime
        self._now = now
        # Of this process one at a time asks for a lease.
        self._own = OwnHostSlots(1, pause)
        self._away_until = -math.inf
        self._silent_until = -math.inf

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        async with self._own.slot(host):
            lease = await self._take(host)
            try:
                yield
            finally:
                if lease is not None:
                    await self._rest(lease)

    async def _take(self, host: str) -> Lease | None:
        """None if the store is away."""
        while self._now() >= self._away_until:
            try:
                lease = await self._leases.take(host, self._lifetime)
            except Unavailable as away:
                self._note(away)
                break
            if lease is not None:
                return lease
            await asyncio.sleep(random.uniform(POLL / 3, POLL))  # noqa: S311  # spreads load, hides nothing
        STORE_FAILURES.inc()
        return None

    async def _rest(self, lease: Lease) -> None:
        try:
            await self._leases.rest(lease, self._pause)
        except Unavailable as away:
            self._note(away)

    def _note(self, away: Unavailable) -> None:
        now = self._now()
        self._away_until = now + AWAY
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE
            _log.warning("processes ask sites each by itself: no leases now", exception=describe_exception(away))
