"""Stands between the processes of a system, and cuts, silences or slows what they say to each other.

A process of its own, told what to do over a Unix socket, a line of JSON each: ``{"open": [caller, callee, [port]]}``
gives the port at which the caller is to call; ``{"mode": "cut", "callees": [...]}`` changes how those are reached.
Where a callee has several ports, connections go to each in turn, and past one where nobody listens.
"""

import asyncio
import json
import socket
import sys
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

import uvloop

LOOPBACK: Final = "127.0.0.1"
#: Pieces that wait in one direction of a connection, after which the sender waits.
MAX_WAITING: Final = 64
#: Seconds that each piece is late while a connection is slow, each way.
SLOWNESS: Final = 0.05
_PATIENCE: Final = 10.0


class Mode(StrEnum):
    OPEN = "open"
    #: Connections are reset, new ones too.
    CUT = "cut"
    #: Nothing gets through, and nobody is told: a network that loses everything.
    SILENT = "silent"
    SLOW = "slow"


class Route:
    """The way from one caller to one callee."""

    def __init__(self, caller: str, callee: str, ports: Sequence[int]) -> None:
        self.caller = caller
        self.callee = callee
        self.mode = Mode.OPEN
        self.ends: set[End] = set()
        self._ports = deque(ports)
        self._server: asyncio.Server | None = None

    async def listen(self) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: End(self), LOOPBACK, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        self.change(Mode.CUT)
        if self._server is not None:
            self._server.close()

    def change(self, mode: Mode) -> None:
        self.mode = mode
        for end in tuple(self.ends):
            if mode is Mode.CUT:
                end.abort()
            else:
                end.flow()

    async def connect(self, end: "End") -> None:
        """The other half of a connection that has been made to us."""
        loop = asyncio.get_running_loop()
        for port in tuple(self._ports):
            self._ports.rotate(-1)
            try:
                await loop.create_connection(lambda: End(self, end), LOOPBACK, port)
            except OSError:
                continue
            return
        end.abort()


class End(asyncio.Protocol):
    """One end of a connection: what it hears, its peer says."""

    def __init__(self, route: Route, peer: "End | None" = None) -> None:
        self._route = route
        self._peer = peer
        self._transport: asyncio.Transport | None = None
        #: What was heard and not said yet, and when each is due; None is the end of it.
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        self._connecting: asyncio.Task[None] | None = None

    # --- what happens to the connection -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are none by their class.
        self._transport = cast(asyncio.Transport, transport)
        self._route.ends.add(self)
        if self._route.mode is Mode.CUT:
            self.abort()
        elif self._peer is None:
            self._connecting = asyncio.create_task(self._route.connect(self))
        else:
            self._peer._peer = self
            self._peer.flow()

    def data_received(self, data: bytes) -> None:
        self._hear(data)

    def eof_received(self) -> bool:
        self._hear(None)
        return True

    def connection_lost(self, _fault: Exception | None) -> None:
        self._route.ends.discard(self)
        if self._route.mode is not Mode.SILENT:
            self._hear(None)
            if self._peer is not None and not self._waiting:
                self._peer.close()

    def pause_writing(self) -> None:
        if self._peer is not None:
            self._peer._full = True
            self._peer._heed()

    def resume_writing(self) -> None:
        if self._peer is not None:
            self._peer._full = False
            self._peer.flow()

    # --- what is done with it -----------------------------------------------------------------------------------------

    def flow(self) -> None:
        """Says what is due, as far as the mode allows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting and self._may_say:
            due, data = self._waiting[0]
            if self._route.mode is Mode.SLOW and due > loop.time():
                self._timer = loop.call_at(due, self.flow)
                break
            self._waiting.popleft()
            assert self._peer is not None
            self._peer.say(data)
        self._heed()

    def say(self, data: bytes | None) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if data is not None:
            self._transport.write(data)
        elif self._peer is not None and self._peer.is_over:
            self._transport.close()
        else:
            self._transport.write_eof()

    @property
    def is_over(self) -> bool:
        return self not in self._route.ends

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self._waiting.clear()
        if self._transport is not None:
            # A reset, and not the orderly end that a close is.
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self._transport.abort()

    @property
    def _may_say(self) -> bool:
        return self._peer is not None and not self._full and self._route.mode is not Mode.SILENT

    def _hear(self, data: bytes | None) -> None:
        if self._route.mode is Mode.OPEN and not self._waiting and self._may_say:
            assert self._peer is not None
            self._peer.say(data)
            return
        now = asyncio.get_running_loop().time()
        self._waiting.append((now + SLOWNESS, data))
        if self._timer is None:
            self.flow()
        self._heed()

    def _heed(self) -> None:
        """Listens no more while too much waits."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._full or len(self._waiting) >= MAX_WAITING:
            self._transport.pause_reading()
        elif not self._transport.is_reading():
            self._transport.resume_reading()


class Switchboard:
    def __init__(self) -> None:
        self._routes: list[Route] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            answer = await self._do(json.loads(line))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _do(self, order: dict[str, Any]) -> dict[str, Any]:
        if "open" in order:
            caller, callee, ports = order["open"]
            route = Route(caller, callee, ports)
            self._routes.append(route)
            return {"port": await route.listen()}
        changed = [route for route in self._routes if route.callee in order["callees"]]
        for route in changed:
            route.change(Mode(order["mode"]))
        return {"routes": [[route.caller, route.callee] for route in changed]}


class ProxyControl:
    """What the proxy is told, from another process. Blocks for a moment with each word."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_PATIENCE)
        self._socket.connect(str(path))
        self._answers = self._socket.makefile("rb")

    def open(self, caller: str, callee: str, ports: Sequence[int]) -> int:
        return int(self._ask({"open": [caller, callee, list(ports)]})["port"])

    def change(self, mode: Mode, callees: Sequence[str]) -> int:
        """Gives the number of ways that changed."""
        return len(self._ask({"mode": mode, "callees": list(callees)})["routes"])

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        self._socket.sendall(json.dumps(order).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer


async def run(path: str) -> None:
    server = await asyncio.start_unix_server(Switchboard().serve, path)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1]))
