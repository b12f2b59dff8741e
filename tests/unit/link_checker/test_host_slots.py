"""One process at a time asks a host: two of them here, which share leases and nothing else."""

import asyncio
import socket
import time
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from pkg.link_checker.address_guard import AddressInfo, open_guarded_socket
from pkg.link_checker.checker import LinkChecker
from pkg.link_checker.host_leases import HostLeases, Lease
from pkg.link_checker.host_slots import AWAY, STORE_FAILURES, SharedHostSlots
from pkg.link_checker.memory_host_leases import MemoryHostLeases
from pkg.object_model.errors import Unavailable
from pkg.object_model.types import CheckLinkRequest
from tests.metric_values import value_of
from tests.unit.link_checker.sites import Site, http_site

PATIENCE = 30.0
#: Seconds that somebody is with a host.
USE = 0.01
PAUSE = 0.05


class Hands:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


class NoLeases(HostLeases):
    """A store that is away."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, host: str, lifetime: float) -> Lease | None:
        self.asked += 1
        raise Unavailable("away", code="lease_store_unavailable")

    async def rest(self, lease: Lease, pause: float) -> None:
        raise Unavailable("away", code="lease_store_unavailable")


def processes(leases: HostLeases, count: int = 2) -> list[SharedHostSlots]:
    return [SharedHostSlots(leases, pause=PAUSE, lifetime=60.0) for _ in range(count)]


async def test_of_all_processes_one_has_a_host_and_then_it_rests() -> None:
    used: list[tuple[float, float]] = []

    async def use(slots: SharedHostSlots) -> None:
        async with slots.slot("a.example"):
            began = time.monotonic()
            await asyncio.sleep(USE)
            used.append((began, time.monotonic()))

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(use(one) for one in processes(MemoryHostLeases(time.monotonic)) for _ in range(3)))
    assert len(used) == 6
    assert all(began - ended >= PAUSE * 0.9 for (_, ended), (began, _) in pairwise(sorted(used)))


async def test_other_hosts_do_not_wait() -> None:
    one, two = processes(MemoryHostLeases(time.monotonic))
    async with asyncio.timeout(PATIENCE), one.slot("a.example"), two.slot("b.example"):
        pass


async def test_who_stops_waiting_takes_nothing_along() -> None:
    one, two = processes(MemoryHostLeases(time.monotonic))
    async with one.slot("a.example"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), two.slot("a.example"):
                raise AssertionError("it was taken")
    async with asyncio.timeout(PATIENCE), two.slot("a.example"):
        pass


async def test_one_that_dies_with_a_host_keeps_it_for_its_lifetime() -> None:
    leases = MemoryHostLeases(time.monotonic)
    assert await leases.take("a.example", 0.1) is not None
    (other,) = processes(leases, 1)
    async with asyncio.timeout(PATIENCE), other.slot("a.example"):
        pass


async def test_without_a_store_each_process_goes_by_itself() -> None:
    store, hands = NoLeases(), Hands()
    one, two = (SharedHostSlots(store, pause=PAUSE, lifetime=60.0, now=hands.now) for _ in range(2))
    before = value_of(STORE_FAILURES)
    async with asyncio.timeout(PATIENCE), one.slot("a.example"), two.slot("a.example"):
        entered = asyncio.Event()

        async def enter() -> None:
            async with one.slot("a.example"):
                entered.set()

        second = asyncio.create_task(enter())
        await asyncio.wait([second], timeout=0.02)
        assert not entered.is_set(), "of one process it is one at a time all the same"
    await second
    assert store.asked == 2, "one that failed is left alone for a while"
    assert value_of(STORE_FAILURES) - before == 3
    hands.time += AWAY
    async with one.slot("b.example"):
        pass
    assert store.asked == 3


async def test_a_store_that_goes_away_meanwhile_harms_no_look() -> None:
    class Leaving(NoLeases):
        async def take(self, host: str, lifetime: float) -> Lease | None:
            return Lease(host, "1")

    (slots,) = processes(Leaving(), 1)
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            async with slots.slot("a.example"):
                pass


async def test_two_checkers_ask_a_site_in_turn_wherever_they_come_from() -> None:
    """By its name, and by redirects from other sites."""
    now_open = most = 0

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal now_open, most
        if request.host.startswith("from-"):
            return web.Response(status=302, headers={"Location": f"http://target.example:{site.place[1]}/end"})
        now_open += 1
        most = max(most, now_open)
        await asyncio.sleep(USE)
        now_open -= 1
        return web.Response()

    leases = MemoryHostLeases(time.monotonic)
    async with http_site(serve) as site, checker(site, leases) as one, checker(site, leases) as two:
        hosts = ["target.example", "from-a.example", "from-b.example", "from-c.example"]
        async with asyncio.timeout(PATIENCE):
            verdicts = await asyncio.gather(
                *(
                    by.check_link(CheckLinkRequest(username="a", url=f"http://{host}:{site.place[1]}/{number}"))
                    for number, host in enumerate(hosts)
                    for by in (one, two)
                )
            )
    assert {verdict.reason for verdict in verdicts} == {"ok"}
    assert most == 1


class HomeBoundSocket(socket.socket):
    """Wherever it is to go, it comes to this machine."""

    def connect(self, address: Any) -> None:
        super().connect(("127.0.0.1", address[1]))


def everything_is_public(name: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]


def open_home_bound(info: AddressInfo, ports: Collection[int]) -> socket.socket:
    return HomeBoundSocket(fileno=open_guarded_socket(info, ports).detach())


def checker(site: Site, leases: HostLeases) -> LinkChecker:
    """As another process would have it."""
    return LinkChecker(
        ports=[site.place[1]],
        lookup=everything_is_public,
        open_socket=open_home_bound,
        deadline=PATIENCE,
        head_deadline=PATIENCE,
        pause=PAUSE,
        leases=leases,
    )
