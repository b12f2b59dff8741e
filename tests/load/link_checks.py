"""What a check of a healthy page costs, against a bare HEAD of aiohttp's: of as many hosts, in the same process.

``python -m tests.load.link_checks`` is a server of healthy pages; the bench starts one.
"""

import asyncio
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from pkg.link_checker.address_guard import AddressInfo, open_guarded_socket
from pkg.link_checker.checker import LinkChecker
from pkg.object_model.types import CheckLinkRequest
from tests.e2e.stack import ROOT

HOSTS: Final = 2_000
CONCURRENCY: Final = 200
_SLICE: Final = 400
#: Anybody's on the web: the guard sees it, and the connection is made to this machine.
_ADDRESS: Final = "93.184.215.14"


@dataclass
class CheckCosts:
    """By round: microseconds of processor time, and checks a second."""

    micros: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{median(self.micros):7.0f} us a check   {median(self.rate):7.0f} checks/s"


class _HomeBoundSocket(socket.socket):
    def connect(self, address: Any) -> None:
        super().connect(("127.0.0.1", address[1]))


class _AllAreHere(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=6, flags=0),
        ]

    async def close(self) -> None:
        pass


def _look_up(name: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (_ADDRESS, port))]


def _open_socket(info: AddressInfo, ports: Collection[int]) -> socket.socket:
    # The guard's own work is a part of what is measured.
    return _HomeBoundSocket(fileno=open_guarded_socket(info, ports).detach())


async def measure_checks(rounds: int) -> tuple[CheckCosts, CheckCosts]:
    """Ours, and the bare ones'."""
    command = [sys.executable, "-m", "tests.load.link_checks"]
    server = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        async with _bare() as bare, _ours(port) as ours:
            for name in ("warm", *(f"round-{number}" for number in range(rounds))):
                # In turn, a few at a time: what else this machine does is then no matter of one side.
                for first in range(0, HOSTS, _SLICE):
                    urls = [f"http://{name}-{number}.example:{port}/page" for number in range(first, first + _SLICE)]
                    await bare.run(urls)
                    await ours.run(urls)
                if name == "warm":
                    bare.forget()
                    ours.forget()
                else:
                    bare.end_round()
                    ours.end_round()
            return ours.costs, bare.costs
    finally:
        server.terminate()
        await server.wait()


class _Side:
    def __init__(self, ask: Callable[[str], Awaitable[None]]) -> None:
        self.costs = CheckCosts()
        self._ask = ask
        self.forget()

    async def run(self, urls: Sequence[str]) -> None:
        slots = asyncio.Semaphore(CONCURRENCY)

        async def ask_in_turn(url: str) -> None:
            async with slots:
                await self._ask(url)

        begun, spent = time.perf_counter(), _processor_seconds()
        await asyncio.gather(*map(ask_in_turn, urls))
        self._spent += _processor_seconds() - spent
        self._seconds += time.perf_counter() - begun

    def end_round(self) -> None:
        self.costs.micros.append(self._spent / HOSTS * 1e6)
        self.costs.rate.append(HOSTS / self._seconds)
        self.forget()

    def forget(self) -> None:
        self._spent = self._seconds = 0.0


@asynccontextmanager
async def _bare() -> AsyncIterator[_Side]:
    connector = aiohttp.TCPConnector(resolver=_AllAreHere(), use_dns_cache=False, force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(url: str) -> None:
            async with session.head(url, allow_redirects=False) as response:
                response.raise_for_status()

        yield _Side(ask)


@asynccontextmanager
async def _ours(port: int) -> AsyncIterator[_Side]:
    async with LinkChecker(ports=[port], lookup=_look_up, open_socket=_open_socket, deadline=600.0) as checker:

        async def ask(url: str) -> None:
            verdict = await checker.check_link(CheckLinkRequest(username="bench", url=url))
            if verdict.reason != "ok":
                raise SystemExit(f"a healthy page was found to be {verdict.reason}; the figures mean nothing")

        yield _Side(ask)


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def serve() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1_024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
