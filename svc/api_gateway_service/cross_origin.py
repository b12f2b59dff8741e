"""Which other sites' scripts may call the API (https://fetch.spec.whatwg.org/#http-cors-protocol): none, unless named.

Cookies never come along: whoever calls from elsewhere sends a token.
"""

from typing import Final
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

ANY_ORIGIN: Final = "*"
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
#: Beyond those that need no leave.
_REQUEST_HEADERS: Final = (
    "Access-Token",
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
)
#: Beyond those that every script may see.
_RESPONSE_HEADERS: Final = (
    "Content-Disposition",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
#: Seconds for which a browser need not ask again.
_MAX_AGE: Final = 600


def allow_origins(app: ASGIApp, origins: frozenset[str]) -> ASGIApp:
    """``app``, callable from these origins."""
    return CORSMiddleware(
        app,
        allow_origins=sorted(origins),
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        allow_credentials=False,
        max_age=_MAX_AGE,
    )


def parse_origins(text: str) -> frozenset[str]:
    """
    Raises:
        ValueError: one is no origin as browsers send it: a scheme, a host and, unless it is the usual one, a port.
    """
    origins = frozenset(part.strip() for part in text.split(",") if part.strip())
    for origin in origins - {ANY_ORIGIN}:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}" or "@" in origin:
            raise ValueError(f"{origin!r} is no origin; write it like https://app.example, without a path")
        if origin != origin.lower():
            raise ValueError(f"{origin!r} must be in small letters, as browsers send it")
    return origins
