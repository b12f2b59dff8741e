"""The proxy of the drills: what it is told to do to a connection, it does, and to no other."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from tests.faults.proxy import LOOPBACK, SLOWNESS, Mode, Route

DEADLINE = 10.0


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of somebody who says again what he hears."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while heard := await reader.read(65_536):
                writer.write(heard)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
        yield server.sockets[0].getsockname()[1]


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, words: bytes) -> bytes:
        async with asyncio.timeout(DEADLINE):
            self._writer.write(words)
            return await self._reader.readexactly(len(words))

    async def hear_end(self) -> bytes:
        self._writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


async def call(port: int) -> Caller:
    return Caller(*await asyncio.open_connection(LOOPBACK, port))


async def test_what_is_said_comes_through_both_ways_and_so_does_the_end() -> None:
    async with echo() as port:
        route = Route("a", "b", [port])
        with closing(route), closing(await call(await route.listen())) as caller:
            assert await caller.ask(b"hello") == b"hello"
            much = bytes(range(256)) * 40_000
            assert await caller.ask(much) == much
            assert await caller.hear_end() == b""


async def test_a_cut_resets_what_is_there_and_what_comes() -> None:
    async with echo() as port:
        route = Route("a", "b", [port])
        with closing(route):
            where = await route.listen()
            with closing(await call(where)) as caller:
                await caller.ask(b"hello")
                route.change(Mode.CUT)
                with pytest.raises(ConnectionError):
                    await caller.ask(b"hello")
                with closing(await call(where)) as another, pytest.raises(ConnectionError):
                    await another.ask(b"hello")
                route.change(Mode.OPEN)
                with closing(await call(where)) as another:
                    assert await another.ask(b"again") == b"again"


async def test_in_silence_nothing_is_lost_and_nothing_comes() -> None:
    async with echo() as port:
        route = Route("a", "b", [port])
        with closing(route), closing(await call(await route.listen())) as caller:
            await caller.ask(b"hello")
            route.change(Mode.SILENT)
            asking = asyncio.create_task(caller.ask(b"anybody?"))
            done, _ = await asyncio.wait((asking,), timeout=0.2)
            assert not done
            route.change(Mode.OPEN)
            assert await asking == b"anybody?"


async def test_what_is_slow_is_late_and_in_order() -> None:
    async with echo() as port:
        route = Route("a", "b", [port])
        with closing(route), closing(await call(await route.listen())) as caller:
            await caller.ask(b"hello")
            route.change(Mode.SLOW)
            begun = time.monotonic()
            assert await caller.ask(b"slowly") == b"slowly"
            assert time.monotonic() - begun >= 2 * SLOWNESS
            late = asyncio.create_task(caller.ask(b"first"))
            await asyncio.sleep(0)
            route.change(Mode.OPEN)
            assert await late == b"first"


async def test_calls_go_to_each_in_turn_and_past_one_who_is_not_there() -> None:
    async with echo() as one, echo() as other:
        async with echo() as gone:
            pass
        route = Route("a", "b", [one, gone, other])
        with closing(route):
            where = await route.listen()
            for _ in range(4):
                with closing(await call(where)) as caller:
                    assert await caller.ask(b"hello") == b"hello"
