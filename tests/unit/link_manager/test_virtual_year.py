"""A virtual year: how often the rule of death is wrong, how soon it is right, and what an outage of our own does."""

from datetime import datetime, timedelta
from typing import Final

import pytest

from pkg.events.memory_bus import MemoryBus
from pkg.events.messages import LINK_CHECK_EVENTS, read_event, write_message
from pkg.link_checker.canary import LIFETIME, CanaryChecker
from pkg.link_checker.dispatcher import Dispatcher
from pkg.link_manager.checks import MAX_INTERVAL, MIN_FAILING, SECOND_LOOK_AFTER
from pkg.link_manager.manager import LinkManager
from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.object_model.errors import DelinkciousError
from pkg.object_model.events import LinkCheckedEvent
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import (
    Actor,
    AddLinkRequest,
    CheckLinkRequest,
    GetLinksRequest,
    LinkReason,
    LinkStatus,
    Verdict,
)
from tests.fakes import FakeClock, FakeSocialGraph, FakeUserDirectory, SequentialIds
from tests.load.virtual_year import (
    ABSENT,
    TROUBLE,
    Says,
    compute_mistakes,
    measure_delays,
    measure_mistakes,
)

#: Coarser than the command's: a second's work instead of minutes'.
STEP: Final = timedelta(hours=12)
ALICE: Final = Actor(1, "alice")
PAGE, MISSING, CANARY = "https://page.example/", "https://missing.example/", "https://canary.example/"


# --- sites that come and go -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("up", "down"), [(0.1, TROUBLE), (0.2, TROUBLE), (0.7, ABSENT), (0.9, ABSENT)])
def test_sites_are_called_dead_as_often_as_the_rule_implies(up: float, down: Says) -> None:
    sites = 200
    expected = compute_mistakes(up, down, STEP)
    assert 0.1 < expected < 0.9, "it can be told from never and from always"
    spread = (expected * (1 - expected) / sites) ** 0.5
    assert measure_mistakes(up, down, sites) == pytest.approx(expected, abs=4 * spread)


@pytest.mark.parametrize("up", [0.5, 0.7, 0.9, 0.99])
def test_who_is_up_half_of_the_time_is_as_good_as_never_called_dead(up: float) -> None:
    assert 0 < compute_mistakes(up, TROUBLE, STEP) < 1e-5


def test_who_is_gone_is_called_dead_in_time() -> None:
    trouble, absent = (measure_delays(down, 100) for down in (TROUBLE, ABSENT))
    assert MIN_FAILING / timedelta(days=1) <= min(trouble.noticed)
    assert max(trouble.noticed) <= 15
    assert max(absent.noticed) == SECOND_LOOK_AFTER / timedelta(days=1)
    for delays in (trouble, absent):
        for noticed, gone in zip(delays.noticed, delays.gone, strict=True):
            assert noticed <= gone <= noticed + MAX_INTERVAL / timedelta(days=1)


# --- an outage of our own ---------------------------------------------------------------------------------------------


class Web(LinkChecker):
    """Two pages, and a network that is away for a while."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.looks = 0
        self.away_from, self.away_until = clock.time, clock.time

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        self.looks += 1
        if self.away_from <= self._clock.time < self.away_until:
            # As it looks where name servers are gone.
            return Verdict(status=LinkStatus.INVALID, reason=LinkReason.NO_SUCH_NAME)
        if request.url == MISSING:
            return Verdict(status=LinkStatus.INVALID, reason=LinkReason.GONE)
        return Verdict(status=LinkStatus.VALID, reason=LinkReason.OK)


class Year:
    """The link manager's sweep, the dispatcher and the checker with its canary, on one clock."""

    def __init__(self, canaries: tuple[str, ...]) -> None:
        self.clock = FakeClock()
        self.web = Web(self.clock)
        self._bus = MemoryBus(self.clock)
        self._store = MemoryLinkStore()
        users = FakeUserDirectory([ALICE])
        self.links = LinkManager(self._store, users, FakeSocialGraph(users), self.clock, SequentialIds())
        checker = CanaryChecker(self.web, canaries, now=self.seconds)
        self._dispatcher = Dispatcher(checker, self._bus, self.clock, "link-checker")
        self._worked, self._heard = 0, 0

    def seconds(self) -> float:
        return self.clock.time.timestamp()

    async def live(self, until: datetime, step: timedelta = timedelta(hours=12)) -> None:
        while self.clock.time < until:
            await self.links.ask_again()
            events = self._store.events[self._worked :]
            self._worked = len(self._store.events)
            for event in events:
                try:
                    await self._dispatcher.dispatch([write_message(event, "link-manager")])
                except DelinkciousError:
                    # It would be delivered again for five minutes; the sweep asks anew.
                    continue
            lanes = [LINK_CHECK_EVENTS, f"{LINK_CHECK_EVENTS}.bulk"]
            told = [read_event(message) for lane in lanes for message in self._bus.published(lane)]
            verdicts = sorted(
                (event for event in told if isinstance(event, LinkCheckedEvent)), key=lambda event: event.checked_at
            )
            for verdict in verdicts[self._heard :]:
                await self.links.on_link_checked(verdict)
            self._heard = len(verdicts)
            self.clock.advance(max(step.total_seconds(), LIFETIME))

    async def statuses(self) -> dict[str, LinkStatus]:
        page = await self.links.get_links(ALICE, GetLinksRequest(username="alice"))
        return {link.url: link.status for link in page.links}


@pytest.mark.parametrize(
    ("canaries", "says_of_page"), [((CANARY,), LinkStatus.VALID), ((), LinkStatus.INVALID)], ids=["canary", "none"]
)
async def test_an_outage_of_our_own_network_kills_nothing(canaries: tuple[str, ...], says_of_page: LinkStatus) -> None:
    """A month without name servers in the middle of a year. Without a canary it would be everybody's death."""
    year = Year(canaries)
    start = year.clock.time
    year.web.away_from, year.web.away_until = start + timedelta(days=150), start + timedelta(days=180)
    for url in (PAGE, MISSING):
        await year.links.add_link(ALICE, AddLinkRequest(url=url, username="alice"))
    await year.live(start + timedelta(days=150))
    assert await year.statuses() == {PAGE: LinkStatus.VALID, MISSING: LinkStatus.INVALID}
    before = year.web.looks
    await year.live(start + timedelta(days=180))
    assert year.web.looks > before, "it was looked for"
    assert await year.statuses() == {PAGE: says_of_page, MISSING: LinkStatus.INVALID}
    await year.live(start + timedelta(days=365))
    assert await year.statuses() == {PAGE: LinkStatus.VALID, MISSING: LinkStatus.INVALID}
