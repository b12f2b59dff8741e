"""From where somebody asks, for a service behind the edge that has to know: whoever calls it says so in a header.

It is as good as the caller's word, like all that a caller says. Callers without a token are refused before anybody
looks.
"""

import ipaddress
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from pkg.runtime.context import CLIENT_ADDRESS

CLIENT_ADDRESS_HEADER: Final = "Delinkcious-Client-Address"
_NAME: Final = CLIENT_ADDRESS_HEADER.lower().encode()
#: Characters of the longest address, with a network's length.
_MAX_ADDRESS: Final = 50


class ToldClientAddress:
    """The layer that believes the header, for as long as a request takes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        told = next((value for name, value in scope["headers"] if name == _NAME), b"")
        before = CLIENT_ADDRESS.set(_read(told.decode("latin-1")))
        try:
            await self.app(scope, receive, send)
        finally:
            CLIENT_ADDRESS.reset(before)


def _read(told: str) -> str:
    """Empty for what is no address, or network of addresses."""
    try:
        network = ipaddress.ip_network(told) if len(told) <= _MAX_ADDRESS else None
    except ValueError:
        return ""
    if network is None:
        return ""
    return str(network.network_address) if network.num_addresses == 1 else str(network)
