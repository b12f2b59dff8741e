"""Which events have a link looked at, and what is told of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pkg.events.memory_bus import MemoryBus
from pkg.events.messages import (
    BULK,
    LINK_CHECK_EVENTS,
    LINK_EVENTS,
    Message,
    describe,
    partition_of,
    read_event,
    write_message,
)
from pkg.link_checker.dispatcher import GIVE_UP_AFTER, Dispatcher, verdict_id
from pkg.link_checker.shared_checks import SharedChecks
from pkg.object_model.errors import DelinkciousError, InvalidArgument, Unavailable
from pkg.object_model.events import FollowEvent, LinkCheckedEvent, LinkEvent, LinkEventType
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import CheckLinkRequest, LinkStatus, Verdict
from pkg.runtime.context import current_context
from tests.fakes import FakeClock

VALID = Verdict(status=LinkStatus.VALID, reason="ok")
DEAD = Verdict(status=LinkStatus.INVALID, reason="gone")
LATER = Verdict(status=LinkStatus.PENDING, reason="server_error", transient=True)
UNKNOWN = Verdict(status=LinkStatus.PENDING, reason="refused")


class FakeChecker(LinkChecker):
    def __init__(self) -> None:
        self.says: dict[str, Verdict | DelinkciousError] = {}
        self.asked: list[str] = []
        self.traces: list[str] = []

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        self.asked.append(request.url)
        context = current_context()
        self.traces.append(f"{context.request_id} {context.traceparent[3:35]}" if context else "")
        said = self.says.get(request.url, VALID)
        if isinstance(said, DelinkciousError):
            raise said
        return said


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.checker = FakeChecker()
        self.bus = MemoryBus(self.clock)
        self.dispatcher = Dispatcher(self.checker, self.bus, self.clock, "link-checker")

    def event(self, event_id: int, url: str = "", kind: LinkEventType = LinkEventType.ADDED) -> LinkEvent:
        return LinkEvent(
            id=event_id,
            type=kind,
            user_id=7,
            username="alice",
            timestamp=self.clock.time,
            url=url or f"https://host.example/{event_id}",
            link_id=event_id,
        )

    async def dispatch(self, *events: LinkEvent | FollowEvent) -> None:
        await self.dispatcher.dispatch([write_message(event, "link-manager") for event in events])

    def told(self) -> list[LinkCheckedEvent]:
        return [checked(message) for message in self.bus.published(LINK_CHECK_EVENTS)]


def checked(message: Message) -> LinkCheckedEvent:
    event = read_event(message)
    assert isinstance(event, LinkCheckedEvent)
    return event


@pytest.fixture
async def house() -> House:
    return House()


async def test_a_verdict_is_told(house: House) -> None:
    added = house.event(1, "https://host.example/a#b")
    house.checker.says = {added.url: DEAD}
    await house.dispatch(added)
    assert house.told() == [
        LinkCheckedEvent(
            id=verdict_id(1),
            user_id=7,
            username="alice",
            url="https://host.example/a#b",
            status=LinkStatus.INVALID,
            checked_at=house.clock.time,
            reason="gone",
        )
    ]


async def test_what_asks_for_a_check_and_what_does_not(house: House) -> None:
    follow = FollowEvent(
        id=9,
        follower_id=1,
        follower="a",
        followed_id=2,
        followed="b",
        timestamp=house.clock.time,
        following=True,
    )
    await house.dispatch(
        house.event(1),
        replace(house.event(2), bulk=True),
        replace(house.event(3, kind=LinkEventType.UPDATED), bulk=True),
        house.event(4, kind=LinkEventType.UPDATED),
        house.event(5, kind=LinkEventType.DELETED),
        replace(house.event(6, kind=LinkEventType.IMPORTED), url="", count=3),
        replace(house.event(7), status=LinkStatus.VALID),
        replace(house.event(8), status=LinkStatus.INVALID, bulk=True),
        follow,
    )
    assert house.checker.asked == [f"https://host.example/{number}" for number in (1, 2, 3)]


async def test_verdicts_of_many_take_a_lane_of_their_own(house: House) -> None:
    """An import of thousands must not keep what is said of somebody's next link waiting."""
    await house.dispatch(house.event(1), replace(house.event(2), bulk=True))
    own, bulk = (house.bus.published(subject) for subject in (LINK_CHECK_EVENTS, f"{LINK_CHECK_EVENTS}.{BULK}"))
    assert [[checked(message).id for message in lane] for lane in (own, bulk)] == [[verdict_id(1)], [verdict_id(2)]]


async def test_what_somebody_waits_for_takes_the_lane_of_what_is_new(house: House) -> None:
    """Both ways: nobody who asks for a look waits behind an import of thousands."""
    call = replace(house.event(1, kind=LinkEventType.UPDATED), bulk=True, urgent=True)
    partition = partition_of(call.user_id)
    assert describe(call)[1] == f"{LINK_EVENTS}.{partition}"
    assert describe(replace(call, urgent=False))[1] == f"{LINK_EVENTS}.{partition}.{BULK}"
    await house.dispatch(call)
    assert [checked(message).id for message in house.bus.published(LINK_CHECK_EVENTS)] == [verdict_id(1)]


