"""The layer around the gateway's application, with the headers that browsers and caches go by."""

from typing import Final

from starlette.types import Message, Receive, Scope, Send

from pkg.runtime.http_service import HttpService

_EVERYWHERE: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: Unless the answer says otherwise: it is somebody's own, and no page to be shown.
_UNLESS_SAID: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
_CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="delinkcious"')


class PublicHttpService(HttpService):
    """Adds them to every answer, refusals that are given before the application is asked included."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *_EVERYWHERE]
                present = {name for name, _ in headers}
                headers += [header for header in _UNLESS_SAID if header[0] not in present]
                if message["status"] == 401:
                    headers.append(_CHALLENGE)
                message["headers"] = headers
            await send(message)

        await super().__call__(scope, receive, send_with_headers)
