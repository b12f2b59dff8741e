"""What news needs of a store: entries, one for each link, and for each reader a feed, which is a list of entries.

A feed holds ids, an entry is kept once. So an entry that ends is gone from every feed at once, at no cost for its
author: readers skip what is no more. Feeds and entries are bounded and end some time after their last change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from pkg.object_model.types import NewsEvent

#: A feed holds the newest of these.
MAX_FEED_LENGTH: Final = 1_000
#: What is older is no news.
LIFETIME: Final = timedelta(days=30)
#: For so long a follow or unfollow that comes late is known to be late.
FOLLOW_MEMORY: Final = timedelta(days=30)
#: Longer than telling all followers of an entry can take: so long is it remembered that somebody left meanwhile.
LEAVING: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    author_id: int
    #: 0 where it is about many.
    link_id: int
    event: NewsEvent

    @property
    def id(self) -> int:
        return self.event.id


class EntryJson(NamedTuple):
    """An entry as the public API shows it."""

    id: int
    #: ``news_event_to_wire``, encoded.
    content: bytes


class Saved(NamedTuple):
    #: Whether it is the link's entry now; otherwise a newer one, or the link's end, is known already.
    current: bool
    #: The entry that ended for it.
    replaced: int | None


class FollowOrder(NamedTuple):
    """When somebody followed or unfollowed: the later one holds, whichever is heard first."""

    timestamp: datetime
    event_id: int


class NewsStore(Protocol):
    """Every method may be repeated, after a failure in the middle of it too.

    Raises:
        Unavailable: the store is away or full.
    """

    # --- entries ------------------------------------------------------------------------------------------------------

    async def save_entry(self, entry: Entry) -> Saved:
        """Makes it the entry of its link, unless one of the same or of a newer version was that before."""

    async def add_entry(self, entry: Entry) -> None:
        """One that is about no single link."""

    async def remove_entry(self, author_id: int, link_id: int, version: int) -> int | None:
        """Ends the link's entry as of ``version``, and keeps older ones away; gives the id that ended."""

    async def find_or_save_entries(self, entries: Sequence[Entry]) -> list[int]:
        """Of one author's links: the id of the entry that each has, ``entries`` where it has none.

        A link that has ended is left out. An event of the same version may still replace what is saved here.
        """

    # --- feeds --------------------------------------------------------------------------------------------------------

    async def push(
        self, author_id: int, entry_ids: Sequence[int], replaced: Sequence[int], follower_ids: Sequence[int]
    ) -> None:
        """Puts entries into the feeds of followers, each in its place and once, and takes those out that they replace.

        Followers who left the author within ``LEAVING`` are passed over.
        """

    async def set_following(self, follower_id: int, author_id: int, order: FollowOrder, following: bool) -> bool:
        """Whether this is the newest that is known of the two; a repeat is."""

    async def merge(self, follower_id: int, author_id: int, order: FollowOrder, entry_ids: Sequence[int]) -> None:
        """Puts the author's entries into a feed, unless something newer than ``order`` is known of the two."""

    async def drop_author(self, follower_id: int, author_id: int, order: FollowOrder) -> None:
        """Takes the author's entries out of a feed, unless something newer than ``order`` is known of the two."""

    async def read_feed(self, reader_id: int, after: int | None, limit: int) -> Sequence[Entry]:
        """The newest first, at most ``limit``, beginning behind the entry ``after``."""

    async def read_feed_json(self, reader_id: int, after: int | None, limit: int) -> Sequence[EntryJson]:
        """``read_feed`` for those who pass the entries on."""
