"""One look for all who ask about a URL at about the same time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.types import CheckLinkRequest, Verdict

#: Seconds for which a verdict is good for whoever else asks. Trouble is not asked about anew for longer than that.
LIFETIME: Final = 60.0
MAX_KEPT: Final = 10_000


class SharedChecks(interfaces.LinkChecker):
    """Another ``LinkChecker``, asked once for what many ask while it looks, and for a while after.

    ``key_of`` gives what equal URLs have in common, or raises InvalidArgument.
    """

    def __init__(
        self,
        checker: interfaces.LinkChecker,
        key_of: Callable[[str], str],
        *,
        now: Callable[[], float] = time.monotonic,
        max_kept: int = MAX_KEPT,
    ) -> None:
        self._checker = checker
        self._key_of = key_of
        self._now = now
        self._max_kept = max_kept
        self._looking: dict[str, asyncio.Task[Verdict]] = {}
        #: Key -> (verdict, until when), oldest first.
        self._kept: OrderedDict[str, tuple[Verdict, float]] = OrderedDict()

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        key = self._key_of(request.url)
        verdict, until = self._kept.get(key, (None, 0.0))
        if verdict is not None and self._now() < until:
            return verdict
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.create_task(self._look(key, request))
            # Those who wait raise its fault; if all of them left, nobody minds it.
            looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        # One who stops waiting must not stop it for the others.
        return await asyncio.shield(looking)

    async def _look(self, key: str, request: CheckLinkRequest) -> Verdict:
        try:
            verdict = await self._checker.check_link(request)
        finally:
            del self._looking[key]
        self._kept[key] = verdict, self._now() + LIFETIME
        self._kept.move_to_end(key)
        if len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)
        return verdict
