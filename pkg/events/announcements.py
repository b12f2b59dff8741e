"""What is told to whoever listens now, and kept for nobody: over NATS itself, without a stream.

It is for what loses its worth within seconds, and for listeners who get on without it: one who was away has missed it.
"""

from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Protocol

from pkg.object_model.errors import InvalidArgument
from pkg.runtime.json import decode, encode

#: Sessions or tokens of a user have ended: whoever remembers whom they stood for forgets.
TOKEN_REVOCATIONS: Final = "token-revocations"  # noqa: S105  # a subject, not a token

#: Feeds have changed: whoever shows them looks again.
NEWS_CHANGES: Final = "news-changes"


class Announcer(Protocol):
    async def announce(self, subject: str, body: bytes) -> None:
        """
        Raises:
            Unavailable: the bus is away, and nobody hears of it.
        """


class Announcements(Protocol):
    async def listen(self, subject: str, heard: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        """Has ``heard`` called with each body, from now on and as long as the bus is open.

        ``missed`` is called whenever something may have been told while nobody listened: as soon as we do for the first
        time, and after each time that the bus was away.
        """


class NewsChange(NamedTuple):
    """Whose feeds have changed. One says it for all followers of an author, however many there are."""

    #: Those of everybody who follows one of these.
    author_ids: frozenset[int]
    #: Those of these, who follow others than before.
    reader_ids: frozenset[int]


def write_news_change(change: NewsChange) -> bytes:
    return encode({"AuthorIds": _write_ids(change.author_ids), "ReaderIds": _write_ids(change.reader_ids)})


def read_news_change(body: bytes) -> NewsChange:
    """
    Raises:
        InvalidArgument: it is no announcement of ours (``malformed_announcement``).
    """
    try:
        wire = decode(body)
        return NewsChange(*(frozenset(map(int, wire[name])) for name in ("AuthorIds", "ReaderIds")))
    except (InvalidArgument, LookupError, TypeError, ValueError):
        raise InvalidArgument("this is no change of news of ours", code="malformed_announcement") from None


def _write_ids(ids: Collection[int]) -> list[str]:
    return [str(each) for each in sorted(ids)]


def write_revocation(user_id: int) -> bytes:
    return encode({"UserId": str(user_id)})


def read_revocation(body: bytes) -> int:
    """Whose sessions or tokens have ended.

    Raises:
        InvalidArgument: it is no announcement of ours (``malformed_announcement``).
    """
    try:
        return int(decode(body)["UserId"])
    except (InvalidArgument, LookupError, TypeError, ValueError):
        raise InvalidArgument("this is no revocation of ours", code="malformed_announcement") from None
