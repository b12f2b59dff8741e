"""A program of the local stack as a child of the test, until the block ends."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

from pkg.local_stack.program import Program, launch_command

DEADLINE: Final = 30.0


@asynccontextmanager
async def running(program: Program, folder: Path) -> AsyncIterator[None]:
    """Serves from the beginning of the block; is told to stop, as the stack would tell it, at its end."""
    log = folder / f"{program.name}.log"
    with log.open("ab") as output:
        process = _start(program, output)
    try:
        async with asyncio.timeout(DEADLINE):
            while not await program.is_ready():
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.02)
        yield
    finally:
        process.send_signal(program.stop_signal)
        await asyncio.to_thread(process.wait, DEADLINE)


def _start(program: Program, output: BinaryIO) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(launch_command(program), stdout=output, stderr=subprocess.STDOUT)
