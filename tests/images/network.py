"""A network of the test's own: loopback and nothing else, so that nobody's ports are taken and nobody is reached."""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Of <linux/sockios.h> and <linux/if.h>.
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1


@contextmanager
def apart() -> Iterator[None]:
    """This thread, and what it starts: threads, programs, containers on the host's network."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        os.unshare(os.CLONE_NEWNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
        yield
    finally:
        os.setns(before, os.CLONE_NEWNET)
        os.close(before)
