"""Of all processes that check links, one at a time asks a host (see docs/adr/035)."""

from typing import NamedTuple, Protocol


class Lease(NamedTuple):
    host: str
    #: Nobody else's.
    token: str


class HostLeases(Protocol):
    async def take(self, host: str, lifetime: float) -> Lease | None:
        """None while somebody else has the host, or it rests. Ends by itself after ``lifetime`` seconds.

        Raises:
            Unavailable: nobody can tell.
        """

    async def rest(self, lease: Lease, pause: float) -> None:
        """Ends it: nobody gets the host for ``pause`` seconds. One that has ended by itself keeps nobody waiting.

        Raises:
            Unavailable: it ends by itself.
        """
