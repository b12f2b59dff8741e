"""The look at a URL: in time, within bounds, to nobody who is not public.

HEAD first, which costs a site least. Many sites answer it wrongly, so nothing but a success is taken from it: any
refusal is asked again as GET, of which only the head of the answer is read. No body ever is, so none can be too long,
too slow or a compressed trap.
"""

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Self

import aiohttp
from prometheus_client import Counter
from yarl import URL

from pkg.link_checker.address_guard import WEB_PORTS, AddressInfo, HostPort, open_guarded_socket
from pkg.link_checker.host_slots import HostSlots
from pkg.link_checker.judgement import (
    ADDRESS_NOT_ALLOWED,
    BAD_REDIRECT,
    TIMED_OUT,
    TOO_MANY_REDIRECTS,
    UNSUPPORTED_URL,
    judge_fault,
    judge_status,
)
from pkg.link_checker.name_resolver import Lookup, NameResolver, look_up
from pkg.object_model import interfaces
from pkg.object_model.types import CheckLinkRequest, Verdict

MAX_URL_LENGTH: Final = 2_048
MAX_REDIRECTS: Final = 5
#: Seconds for all of a check, and for its HEAD: some sites leave that one without an answer.
CHECK_DEADLINE: Final = 10.0
HEAD_DEADLINE: Final = 4.0
#: Checks that are worked on at once, and requests to one host.
MAX_CHECKS: Final = 100
MAX_PER_HOST: Final = 4
#: Bytes of an answer that may lie in memory. Of a body no more is taken from the network than fits.
MAX_BUFFERED: Final = 64 * 1024

_USER_AGENT: Final = "Mozilla/5.0 (compatible; Delinkcious-LinkChecker/1.0{})"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SCHEMES: Final = frozenset({"http", "https"})
#: To come back later is what it asks for, not to ask again as GET.
_TOO_MANY_REQUESTS: Final = 429

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
        open_socket: Callable[[AddressInfo, Collection[int]], socket.socket] = open_guarded_socket,
        deadline: float = CHECK_DEADLINE,
        head_deadline: float = HEAD_DEADLINE,
        max_checks: int = MAX_CHECKS,
        max_per_host: int = MAX_PER_HOST,
    ) -> None:
        """``allowed``: places to which the guard does not apply. ``confined``: nothing else is looked at.

        ``ports``: of public addresses, besides the web's own.

        ``contact``: where a site's owner finds us.
        """
        self._allowed = frozenset(allowed)
        self._confined = confined
        self._headers = {"User-Agent": _USER_AGENT.format(f"; +{contact}" if contact else ""), "Accept": "*/*"}
        self._lookup = lookup
        all_ports = WEB_PORTS.union(ports)
        self._open_socket = lambda info: open_socket(info, all_ports)
        self._deadline = deadline
        self._head_deadline = head_deadline
        self._checks = asyncio.Semaphore(max_checks)
        self._hosts = HostSlots(max_per_host)
        self._sessions: _Sessions | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, None
        if sessions is not None:
            await sessions.guarded.close()
            await sessions.allowed.close()

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        """Raises nothing: whatever happens to a check says something of the link, or nothing."""
        url = _read_url(request.url)
        verdict = UNSUPPORTED_URL if url is None else await self._follow_in_time(url)
        CHECKS.labels(verdict.status, verdict.reason).inc()
        return verdict

    async def _follow_in_time(self, url: URL) -> Verdict:
        try:
            # Waiting for a slot counts: the caller's patience does not know why.
            async with asyncio.timeout(self._deadline), self._checks:
                return await self._follow(url)
        except TimeoutError:
            return TIMED_OUT

    async def _follow(self, url: URL) -> Verdict:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                if self._confined and not self._is_allowed(url):
                    return ADDRESS_NOT_ALLOWED
                answer = await self._ask(url)
                if answer.status not in _REDIRECTS or not answer.location:
                    return judge_status(answer.status)
                following = _redirected(url, answer.location)
                if following is None:
                    return BAD_REDIRECT
                url = following
        except aiohttp.ClientError as fault:
            return judge_fault(fault)
        return TOO_MANY_REDIRECTS

    async def _ask(self, url: URL) -> "_Answer":
        try:
            async with asyncio.timeout(self._head_deadline):
                answer = await self._send("HEAD", url)
        except aiohttp.ClientConnectorError:
            # No server was reached, so none minds the HEAD.
            raise
        except (aiohttp.ClientError, TimeoutError):
            return await self._send("GET", url)
        if answer.status < 400 or answer.status == _TOO_MANY_REQUESTS:
            return answer
        return await self._send("GET", url)

    async def _send(self, method: str, url: URL) -> "_Answer":
        headers = self._headers if method == "HEAD" else {**self._headers, "Range": "bytes=0-1023"}
        async with self._hosts.slot(url.host or ""):
            response = await self._session_for(url).request(method, url, headers=headers, allow_redirects=False)
            # With the connection, whatever is still on its way.
            response.close()
        return _Answer(response.status, response.headers.get("Location", ""))

    def _session_for(self, url: URL) -> aiohttp.ClientSession:
        if self._sessions is None:
            self._sessions = _Sessions(
                guarded=_open_session(
                    aiohttp.TCPConnector(
                        resolver=NameResolver(self._lookup),
                        use_dns_cache=False,
                        socket_factory=self._open_socket,
                        force_close=True,
                        limit=0,  # the slots are the limit
                    )
                ),
                allowed=_open_session(aiohttp.TCPConnector(use_dns_cache=False, force_close=True, limit=0)),
            )
        return self._sessions.allowed if self._is_allowed(url) else self._sessions.guarded

    def _is_allowed(self, url: URL) -> bool:
        return (url.host, url.port) in self._allowed


class _Answer(NamedTuple):
    status: int
    location: str


class _Sessions(NamedTuple):
    guarded: aiohttp.ClientSession
    #: To the allowed places.
    allowed: aiohttp.ClientSession


def _open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
        auto_decompress=False,
        # The reader stops at twice this.
        read_bufsize=MAX_BUFFERED // 2,
    )
    # aiohttp repeats what broke off; once is enough of a burden for a site.
    session._retry_connection = False  # noqa: SLF001  # there is no public switch
    return session


def _read_url(text: str) -> URL | None:
    """None if it is nothing that could be asked."""
    if len(text) > MAX_URL_LENGTH:
        return None
    try:
        url = URL(text)
        return url.with_fragment(None) if _can_be_asked(url) else None
    except ValueError:
        return None


def _redirected(url: URL, location: str) -> URL | None:
    """None if it leads to nothing that could be asked."""
    try:
        following = url.join(URL(location))
        return following if _can_be_asked(following) else None
    except ValueError:
        return None


def _can_be_asked(url: URL) -> bool:
    """Raises ValueError for what cannot be read: a URL is taken apart as its parts are asked for."""
    # A user name would be sent on as a login.
    return url.scheme in _SCHEMES and bool(url.host) and url.port != 0 and url.user is None and url.password is None
