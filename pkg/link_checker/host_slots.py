"""How much is asked of one site at a time."""

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class HostSlots:
    """A few slots for each host; hosts of whom nobody wants anything are forgotten."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        #: Host -> (its slots, how many have or await one).
        self._hosts: dict[str, tuple[Semaphore, int]] = {}

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        semaphore, users = self._hosts.get(host) or (Semaphore(self._slots), 0)
        self._hosts[host] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            users = self._hosts[host][1] - 1
            if users:
                self._hosts[host] = semaphore, users
            else:
                del self._hosts[host]

    def __len__(self) -> int:
        return len(self._hosts)
