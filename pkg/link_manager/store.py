"""What the link manager needs of a store. Rules are the manager's; a store keeps, finds and counts.

What is told of a change, the manager says as well; a store keeps it together with the change, or neither.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from pkg.link_manager.checks import Check
from pkg.link_manager.regex import RegexFilter
from pkg.link_manager.urls import SavedUrl
from pkg.object_model import erasure
from pkg.object_model.errors import Conflict
from pkg.object_model.events import LinkEvent
from pkg.object_model.types import Link, LinkHistory, LinkStatus, SharedLink, StatusCount, TagCount, Visibility

#: Of the description of a link of many.
MAX_SHARED_DESCRIPTION: Final = 2_000
#: A look that was asked for and has no answer is asked for again after so long, at first.
ASK_AGAIN_AFTER: Final = timedelta(minutes=10)
MAX_ASK_AGAIN_AFTER: Final = timedelta(days=1)


class Audience(StrEnum):
    """Who looks at somebody's links."""

    OWNER = "owner"
    FOLLOWER = "follower"
    STRANGER = "stranger"
    #: To whom a private account shows nothing.
    NOBODY = "nobody"

    def sees(self, visibility: Visibility) -> bool:
        match self:
            case Audience.OWNER:
                return True
            case Audience.FOLLOWER:
                return visibility is not Visibility.PRIVATE
            case Audience.STRANGER:
                return visibility is Visibility.PUBLIC
            case Audience.NOBODY:
                return False


class Place(NamedTuple):
    """A link's place in its list. ``score`` counts in a search alone."""

    score: int
    created_at: datetime
    id: int


class FoundLink(NamedTuple):
    link: Link
    #: 0 where nothing is searched for.
    score: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQuery:
    """Which links of a user, newest first; those of a search by score, then newest first."""

    user_id: int
    audience: Audience
    limit: int
    tag_key: str | None = None
    visibility: Visibility | None = None
    status: LinkStatus | None = None
    status_reason: str | None = None
    url: RegexFilter | None = None
    title: RegexFilter | None = None
    description: RegexFilter | None = None
    #: Of a search, folded; each must begin a word of the link.
    words: tuple[str, ...] = ()
    #: Only what comes after it.
    after: Place | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """A promise to do something once, and to give a repeat the first answer."""

    key: bytes
    #: Of the request. The same key with another request is a mistake.
    fingerprint: bytes
    now: datetime
    #: Answers from before this are forgotten.
    not_before: datetime
    #: The result of the operation as text.
    encode: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A link of a file. Its version is the store's to say."""

    url_key: bytes
    link: Link


class ImportOutcome(StrEnum):
    IMPORTED = "imported"
    MERGED = "merged"
    UNCHANGED = "unchanged"
    LIMIT_REACHED = "link_limit_reached"


@dataclass(frozen=True, slots=True)
class ImportNews:
    """What is told of an import."""

    now: datetime
    #: Of each link that is new or was merged into, as it is then.
    of_link: Callable[[ImportOutcome, Link], LinkEvent]
    #: Of them all, after them; None for nothing.
    of_all: Callable[[Sequence[ImportOutcome]], LinkEvent | None]


@dataclass(frozen=True, slots=True)
class Move:
    """How a link gets another URL. What any of these raises changes nothing."""

    #: Which one.
    find_place: Callable[[Link], SavedUrl]
    #: What becomes of it there; with the other link that is there already, or None. Version and status are the store's
    #: to say.
    merge: Callable[[Link, SavedUrl, Link | None], Link]
    #: Of the link as it is then, and of the other as it was last, with the version that its end takes.
    tell: Callable[[Link, Link | None], Sequence[LinkEvent]]


class DueCheck(NamedTuple):
    """A URL that is to be looked at, and one of those who saved it; None if nobody has it any more."""

    url_key: bytes
    user_id: int | None


