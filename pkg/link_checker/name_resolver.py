"""Names to addresses, for checks: public ones alone, on threads of their own, never in a search domain.

"There is no such name" is told apart from "nobody could say".
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from pkg.link_checker.address_guard import AddressInfo, AddressRefused, is_number, is_public
from pkg.link_checker.name_threads import NameThreads

#: Of one name; more than any honest one has.
_MAX_ADDRESSES: Final = 16
#: Top-level domains that mean something else in every network (RFC 6761, 6762 with appendix G, 7686, 8375, 9476;
#: "internal" is reserved by ICANN for private use, and "cluster.local" is Kubernetes').
_LOCAL_DOMAINS: Final = (
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".intranet",
    ".private",
    ".corp",
    ".home",
    ".lan",
    ".home.arpa",
    ".onion",
    ".alt",
)
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

#: Of a name and a port, as ``socket.getaddrinfo`` has it; blocks, and raises ``socket.gaierror``.
type Lookup = Callable[[str, int, socket.AddressFamily], Sequence[AddressInfo]]


class NoSuchName(OSError):
    """The name servers say that there is none."""

    def __init__(self) -> None:
        super().__init__("there is no such name")


def look_up(name: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
    return socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)


class NameResolver(AbstractResolver):
    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        self._threads = NameThreads()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """
        Raises:
            AddressRefused: a name of somebody's own network, which means another thing here, a number, which each
                system reads in its own way, or none of its addresses is public.
            NoSuchName: nobody has it.
            OSError: the name servers did not say.
        """
        name = host.lower().rstrip(".")
        if "." not in name or name.endswith(_LOCAL_DOMAINS) or is_number(name):
            raise AddressRefused
        try:
            # With a dot at the end it is the whole name: not to be tried as one of ours ("x.default.svc").
            found = await self._threads.run(partial(self._lookup, f"{name}.", port, family))
        except socket.gaierror as fault:
            if fault.errno in _NO_SUCH_NAME:
                raise NoSuchName from None
            raise
        except UnicodeError:
            # A label of more than 63 characters, or an empty one.
            raise NoSuchName from None
        # Left out here only so that the public ones are not kept waiting: the guard of the socket has the last word.
        public = [info for info in found if is_public(ipaddress.ip_address(info[4][0]))][:_MAX_ADDRESSES]
        if not public:
            raise AddressRefused
        return [_result(host, info) for info in public]

    async def close(self) -> None:
        self._threads.close()


def _result(host: str, info: AddressInfo) -> ResolveResult:
    family, _, protocol, _, address = info
    return ResolveResult(
        hostname=host,
        host=address[0],
        port=address[1],
        family=family,
        proto=protocol,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
