"""A stack's folder is its owner's, and one process's at a time."""

import os
import subprocess
import sys
from pathlib import Path
from stat import S_IMODE

import pytest

from pkg.local_stack.data_folder import DataFolder
from pkg.runtime.start_error import StartError

ROOT = Path(__file__).parents[3]

HOLDER = """
import sys
from pathlib import Path
from pkg.local_stack.data_folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.make()
folder.lock()
print("held", flush=True)
input()
"""
#: Leaves a child that has inherited the lock and lives for as long as standard input is open.
PARENT = HOLDER.replace("folder.lock()", "lock = folder.lock()").replace(
    "input()",
    "import os, subprocess\n"
    "subprocess.Popen([sys.executable, '-c', 'input()'], pass_fds=[lock])\n"
    "os.kill(os.getpid(), 9)",
)


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = DataFolder(tmp_path / "a" / "b")
    folder.make()
    folder.make()
    for path in (folder.path, folder.nats, folder.valkey, folder.secrets, folder.config, folder.logs):
        assert S_IMODE(path.stat().st_mode) == 0o700, path
    assert not folder.postgres.exists(), "Postgres makes its own"


def test_a_relative_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = DataFolder(Path("data"))
    monkeypatch.chdir("/")
    assert folder.path == tmp_path / "data"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(StartError, match="cannot use the data folder"):
            DataFolder(path).make()


def start(script: str, folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with start(HOLDER, tmp_path) as holder:
        with pytest.raises(StartError, match=rf"already running \(pid {holder.pid}\) on {tmp_path}"):
            folder.lock()
        holder.communicate("\n", timeout=20)
    descriptor = folder.lock()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    os.close(descriptor)


def test_programs_that_outlive_their_stack_are_waited_for(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with start(PARENT, tmp_path) as parent:
        parent.wait(20)
        with pytest.raises(BlockingIOError):
            _try_lock(tmp_path / "lock")
        assert parent.stdin is not None
        # The child ends, some time after the next line has begun to wait for it.
        parent.stdin.close()
        os.close(folder.lock())


def _try_lock(path: Path) -> None:
    import fcntl

    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
