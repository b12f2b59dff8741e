"""A program of the stack: what is run, how it is told to stop, how one knows that it serves."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, kw_only=True)
class Program:
    name: str
    command: tuple[str, ...]
    #: Where it serves, as shown to people.
    address: str
    #: True when it serves; raises nothing.
    is_ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    working_directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    #: Keeps nothing: it may be killed at once when this process dies, and then surely ends.
    stateless: bool = False
    #: Refuses to run as root.
    unprivileged: bool = False
    #: Seconds between the stop signal and a SIGKILL.
    stop_grace: float = 20.0


def launch_command(program: Program) -> list[str]:
    """The command that starts ``program`` as a child of this process, tied to its life."""
    orphan_signal = signal.SIGKILL if program.stateless else program.stop_signal
    return tied_command(program.command, orphan_signal, unprivileged=program.unprivileged)


def tied_command(
    command: tuple[str, ...], orphan_signal: signal.Signals = signal.SIGTERM, *, unprivileged: bool = False
) -> list[str]:
    """``command``, sent ``orphan_signal`` when this process dies."""
    user = "ordinary" if unprivileged else "same"
    return [sys.executable, "-ISs", str(_LAUNCHER), str(os.getpid()), str(int(orphan_signal)), user, *command]
