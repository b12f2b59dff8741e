"""What news needs of a store: entries, one for each link, and for each reader a feed, which is a list of entries.

A feed holds ids, an entry is kept once. So an entry that ends is gone from every feed at once, at no cost for its
author: readers skip what is no more. Feeds and entries are bounded; an entry ends some time after its last change, a
feed some time after it was read last. A feed that is not there is built before it is read: nothing is pushed into it
until then.

What an author with many followers does is not pushed. It is noted in a timeline of the author's own, and a feed that
takes from the timeline does so when it is read.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from pkg.object_model import erasure
from pkg.object_model.types import NewsEvent

#: A feed holds the newest of these, a timeline the latest.
MAX_FEED_LENGTH: Final = 1_000
#: What is older is no news, and a feed that was not read for so long ends.
LIFETIME: Final = timedelta(days=30)
#: For so long a follow or unfollow that comes late is known to be late.
FOLLOW_MEMORY: Final = timedelta(days=30)
#: Longer than telling all followers of an entry can take: so long is it remembered that somebody left meanwhile.
LEAVING: Final = timedelta(hours=1)
#: What happened before a store began to remember, or so much later that clocks may differ about it, may have ended in
#: the meantime without its knowing.
DOUBT: Final = timedelta(minutes=1)
#: A feed whose builder does nothing for so long is begun anew.
BUILDING: Final = timedelta(seconds=20)
#: For so long nothing that is heard of a user who is gone has any effect: longer than a dead letter (30 days) and, when
#: it is told again, the stream (7 days) keep an event.
GONE_MEMORY: Final = timedelta(days=40)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEnd:
    """A link is gone, or private, as of a version."""

    author_id: int
    link_id: int
    version: int


class Change(NamedTuple):
    """What became of an entry, or of a link's end."""

    #: Whether it holds now; otherwise something newer is known already.
    current: bool
    #: The entry that ended for it.
    ended: int | None
    #: The store cannot know whether the link has ended since, and has not saved the entry.
    doubtful: bool = False


class FollowOrder(NamedTuple):
    """When somebody followed or unfollowed: the later one holds, whichever is heard first."""

    timestamp: datetime
    event_id: int


class Stretch(NamedTuple):
    """The entries of a feed between two ids, neither included; None: as far as the feed goes."""

    above: int | None = None
    below: int | None = None
    #: Where there are more than are wanted: the oldest of them, not the newest.
    oldest: bool = False


class FeedNotBuiltError(Exception):
    """There is no such feed: it was never read, or not for long, or the store has lost it."""


class Beginning(StrEnum):
    """What became of the attempt to begin a feed."""

    BEGUN = "begun"
    #: Somebody else has begun it, and has not finished yet.
    BUSY = "busy"
    #: It is there.
    BUILT = "built"
    #: The reader has left for good.
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Share:
    """What one author is to a feed that is being built."""

    author_id: int
    entry_ids: Sequence[int]
    #: The feed takes from the author's timeline.
    timeline: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """An author's whose entries are not pushed."""

    #: Which followers are to be told next that their feeds take from it, as the social graph names the place; None when
    #: all have been told.
    untold: str | None = None


class NewsStore(Protocol):
    """Every method may be repeated, after a failure in the middle of it too.

    Raises:
        Unavailable: the store is away or full.
    """

    # --- entries ------------------------------------------------------------------------------------------------------

    async def change_entries(
        self, changes: Sequence[Entry | LinkEnd], now: datetime, *, certain: bool = False
    ) -> list[Change]:
        """In their order, and says what became of each.

        An entry becomes the one of its link, unless one of the same or of a newer version was that before; one that is
        about many links is kept beside all others. An end ends the link's entry, and keeps away what is not newer.

        A store that remembers nothing, since it is new or was lost, remembers from ``now`` on. An entry from before
        that, up to ``DOUBT`` after it, is doubtful where no event of its link is remembered, unless it is ``certain``.
        """

    async def find_or_save_entries(self, entries: Sequence[Entry]) -> list[int | None]:
        """The id of the entry that each link has, which is the one of ``entries`` where it had none.

        None for a link that has ended. An event of the same version may still replace what is saved here.
        """

    # --- feeds --------------------------------------------------------------------------------------------------------

    async def push(
        self, author_id: int, entry_ids: Collection[int], replaced: Sequence[int], follower_ids: Sequence[int]
    ) -> None:
        """Puts entries into the feeds of followers, each in its place and once, and takes those out that they replace.

        Followers who left the author within ``LEAVING`` are passed over, and those who have no feed.
        """

    async def find_progress(self, author_id: int, entry_ids: Collection[int]) -> str:
        """Which followers are to get these entries next, as it was kept for all of them; "" for the first."""

    async def keep_progress(self, author_id: int, entry_ids: Collection[int], place: str) -> None:
        """For an hour; "" is kept by forgetting."""

    async def set_following(self, follower_id: int, author_id: int, order: FollowOrder, following: bool) -> bool:
        """Whether this is the newest that is known of the two; a repeat is."""

    async def merge(self, follower_id: int, share: Share, order: FollowOrder) -> None:
        """Gives an author's share to a feed, if there is one and nothing newer than ``order`` is known of the two."""

    async def drop_author(self, follower_id: int, author_id: int, order: FollowOrder) -> None:
        """Takes the author's entries out of a feed, unless something newer than ``order`` is known of the two."""

    async def read_feed(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[Entry]:
        """At most ``limit``, and the newest first, whichever end of the stretch they are of.

        What is new in timelines is taken from them first, unless only what is older than something is wanted.

        Raises:
            FeedNotBuiltError: there is no such feed.
        """

    async def read_feed_json(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[EntryJson]:
        """``read_feed`` for those who pass the entries on."""

    # --- building a feed ----------------------------------------------------------------------------------------------

    async def has_feed(self, reader_id: int) -> bool:
        """Or one that is being built."""

    async def begin_feed(self, reader_id: int, builder: str) -> Beginning:
        """From now on what is pushed comes into the feed. Who builds it has to go on within ``BUILDING``."""

    async def fill_feed(self, reader_id: int, builder: str, shares: Sequence[Share]) -> bool:
        """Authors whom the reader left within ``LEAVING`` are passed over. False: it is no longer the builder's."""

    async def finish_feed(self, reader_id: int, builder: str) -> bool:
        """The feed may be read. False: it is no longer the builder's."""

    async def abandon_feed(self, reader_id: int, builder: str) -> None:
        """Whoever reads next begins it anew. Nothing happens if it is no longer the builder's."""

    # --- timelines ----------------------------------------------------------------------------------------------------

    async def find_timelines(self, author_ids: Collection[int]) -> Mapping[int, Timeline]:
        """Of those authors who have one."""

    async def open_timeline(self, author_id: int) -> None:
        """Nobody is told of it yet. One that is open stays as it is."""

    async def note_in_timeline(self, author_id: int, entry_ids: Collection[int]) -> bool:
        """Whether the author has a timeline."""

    async def join_timeline(self, author_id: int, follower_ids: Sequence[int]) -> None:
        """Has the feeds of followers take from it. Passes over whom ``push`` passes over."""

    async def keep_untold(self, author_id: int, place: str | None) -> None:
        """Which followers are to be told next."""

    async def close_timeline(self, author_id: int) -> None:
        """From now on the author's entries are pushed. What was noted is still taken."""

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        """Removes, from ``after`` on, some of the user's feed, of their entries and of what is remembered of them.

        Where to go on, beginning at ``erasure.START``; None when nothing is left. From the first call on, whatever is
        heard of the user is as if it had never been told.
        """
