"""What is told to whoever listens now."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from pkg.events.announcements import TOKEN_REVOCATIONS, read_revocation, write_revocation
from pkg.events.memory_bus import MemoryBus
from pkg.events.nats_bus import NatsBus, open_bus
from pkg.events.operator import ADMINISTRATOR
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import InvalidArgument, Unavailable
from pkg.runtime.access import API_GATEWAY, LINK_MANAGER, USER_MANAGER
from tests.conftest import TestNats, running_nats

DEADLINE = 30.0

_numbers = count(1)


class Ear:
    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.missed = 0

    async def listen(self, bus: MemoryBus | NatsBus, subject: str) -> None:
        await bus.listen(subject, self.heard.append, self._on_missed)

    def _on_missed(self) -> None:
        self.missed += 1


@pytest.fixture
async def nats_buses(nats: TestNats) -> AsyncIterator[list[NatsBus]]:
    async with AsyncExitStack() as stack:
        address = nats.server.address(ADMINISTRATOR)
        yield [await stack.enter_async_context(open_bus(address, "tests")) for _ in range(3)]


@pytest.fixture(params=["memory", "nats"])
def buses(request: pytest.FixtureRequest) -> list[MemoryBus] | list[NatsBus]:
    """One that tells and two that listen; in memory they are the same."""
    if request.param == "memory":
        return [MemoryBus(SystemClock())] * 3
    buses: list[NatsBus] = request.getfixturevalue("nats_buses")
    return buses


@pytest.fixture
def subject() -> str:
    return f"announcements.{next(_numbers)}"


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110  # what is waited for is on the other side of a server
            await asyncio.sleep(0.01)


async def test_everybody_who_listens_hears_it(buses: list[MemoryBus] | list[NatsBus], subject: str) -> None:
    one, other, elsewhere = Ear(), Ear(), Ear()
    await one.listen(buses[1], subject)
    await other.listen(buses[2], subject)
    await elsewhere.listen(buses[2], f"{subject}.else")
    assert (one.missed, other.missed) == (1, 1), "what was told before is lost on them"
    for number in range(100):
        await buses[0].announce(subject, b"%d" % number)
    told = [b"%d" % number for number in range(100)]
    await eventually(lambda: len(one.heard) == len(other.heard) == 100)
    assert one.heard == other.heard == told
    assert elsewhere.heard == []
    assert one.missed == 1


async def test_what_nobody_listens_to_is_no_error(buses: list[MemoryBus] | list[NatsBus], subject: str) -> None:
    await buses[0].announce(subject, b"")


async def test_who_comes_later_hears_what_comes_later(buses: list[MemoryBus] | list[NatsBus], subject: str) -> None:
    first, late = Ear(), Ear()
    await first.listen(buses[1], subject)
    await buses[0].announce(subject, b"early")
    await eventually(lambda: first.heard == [b"early"])
    await late.listen(buses[2], subject)
    await buses[0].announce(subject, b"late")
    await eventually(lambda: late.heard == [b"late"])


async def test_a_bus_that_is_away_says_so_and_tells_when_it_was() -> None:
    bus, ear = MemoryBus(SystemClock()), Ear()
    await ear.listen(bus, "s")
    bus.away = True
    with pytest.raises(Unavailable):
        await bus.announce("s", b"lost")
    assert (ear.heard, ear.missed) == ([], 1)
    bus.away = False
    assert ear.missed == 2
    await bus.announce("s", b"heard")
    assert ear.heard == [b"heard"]


async def test_a_server_that_comes_back_is_listened_to_again(tmp_path: Path) -> None:
    async with (
        running_nats(tmp_path / "nats") as nats,
        open_bus(nats.server.address(USER_MANAGER), "tests") as teller,
    ):
        nats.stop()
        async with open_bus(nats.server.address(API_GATEWAY), "tests") as hearer:
            ear = Ear()
            await ear.listen(hearer, TOKEN_REVOCATIONS)
            assert ear.missed == 0, "there is nothing to miss yet, or all of it"

            async def come_and_go(times: int) -> None:
                await until_away(teller)
                nats.start()
                await eventually(lambda: ear.missed == times)
                assert await teller.wait_connected(DEADLINE)
                await teller.announce(TOKEN_REVOCATIONS, b"%d" % times)
                await eventually(lambda: len(ear.heard) == times)
                nats.stop()

            await come_and_go(1)
            await come_and_go(2)
        assert ear.heard == [b"1", b"2"]


async def until_away(bus: NatsBus) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await bus.announce(TOKEN_REVOCATIONS, b"lost")
            except Unavailable:
                return
            await asyncio.sleep(0.01)


async def test_a_service_announces_and_hears_what_is_its_own(nats: TestNats) -> None:
    async with (
        open_bus(nats.server.address(USER_MANAGER), "tests") as users,
        open_bus(nats.server.address(API_GATEWAY), "tests") as gateway,
        open_bus(nats.server.address(LINK_MANAGER), "tests") as links,
    ):
        ear, stranger = Ear(), Ear()
        await ear.listen(gateway, TOKEN_REVOCATIONS)
        await stranger.listen(links, TOKEN_REVOCATIONS)
        await links.announce(TOKEN_REVOCATIONS, b"forged")
        # When this is answered, what was sent before it has been dealt with.
        await links.check()
        await users.announce(TOKEN_REVOCATIONS, b"true")
        await eventually(lambda: b"true" in ear.heard)
        await links.check()
        assert ear.heard == [b"true"]
        assert stranger.heard == []


def test_a_revocation_says_whose() -> None:
    assert read_revocation(write_revocation(2**63 - 1)) == 2**63 - 1
    assert write_revocation(7) == b'{"UserId":"7"}'
    for body in (b"", b"{", b"[]", b"7", b"{}", b'{"UserId":"x"}', b'{"UserId":null}', b"\xff"):
        with pytest.raises(InvalidArgument) as refused:
            read_revocation(body)
        assert refused.value.code == "malformed_announcement"
