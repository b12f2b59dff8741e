"""What is asked of a site to say whether a page is there.

HEAD first, which costs a site least. Many sites answer it wrongly, so nothing but a success is taken from it: any
refusal is asked again as GET, if the site's robots.txt has nothing against that, of which no more than the beginning
is read.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import aiohttp
from yarl import URL

from pkg.link_checker.host_slots import HostSlots, OwnHostSlots
from pkg.link_checker.judgement import (
    ADDRESS_NOT_ALLOWED,
    BAD_REDIRECT,
    ROBOTS,
    SERVER_ERROR,
    SOFT_NOT_FOUND,
    TOO_MANY_REDIRECTS,
    VALID,
    judge_fault,
    judge_status,
)
from pkg.link_checker.robots import MAX_SIZE, RobotsRules, Rules
from pkg.link_checker.soft_404 import Page, is_same, is_suspect, sibling_of
from pkg.link_checker.transport import Answer, Transport
from pkg.object_model.types import LinkReason, LinkStatus, Verdict

MAX_REDIRECTS: Final = 5
#: Bytes of a page that are read where a HEAD does not do.
MAX_TEXT: Final = 8 * 1024

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PERMANENT: Final = frozenset({301, 308})
_SCHEMES: Final = frozenset({"http", "https"})
#: To come back later is what it asks for, not to ask again as GET.
_TOO_MANY_REQUESTS: Final = 429


@dataclass(frozen=True, kw_only=True)
class Means:
    """What all looks share."""

    transport: Transport
    headers: dict[str, str]
    confined: bool
    #: Seconds.
    head_deadline: float
    hosts: HostSlots
    #: Of the places that an operator allows.
    allowed_hosts: OwnHostSlots
    robots: RobotsRules


class _Found(NamedTuple):
    """What is at the end of all redirects."""

    answer: Answer
    url: URL
    #: Where the first of them lead for good; the URL itself if they do not.
    moved_to: URL

    @property
    def page(self) -> Page:
        return Page(self.url, self.answer.text)


class _Settled(Exception):
    """There is a verdict, and no page."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class Look:
    """One check: what is asked, one after the other."""

    def __init__(self, means: Means) -> None:
        self._means = means
        #: Whether it is us who keep it waiting, and no site.
        self.waits = True

    async def judge(self, url: URL) -> Verdict:
        try:
            found = await self._follow(url, self._ask)
            verdict = judge_status(found.answer.status)
            if verdict is not VALID:
                return replace(verdict, retry_after=found.answer.retry_after)
            if is_suspect(url, found.page) and await self._shows_for_all(url, found.page):
                return SOFT_NOT_FOUND
        except _Settled as settled:
            return settled.verdict
        except aiohttp.ClientError as fault:
            return judge_fault(fault)
        moved_to = found.moved_to
        if moved_to == url:
            return VALID
        if url.fragment and not moved_to.fragment:
            # The place in the page is the reader's, not the site's (RFC 9110, 10.2.2).
            moved_to = moved_to.with_fragment(url.fragment)
        return Verdict(status=LinkStatus.VALID, reason=LinkReason.MOVED, moved_to=str(moved_to))

    async def _shows_for_all(self, url: URL, page: Page) -> bool:
        """Whether a page that cannot be there looks the same."""
        try:
            found = await self._follow(sibling_of(url, secrets.token_hex(8)), self._get)
        except (_Settled, aiohttp.ClientError):
            return False
        return found.answer.status < 400 and is_same(page, found.page)

    async def _follow(self, url: URL, ask: Callable[[URL], Awaitable[Answer]]) -> _Found:
        moved_to, for_good = url, True
        for _ in range(MAX_REDIRECTS + 1):
            answer = await ask(url)
            if answer.status not in _REDIRECTS or not answer.location:
                return _Found(answer, url, moved_to)
            following = _redirected(url, answer.location)
            if following is None:
                raise _Settled(BAD_REDIRECT)
            url = following
            for_good = for_good and answer.status in _PERMANENT
            if for_good:
                moved_to = url
        raise _Settled(TOO_MANY_REDIRECTS)

    async def _ask(self, url: URL) -> Answer:
        try:
            answer = await self._send("HEAD", url, deadline=self._means.head_deadline)
        except aiohttp.ClientConnectorError:
            # No server was reached, so none minds the HEAD.
            raise
        except (aiohttp.ClientError, TimeoutError):
            return await self._get(url)
        if answer.status < 400 or answer.status == _TOO_MANY_REQUESTS:
            return answer
        return await self._get(url)

    async def _get(self, url: URL) -> Answer:
        rules = self._means.robots.recall(url) or await self._ask_robots(url)
        if not rules(url):
            raise _Settled(ROBOTS)
        return await self._send("GET", url, size=MAX_TEXT)

    async def _ask_robots(self, url: URL) -> Rules:
        """A site that has none allows all; one in trouble is not asked for anything else (RFC 9309, 2.3.1)."""

        async def get(place: URL) -> Answer:
            return await self._send("GET", place, size=MAX_SIZE)

        found = await self._follow(url.origin() / "robots.txt", get)
        if 500 <= found.answer.status < 600:
            raise _Settled(replace(SERVER_ERROR, retry_after=found.answer.retry_after))
        return self._means.robots.keep(url, found.answer.text if found.answer.status < 300 else "")

    async def _send(self, method: str, url: URL, *, size: int = 0, deadline: float | None = None) -> Answer:
        """``deadline``: in seconds, of the question alone."""
        means = self._means
        is_allowed = means.transport.is_allowed(url)
        if means.confined and not is_allowed:
            raise _Settled(ADDRESS_NOT_ALLOWED)
        headers = {**means.headers, "Range": f"bytes=0-{size - 1}"} if size else means.headers
        self.waits = True
        async with (means.allowed_hosts if is_allowed else means.hosts).slot(url.raw_host or ""):
            self.waits = False
            async with asyncio.timeout(deadline):
                return await means.transport.ask(method, url, headers, size)


def _redirected(url: URL, location: str) -> URL | None:
    """None if it leads to nothing that could be asked."""
    try:
        following = url.join(URL(location))
        return following if can_be_asked(following) else None
    except ValueError:
        return None


def can_be_asked(url: URL) -> bool:
    """Whether it is an http or https URL that names nobody.

    Raises:
        ValueError: it cannot be read. A URL is taken apart as its parts are asked for.
    """
    # A user name would be sent on as a login.
    return url.scheme in _SCHEMES and bool(url.raw_host) and url.port != 0 and url.user is None and url.password is None
