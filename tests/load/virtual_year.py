"""How often a site is called dead wrongly, and how soon rightly: ``python -m tests.load.virtual_year``.

Sites live through a year on a clock that nobody waits for, looked at by the rule of ``pkg.link_manager.checks`` and at
the times that it says. A site is up a part of the time, by chance and anew at each look. Beside what was measured of
many stands what follows from the rule: the probability, added up over all that can happen.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from statistics import median
from typing import Final, NamedTuple

from pkg.link_manager.checks import Check, unknown, weigh
from pkg.object_model.events import LinkCheckedEvent
from pkg.object_model.types import LinkReason, LinkStatus

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
#: What is less likely than this is as good as nothing.
_NEVER: Final = 1e-300


class Says(NamedTuple):
    status: LinkStatus
    reason: LinkReason
    transient: bool


FOUND: Final = Says(LinkStatus.VALID, LinkReason.OK, False)
#: What a site that is down may say.
TROUBLE: Final = Says(LinkStatus.PENDING, LinkReason.SERVER_ERROR, True)
ABSENT: Final = Says(LinkStatus.INVALID, LinkReason.NOT_FOUND, False)


def look(check: Check, at: datetime, says: Says, url_key: bytes) -> Check:
    event = LinkCheckedEvent(
        id=1,
        user_id=1,
        username="anybody",
        url="https://a.example/",
        status=says.status,
        checked_at=at,
        reason=says.reason,
        transient=says.transient,
    )
    return weigh(check, event, url_key) or check


def born(url_key: bytes) -> Check:
    """A page that was found at its first look."""
    return look(unknown(START), START, FOUND, url_key)


def first_called_dead(says_at: Callable[[datetime], Says], url_key: bytes, until: datetime) -> datetime | None:
    check = born(url_key)
    while (at := check.next_at) < until:
        check = look(check, at, says_at(at), url_key)
        if check.status is LinkStatus.INVALID:
            return at
    return None


def measure_mistakes(up: float, down: Says, sites: int) -> float:
    """The part of so many sites that was called dead within a year, once or more."""
    dead = 0
    for number in range(sites):
        chance = Random(f"{up} {down.reason} {number}")
        dead += bool(
            first_called_dead(
                lambda _, chance=chance: FOUND if chance.random() < up else down,  # type: ignore[misc]  # bound now
                number.to_bytes(32),
                START + YEAR,
            )
        )
    return dead / sites


def compute_mistakes(up: float, down: Says, step: timedelta = timedelta(hours=1)) -> float:
    """The probability of it, by what each look can say.

    After a success all depends on the time alone; times within a ``step`` count as one. The jitter, which is of the
    URL, is one URL's at each of these times.
    """
    url_key = bytes(32)
    first, end = born(url_key), START + YEAR

    @cache
    def after_success(steps: int) -> float:
        check = look(first, START + steps * step, FOUND, url_key)
        likely, called_dead = 1.0, 0.0
        while (at := check.next_at) < end and likely > _NEVER:
            called_dead += likely * up * after_success(round((at - START) / step))
            likely *= 1 - up
            check = look(check, at, down, url_key)
            if check.status is LinkStatus.INVALID:
                return called_dead + likely
        return called_dead

    return after_success(0)


class Delays(NamedTuple):
    """Days until it was called dead: from the first look that failed, and from when it was gone."""

    noticed: list[float]
    gone: list[float]


def measure_delays(down: Says, sites: int) -> Delays:
    """Of sites that were up, each for another part of a year, and then gone for good."""
    delays = Delays([], [])
    for number in range(sites):
        gone_at = START + YEAR * number / sites
        failed: list[datetime] = []

        def says_at(at: datetime, gone_at: datetime = gone_at, failed: list[datetime] = failed) -> Says:
            if at < gone_at:
                return FOUND
            failed.append(at)
            return down

        dead_at = first_called_dead(says_at, number.to_bytes(32), gone_at + YEAR)
        if dead_at is None:
            raise SystemExit("a site that is gone was never called dead; the rule is broken")
        delays.noticed.append((dead_at - failed[0]) / timedelta(days=1))
        delays.gone.append((dead_at - gone_at) / timedelta(days=1))
    return delays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=2_000, help="lived through for each figure (default: 2,000)")
    sites: int = parser.parse_args().sites
    print(f"Called dead within a year, of {sites:,} sites a line: as the rule implies, and as it was.")
    print("| up | trouble when down: computed | measured | 404 when down: computed | measured |")
    print("|---|---|---|---|---|")
    for percent in (10, 20, 30, 50, 60, 70, 80, 90, 95, 99):
        up = percent / 100
        figures = [
            text
            for down in (TROUBLE, ABSENT)
            for text in (f"{compute_mistakes(up, down):.2g}", f"{measure_mistakes(up, down, sites):.2g}")
        ]
        print(f"| {percent}% | {' | '.join(figures)} |")
    print("\nCalled dead when they are gone, in days: the median, and the longest.")
    print("| what it says then | after the first look that failed | after it was gone |")
    print("|---|---|---|")
    for name, down in (("trouble", TROUBLE), ("404", ABSENT)):
        delays = measure_delays(down, max(sites // 10, 1))
        cells = [f"{median(days):.2f}, {max(days):.2f}" for days in delays]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
