"""Random secrets, made at first need and kept in files that their owner alone reads."""

import os
from pathlib import Path

from pkg.runtime.mutual_auth import new_secret


def write_private(path: Path, content: str) -> None:
    """Replaces the file in one step, mode 0600 from its first moment."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    partial.replace(path)


class SecretStore:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        self._folder = folder

    def path(self, name: str) -> Path:
        """The file of a secret, made if it was not there."""
        path = self._folder / name
        if not path.exists():
            write_private(path, new_secret())
        return path

    def keep(self, name: str, value: str) -> Path:
        """The file of a secret that somebody else has made."""
        path = self._folder / name
        write_private(path, value)
        return path

    def get(self, name: str) -> str:
        """The value to come with, made if it was not there."""
        return self.values(name)[0]

    def values(self, name: str) -> tuple[str, ...]:
        """Likewise, and the other one that holds as well while it is rotated."""
        return tuple(self.path(name).read_text(encoding="utf-8").split())

    def put(self, name: str, values: tuple[str, ...]) -> None:
        """In the form in which services read them (see ``pkg.runtime.secret``)."""
        write_private(self.path(name), "\n".join(values))
