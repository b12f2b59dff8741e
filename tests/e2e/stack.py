"""A whole system of a test's own: `cmd/up.py` on its own data directory and free ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_DEADLINE = 90.0
STOP_DEADLINE = 40.0


@dataclass
class Stack:
    process: subprocess.Popen[bytes]
    data: Path
    log: Path

    @property
    def ready(self) -> dict[str, Any]:
        """``ready.json`` as it stands now: a process that was restarted has a new pid there."""
        loaded: dict[str, Any] = json.loads((self.data / "ready.json").read_text())
        return loaded

    @property
    def gateway(self) -> str:
        return str(self.ready["gateway"])

    def token(self, user: str) -> str:
        return str(self.ready["tokens"][user])


@contextmanager
def running_stack(
    data: Path,
    *,
    program: Sequence[str] = ("cmd/up.py",),
    users: Sequence[str] = (),
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    ends_with: int = 0,
) -> Iterator[Stack]:
    """Runs until the block ends; then stops it as Ctrl-C would, and insists that it stopped cleanly, or as told."""
    data.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    ready_file = data / "ready.json"
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, *program, "--data", str(data), "--gateway-port", "0", *options]
    for user in users:
        command += ["--user", user]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Nothing else of ours: no test may use a server, or a limit, that happens to be named around it.
            # Links of the tests lead into the real web, where no test may look.
            env={"PATH": os.environ["PATH"], "LINK_CHECKER_CONFINED": "true", **(environment or {})},
        )
    try:
        deadline = time.monotonic() + START_DEADLINE
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the system did not start; its log ends:\n{tail(log)}")
            time.sleep(0.05)
        yield Stack(process, data, log)
    finally:
        code = stop(process)
    assert code == ends_with, f"the system stopped with {code}; its log ends:\n{tail(log)}"


def stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -signal.SIGKILL


def tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
