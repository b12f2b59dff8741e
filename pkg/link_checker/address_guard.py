"""Where a check may go. Users choose the URLs, and we connect from inside: without a guard, anybody could use us to
reach what only we can reach (see docs/adr/014).

The guard stands where the connection is made, on the very address that it is made to. What a name resolved to a
moment earlier, or what an earlier URL of a redirect was, says nothing about that.
"""

import ipaddress
import socket
from bisect import bisect_right
from collections.abc import Callable, Collection
from typing import Any, Final

type IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
#: A host as a URL names it, in lower case, and a port.
type HostPort = tuple[str, int]
#: As ``socket.getaddrinfo`` gives it: family, type, protocol, canonical name, address.
type AddressInfo = tuple[Any, ...]

#: Opens one for an address, if that is at one of these ports, or raises OSError.
type OpenSocket = Callable[[AddressInfo, Collection[int]], socket.socket]

#: Of the web; others only where an operator names them.
WEB_PORTS: Final = frozenset({80, 443})
MAX_ALLOWED: Final = 100


class _Networks:
    """Networks of one family, none of which lies in another: which addresses are in them, found by halving."""

    def __init__(self, *networks: str) -> None:
        ranges = sorted((int(network[0]), int(network[-1])) for network in map(ipaddress.ip_network, networks))
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def __contains__(self, address: IpAddress) -> bool:
        number = int(address)
        place = bisect_right(self._firsts, number) - 1
        return place >= 0 and number <= self._lasts[place]


#: What is not out there (IANA's special-purpose registry, RFC 6890), and what clouds put into the public space.
_CLOSED_IPV4: Final = _Networks(
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # carrier-grade NAT; metadata of some clouds
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # the host agent of Azure
    "169.254.0.0/16",  # link-local; metadata of most clouds
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocol assignments
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)
#: Global unicast: all that is handed out to the world. Loopback, link-local, unique local and multicast are outside.
_OPEN_IPV6: Final = _Networks("2000::/3")
_CLOSED_IPV6: Final = _Networks(
    "2001::/23",  # protocol assignments; Teredo, which leads to an IPv4 address
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4, which leads to an IPv4 address
    "3fff::/20",  # documentation
)
#: Where a network has IPv6 only, the public IPv4 addresses are seen under this prefix (RFC 6052).
_NAT64: Final = _Networks("64:ff9b::/96")
#: The third quarter of an IPv6 address that leads to the IPv4 address behind it, where ISATAP is in use (RFC 5214).
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})


class AddressRefused(OSError):
    """An address, a port or a name that a check may not go to. An OSError, as all that keeps a socket from opening."""

    def __init__(self) -> None:
        super().__init__("the link checker may not go there")


def is_public(address: IpAddress) -> bool:
    """Whether everybody can reach it. An IPv4 address in IPv6 clothes is judged as what it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address not in _CLOSED_IPV4
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    embedded = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64:
        return is_public(embedded)
    # A zone is one of this machine's own networks.
    if address.scope_id or (int(address) >> 32 & 0xFFFF_FFFF in _ISATAP and not is_public(embedded)):
        return False
    return address in _OPEN_IPV6 and address not in _CLOSED_IPV6


def open_guarded_socket(info: AddressInfo, ports: Collection[int] = WEB_PORTS) -> socket.socket:
    """A socket for exactly this address; what connects it takes the same ``info``.

    Raises:
        AddressRefused: the address is not public or in no form of our own, or the port is none of ``ports``.
    """
    family, kind, protocol, _, (host, port, *rest) = info
    zone = rest[1] if len(rest) > 1 else 0
    if port not in ports or zone or not _is_public_text(host):
        raise AddressRefused
    return socket.socket(family, kind, protocol)


def _is_public_text(host: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        # ``127.1``, ``0177.0.0.1``, ``2130706433``: forms that a connect understands, each system in its own way.
        return False


def is_number(name: str) -> bool:
    """Whether a host is meant as an IPv4 address, however it is written (WHATWG URL standard, "ends in a number")."""
    last = name.rstrip(".").rpartition(".")[2].lower()
    return last.isdigit() or (last.startswith("0x") and all(digit in "0123456789abcdef" for digit in last[2:]))


def parse_ports(text: str) -> frozenset[int]:
    """Ports, separated by commas, to which a check may go besides those of the web.

    Raises:
        ValueError: one of them is none, or there are too many.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if len(entries) > MAX_ALLOWED:
        raise ValueError(f"has more than {MAX_ALLOWED} entries")
    return frozenset(map(_parse_port, entries))


def parse_allowed(text: str) -> frozenset[HostPort]:
    """``host:port`` pairs, separated by commas, that a check may go to whatever they are: the operator's own.

    Raises:
        ValueError: one of them is none, or there are too many.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if len(entries) > MAX_ALLOWED:
        raise ValueError(f"has more than {MAX_ALLOWED} entries")
    return frozenset(map(_parse_host_port, entries))


def _parse_host_port(entry: str) -> HostPort:
    host, _, port = entry.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        number = _parse_port(port)
    except ValueError:
        number = 0
    if not host or not number or "/" in host:
        raise ValueError(f"{entry!r} is not host:port")
    return host.lower(), number


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65_535):
        raise ValueError(f"{text!r} is not a port")
    return int(text)
