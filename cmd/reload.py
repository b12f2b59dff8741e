#!/usr/bin/env python3
"""Runs a module, and starts it anew whenever a file of Python has changed: for development alone (Tiltfile).

  python cmd/reload.py svc.link_service

A module that ends by itself is waited for: the next change starts it again. SIGTERM and SIGINT end it and this program.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("pkg", "pb", "svc", "fun")
#: Seconds between two looks at the files, and until a process that is to end is killed.
POLL = 0.5
GRACE = 10.0


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("module", help="such as svc.link_service")
    parser.add_argument("--root", metavar="DIR", type=Path, default=ROOT, help="of the sources (%(default)s)")
    return parser.parse_args(words)


def look(root: Path) -> dict[str, int]:
    """When each file was changed."""
    found = {}
    for folder in FOLDERS:
        for path in (root / folder).rglob("*.py"):
            try:
                found[str(path)] = path.stat().st_mtime_ns
            except FileNotFoundError:  # it was, a moment ago
                continue
    return found


class Stopped(Exception):
    """Somebody has asked this program to end."""


def stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def keep_running(root: Path, module: str) -> None:
    before = look(root)
    while True:
        process = subprocess.Popen([sys.executable, "-m", module], cwd=root)
        try:
            while (now := look(root)) == before:
                time.sleep(POLL)
        finally:
            end(process)
        changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
        before = now
        print(f"reload: {Path(changed[0]).relative_to(root)} has changed; starting {module} anew", flush=True)


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        keep_running(arguments.root.resolve(), arguments.module)
    except Stopped:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
