"""Programs are started, watched, started again and stopped. Every program here is a real process."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pkg.local_stack.log_lines import Level
from pkg.local_stack.program import Program
from pkg.local_stack.supervisor import Supervisor, Timing, describe_end
from pkg.runtime.start_error import StartError

ROOT = Path(__file__).parents[3]
#: Serves (its file is there) until it is told to stop, and writes down when that was.
OBEDIENT = """
import pathlib, signal, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
def stop(*_):
    with (folder / "stopped").open("a") as file:
        file.write(name + " ")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("hello from", name, flush=True)
(folder / name).touch()
while True:
    time.sleep(60)
"""
STUBBORN = OBEDIENT.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
BROKEN = "import sys; print('no such planet', flush=True); sys.exit(7)"
QUICK = Timing(first_pause=0.05, longest_pause=0.2, poll=0.01, start_deadline=20)


class Record:
    """What the supervisor had to tell."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.said: list[str] = []

    def log(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def say(self, text: str, level: Level = Level.INFO) -> None:
        self.said.append(text)


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
async def supervisor(record: Record) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(record, timing=QUICK)
    yield supervisor
    supervisor.kill()
    await supervisor.stop()


def program(name: str, folder: Path, script: str = OBEDIENT, *, stop_grace: float = 10) -> Program:
    async def is_ready() -> bool:
        return (folder / name).exists()

    return Program(
        name=name,
        command=(sys.executable, "-c", script, name, str(folder)),
        address="nowhere",
        is_ready=is_ready,
        environment={"PATH": os.environ["PATH"]},
        stop_grace=stop_grace,
    )


async def eventually(check: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and not been waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_start_returns_when_all_serve_and_what_they_write_is_passed_on(
    supervisor: Supervisor, record: Record, tmp_path: Path
) -> None:
    await supervisor.start([program("earth", tmp_path), program("mars", tmp_path)])
    assert set(supervisor.pids) == {"earth", "mars"}
    assert all(lives(pid) for pid in supervisor.pids.values())
    await eventually(
        lambda: {("earth", "hello from earth"), ("mars", "hello from mars")} <= set(record.lines), "both greetings"
    )


async def test_programs_stop_one_by_one_last_started_first(
    supervisor: Supervisor, record: Record, tmp_path: Path
) -> None:
    await supervisor.start([program("first", tmp_path), program("second", tmp_path)])
    await supervisor.start([program("third", tmp_path)])
    pids = list(supervisor.pids.values())
    assert await supervisor.stop() is True
    assert (tmp_path / "stopped").read_text().split() == ["third", "second", "first"]
    assert not any(lives(pid) for pid in pids)
    assert supervisor.pids == {}
    assert record.said == []


async def test_whoever_does_not_stop_is_killed(supervisor: Supervisor, record: Record, tmp_path: Path) -> None:
    await supervisor.start([program("mule", tmp_path, STUBBORN, stop_grace=0.3)])
    pid = supervisor.pids["mule"]
    assert await supervisor.stop() is False
    assert not lives(pid)
    assert any("mule has not stopped within 0.3 s" in text for text in record.said)


async def test_kill_waits_for_nobody(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start([program("mule", tmp_path, STUBBORN, stop_grace=600)])
    pid = supervisor.pids["mule"]
    supervisor.kill()
    assert await asyncio.wait_for(supervisor.stop(), 20) is False
    assert not lives(pid)


async def test_a_death_is_told_and_mended(record: Record, tmp_path: Path) -> None:
    changes: list[dict[str, int]] = []

    def note() -> None:
        changes.append(watcher.pids)

    watcher = Supervisor(record, on_change=note, timing=QUICK)
    await watcher.start([program("phoenix", tmp_path), program("stone", tmp_path)])
    before = watcher.pids
    os.kill(before["phoenix"], signal.SIGKILL)
    await eventually(lambda: any("serves again" in text for text in record.said), "it serves again")
    after = watcher.pids
    assert after["phoenix"] != before["phoenix"]
    assert after["stone"] == before["stone"]
    death = next(text for text in record.said if "was killed" in text)
    assert f"phoenix (pid {before['phoenix']}) was killed by SIGKILL" in death
    assert "hello from phoenix" in death
    # The old pid is taken back before the new one is known: in between it may be anybody's.
    assert [pids.get("phoenix") for pids in changes][-3:] == [before["phoenix"], None, after["phoenix"]]
    await watcher.stop()


async def test_a_program_that_dies_again_and_again_is_started_ever_more_slowly(record: Record, tmp_path: Path) -> None:
    supervisor = Supervisor(record, timing=Timing(first_pause=0.05, longest_pause=0.2, poll=0.01, healthy_after=600))
    await supervisor.start([program("mayfly", tmp_path)])
    for deaths in itertools.count(1):
        await eventually(lambda: "mayfly" in supervisor.pids, "it is started again")
        os.kill(supervisor.pids["mayfly"], signal.SIGKILL)
        await eventually(lambda known=deaths: len(_pauses(record)) == known, "the death is told")  # type: ignore[misc]
        if deaths == 5:
            break
    assert _pauses(record) == ["0.05", "0.1", "0.2", "0.2", "0.2"]
    await supervisor.stop()


async def test_deaths_are_forgotten_after_a_time_of_health(record: Record, tmp_path: Path) -> None:
    supervisor = Supervisor(record, timing=Timing(first_pause=0.05, longest_pause=5, poll=0.01, healthy_after=0.0))
    await supervisor.start([program("mayfly", tmp_path)])
    for deaths in (1, 2, 3):
        await eventually(lambda known=deaths: _times_served(record) == known - 1, "it serves")  # type: ignore[misc]
        os.kill(supervisor.pids["mayfly"], signal.SIGKILL)
        await eventually(lambda known=deaths: len(_pauses(record)) == known, "the death is told")  # type: ignore[misc]
    assert _pauses(record) == ["0.05", "0.05", "0.05"]
    await supervisor.stop()


def _pauses(record: Record) -> list[str]:
    return [text.split("started again in ")[1].split(" s")[0] for text in record.said if "started again in" in text]


def _times_served(record: Record) -> int:
    return sum("serves again" in text for text in record.said)


async def test_a_program_that_never_serves_is_given_up_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    with pytest.raises(StartError) as refused:
        await supervisor.start([program("pluto", tmp_path, BROKEN)])
    assert "pluto" in refused.value.faults[0]
    assert "exit code 7, 3 times in a row" in refused.value.faults[0]
    assert "no such planet" in refused.value.faults[0]
    assert supervisor.pids == {}


async def test_a_program_that_cannot_live_with_its_settings_is_given_up_at_once(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    with pytest.raises(StartError) as refused:
        await supervisor.start([program("pluto", tmp_path, BROKEN.replace("7", "78"))])
    assert "exit code 78; its log ends:" in refused.value.faults[0]
    assert "no such planet" in refused.value.faults[0]


async def test_a_program_that_serves_too_late_is_named(record: Record, tmp_path: Path) -> None:
    supervisor = Supervisor(record, timing=Timing(poll=0.01, start_deadline=1))
    late = program("late", tmp_path, OBEDIENT.replace("(folder / name).touch()", ""))
    with pytest.raises(StartError) as refused:
        await supervisor.start([program("early", tmp_path), late])
    assert len(refused.value.faults) == 1
    assert "late does not serve after 1 s" in refused.value.faults[0]
    pids = list(supervisor.pids.values())
    assert len(pids) == 2
    await supervisor.stop()
    assert not any(lives(pid) for pid in pids)


async def test_a_command_that_does_not_exist_is_a_failed_start(supervisor: Supervisor, tmp_path: Path) -> None:
    async def is_ready() -> bool:
        return False

    missing = Program(name="ghost", command=(str(tmp_path / "ghost"),), address="nowhere", is_ready=is_ready)
    with pytest.raises(StartError, match="ghost"):
        await supervisor.start([missing])


async def test_a_child_is_out_of_reach_of_the_terminals_ctrl_c(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start([program("earth", tmp_path)])
    assert os.getpgid(supervisor.pids["earth"]) != os.getpgid(0)
    assert os.getsid(supervisor.pids["earth"]) != os.getsid(0)


PARENT = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.local_stack.test_supervisor import OBEDIENT, STUBBORN, Record, program
from pkg.local_stack.supervisor import Supervisor
from dataclasses import replace

async def main():
    folder = Path(sys.argv[1])
    supervisor = Supervisor(Record())
    await supervisor.start([program("orphan", folder), replace(program("mule", folder, STUBBORN), stateless=True)])
    (folder / "pids").write_text(" ".join(map(str, supervisor.pids.values())))
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_nobody_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PARENT, str(tmp_path), str(ROOT)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < deadline, "a program outlived the supervisor"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "killed by SIGKILL"), (-40, "killed by signal 40")]
)
def test_an_end_is_described(code: int, words: str) -> None:
    assert words in describe_end(code)
