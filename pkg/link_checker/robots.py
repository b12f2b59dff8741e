"""What sites ask of robots (robots.txt, RFC 9309), kept for a while."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from protego import Protego
from yarl import URL

#: As robots.txt files name us.
AGENT: Final = "Delinkcious-LinkChecker"
#: Bytes of a file that are read; the least that the RFC allows as a limit.
MAX_SIZE: Final = 500 * 1024
#: Seconds for which one is good; the RFC asks for a day at most.
LIFETIME: Final = 6 * 3_600.0
MAX_KEPT: Final = 1_000
#: Bytes of a file whose rules are kept; of a longer one they are read anew each time.
MAX_KEPT_SIZE: Final = 16 * 1024

type Rules = Callable[[URL], bool]


class RobotsRules:
    """By site, the rules of those asked lately."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic, max_kept: int = MAX_KEPT) -> None:
        self._now = now
        self._max_kept = max_kept
        #: Site -> (its rules, until when), oldest first.
        self._kept: OrderedDict[URL, tuple[Rules, float]] = OrderedDict()

    def recall(self, url: URL) -> Rules | None:
        """Of the site of this page; None if it has to be asked."""
        rules, until = self._kept.get(url.origin(), (None, 0.0))
        return rules if self._now() < until else None

    def keep(self, url: URL, text: str) -> Rules:
        """``text``: what the site says; nothing forbids nothing."""
        rules = _read_rules(text)
        if len(text) <= MAX_KEPT_SIZE:
            site = url.origin()
            self._kept[site] = rules, self._now() + LIFETIME
            self._kept.move_to_end(site)
            if len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        return rules


def _read_rules(text: str) -> Rules:
    if not text.strip():
        return lambda _url: True
    rules = Protego.parse(text)
    return lambda url: bool(rules.can_fetch(str(url), AGENT))
