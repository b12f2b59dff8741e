"""How often a user, and an address, may ask: what is counted, by whom, and what the answer says of it.

The headers are those of draft-ietf-httpapi-ratelimit-headers-10:
``RateLimit-Policy: "reads";q=1200;w=60`` is the limit, ``RateLimit: "reads";r=1199;t=1`` how it stands: so many are
left, and in so many seconds there is one more.
"""

import ipaddress
import math
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from enum import StrEnum
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from pkg.object_model.errors import RateLimited, Unauthenticated
from pkg.object_model.types import Identity
from pkg.rate_limits.limiter import RateLimiter, Standing
from pkg.rate_limits.store import Bucket, Limit
from pkg.runtime.context import CLIENT_ADDRESS
from svc.api_gateway_service.tokens import Authenticator

type Headers = tuple[tuple[bytes, bytes], ...]

#: How it stands with whoever asks, in the request that is being answered.
STANDING: Final[ContextVar[Standing | None]] = ContextVar("standing", default=None)

_LOGIN_PATH: Final = "/login"
#: Whoever has one address of IPv6 has as many as they like of these.
_IPV6_PREFIX: Final = 64
_OWNERS_KEPT: Final = 4_096


class Pace(StrEnum):
    """What has a limit of its own. The value names it in answers and metrics."""

    READS = "reads"
    WRITES = "writes"
    #: Imports and exports.
    FILES = "files"
    #: Looks at links that somebody asks for.
    CHECKS = "checks"
    #: What is no operation of the API.
    PAGES = "pages"
    LOGINS = "logins"
    #: Tokens that are nobody's.
    FAILURES = "failures"


class Limits:
    def __init__(self, limiter: RateLimiter, *, users: Mapping[Pace, Limit], addresses: Mapping[Pace, Limit]) -> None:
        """What is in neither has no limit."""
        self._limiter = limiter
        self._users = users
        self._addresses = addresses

    async def admit(self, identifying: Awaitable[Identity], pace: Pace) -> Identity:
        """Whoever it is, if they may ask once more.

        Raises:
            RateLimited: they have to wait. Whoever tries one token after the other has to as well.
        """
        try:
            identity = await identifying
        except Unauthenticated:
            await self._spend(self._of_address(Pace.FAILURES))
            raise
        limit = self._users.get(pace)
        of_user = [] if limit is None else [Bucket(limit, str(identity.actor.user_id))]
        await self._spend(of_user + self._of_address(pace))
        return identity

    async def admit_stranger(self, pace: Pace) -> None:
        """Raises RateLimited."""
        await self._spend(self._of_address(pace))

    def check_failures(self) -> None:
        """Raises RateLimited: too many tokens from this address were nobody's."""
        for bucket in self._of_address(Pace.FAILURES):
            if wait := self._limiter.wait_for(bucket):
                raise _refusal(bucket.limit, wait)

    def _of_address(self, pace: Pace) -> list[Bucket]:
        limit = self._addresses.get(pace)
        address = CLIENT_ADDRESS.get()
        return [] if limit is None or not address else [Bucket(limit, owner_of(address))]

    async def _spend(self, buckets: list[Bucket]) -> None:
        standing = await self._limiter.spend(buckets)
        STANDING.set(standing)
        if standing is not None and standing.wait > 0:
            raise _refusal(standing.limit, standing.wait)


def _refusal(limit: Limit, wait: float) -> RateLimited:
    return RateLimited(
        f"more than {limit.quota} {limit.name} in {limit.window} seconds; try again in {math.ceil(wait)}",
        retry_after=wait,
    )


class LimitedAuthenticator:
    """Does not ask about tokens for an address whose tokens were nobody's too often."""

    def __init__(self, users: Authenticator, limits: Limits) -> None:
        self._users = users
        self._limits = limits

    async def authenticate(self, token: str) -> Identity:
        self._limits.check_failures()
        return await self._users.authenticate(token)


class LimitedPages:
    """The layer that limits what is no operation: those limit themselves, when it is known who asks."""

    def __init__(self, app: ASGIApp, limits: Limits, prefixes: tuple[str, ...]) -> None:
        self.app = app
        self._limits = limits
        self._prefixes = prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not path.startswith(self._prefixes):
            asks = scope["method"] in ("GET", "HEAD") and not path.startswith(_LOGIN_PATH)
            await self._limits.admit_stranger(Pace.PAGES if asks else Pace.LOGINS)
        await self.app(scope, receive, send)


def told_address() -> str:
    """Of whom we answer, as it is counted and no closer; empty if nobody knows it."""
    address = CLIENT_ADDRESS.get()
    return owner_of(address) if address else ""


@lru_cache(_OWNERS_KEPT)
def owner_of(address: str) -> str:
    """Whom an address is counted for: itself, or, of IPv6, the network that one subscriber has."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))


def limit_headers(standing: Standing) -> Headers:
    limit = standing.limit
    seconds = math.ceil(standing.wait) or math.ceil(limit.interval)
    return (
        (b"ratelimit-policy", _policy(limit)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (limit.name.encode(), standing.remaining, seconds)),
    )


@lru_cache
def _policy(limit: Limit) -> bytes:
    return f'"{limit.name}";q={limit.quota};w={limit.window}'.encode()
