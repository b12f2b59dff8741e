"""Run as a program: imports every module of the packages named, and reports as JSON what an import must not do.

    python import_probe.py ROOT PACKAGE...

An act is laid to a module's charge when no import stands between the module's code and the act: what a third-party
library does while it is imported is its own affair.
"""

import importlib
import json
import os
import pkgutil
import socket  # noqa: F401  # loaded before the watch begins, as every library's import would load it
import sys
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

#: A script of Alembic's own, which runs inside its context and nowhere else.
NOT_MODULES = {"env"}

#: Libraries' own switches, which are no concern of the module that defines a model or a message.
LIBRARY_SWITCHES = ("PYDANTIC_", "TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK")

faults: list[str] = []


def guilty(root: str) -> str | None:
    """The product's file whose code runs now, up to the nearest import."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return None
        if name.startswith(root) and name != __file__ and "site-packages" not in name:
            return os.path.relpath(name, root)
        frame = frame.f_back
    return None


class WatchedEnvironment(MutableMapping[str, str]):
    def __init__(self, real: MutableMapping[str, str], root: str) -> None:
        self._real = real
        self._root = root

    def _watch(self, what: str) -> None:
        where = guilty(self._root)
        if where and not what.startswith(LIBRARY_SWITCHES):
            faults.append(f"{where} reads the environment ({what})")

    def __getitem__(self, name: str) -> str:
        self._watch(name)
        return self._real[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._watch(name)
        self._real[name] = value

    def __delitem__(self, name: str) -> None:
        self._watch(name)
        del self._real[name]

    def __iter__(self) -> Iterator[str]:
        self._watch("all of it")
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)

    def copy(self) -> dict[str, str]:
        return dict(self)


def watch(root: str) -> None:
    os.environ = WatchedEnvironment(os.environ, root)  # type: ignore[assignment]  # noqa: B003  # this is the probe

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {
            "socket.__new__",
            "socket.connect",
            "socket.bind",
            "socket.getaddrinfo",
            "subprocess.Popen",
        }:
            where = guilty(root)
            if where:
                faults.append(f"{where}: {event}")

    sys.addaudithook(audit)
    start = threading.Thread.start

    def watched_start(thread: threading.Thread) -> None:
        where = guilty(root)
        if where:
            faults.append(f"{where} starts a thread")
        start(thread)

    threading.Thread.start = watched_start  # type: ignore[method-assign,assignment]  # this is the probe


def modules(package: ModuleType) -> Iterator[str]:
    yield package.__name__
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name.rsplit(".", 1)[-1] not in NOT_MODULES:
            yield found.name


def main(root: str, packages: list[str]) -> None:
    sys.path.insert(0, root)
    watch(root)
    imported = []
    for package in packages:
        for name in modules(importlib.import_module(package)):
            try:
                importlib.import_module(name)
            except BaseException as error:  # noqa: BLE001  # a module that cannot be imported is a finding, not an end
                faults.append(f"{name} cannot be imported: {error!r}")
            imported.append(name)
    print(json.dumps({"imported": imported, "faults": faults}))


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()) + os.sep, sys.argv[2:])
