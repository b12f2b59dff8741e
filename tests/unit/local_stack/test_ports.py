"""Ports: the usual one, or another; never one that is taken or promised to somebody else."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pkg.local_stack.ports import LOOPBACK, PortChooser, is_free

ROOT = Path(__file__).parents[3]


def test_the_usual_port_if_it_is_free() -> None:
    port = free_port()
    chooser = PortChooser()
    assert chooser.choose(port) == port
    assert chooser.choose(port) != port


@pytest.mark.parametrize("address", [LOOPBACK, ""], ids=["loopback", "everywhere"])
def test_a_taken_port_is_left_alone(address: str) -> None:
    with socket.socket() as taken:
        taken.bind((address, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        chosen = PortChooser().choose(port)
        assert chosen != port
        assert is_free(chosen)


@pytest.mark.skipif(sys.platform != "linux", reason="the note is a Linux one")
def test_a_port_promised_to_a_living_process_is_not_promised_again() -> None:
    port = free_port()
    script = f"from pkg.local_stack.ports import PortChooser; print(PortChooser().choose({port}), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == port
        # Nobody listens there yet.
        assert is_free(port)
        assert PortChooser().choose(port) != port
        other.communicate("\n", timeout=20)
    assert PortChooser().choose(port) == port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
