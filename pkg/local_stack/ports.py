"""Ports on loopback: the usual one if it is free, otherwise any."""

import socket

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


class PortChooser:
    """Hands out ports, none of them twice."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def choose(self, usual: int) -> int:
        """``usual`` if it is free and not 0; otherwise one that the system has free now."""
        if usual and usual not in self._given and is_free(usual):
            self._given.add(usual)
            return usual
        while True:
            with socket.socket() as probe:
                probe.bind((LOOPBACK, 0))
                port: int = probe.getsockname()[1]
            if port not in self._given:
                self._given.add(port)
                return port
