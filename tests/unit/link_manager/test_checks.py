"""The rule of when a link is dead, and when it is looked at again, on a clock that nobody waits for."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from pkg.link_manager.checks import (
    FIRST_RETRY,
    MAX_HISTORY,
    MAX_INTERVAL,
    MIN_FAILING,
    MIN_FAILURES,
    MIN_INTERVAL,
    SECOND_LOOK_AFTER,
    Check,
    unknown,
    weigh,
)
from pkg.object_model.events import LinkCheckedEvent
from pkg.object_model.types import LinkStatus

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
URL_KEY: Final = bytes(32)
DAY: Final = timedelta(days=1)

FOUND: Final = (LinkStatus.VALID, "ok", False)
ABSENT: Final = (LinkStatus.INVALID, "not_found", False)
TROUBLE: Final = (LinkStatus.PENDING, "server_error", True)
NOTHING_SAID: Final = (LinkStatus.PENDING, "forbidden", False)

type Said = tuple[LinkStatus, str, bool]


def look(said: Said, at: datetime, retry_after: int | None = None, moved_to: str = "") -> LinkCheckedEvent:
    status, reason, transient = said
    return LinkCheckedEvent(
        id=1,
        user_id=1,
        username="alice",
        url="https://a.example/",
        status=status,
        checked_at=at,
        reason=reason,
        transient=transient,
        retry_after=retry_after,
        moved_to=moved_to,
    )


def after(*looks: tuple[Said, timedelta]) -> Check:
    """What is known after these, each so long after the one before."""
    at, check = START, unknown(START)
    for said, pause in looks:
        at += pause
        check = weigh(check, look(said, at), URL_KEY) or check
    return check


def test_what_was_never_seen_alive_is_dead_at_once() -> None:
    assert after((ABSENT, DAY)).status is LinkStatus.INVALID


def test_what_was_alive_gets_a_second_look() -> None:
    first = after((FOUND, DAY), (ABSENT, DAY))
    assert (first.status, first.reason) == (LinkStatus.VALID, "not_found")
    assert first.next_at == START + 2 * DAY + SECOND_LOOK_AFTER
    too_soon = (ABSENT, SECOND_LOOK_AFTER - timedelta(seconds=1))
    assert after((FOUND, DAY), (ABSENT, DAY), too_soon).status is LinkStatus.VALID
    assert after((FOUND, DAY), (ABSENT, DAY), (ABSENT, SECOND_LOOK_AFTER)).status is LinkStatus.INVALID
    assert after((FOUND, DAY), (ABSENT, DAY), too_soon, (ABSENT, DAY)).status is LinkStatus.INVALID


def test_a_page_that_comes_back_is_alive_and_is_given_a_second_look_again() -> None:
    back = after((ABSENT, DAY), (FOUND, DAY))
    assert (back.status, back.failures, back.failing_since) == (LinkStatus.VALID, 0, None)
    assert after((ABSENT, DAY), (FOUND, DAY), (ABSENT, DAY)).status is LinkStatus.VALID


@pytest.mark.parametrize(
    ("failures", "pause", "status"),
    [
        (MIN_FAILURES - 1, MIN_FAILING, LinkStatus.VALID),
        (MIN_FAILURES, MIN_FAILING / MIN_FAILURES, LinkStatus.VALID),
        (MIN_FAILURES, MIN_FAILING / (MIN_FAILURES - 1), LinkStatus.INVALID),
        (10 * MIN_FAILURES, timedelta(hours=1), LinkStatus.VALID),
    ],
)
def test_trouble_is_death_only_when_it_lasts(failures: int, pause: timedelta, status: LinkStatus) -> None:
    assert after((FOUND, DAY), *[(TROUBLE, pause)] * failures).status is status


def test_one_success_ends_a_row_of_failures() -> None:
    row = [(TROUBLE, DAY)] * (MIN_FAILURES - 1)
    assert after((FOUND, DAY), *row, (FOUND, DAY), *row).status is LinkStatus.VALID


def test_what_says_nothing_changes_nothing() -> None:
    check = after((FOUND, DAY), *[(NOTHING_SAID, DAY)] * 100)
    assert (check.status, check.reason, check.failures) == (LinkStatus.VALID, "forbidden", 0)
    assert after(*[(NOTHING_SAID, DAY)] * 100).status is LinkStatus.PENDING


def test_a_late_look_says_nothing() -> None:
    check = after((FOUND, DAY))
    assert weigh(check, look(ABSENT, START + DAY), URL_KEY) is None
    assert weigh(check, look(ABSENT, START), URL_KEY) is None


def test_changes_are_remembered_and_not_too_many() -> None:
    check = after((FOUND, DAY), (FOUND, DAY), (TROUBLE, DAY), (ABSENT, DAY), (ABSENT, DAY))
    assert [(change.status.value, change.reason) for change in check.history] == [
        ("valid", "ok"),
        ("valid", "server_error"),
        ("valid", "not_found"),
        ("invalid", "not_found"),
    ]
    assert check.changed_at == START + 5 * DAY
    assert len(after(*[(FOUND, DAY), (TROUBLE, DAY)] * 50).history) == MAX_HISTORY


def test_where_it_moved_is_known_until_it_is_there_again() -> None:
    moved = weigh(unknown(START), look(FOUND, START, moved_to="https://new.example/"), URL_KEY)
    assert moved is not None
    assert moved.moved_to == "https://new.example/"
    assert (weigh(moved, look(FOUND, START + DAY), URL_KEY) or moved).moved_to == ""


# --- when to look again -----------------------------------------------------------------------------------------------


def test_what_stays_as_it_is_is_looked_at_ever_more_rarely() -> None:
    for said in (FOUND, ABSENT, NOTHING_SAID):
        at, check, pauses = START, unknown(START), []
        for _ in range(30):
            check = weigh(check, look(said, at), URL_KEY) or check
            pauses.append(check.next_at - at)
            at = check.next_at
        assert pauses[0] == MIN_INTERVAL
        assert all(MIN_INTERVAL <= pause <= MAX_INTERVAL for pause in pauses)
        assert pauses[-1] >= MAX_INTERVAL * 0.8


def test_no_two_urls_keep_step() -> None:
    at = START + 400 * DAY
    old = after((FOUND, DAY))
    pauses = {(weigh(old, look(FOUND, at), bytes([number]) * 32) or old).next_at for number in range(100)}
    assert len(pauses) == 100
    assert max(pauses) - min(pauses) > MAX_INTERVAL * 0.1


def test_trouble_is_looked_at_again_soon_and_then_later() -> None:
    at, check = START, after((FOUND, timedelta(0)))
    pauses = []
    for _ in range(10):
        at = check.next_at
        check = weigh(check, look(TROUBLE, at), URL_KEY) or check
        pauses.append(check.next_at - at)
    assert FIRST_RETRY * 0.8 <= pauses[0] <= FIRST_RETRY
    assert all(MIN_INTERVAL * 0.8 <= pause <= MIN_INTERVAL for pause in pauses[6:])


def test_a_site_that_asks_to_be_left_alone_is_left_alone() -> None:
    check = weigh(unknown(START), look(TROUBLE, START, retry_after=7_200), URL_KEY)
    assert check is not None
    assert check.next_at == START + timedelta(hours=2)
