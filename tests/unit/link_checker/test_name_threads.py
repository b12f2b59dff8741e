"""Questions that block, asked of a loop that does not."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from pkg.link_checker.name_threads import NameThreads

PATIENCE = 30.0


@pytest.fixture
async def threads() -> AsyncIterator[NameThreads]:
    made = NameThreads(max_threads=4)
    yield made
    made.close()


async def test_each_gets_its_own_answer(threads: NameThreads) -> None:
    async with asyncio.timeout(PATIENCE):
        for _ in range(20):
            asked = [threads.run(partial(str, number)) for number in range(200)]
            assert await asyncio.gather(*asked) == [str(number) for number in range(200)]


async def test_a_fault_is_raised_where_the_answer_is_waited_for(threads: NameThreads) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run(partial(int, "x"))
    assert await threads.run(partial(int, "7")) == 7


async def test_those_that_block_keep_no_other_waiting(threads: NameThreads) -> None:
    go_on = threading.Event()
    stuck = [asyncio.create_task(threads.run(go_on.wait)) for _ in range(3)]
    async with asyncio.timeout(PATIENCE):
        for number in range(50):
            assert await threads.run(partial(str, number)) == str(number)
    assert not any(task.done() for task in stuck)
    go_on.set()
    assert await asyncio.gather(*stuck) == [True] * 3


async def test_there_are_no_more_than_so_many(threads: NameThreads) -> None:
    at_once, most = 0, 0
    lock, all_in = threading.Lock(), threading.Barrier(4)

    def ask() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        all_in.wait(PATIENCE)
        with lock:
            at_once -= 1

    await asyncio.gather(*(threads.run(ask) for _ in range(20)))
    assert most == 4


async def test_who_stops_waiting_is_told_nothing(threads: NameThreads) -> None:
    go_on = threading.Event()
    leaving = asyncio.create_task(threads.run(go_on.wait))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    go_on.set()
    assert await threads.run(partial(int, "7")) == 7


NEVER_ANSWERED = """
import asyncio, threading
from pkg.link_checker.name_threads import NameThreads
async def ask():
    threads = NameThreads()
    try:
        async with asyncio.timeout(0.01):
            await threads.run(threading.Event().wait)
    except TimeoutError:
        threads.close()
asyncio.run(ask())
"""


def test_a_name_server_that_never_answers_does_not_keep_the_process_from_its_end() -> None:
    assert subprocess.run([sys.executable, "-c", NEVER_ANSWERED], timeout=PATIENCE, check=False).returncode == 0
