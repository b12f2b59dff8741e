"""Ports on loopback: the usual one if it is free, otherwise any."""

import random
import socket
import sys
from typing import Final

LOOPBACK: Final = "127.0.0.1"

#: Below the ports from which connections go out: those come and go, and would take the port of a program that has died
#: before it is started again.
_CHOICE: Final = range(18_000, 32_000)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


class PortChooser:
    """Hands out ports, none of them twice on one machine for as long as the processes live that have chosen."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def choose(self, usual: int) -> int:
        """``usual`` if it is free and not 0; otherwise one that is free now."""
        if usual and self._take(usual):
            return usual
        while not self._take(port := random.choice(_CHOICE)):  # noqa: S311  # not a secret
            pass
        return port

    def _take(self, port: int) -> bool:
        if port in self._given or not is_free(port) or not _reserve(port):
            return False
        self._given.add(port)
        return True


def _reserve(port: int) -> bool:
    """Whether nobody else is about to use the port.

    A name without a file (unix(7), abstract) serves as the note: the kernel keeps it until this process ends, and no
    longer.
    """
    if sys.platform != "linux":
        return True
    note = socket.socket(socket.AF_UNIX)
    try:
        note.bind(f"\0delinkcious-port-{port}")
    except OSError:
        note.close()
        return False
    note.detach()
    return True
