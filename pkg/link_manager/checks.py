"""When a link is dead, and when it is looked at again. What is known of a URL is known for all who saved it.

The rule. What says itself that it is not there (404, 410, a name that nobody has) is dead at once if it was never seen
alive, and else after a second such look an hour later or more. All other trouble is dead only after MIN_FAILURES looks
in a row that met with some, over MIN_FAILING or longer. What says nothing of the page changes nothing. See
docs/adr/031.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pkg.object_model.events import LinkCheckedEvent
from pkg.object_model.types import LinkReason, LinkStatus, StatusChange

SECOND_LOOK_AFTER: Final = timedelta(hours=1)
MIN_FAILING: Final = timedelta(days=14)
MIN_FAILURES: Final = 20

#: After the first failure; then three times as long each time, a day at most.
FIRST_RETRY: Final = timedelta(minutes=5)
#: Between two looks at what is as it was: half of the time for which it has been so, within these.
MIN_INTERVAL: Final = timedelta(days=1)
MAX_INTERVAL: Final = timedelta(days=30)
#: What was looked at, or asked for, since then is not looked at again because somebody asks.
LOOK_AGAIN_AFTER: Final = timedelta(minutes=1)
#: No two URLs keep step: each interval is shorter by up to this part.
_JITTER: Final = 0.2
#: Changes that are remembered.
MAX_HISTORY: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is known of a URL."""

    status: LinkStatus
    #: What the last look met with.
    reason: str
    moved_to: str
    #: When that was; None before the first.
    checked_at: datetime | None
    #: Since when the status is what it is.
    changed_at: datetime
    #: Whether any look found the page.
    seen_alive: bool
    #: Of the failures in a row, how many there are, when the first was and when the first that says "not there".
    failures: int
    failing_since: datetime | None
    absent_since: datetime | None
    #: When to look again.
    next_at: datetime
    #: The last changes of status or reason, the newest last.
    history: tuple[StatusChange, ...]


def weigh(before: Check, look: LinkCheckedEvent, url_key: bytes) -> Check | None:
    """What is known after a look; None if the look says nothing new, because a later one was there before."""
    at = look.checked_at
    if before.checked_at is not None and before.checked_at >= at:
        return None
    after = replace(before, reason=look.reason, moved_to=look.moved_to, checked_at=at)
    if look.status is LinkStatus.VALID:
        after = replace(
            after,
            status=LinkStatus.VALID,
            seen_alive=True,
            failures=0,
            failing_since=None,
            absent_since=None,
        )
    elif look.status is LinkStatus.INVALID or look.transient:
        after = _count_failure(after, look, at)
    if after.status is not before.status:
        after = replace(after, changed_at=at)
    if (after.status, after.reason) != (before.status, before.reason):
        after = replace(after, history=(*before.history, StatusChange(at, after.status, after.reason))[-MAX_HISTORY:])
    return replace(after, next_at=at + _pause(after, look, url_key))


def unknown(at: datetime) -> Check:
    """What is known before the first look, which is due."""
    return Check(
        status=LinkStatus.PENDING,
        reason="",
        moved_to="",
        checked_at=None,
        changed_at=at,
        seen_alive=False,
        failures=0,
        failing_since=None,
        absent_since=None,
        next_at=at,
        history=(),
    )


def may_look_again(check: Check, asked_at: datetime | None, now: datetime) -> bool:
    """Whether somebody's wish is reason enough for a look.

    ``asked_at``: when one was last asked for, if it has no answer yet.
    """
    if any(at is not None and now - at < LOOK_AGAIN_AFTER for at in (check.checked_at, asked_at)):
        return False
    # A site that asked to be left alone is left alone.
    return check.reason != LinkReason.RATE_LIMITED or now >= check.next_at


def _count_failure(check: Check, look: LinkCheckedEvent, at: datetime) -> Check:
    failing_since = check.failing_since or at
    absent = look.status is LinkStatus.INVALID
    absent_since = check.absent_since or at if absent else check.absent_since
    failures = check.failures + 1
    dead = (
        absent and (not check.seen_alive or (absent_since is not None and at - absent_since >= SECOND_LOOK_AFTER))
    ) or (failures >= MIN_FAILURES and at - failing_since >= MIN_FAILING)
    return replace(
        check,
        status=LinkStatus.INVALID if dead else check.status,
        failures=failures,
        failing_since=failing_since,
        absent_since=absent_since,
    )


def _pause(check: Check, look: LinkCheckedEvent, url_key: bytes) -> timedelta:
    at = look.checked_at
    is_open = check.failures > 0 and check.status is not LinkStatus.INVALID
    if is_open and look.status is LinkStatus.INVALID:
        return SECOND_LOOK_AFTER
    if is_open:
        pause = min(FIRST_RETRY * int(3 ** min(check.failures - 1, 10)), MIN_INTERVAL)
        return max(pause * _shortened(url_key, at), timedelta(seconds=look.retry_after or 0))
    pause = min(max((at - check.changed_at) / 2, MIN_INTERVAL), MAX_INTERVAL)
    return max(pause * _shortened(url_key, at), MIN_INTERVAL)


def _shortened(url_key: bytes, at: datetime) -> float:
    """Between 1 - _JITTER and 1: by chance, and the same for whoever asks."""
    digest = hashlib.sha256(url_key + at.isoformat().encode()).digest()
    return 1 - _JITTER * int.from_bytes(digest[:4]) / 2**32