class LinkStore(Protocol):
    """Every method is one transaction."""

    async def find_links(self, query: LinkQuery) -> list[FoundLink]: ...

    async def find_shared(self, user_ids: Sequence[int], limit: int, changed_after: datetime) -> list[SharedLink]:
        """Of each user, ``limit`` at most, those that were changed last, of all that followers may see; none from
        before ``changed_after``. Descriptions are cut at MAX_SHARED_DESCRIPTION characters."""

    async def read_oldest_first(
        self, user_id: int, audience: Audience, after: tuple[datetime, int] | None, limit: int
    ) -> list[Link]: ...

    async def find_tags(
        self, user_id: int, audience: Audience, prefix: str, after: str | None, limit: int
    ) -> list[tuple[str, TagCount]]:
        """Tags with their keys, in the order of the keys (by code point); ``prefix`` and ``after`` are keys."""

    async def count_links(self, user_id: int, audience: Audience) -> int: ...

    async def count_statuses(self, user_id: int) -> list[StatusCount]:
        """In the order of LinkStatus, and of reasons by code point. What no link has is left out."""

    async def find_history(self, user_id: int, url_key: bytes) -> LinkHistory | None:
        """The link, and what is remembered of its URL; None if there is no link."""

    async def add_link(
        self, user_id: int, url_key: bytes, link: Link, max_links: int, event: LinkEvent, once: Once | None = None
    ) -> Link:
        """``link`` with its version, and with the status that is known of its URL. ``event`` is told with the same.

        Raises:
            Conflict: it is there already (``link_exists``); there are ``max_links`` already (``link_limit_reached``).
            AnsweredBeforeError: ``once`` was kept before; nothing is added.
        """

    async def change_link(
        self, user_id: int, url_key: bytes, change: Callable[[Link], Link], tell: Callable[[Link], LinkEvent]
    ) -> Link | None:
        """The link after ``change``; None if there is none. What ``change`` raises changes nothing.

        ``tell`` is asked only if something has changed.
        """

    async def delete_link(self, user_id: int, url_key: bytes, tell: Callable[[Link], LinkEvent]) -> bool:
        """Whether there was one. ``tell`` gets it as it was last, with the version that its end takes."""

    async def move_link(self, user_id: int, url_key: bytes, move: Move, once: Once | None = None) -> Link | None:
        """The link at its new URL; None if there is none at the old one.

        Its version is greater than any that a link of the user's had at either. It has the status that is known of the
        new URL. Another link that is there ends.

        Raises:
            AnsweredBeforeError: ``once`` was kept before; nothing is moved.
        """

    async def import_links(
        self,
        user_id: int,
        candidates: Sequence[Candidate],
        max_links: int,
        merge: Callable[[Link, Link], Link],
        news: ImportNews,
        once: Once | None = None,
    ) -> list[ImportOutcome]:
        """Adds those that are new, as long as there is room; ``merge(present, candidate)`` says what becomes of others.

        ``merge`` may fill texts and add tags; it leaves visibility and time of creation as they are.

        Raises:
            AnsweredBeforeError: ``once`` was kept before; nothing is added.
        """

    async def keep_check(self, url_key: bytes, at: datetime, weigh: Callable[[Check], Check | None]) -> bool:
        """Keeps what ``weigh`` makes of what is known of the URL, and shows it on all links that have it.

        Whether there was anything to keep, and anybody who has the URL. Neither versions nor times of updates move,
        and nothing is told. ``at``: the time of the look.
        """

    def sweep_alone(self) -> AbstractAsyncContextManager[bool]:
        """Whether the block may sweep: nobody else does, in any process, until it ends."""

    async def schedule_late(self, asked_before: datetime, now: datetime, limit: int) -> int:
        """Sees to it that the URLs of links that were added before then, and have heard nothing since, are looked at.

        How many links. What is known of their URLs by now is shown on them.
        """

    async def find_due(self, now: datetime, limit: int) -> list[DueCheck]:
        """URLs whose next look is due, the longest due first."""

    async def ask_for_one(
        self,
        user_id: int,
        url_key: bytes,
        now: datetime,
        wanted: Callable[[Check, datetime | None], bool],
        tell: Callable[[Link], LinkEvent],
    ) -> Link | None:
        """The link as it is, whose URL is to be looked at; None if there is none.

        ``wanted`` gets what is known of the URL, and when a look was last asked for that has no answer yet. If it
        agrees, one is asked for, and ``tell`` tells it.
        """

    async def ask_for(
        self, due: Sequence[DueCheck], now: datetime, tell: Callable[[int, Link], LinkEvent | None]
    ) -> int:
        """Tells, for those that are due still, that a look is asked for; how many events.

        Without an answer each is due again after ASK_AGAIN_AFTER, and then after twice as long each time, a day at
        most. ``tell`` gets the user's id and the link; where it gives None, nothing is told. What nobody has any more
        is forgotten.
        """

    async def add_up_statuses(self, limit: int) -> int:
        """Makes counting cheap again after many changes, at most ``limit`` of them; how many there were."""

    async def recall_answer(self, user_id: int, once: Once) -> str | None:
        """The first answer.

        Raises:
            Conflict: it was the answer to another request (``idempotency_key_reused``).
        """

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        """Removes some of what is the user's: rows first, and then, from ``after`` on, what was told of them.

        Where to go on, beginning at ``erasure.START``; None when nothing is left. Nobody may be adding to it.
        """


class AnsweredBeforeError(Exception):
    """Somebody kept the promise in the meantime; ``recall_answer`` tells how."""


def link_exists() -> Conflict:
    return Conflict("this link is saved already; update it instead", code="link_exists")


def link_limit_reached(max_links: int) -> Conflict:
    return Conflict(
        f"you have {max_links} links, the most that a user may have; delete some", code="link_limit_reached"
    )


def idempotency_key_reused() -> Conflict:
    return Conflict(
        "this idempotency key was sent with another request; make a new key for each", code="idempotency_key_reused"
    )


def pause_after(times_unanswered: int) -> timedelta:
    return min(MAX_ASK_AGAIN_AFTER, ASK_AGAIN_AFTER * (1 << min(times_unanswered, 10)))
