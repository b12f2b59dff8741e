"""What a check of a healthy page costs, against a bare HEAD of aiohttp's: of as many hosts, in the same process.

``python -m tests.load.link_checks`` is a server of healthy pages; the bench starts one.
"""

import asyncio
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
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
    open_guarded_socket(info, ports).close()
    return _HomeBoundSocket(*info[:3])


async def measure_checks(rounds: int) -> tuple[CheckCosts, CheckCosts]:
    """Ours, and the bare ones'."""
    ours, bare = CheckCosts(), CheckCosts()
    command = [sys.executable, "-m", "tests.load.link_checks"]
    server = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        for _ in range(rounds):
            await _measure_bare(bare, port)
            await _measure_ours(ours, port)
    finally:
        server.terminate()
        await server.wait()
    return ours, bare


async def _measure_bare(costs: CheckCosts, port: int) -> None:
    connector = aiohttp.TCPConnector(resolver=_AllAreHere(), use_dns_cache=False, force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(url: str) -> None:
            async with session.head(url, allow_redirects=False) as response:
                response.raise_for_status()

        await _run(costs, port, ask)


async def _measure_ours(costs: CheckCosts, port: int) -> None:
    async with LinkChecker(ports=[port], lookup=_look_up, open_socket=_open_socket, deadline=600.0) as checker:

        async def ask(url: str) -> None:
            verdict = await checker.check_link(CheckLinkRequest(username="bench", url=url))
            if verdict.reason != "ok":
                raise SystemExit(f"a healthy page was found to be {verdict.reason}; the figures mean nothing")

        await _run(costs, port, ask)


async def _run(costs: CheckCosts, port: int, ask: Callable[[str], Awaitable[None]]) -> None:
    slots = asyncio.Semaphore(CONCURRENCY)

    async def ask_in_turn(number: int) -> None:
        async with slots:
            await ask(f"http://host-{number}.example:{port}/page")

    begun, spent = time.perf_counter(), _processor_seconds()
    await asyncio.gather(*(ask_in_turn(number) for number in range(HOSTS)))
    costs.micros.append((_processor_seconds() - spent) / HOSTS * 1e6)
    costs.rate.append(HOSTS / (time.perf_counter() - begun))


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
