"""Runs programs as children of this process: waits until they serve, starts those anew that die, stops them all."""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pkg.local_stack.log_lines import Level, LineSplitter, LogReader
from pkg.local_stack.program import Program, launch_command
from pkg.runtime.start_error import StartError

_CHUNK: Final = 65_536
_LAST_LINES: Final = 12
#: Seconds for what a dead program has written to arrive. A child that outlives it may hold its output open.
_LAST_WORDS: Final = 1.0


class Output(Protocol):
    def log(self, name: str, line: str) -> None:
        """A line that a program wrote."""

    def say(self, text: str, level: Level = Level.INFO) -> None:
        """Something about the programs, for the person who looks."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """All in seconds."""

    #: From the start of programs until all of them serve.
    start_deadline: float = 60.0
    #: Deaths before a program has ever served, after which it is given up.
    start_attempts: int = 3
    #: Before the first restart; doubled with each.
    first_pause: float = 0.2
    longest_pause: float = 10.0
    #: Of service, after which earlier deaths are forgotten.
    healthy_after: float = 30.0
    #: Between two questions whether a program serves.
    poll: float = 0.05


class Supervisor:
    """``on_change`` is called whenever a process has begun or ended, so that ``pids`` are others now.

    ``inherited`` are file descriptors that every program keeps open for as long as it lives.
    """

    def __init__(
        self,
        output: Output,
        *,
        on_change: Callable[[], None] = lambda: None,
        inherited: Sequence[int] = (),
        timing: Timing | None = None,
    ) -> None:
        self._output = output
        self._on_change = on_change
        self._inherited = tuple(inherited)
        self._timing = timing or Timing()
        self._keepers: list[_Keeper] = []

    @property
    def pids(self) -> dict[str, int]:
        """Of the processes that live, by name."""
        return {keeper.program.name: keeper.pid for keeper in self._keepers if keeper.pid is not None}

    async def start(self, programs: Sequence[Program]) -> None:
        """Starts the programs at once and returns when all of them serve. From then on they are kept running.

        Raises:
            StartError: one died again and again, or of its settings, or does not serve in time; with the last lines of
                its log. Whatever runs by then goes on until ``stop``.
        """
        started = [
            _Keeper(program, self._output, self._on_change, self._inherited, self._timing) for program in programs
        ]
        self._keepers += started
        for keeper in started:
            keeper.begin()
        try:
            async with asyncio.timeout(self._timing.start_deadline):
                await asyncio.gather(*(keeper.served for keeper in started))
        except TimeoutError:
            late = [keeper for keeper in started if keeper.late]
            raise StartError(
                *(
                    f"{keeper.program.name} does not serve after {self._timing.start_deadline:g} s{keeper.last_lines()}"
                    for keeper in late
                )
            ) from None

    async def stop(self) -> bool:
        """Stops the last started first, each when the one before it has ended. True if nobody had to be killed."""
        for keeper in self._keepers:
            keeper.retire()
        orderly = [await keeper.end() for keeper in reversed(self._keepers)]
        return all(orderly)

    def kill(self) -> None:
        """Ends everything now. ``stop`` still has to be awaited."""
        for keeper in self._keepers:
            keeper.retire()
            keeper.kill()


class _Keeper:
    """Keeps one program running."""

    def __init__(
        self,
        program: Program,
        output: Output,
        on_change: Callable[[], None],
        inherited: tuple[int, ...],
        timing: Timing,
    ) -> None:
        self.program = program
        self.pid: int | None = None
        #: Of its last end.
        self._code = 0
        #: Done when the program serves for the first time, or is given up.
        self.served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._output = output
        self._on_change = on_change
        self._inherited = inherited
        self._timing = timing
        self._retired = asyncio.Event()
        self._told_to_stop = False
        self._killed = False
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._serving_since: float | None = None
        self._deaths = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def late(self) -> bool:
        return self._serving_since is None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._keep(), name=f"keeper of {self.program.name}")

    def retire(self) -> None:
        """From now on the program is not started again."""
        self._retired.set()

    async def end(self) -> bool:
        """Ends the program; False if it had to be killed."""
        self.retire()
        self._told_to_stop = True
        self._send(self.program.stop_signal)
        if self._task is None:
            return True
        done, _ = await asyncio.wait((self._task,), timeout=self.program.stop_grace)
        if not done:
            self._output.say(
                f"{self.program.name} has not stopped within {self.program.stop_grace:g} s; killing it", Level.WARNING
            )
            self.kill()
        await self._task
        return not self._killed

    def kill(self) -> None:
        if self.pid is not None:
            self._killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def last_lines(self) -> str:
        reader = LogReader()
        lines = [f"\n    {reader.read(line).text}" for line in self._lines]
        return f"; its log ends:{''.join(lines)}" if lines else "; it has written nothing"

    async def _keep(self) -> None:
        try:
            while not self._retired.is_set():
                try:
                    how = await self._run_once()
                except OSError as error:
                    how = f"cannot be started ({error.strerror})"
                if self._retired.is_set():
                    return
                await self._pause_after_death(how)
        except StartError as error:
            self.served.set_exception(error)
        finally:
            self.served.cancel()

    async def _run_once(self) -> str:
        """Runs the program to its end; says how it ended."""
        self._serving_since = None
        self._lines.clear()
        process = await asyncio.create_subprocess_exec(
            *launch_command(self.program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.program.environment),
            cwd=self.program.working_directory,
            # A terminal's Ctrl-C is ours: we stop the others in good order.
            start_new_session=True,
            pass_fds=self._inherited,
        )
        self.pid = process.pid
        self._on_change()
        if self._told_to_stop:
            self._send(self.program.stop_signal)
        assert process.stdout is not None  # noqa: S101  # asked for above
        reading = asyncio.create_task(self._read(process.stdout))
        probing = asyncio.create_task(self._probe())
        try:
            self._code = await process.wait()
        finally:
            probing.cancel()
        how = f"(pid {self.pid}) {describe_end(self._code)}"
        self.pid = None
        self._on_change()
        await asyncio.wait((reading,), timeout=_LAST_WORDS)
        reading.cancel()
        return how

    async def _pause_after_death(self, how: str) -> None:
        name = self.program.name
        if self._serving_since is not None and _now() - self._serving_since >= self._timing.healthy_after:
            self._deaths = 0
        self._deaths += 1
        if not self.served.done():
            if self._code == os.EX_CONFIG:
                raise StartError(f"{name} {how}{self.last_lines()}")
            if self._deaths >= self._timing.start_attempts:
                raise StartError(f"{name} {how}, {self._deaths} times in a row{self.last_lines()}")
        # Of a float, so that a thousand deaths are no overflow.
        pause = min(self._timing.longest_pause, self._timing.first_pause * 2.0 ** min(self._deaths - 1, 60))
        self._output.say(f"{name} {how}; it is started again in {pause:g} s{self.last_lines()}", Level.ERROR)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._retired.wait(), pause)

    async def _probe(self) -> None:
        while not await self.program.is_ready():  # noqa: ASYNC110  # the program tells nobody when it is
            await asyncio.sleep(self._timing.poll)
        self._serving_since = _now()
        if not self.served.done():
            self.served.set_result(None)
        elif not self._retired.is_set():
            self._output.say(f"{self.program.name} (pid {self.pid}) serves again", Level.WARNING)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        splitter = LineSplitter()
        while chunk := await stream.read(_CHUNK):
            self._take(splitter.feed(chunk))
        self._take(splitter.end())

    def _take(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._lines.append(line)
            self._output.log(self.program.name, line)

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def describe_end(code: int) -> str:
    """What a return code (as of ``subprocess``) means."""
    if code >= 0:
        return f"ended by itself, exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _now() -> float:
    return asyncio.get_running_loop().time()
