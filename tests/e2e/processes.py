"""Processes of a running stack, and `cmd/up.py` as a command that ends by itself."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.stack import ROOT, START_DEADLINE

SERVICES = {
    "link-manager",
    "user-manager",
    "social-graph-manager",
    "news-manager",
    "link-checker",
    "link-check-function",
    "api-gateway",
}
#: Nobody's service: a part of the stack alone.
OTHERS = {"demo-site"}
SERVERS = {"postgres", "nats", "valkey"}
END_DEADLINE = 30.0


def up(*options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs to its end, which must come by itself."""
    return subprocess.run(
        [sys.executable, "cmd/up.py", *options],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=START_DEADLINE,
        check=False,
    )


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(check: Callable[[], bool], what: str, seconds: float = END_DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def family(pid: int) -> set[int]:
    """A process with all that descend from it."""
    found = {pid}
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found |= family(int(child))
    return found
