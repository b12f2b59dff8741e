"""Processor time of processes and all that they started, from /proc (Linux)."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children[int(fields[1])].append(int(entry.name))
    return children


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name (which may hold anything): state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def processor_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, their living descendants, and the dead ones they waited for."""
    children = _children()
    waiting = list(pids)
    ticks = 0
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        fields = _stat(pid)
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_SECOND
