"""A secret in a file of its own, for servers that know one value of it or two.

The file holds the value. While it is rotated it holds two, a line each: the one to come with first, and the one that
may be right instead.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from pkg.runtime.start_error import StartError
from pkg.runtime.watched_file import WatchedFile

_MIN_LENGTH: Final = 12
_WELL_KNOWN: Final = frozenset(
    ["123", "postgres", "password", "secret", "changeme", "change-me", "delinkcious", "admin", "default", "test"]
)


#: One that stays as it is, or one that may change while the process runs.
type Password = str | Secret


class Secret:
    """Shows its value to nobody who does not ask for it."""

    def __init__(self, values: Sequence[str], file: WatchedFile[Sequence[str]] | None = None) -> None:
        self._values = values
        #: None for one that stays as it is.
        self.file = file

    @classmethod
    def of(cls, value: str) -> Self:
        return cls([value])

    @classmethod
    def in_file(cls, path: Path, *, relaxed: bool = False) -> Self:
        """``relaxed`` lets short ones and defaults pass, which is for a developer's machine.

        Raises:
            StartError: the file is missing or empty, or what it holds is no secret.
        """
        file = WatchedFile(path, lambda found: read_secret(found, relaxed=relaxed))
        return cls(file.content, file)

    def values(self) -> Sequence[str]:
        """As the file has them now: the one to try first, and the one to try then, if there are two."""
        if self.file is None:
            return self._values
        self.file.look()
        return self.file.content

    def get_secret_value(self) -> str:
        """The one to try first."""
        return self.values()[0]

    def __repr__(self) -> str:
        return "Secret('**********')"


def passwords_of(password: Password) -> Sequence[str]:
    """Those to try, in this order: one, or two while it is rotated."""
    return password.values() if isinstance(password, Secret) else [password]


def read_secret(path: Path, *, relaxed: bool = False) -> Sequence[str]:
    """One value or two; see ``Secret``.

    Raises:
        StartError: likewise.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StartError(f"cannot read the secret file {path}: {error.strerror}; mount the secret there") from None
    except UnicodeDecodeError:
        raise StartError(f"the secret file {path} is not text") from None
    values = [value for line in lines if (value := line.strip())]
    if not values:
        raise StartError(f"the secret file {path} is empty; write the secret into it")
    if len(values) > 2:
        raise StartError(f"the secret file {path} holds more than a value and the one that follows it")
    if not relaxed and any(map(_is_default, values)):
        raise StartError(
            f"the secret in {path} is a default or too short (at least {_MIN_LENGTH} characters); make a random one"
        )
    return values


def _is_default(value: str) -> bool:
    return len(value) < _MIN_LENGTH or value.lower().strip("0123456789") in _WELL_KNOWN
