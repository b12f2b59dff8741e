"""Leases of hosts in this process's memory: for tests."""

import secrets
from collections.abc import Callable

from pkg.link_checker.host_leases import HostLeases, Lease

#: With so many hosts, those that nobody has are forgotten.
_MANY = 1_000


class MemoryHostLeases(HostLeases):
    def __init__(self, now: Callable[[], float]) -> None:
        """``now`` is in seconds."""
        self._now = now
        #: Host -> (token of who had it last, until when).
        self._taken: dict[str, tuple[str, float]] = {}
        self._sweep_at = _MANY

    async def take(self, host: str, lifetime: float) -> Lease | None:
        now = self._now()
        if len(self._taken) >= self._sweep_at:
            self._taken = {name: taken for name, taken in self._taken.items() if now < taken[1]}
            self._sweep_at = max(_MANY, 2 * len(self._taken))
        _, until = self._taken.get(host, ("", 0.0))
        if now < until:
            return None
        lease = Lease(host, secrets.token_hex(8))
        self._taken[host] = lease.token, now + lifetime
        return lease

    async def rest(self, lease: Lease, pause: float) -> None:
        now = self._now()
        token, until = self._taken.get(lease.host, ("", 0.0))
        if token == lease.token and now < until:
            self._taken[lease.host] = token, now + pause
