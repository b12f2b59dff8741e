"""Whether it is our own network that is down: then no page is to blame."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.errors import Unavailable
from pkg.object_model.types import CheckLinkRequest, LinkReason, Verdict

#: What a page that is there cannot be told from by a checker that has no network.
OF_NETWORK: Final = frozenset(
    {
        LinkReason.NO_SUCH_NAME,
        LinkReason.DNS_FAILED,
        LinkReason.TIMED_OUT,
        LinkReason.UNREACHABLE,
        LinkReason.CONNECTION_REFUSED,
        LinkReason.CONNECTION_LOST,
        LinkReason.TLS_FAILED,
    }
)
#: Seconds for which one look at the canaries is good for all.
LIFETIME: Final = 2.0
MAX_CANARIES: Final = 5


class CanaryChecker(interfaces.LinkChecker):
    """Another ``LinkChecker``, whose word on the network's trouble counts only while it reaches one of the canaries.

    ``canaries``: URLs that are hardly ever down, and not all at once. Without any, its word always counts.
    """

    def __init__(
        self, checker: interfaces.LinkChecker, canaries: Sequence[str], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._checker = checker
        self._canaries = canaries
        self._now = now
        self._looking = asyncio.Lock()
        self._online, self._looked_at = False, float("-inf")

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        """Raises Unavailable (``link_checker_offline``) besides."""
        verdict = await self._checker.check_link(request)
        if verdict.reason in OF_NETWORK and self._canaries and not await self._is_online():
            raise Unavailable(
                "the link checker has no network; nothing can be said of any page", code="link_checker_offline"
            )
        return verdict

    async def _is_online(self) -> bool:
        async with self._looking:
            if self._now() - self._looked_at >= LIFETIME:
                self._online = await self._reach_any()
                self._looked_at = self._now()
            return self._online

    async def _reach_any(self) -> bool:
        for url in self._canaries:
            seen = await self._checker.check_link(CheckLinkRequest(username="canary", url=url))
            # Whoever answers, whatever it is, was reached.
            if seen.reason not in OF_NETWORK:
                return True
        return False


def parse_canaries(text: str) -> tuple[str, ...]:
    """URLs, separated by commas.

    Raises:
        ValueError: one of them is none, or there are too many.
    """
    urls = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    if len(urls) > MAX_CANARIES:
        raise ValueError(f"has more than {MAX_CANARIES} URLs")
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not an http or https URL")
    return urls
