"""What a person sees of the stack, and the log files that keep all of it."""

import os
import queue
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TextIO

from pkg.local_stack.log_lines import Level, LogReader

#: Bytes, after which a log file becomes the old one, in place of the one before it.
MAX_LOG_FILE: Final = 10 * 1024 * 1024
#: Lines that may wait for a terminal that somebody holds with Ctrl-S. What comes on top is in the files alone.
_MAX_WAITING: Final = 10_000
_FLUSH_DEADLINE: Final = 2.0

_COLOURS: Final = (36, 32, 35, 34, 33, 96, 92, 95, 94)
_LEVEL_COLOURS: Final[Mapping[Level, int]] = {Level.WARNING: 33, Level.ERROR: 31}
_OWN_NAME: Final = "up"


class LogFile:
    def __init__(self, path: Path, limit: int = MAX_LOG_FILE) -> None:
        self._path = path
        self._limit = limit
        self._file: BinaryIO = self._open()

    def write(self, line: str) -> None:
        if self._file.tell() > self._limit:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._open()
        self._file.write(line.encode(errors="replace") + b"\n")

    def close(self) -> None:
        self._file.close()

    def _open(self) -> BinaryIO:
        return open(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)  # noqa: PTH123


class Console:
    """Prints from a thread of its own: a terminal that does not take what we write must not stop the stack."""

    def __init__(
        self, stream: TextIO, logs: Path, names: Sequence[str], *, quiet: bool = False, coloured: bool = False
    ) -> None:
        self._stream = stream
        self._logs = logs
        self._quiet = quiet
        self._coloured = coloured
        self._width = max(len(name) for name in (*names, _OWN_NAME))
        self._colours = dict(zip(names, _COLOURS * (1 + len(names) // len(_COLOURS)), strict=False))
        self._files: dict[str, LogFile] = {}
        self._readers: dict[str, LogReader] = {}
        self._waiting: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._left_out = 0
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._waiting.put(None, timeout=_FLUSH_DEADLINE)
            self._thread.join(_FLUSH_DEADLINE)
        except queue.Full:
            pass
        for file in self._files.values():
            file.close()

    def log(self, name: str, line: str) -> None:
        """A line that a program wrote."""
        if name not in self._files:
            self._files[name] = LogFile(self._logs / f"{name}.log")
            self._readers[name] = LogReader()
        self._files[name].write(line)
        if not line.strip():
            return
        read = self._readers[name].read(line)
        if not self._quiet or read.level >= Level.WARNING:
            self._put(self._line(name, read.text, read.level))

    def say(self, text: str, level: Level = Level.INFO) -> None:
        """A line or more of our own. Below a warning it is left out when quiet."""
        if not self._quiet or level >= Level.WARNING:
            for line in text.splitlines():
                self._put(self._line(_OWN_NAME, line, level))

    def show(self, text: str) -> None:
        """What the person has asked for: as it is, quiet or not."""
        self._put(text)

    def _line(self, name: str, text: str, level: Level) -> str:
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            prefix = _paint(prefix, self._colours.get(name, 1))
            if level in _LEVEL_COLOURS:
                text = _paint(text, _LEVEL_COLOURS[level])
        return f"{prefix} {text}"

    def _put(self, text: str) -> None:
        try:
            if self._left_out:
                self._waiting.put_nowait(f"... {self._left_out} lines left out here; {self._logs} has them")
                self._left_out = 0
            self._waiting.put_nowait(text)
        except queue.Full:
            self._left_out += 1

    def _print(self) -> None:
        while (text := self._waiting.get()) is not None:
            try:
                self._stream.write(text + "\n")
                if self._waiting.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                # Nobody listens any more (`make up | head`, a closed terminal). The stack goes on; so do its log files.
                _silence(self._stream)


def _paint(text: str, colour: int) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def _silence(stream: TextIO) -> None:
    """Sends to nowhere what the stream still holds: it would be written, and fail, once more when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(nowhere)