async def test_twenty_who_save_the_same_hundred_cause_a_hundred_looks(house: House) -> None:
    dispatcher = Dispatcher(SharedChecks(house.checker, str.lower), house.bus, house.clock, "link-checker")
    saved = [
        replace(house.event(100 * user + number, f"https://{number}.example/"), user_id=user)
        for user in range(20)
        for number in range(100)
    ]
    for start in range(0, len(saved), 64):
        messages = [write_message(event, "link-manager") for event in saved[start : start + 64]]
        await dispatcher.dispatch(messages)
    assert len(house.checker.asked) == len(set(house.checker.asked)) == 100
    assert len(house.told()) == 2_000


async def test_a_repeat_is_known_by_its_event(house: House) -> None:
    await house.dispatch(house.event(1))
    await house.dispatch(house.event(1))
    assert len(house.checker.asked) == 1
    # Another process, or this one after a restart, knows nothing of it; the bus does.
    await Dispatcher(house.checker, house.bus, house.clock, "link-checker").dispatch(
        [write_message(house.event(1), "link-manager")]
    )
    assert len(house.checker.asked) == 2
    assert len(house.told()) == 1


@pytest.mark.parametrize("said", [LATER, UNKNOWN])
async def test_what_settles_nothing_is_told_as_well(house: House, said: Verdict) -> None:
    event = house.event(1)
    house.checker.says = {event.url: replace(said, retry_after=60)}
    await house.dispatch(event)
    (told,) = house.told()
    assert (told.status, told.reason) == (LinkStatus.PENDING, said.reason)
    assert (told.transient, told.retry_after) == (said.transient, 60)


async def test_what_was_not_looked_at_is_asked_for_again_alone(house: House) -> None:
    events = [house.event(number) for number in (1, 2, 3)]
    house.checker.says = {events[1].url: Unavailable("busy")}
    with pytest.raises(Unavailable):
        await house.dispatch(*events)
    assert [told.url for told in house.told()] == [events[0].url, events[2].url]
    house.checker.says = {}
    house.checker.asked.clear()
    await house.dispatch(*events)
    assert house.checker.asked == [events[1].url]
    assert {told.id for told in house.told()} == {verdict_id(1), verdict_id(2), verdict_id(3)}


async def test_after_a_while_a_link_is_left_pending(house: House) -> None:
    event = house.event(1)
    house.checker.says = {event.url: Unavailable("away")}
    house.clock.advance(GIVE_UP_AFTER.total_seconds() - 1)
    with pytest.raises(Unavailable):
        await house.dispatch(event)
    house.clock.advance(2)
    await house.dispatch(event)
    assert house.told() == []
    house.checker.asked.clear()
    await house.dispatch(event)
    assert house.checker.asked == [], "given up is done with"


async def test_a_checker_that_is_away_says_so(house: House) -> None:
    event = house.event(1)
    house.checker.says = {event.url: Unavailable("away", code="link_check_function_unavailable")}
    with pytest.raises(Unavailable):
        await house.dispatch(event)


async def test_a_bus_that_is_away_loses_nothing(house: House) -> None:
    house.bus.away = True
    with pytest.raises(Unavailable):
        await house.dispatch(house.event(1))
    house.bus.away = False
    await house.dispatch(house.event(1))
    assert len(house.told()) == 1


async def test_what_can_never_be_worked_on(house: House) -> None:
    event = house.event(1)
    house.checker.says = {event.url: InvalidArgument("no URL")}
    house.clock.advance(GIVE_UP_AFTER.total_seconds() * 2)
    with pytest.raises(InvalidArgument):
        await house.dispatch(event)
    broken = replace(write_message(event, "link-manager"), body=b"{}")
    with pytest.raises(InvalidArgument):
        await house.dispatcher.dispatch([broken])


async def test_each_check_goes_on_with_the_trace_of_its_event(house: House) -> None:
    traces = [f"00-{str(number) * 32}-{'a' * 16}-00" for number in (1, 2)]
    messages = [
        write_message(house.event(number), "link-manager", traceparent=trace, request_id=f"request-{number}")
        for number, trace in enumerate(traces, 1)
    ]
    await house.dispatcher.dispatch(messages)
    assert house.checker.traces == [f"request-{number} {str(number) * 32}" for number in (1, 2)]
    told = house.bus.published(LINK_CHECK_EVENTS)
    assert [(message.request_id, message.traceparent[3:35]) for message in told] == [
        (f"request-{number}", str(number) * 32) for number in (1, 2)
    ]


def test_ids_of_verdicts_are_nobody_elses() -> None:
    ids = {verdict_id(number) for number in range(10_000)}
    assert len(ids) == 10_000
    assert all(0 <= number < 2**63 for number in ids)
    assert verdict_id(1) == 8_507_269_747_438_901_379, "for ever: two versions of the dispatcher must agree"


def test_giving_up_comes_before_the_last_delivery() -> None:
    """A site that is down for long makes no dead letters: those are for people to look at."""
    delays = [min(900.0, 4.0**attempt) for attempt in range(7)]
    assert timedelta(seconds=sum(delays[:-1])) > GIVE_UP_AFTER
