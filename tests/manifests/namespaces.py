"""Network namespaces of a test's own: pods on one wire, each with an address, and listeners that see who comes.

They have no names and no way out: nobody else's addresses are reached, and all goes when the test ends.
"""

import errno
import os
import select
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from tests.manifests.network import End

_HERE: Final = "/proc/thread-self/ns/net"
#: Seconds in which something comes or is refused; on one machine it takes microseconds.
PATIENCE: Final = 20.0
#: Datagrams, one after the other, in that time.
_SENDS: Final = 5
_REFUSALS: Final = frozenset([errno.ECONNREFUSED, errno.EPERM, errno.EACCES, errno.EHOSTUNREACH, errno.ENETUNREACH])


class Namespace:
    """A network namespace, held by a file descriptor. Sockets made inside stay inside."""

    def __init__(self) -> None:
        before = os.open(_HERE, os.O_RDONLY)
        try:
            os.unshare(os.CLONE_NEWNET)
            self.descriptor = os.open(_HERE, os.O_RDONLY)
            os.setns(before, os.CLONE_NEWNET)
        finally:
            os.close(before)

    def close(self) -> None:
        os.close(self.descriptor)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and the programs that it starts."""
        before = os.open(_HERE, os.O_RDONLY)
        try:
            os.setns(self.descriptor, os.CLONE_NEWNET)
            yield
        finally:
            os.setns(before, os.CLONE_NEWNET)
            os.close(before)

    def run(self, *command: str, given: str) -> None:
        with self.entered():
            done = subprocess.run(command, input=given, text=True, capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}\n{given}"


@dataclass
class Place:
    """A namespace on the wire, with everybody who lives in it and one listener for each port."""

    namespace: Namespace
    ends: list[End]
    listeners: dict[tuple[int, str], socket.socket] = field(default_factory=dict)

    def listen(self, ports: Iterable[tuple[int, str]]) -> None:
        with self.namespace.entered():
            for port, protocol in ports:
                kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
                listener = socket.socket(socket.AF_INET6, kind)
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                listener.bind(("::", port))
                listener.setblocking(False)  # its only argument
                if protocol == "TCP":
                    listener.listen()
                self.listeners[port, protocol] = listener

    def close(self) -> None:
        for listener in self.listeners.values():
            listener.close()


@dataclass
class Wire:
    """Places that reach each other, whatever their addresses are."""

    places: dict[str, Place]

    def connects(self, source: End, target: End, port: int, protocol: str) -> bool:
        """Whether a connection (or one datagram) of this source arrives at this target.

        Raises:
            AssertionError: it arrives elsewhere, or neither arrives nor is refused.
        """
        listener = self.places[target.name].listeners[port, protocol]
        version = ip_address(target.address).version
        try_it: Callable[[socket.socket, socket.socket, str, int], str | None] = (
            _connect if protocol == "TCP" else _send
        )
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        with self.places[source.name].namespace.entered(), socket.socket(family, kind) as client:
            client.settimeout(PATIENCE)
            if ip_address(source.address).version == version:
                client.bind((source.address, 0))
            came = try_it(client, listener, target.address, port)
            if came is None:
                return False
            assert came == client.getsockname()[0], f"{source.name} came to {target.name} as {came}"
            return True


def _connect(client: socket.socket, listener: socket.socket, address: str, port: int) -> str | None:
    try:
        client.connect((address, port))
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return None
    assert select.select([listener], [], [], PATIENCE)[0], f"what answers at {address}:{port} is somebody else"
    accepted, peer = listener.accept()
    accepted.close()
    return _plain(peer[0])


def _send(client: socket.socket, listener: socket.socket, address: str, port: int) -> str | None:
    try:
        client.connect((address, port))
        # Either it arrives, or its refusal comes back: not always, since the kernel tells so many a second at most.
        for _ in range(_SENDS):
            client.send(b"?")
            ready, _, _ = select.select([listener, client], [], [], PATIENCE / _SENDS)
            if ready:
                break
        assert ready, f"{address}:{port}: no datagram, and no refusal"
        if listener in ready:
            return _plain(listener.recvfrom(1)[1][0])
        client.recv(1)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
    return None


def _plain(address: str) -> str:
    """A socket for both families has IPv4's addresses in those of IPv6."""
    return address.removeprefix("::ffff:")


@contextmanager
def laid_wire(homes: dict[str, list[End]]) -> Iterator[Wire]:
    """A bridge with a namespace for each home; who lives in one shares its rules and its listeners."""
    with ExitStack() as stack:

        def new() -> Namespace:
            namespace = Namespace()
            stack.callback(namespace.close)
            return namespace

        node = new()
        homesteads = {name: Place(new(), ends) for name, ends in homes.items()}
        lines = ["link add wire type bridge", "link set wire up"]
        for number, place in enumerate(homesteads.values()):
            behind = f"/proc/{os.getpid()}/fd/{place.namespace.descriptor}"
            lines += [
                f"link add v{number} type veth peer name eth0 address {_hardware(number)} netns {behind}",
                f"link set v{number} master wire up",
            ]
        node.run("ip", "-batch", "-", given=_script(lines))
        addresses = [
            [end.address for end in place.ends] + [f"fd00:10:244::{number + 1:x}"]
            for number, place in enumerate(homesteads.values())
        ]
        for number, place in enumerate(homesteads.values()):
            lines = ["link set lo up", "link set eth0 up"]
            lines += [f"addr add {_alone(address)} dev eth0" for address in addresses[number]]
            # Whatever the address, it is on this wire.
            lines += ["route add 0.0.0.0/0 dev eth0", "route add ::/0 dev eth0"]
            # Told beforehand: the kernel's table of neighbours is one for all namespaces, and small.
            lines += [
                f"neigh add {address} lladdr {_hardware(other)} dev eth0 nud permanent"
                for other, own in enumerate(addresses)
                for address in own
                if other != number
            ]
            place.namespace.run("ip", "-batch", "-", given=_script(lines))
        places = {end.name: place for place in homesteads.values() for end in place.ends}
        for place in homesteads.values():
            stack.callback(place.close)
        yield Wire(places)


def _hardware(number: int) -> str:
    return f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"


def _alone(address: str) -> str:
    return f"{address}/128 nodad" if ":" in address else f"{address}/32"


def _script(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
