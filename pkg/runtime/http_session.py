"""The connections of a process to the services that it calls: kept, bounded, and spread over a service's addresses."""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from pkg.runtime.http_connection import ConnectionFailure, HttpConnection

#: To one callee.
MAX_CONNECTIONS: Final = 200
#: Seconds, for each of a name's addresses.
CONNECT_TIMEOUT: Final = 1.0
#: Seconds. Less than the server's (pkg.runtime.server.KEEP_ALIVE): see there.
KEEP_ALIVE: Final = 30.0

#: The addresses of a name and a port. Raises OSError.
type FindAddresses = Callable[[str, int], Awaitable[list[tuple[str, int]]]]


async def find_addresses(host: str, port: int) -> list[tuple[str, int]]:
    """As the system's resolver has them now.

    Raises:
        OSError: it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(address[0]), int(address[1])) for *_, address in found]


class HttpSession:
    """One for a process, and open as long as it. Closes with ``async with`` what was opened through it."""

    def __init__(
        self,
        *,
        max_connections: int = MAX_CONNECTIONS,
        keep_alive: float = KEEP_ALIVE,
        find_addresses: FindAddresses = find_addresses,
    ) -> None:
        """``max_connections`` is to one callee; ``keep_alive`` is in seconds."""
        self._max_connections = max_connections
        self._keep_alive = keep_alive
        self._find_addresses = find_addresses
        self._pools: dict[str, ConnectionPool] = {}

    def pool(self, base_url: str) -> "ConnectionPool":
        """Of connections to ``http://host:port``."""
        address = urlsplit(base_url)
        pool = self._pools.get(address.netloc)
        if pool is None:
            host, port = address.hostname or "", address.port or 80
            pool = ConnectionPool(
                address.netloc, partial(self._find_addresses, host, port), self._max_connections, self._keep_alive
            )
            self._pools[address.netloc] = pool
        return pool

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            await pool.close()


class ConnectionPool:
    """The connections to one callee. The one last used is the next: what is not needed grows old and is closed."""

    def __init__(
        self,
        host_header: str,
        find_addresses: Callable[[], Awaitable[list[tuple[str, int]]]],
        max_connections: int,
        keep_alive: float,
    ) -> None:
        self.host_header = host_header
        self._find_addresses = find_addresses
        self._keep_alive = keep_alive
        self._room = asyncio.Semaphore(max_connections)
        self._open: set[HttpConnection] = set()
        #: The longest idle first.
        self._idle: deque[HttpConnection] = deque()

    async def take(self) -> HttpConnection:
        """One that nobody else uses until it is given back. Waits where as many as may be are in use.

        Raises:
            ConnectionFailure: none can be made.
        """
        await self._room.acquire()
        try:
            self._close_old()
            while self._idle:
                connection = self._idle.pop()
                if connection.is_reusable:
                    return connection
            return await self._connect()
        except BaseException:
            self._room.release()
            raise

    def give_back(self, connection: HttpConnection) -> None:
        """Whatever became of it: it is kept if it is good for another question."""
        if connection.is_reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()
        self._room.release()

    async def close(self) -> None:
        self._idle.clear()
        closing = list(self._open)
        for connection in closing:
            connection.abort()
        for connection in closing:
            await connection.wait_closed()

    def _close_old(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._keep_alive
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().abort()

    async def _connect(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        try:
            # Anew for each connection: services move.
            addresses = await self._find_addresses()
        except OSError as error:
            raise ConnectionFailure("its name leads nowhere") from error
        # Resolvers sort, so that all callers would go to the same one of a service's many.
        random.shuffle(addresses)
        failure: OSError | None = None
        for host, port in addresses:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    _, connection = await loop.create_connection(lambda: HttpConnection(self._open), host, port)
            except OSError as error:
                failure = error
            else:
                return connection
        raise ConnectionFailure("it takes no connection") from failure
