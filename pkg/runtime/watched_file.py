"""Files that change while the process runs, above all secrets that are rotated.

A new version is taken as a whole or not at all: one that cannot be used is told of, and the values of the last good one
stay. Looking is a ``stat``; it follows links, which is how Kubernetes replaces what it mounts.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pkg.runtime.logs import get_logger
from pkg.runtime.metrics import SECRET_FILE_FAULTS, SECRET_FILE_MODIFIED
from pkg.runtime.start_error import StartError

#: Seconds between two looks.
INTERVAL: Final = 1.0

type _Version = tuple[int, ...] | None

_log = get_logger(__name__)


class WatchedFile[ContentT]:
    """``read`` makes of a path what its file holds, and raises StartError if that cannot be used."""

    def __init__(self, path: Path, read: Callable[[Path], ContentT]) -> None:
        """Raises StartError likewise."""
        self._path = path
        self._read = read
        self._on_change: list[Callable[[ContentT], None]] = []
        self._faults = SECRET_FILE_FAULTS.labels(str(path))
        self._version = _version_of(path)
        self._content = self._load()

    @property
    def content(self) -> ContentT:
        """Of the last version that could be used."""
        return self._content

    def on_change(self, act: Callable[[ContentT], None]) -> None:
        """Has ``act`` called with each new content, and with none before."""
        self._on_change.append(act)

    def look(self) -> None:
        """Reads the file again if it is another than at the last look."""
        version = _version_of(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._content = self._load()
        except StartError as error:
            self._faults.inc()
            _log.error("a file has changed and cannot be used; what it held stays", reason="; ".join(error.faults))
            return
        _log.info("a file has changed and is used", file=str(self._path))
        for act in self._on_change:
            act(self._content)

    def _load(self) -> ContentT:
        content = self._read(self._path)
        if self._version is not None:
            SECRET_FILE_MODIFIED.labels(str(self._path)).set(self._version[-1] / 1e9)
        return content


async def watch_files(files: Sequence[WatchedFile[Any]], interval: float = INTERVAL) -> None:
    """Looks at them each ``interval`` seconds, until cancelled."""
    while True:
        await asyncio.sleep(interval)
        for file in files:
            file.look()


def _version_of(path: Path) -> _Version:
    """None while there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mtime_ns
