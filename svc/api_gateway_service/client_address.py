"""Where a request comes from, when proxies stand in between.

Whoever connects can write any header, so what a header says counts only as far as each hop that wrote it is trusted:
read from the right, the first address that is no trusted proxy's is the client's
(https://www.rfc-editor.org/rfc/rfc7239#section-8.1).
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from starlette.types import Scope

type Network = IPv4Network | IPv6Network

#: Read from the right. A longer way than any request of ours takes.
_MAX_HOPS: Final = 20
#: Characters; the longest address with brackets, zone-free, and a port.
_MAX_ADDRESS: Final = 50
_ADDRESSES_KEPT: Final = 4_096


class ForwardedHeader(StrEnum):
    """The one that the proxies write. Another is passed on by them as whoever connected sent it, and says nothing."""

    X_FORWARDED_FOR = "x-forwarded-for"
    #: RFC 7239.
    FORWARDED = "forwarded"


class ClientAddresses:
    def __init__(self, trusted: Sequence[Network], header: ForwardedHeader) -> None:
        self._name = header.encode()
        self._read = _forwarded_hops if header is ForwardedHeader.FORWARDED else _listed_hops
        #: Without proxies nothing is read.
        self._any_trusted = bool(trusted)
        self._is_trusted: Callable[[str], bool] = lru_cache(_ADDRESSES_KEPT)(
            lambda address: any(ipaddress.ip_address(address) in network for network in trusted)
        )

    def find(self, scope: Scope) -> str:
        """The client's address, in its shortest form; empty if there is none: the client came over no network."""
        client = scope.get("client")
        peer = read_address(client[0]) if client else None
        if peer is None:
            return ""
        if not self._any_trusted or not self._is_trusted(peer):
            return peer
        # Of several headers the later is the one that a nearer hop wrote.
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == self._name]
        found = peer
        for hop in self._read(values):
            address = read_address(hop)
            if address is None:
                # Hidden, or nonsense: who said so is the last of whom we know anything.
                return found
            found = address
            if not self._is_trusted(address):
                break
        return found


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks with commas between them.

    Raises:
        ValueError: one is none.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


@lru_cache(_ADDRESSES_KEPT)
def read_address(text: str) -> str | None:
    """An address without what may stand around it (brackets, a port), or None.

    Those of IPv4 that come over sockets of IPv6 are of IPv4.
    """
    text = text.strip()
    if len(text) > _MAX_ADDRESS:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4:
        return str(address)
    if address.scope_id is not None:
        return None
    return str(address.ipv4_mapped or address)


def _listed_hops(values: Iterable[str]) -> Sequence[str]:
    """The nearest first."""
    text = ",".join(values)
    return text.split(",")[: -_MAX_HOPS - 1 : -1] if text else ()


def _forwarded_hops(values: Iterable[str]) -> Sequence[str]:
    return [_read_for(element) for element in _listed_hops(values)]


def _read_for(element: str) -> str:
    """The parameter ``for``. Quoted commas and semicolons occur in no address, so nothing is lost by cutting there."""
    for parameter in element.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""
