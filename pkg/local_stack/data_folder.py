"""The folder of one stack: its data, secrets and logs, which one process at a time may use."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from pkg.runtime.start_error import StartError

#: Seconds for the programs of a stack that was killed to end.
_LEFTOVER_DEADLINE: Final = 30.0
_POLL: Final = 0.05


class DataFolder:
    """All of it is its owner's alone (0700)."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.postgres = self.path / "postgres"
        self.nats = self.path / "nats"
        self.valkey = self.path / "valkey"
        self.secrets = self.path / "secrets"
        self.config = self.path / "config"
        self.logs = self.path / "logs"
        self.ready_file = self.path / "ready.json"
        self.rotation_journal = self.path / "rotation.json"
        self._lock = self.path / "lock"

    def make(self) -> None:
        """
        Raises:
            StartError: it cannot be made, or is somebody else's.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Postgres makes its own.
            for folder in (self.path, self.nats, self.valkey, self.secrets, self.config, self.logs):
                folder.mkdir(exist_ok=True, mode=0o700)
                folder.chmod(0o700)
        except OSError as error:
            raise StartError(f"cannot use the data folder {self.path}: {error.strerror}") from None

    def lock(self) -> int:
        """Takes the folder for this process; gives the file descriptor that holds it.

        Whoever inherits that descriptor holds the folder as well: after a stack was killed it stays taken until the
        last of its programs has ended, and is waited for.

        Raises:
            StartError: another stack runs here.
        """
        # It stays open for as long as the process lives, on purpose.
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _LEFTOVER_DEADLINE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                owner = self._owner(descriptor)
                if owner is None or _lives(owner) or time.monotonic() > deadline:
                    os.close(descriptor)
                    who = f"pid {owner}" if owner else "starting"
                    raise StartError(
                        f"already running ({who}) on {self.path}; stop it, or choose another folder with --data"
                    ) from None
                time.sleep(_POLL)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def _owner(self, descriptor: int) -> int | None:
        content = os.pread(descriptor, 32, 0).strip()
        return int(content) if content.isdigit() else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
