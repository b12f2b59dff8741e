"""New values for secrets while everything runs, and nothing that fails meanwhile.

In three steps, each finished everywhere before the next begins:

- *add*: a second value stands behind the first, and is taken wherever two can be;
- *switch*: it comes to the front: it is what callers present, and what servers know that know only one;
- *drop*: the old one goes, and is refused from then on.

The store says how far each secret has come, and the journal which value of it is the old one: a rotation that was cut
short goes on where it stopped.
"""

import fcntl
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from pkg.local_stack.secret_store import SecretStore, write_private
from pkg.runtime.mutual_auth import new_secret
from pkg.runtime.start_error import StartError

type Say = Callable[[str], None]
type Change = Callable[[tuple[str, ...], str], tuple[str, ...]]


@dataclass(frozen=True)
class Kind:
    """Secrets that are rotated together."""

    name: str
    #: By their names in the store.
    secrets: Sequence[str]
    #: Has files and servers know what the store holds; repeatable.
    tell: Callable[[], Awaitable[None]]


class Journal:
    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """
        Raises:
            StartError: another rotation has it.
        """
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise StartError(f"another rotation is under way on {self._path.parent}; wait for its end") from None
        finally:
            os.close(lock)

    def left(self) -> list[str]:
        """The kinds that a rotation before this one was to come to."""
        return list(self._read().get("kinds", []))

    def plan(self, kinds: Sequence[str]) -> list[str]:
        """What is left, and ``kinds`` behind it."""
        left = self.left()
        planned = [*left, *(kind for kind in kinds if kind not in left)]
        self._write({**self._read(), "kinds": planned})
        return planned

    def begin(self, fingerprints: Mapping[str, str]) -> Mapping[str, str]:
        """Of the old value of each secret: of when it began, whenever that was."""
        content = self._read()
        self._write({"old": fingerprints, **content})
        return self._read()["old"]  # type: ignore[no-any-return]  # JSON of our own

    def end(self, kind: str) -> None:
        kinds = [other for other in self._read()["kinds"] if other != kind]
        if kinds:
            self._write({"kinds": kinds})
        else:
            self._path.unlink()

    def _read(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def _write(self, content: Mapping[str, Any]) -> None:
        write_private(self._path, json.dumps(content))


async def rotate(
    kind: Kind, store: SecretStore, journal: Journal, until_used: Callable[[], Awaitable[None]], say: Say
) -> None:
    """``until_used`` returns when every service works with its files as they are.

    Raises:
        StartError: a server or a service does not follow; what is done so far holds, and it can be gone on with.
    """
    old = journal.begin({name: _fingerprint(store.get(name)) for name in kind.secrets})
    for number, (what, change) in enumerate(_STEPS, start=1):
        say(f"{kind.name}, step {number} of {len(_STEPS)}: {what}")
        for name, fingerprint in old.items():
            values = store.values(name)
            changed = change(values, fingerprint)
            if changed != values:
                store.put(name, changed)
        await kind.tell()
        await until_used()
    journal.end(kind.name)


def _add(values: tuple[str, ...], old: str) -> tuple[str, ...]:
    return (*values, new_secret()) if len(values) == 1 and _fingerprint(values[0]) == old else values


def _switch(values: tuple[str, ...], old: str) -> tuple[str, ...]:
    return values[::-1] if len(values) > 1 and _fingerprint(values[0]) == old else values


def _drop(values: tuple[str, ...], old: str) -> tuple[str, ...]:
    return values[:1] if len(values) > 1 and _fingerprint(values[1]) == old else values


_STEPS: Final[Sequence[tuple[str, Change]]] = (
    ("a second value is made known", _add),
    ("the second one comes first", _switch),
    ("the old one is dropped", _drop),
)


def _fingerprint(value: str) -> str:
    return sha256(value.encode()).hexdigest()
