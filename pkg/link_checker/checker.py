"""The look at a URL: in time, within bounds, to nobody who is not public."""

import asyncio
import ssl
from collections.abc import Callable, Collection
from typing import Final, Self

from prometheus_client import Counter
from yarl import URL

from pkg.link_checker.address_guard import HostPort, OpenSocket, open_guarded_socket
from pkg.link_checker.host_leases import HostLeases
from pkg.link_checker.host_slots import HostSlots, OwnHostSlots, SharedHostSlots
from pkg.link_checker.judgement import TIMED_OUT, UNSUPPORTED_URL
from pkg.link_checker.look import Look, Means, can_be_asked
from pkg.link_checker.name_resolver import Lookup, look_up
from pkg.link_checker.robots import AGENT, RobotsRules
from pkg.link_checker.transport import Transport
from pkg.object_model import interfaces
from pkg.object_model.errors import Unavailable
from pkg.object_model.types import CheckLinkRequest, Verdict

MAX_URL_LENGTH: Final = 2_048
#: Seconds for all of a check, and for its HEAD: some sites leave that one without an answer.
CHECK_DEADLINE: Final = 10.0
HEAD_DEADLINE: Final = 4.0
#: Checks that are worked on at once, and requests to one host that an operator allows.
MAX_CHECKS: Final = 200
MAX_PER_HOST: Final = 4
#: Seconds between two requests to any other host, of which there is one at a time.
PAUSE: Final = 1.0

#: Seconds that a host stays taken after the longest look could have ended, if nobody gives it back.
_LEASE_MARGIN: Final = 5.0

_USER_AGENT: Final = "Mozilla/5.0 (compatible; {}/1.0{})"

CHECKS: Final = Counter("delinkcious_link_checks_total", "Links looked at, by what came of it.", ("status", "reason"))


class LinkChecker(interfaces.LinkChecker):
    """``async with LinkChecker() as checker``, or ``close`` it. Opens its connections with the first check."""

    def __init__(
        self,
        *,
        allowed: Collection[HostPort] = (),
        ports: Collection[int] = (),
        confined: bool = False,
        contact: str = "",
        lookup: Lookup = look_up,
        open_socket: OpenSocket = open_guarded_socket,
        make_tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        deadline: float = CHECK_DEADLINE,
        head_deadline: float = HEAD_DEADLINE,
        max_checks: int = MAX_CHECKS,
        max_per_host: int = MAX_PER_HOST,
        pause: float = PAUSE,
        leases: HostLeases | None = None,
    ) -> None:
        """``allowed``: places to which the guard does not apply. ``confined``: nothing else is looked at.

        ``ports``: of public addresses, besides the web's own. ``contact``: where a site's owner finds us.
        ``max_per_host``: of allowed places; any other host gets one request at a time, and a ``pause`` after it.
        ``leases`` make that hold for all processes that share them; without any it holds for this one.
        """
        self._deadline = deadline
        self._checks = asyncio.Semaphore(max_checks)
        self._means: Means | None = None
        hosts: HostSlots = OwnHostSlots(1, pause)
        if leases is not None:
            # No look has a slot for longer than it may take.
            hosts = SharedHostSlots(leases, pause=pause, lifetime=deadline + _LEASE_MARGIN)

        def open_means() -> Means:
            return Means(
                transport=Transport(
                    allowed=allowed, ports=ports, lookup=lookup, open_socket=open_socket, make_tls=make_tls
                ),
                headers={
                    "User-Agent": _USER_AGENT.format(AGENT, f"; +{contact}" if contact else ""),
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                },
                confined=confined,
                head_deadline=head_deadline,
                hosts=hosts,
                allowed_hosts=OwnHostSlots(max_per_host),
                robots=RobotsRules(),
            )

        # With the first check: sessions belong to a loop, and there may be none yet.
        self._open_means = open_means

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        means, self._means = self._means, None
        if means is not None:
            await means.transport.close()

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        """Whatever happens to a check says something of the link, or nothing.

        Raises:
            Unavailable: there was no room for the check while there was time for it.
        """
        url = _read_url(request.url)
        verdict = UNSUPPORTED_URL if url is None else await self._look_in_time(url)
        CHECKS.labels(verdict.status, verdict.reason).inc()
        return verdict

    async def _look_in_time(self, url: URL) -> Verdict:
        if self._means is None:
            self._means = self._open_means()
        look = Look(self._means)
        try:
            async with asyncio.timeout(self._deadline), self._checks:
                return await look.judge(url)
        except TimeoutError:
            if look.waits:
                raise Unavailable(
                    "too many checks at once, of all sites or of this one; try again later", code="link_checker_busy"
                ) from None
            return TIMED_OUT


def _read_url(text: str) -> URL | None:
    """None if it is nothing that could be asked."""
    if len(text) > MAX_URL_LENGTH:
        return None
    try:
        url = URL(text)
        return url if can_be_asked(url) else None
    except ValueError:
        return None
