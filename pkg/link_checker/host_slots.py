"""How much is asked of one site at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class HostSlots:
    """A few slots for each host; hosts of whom nobody wants anything are forgotten."""

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
