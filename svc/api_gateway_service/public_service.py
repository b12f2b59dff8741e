"""The layer around the gateway's application: who is there, what browsers and caches go by, whose scripts may ask."""

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pkg.runtime.context import CLIENT_ADDRESS
from pkg.runtime.health import ReadinessProbe
from pkg.runtime.http_service import Headers, HttpService, Limit
from svc.api_gateway_service.client_address import ClientAddresses
from svc.api_gateway_service.cross_origin import allow_origins
from svc.api_gateway_service.limits import STANDING, limit_headers
from svc.api_gateway_service.news_streams import NewsStreams
from svc.api_gateway_service.routes import STREAM_PATHS
from svc.api_gateway_service.settings import ApiGatewaySettings

_EVERYWHERE: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
#: A year, which is what lists of hosts that are always asked for with TLS want at least.
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
#: Unless the answer says otherwise: it is somebody's own, and no page to be shown.
_UNLESS_SAID: Final = (
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
_CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="delinkcious"')


class PublicHttpService(HttpService):
    """Adds them to every answer, refusals that are given before the application is asked included."""

    def __init__(
        self,
        settings: ApiGatewaySettings,
        app: ASGIApp,
        readiness: ReadinessProbe,
        body_limit: Limit,
        timeouts: Mapping[str, float],
        streams: NewsStreams,
    ) -> None:
        super().__init__(settings, app, readiness, body_limit, timeouts, STREAM_PATHS)
        self._streams = streams
        self._drain_delay = settings.drain_delay
        self._addresses = ClientAddresses(settings.trusted_proxies, settings.forwarded_header)
        self._everywhere: Headers = [*_EVERYWHERE]
        if settings.is_behind_tls:
            self._everywhere.append(_STRICT_TRANSPORT)
        self._inner: ASGIApp = super().__call__
        if settings.cors_origins:
            self._inner = allow_origins(self._inner, settings.cors_origins)

    def begin_drain(self) -> None:
        """Streams end when no connection is taken here any more: clients that come back then come to another."""
        super().begin_drain()
        asyncio.get_running_loop().call_later(self._drain_delay, self._streams.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *self._everywhere]
                present = {name for name, _ in headers}
                headers += [header for header in _UNLESS_SAID if header[0] not in present]
                if message["status"] == 401:
                    headers.append(_CHALLENGE)
                standing = STANDING.get()
                if standing is not None:
                    headers += limit_headers(standing)
                message["headers"] = headers
            await send(message)

        if scope["type"] == "http":
            CLIENT_ADDRESS.set(self._addresses.find(scope))
            STANDING.set(None)
        await self._inner(scope, receive, send_with_headers)
