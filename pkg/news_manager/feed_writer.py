"""What comes into whose feed: the rules of news, as they follow from events.

Events come at least once, and some late: whatever is repeated changes nothing, and what is older never overwrites what
is newer. The followers of an author are asked for after the event was heard, so that everybody is among them who
followed before it happened.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import batched
from typing import Final, Protocol

from pkg.news_manager.entries import entry_of_event, entry_of_link
from pkg.news_manager.store import LIFETIME, Change, Entry, FollowOrder, LinkEnd, NewsStore, Share, Timeline
from pkg.object_model.clock import Clock
from pkg.object_model.errors import NotFound
from pkg.object_model.events import Event, FollowEvent, LinkEvent, LinkEventType
from pkg.object_model.types import Actor, FollowCounts, IdPage, Relationship, SharedLink, Visibility

#: Links of a user that come into the feed of who begins to follow them.
BACKFILLED_LINKS: Final = 20
#: Links of one author that are asked for at most, those that changed last: no feed that is built has more.
MAX_LINKS_OF_AUTHOR: Final = 200
#: Links that are asked for at once, of all authors together.
LINKS_AT_ONCE: Final = 1_000
#: Followers that are asked for at once.
FOLLOWERS_AT_ONCE: Final = 10_000
#: Authors whose followers are asked for at once.
AUTHORS_AT_ONCE: Final = 8
#: An author with more followers has a timeline, and pushes to nobody.
PUSH_THRESHOLD: Final = 10_000


class FollowerSource(Protocol):
    """The part of the social graph that is needed here."""

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage: ...
    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts: ...
    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship: ...


class LinkSource(Protocol):
    """The part of the link manager that is needed here."""

    async def get_shared_links(
        self, user_ids: Collection[int], limit: int, changed_after: datetime | None = None
    ) -> list[SharedLink]: ...


@dataclass(slots=True)
class _News:
    """What one author's followers are to be told."""

    # A set: a run may have an event twice.
    entry_ids: set[int] = field(default_factory=set)
    replaced: list[int] = field(default_factory=list)

    def note(self, change: Entry | LinkEnd, became: Change) -> None:
        if became.ended is not None:
            self.entry_ids.discard(became.ended)
        if isinstance(change, LinkEnd):
            # Nobody has to be told: an entry that ends is gone from every feed.
            return
        if became.ended is not None:
            self.replaced.append(became.ended)
        if became.current:
            self.entry_ids.add(change.id)


class FeedWriter:
    def __init__(
        self,
        store: NewsStore,
        followers: FollowerSource,
        links: LinkSource,
        clock: Clock,
        *,
        lifetime: timedelta = LIFETIME,
        push_threshold: int = PUSH_THRESHOLD,
    ) -> None:
        """``push_threshold``: followers above which an author gets a timeline; one ends at four fifths of it."""
        self._store = store
        self._followers = followers
        self._links = links
        self._clock = clock
        self._lifetime = lifetime
        self._push_threshold = push_threshold

    async def handle(self, events: Iterable[Event]) -> None:
        """Works on a run of events, those of links and those of follows each in their order. After a failure it may be
        given the same ones again.

        Raises:
            Unavailable: the store, or a service that has to be asked, is away.
        """
        changes: list[Entry | LinkEnd] = []
        for event in events:
            match event:
                case LinkEvent():
                    change = self._change_of(event)
                    if change is not None:
                        changes.append(change)
                case FollowEvent(following=True):
                    await self._on_followed(event)
                case FollowEvent():
                    await self._on_unfollowed(event)
                case _:
                    # A verdict of the link checker is no news.
                    pass
        if changes:
            await self._change_entries(changes)

    # --- links --------------------------------------------------------------------------------------------------------

    def _change_of(self, event: LinkEvent) -> Entry | LinkEnd | None:
        if event.bulk or event.timestamp < self._clock.now() - self._lifetime:
            return None
        if event.type is LinkEventType.IMPORTED:
            return entry_of_event(event) if event.count and event.visibility is not Visibility.PRIVATE else None
        if event.type is LinkEventType.DELETED or event.visibility is Visibility.PRIVATE:
            return LinkEnd(author_id=event.user_id, link_id=event.link_id, version=event.version)
        # Added or updated: the link's one entry, whether or not it had one.
        return entry_of_event(event)

    async def _change_entries(self, changes: Sequence[Entry | LinkEnd]) -> None:
        now = self._clock.now()
        news: defaultdict[int, _News] = defaultdict(_News)
        doubtful: list[Entry] = []
        for change, became in zip(changes, await self._store.change_entries(changes, now), strict=True):
            news[change.author_id].note(change, became)
            if became.doubtful and isinstance(change, Entry):
                doubtful.append(change)
        if doubtful:
            entries = await self._find_what_holds(doubtful)
            for entry, became in zip(
                entries, await self._store.change_entries(entries, now, certain=True), strict=True
            ):
                news[entry.author_id].note(entry, became)
        # Once for all that an author did in this run: asking for followers, and going through them, is what costs.
        told = [(author_id, some) for author_id, some in news.items() if some.entry_ids]
        timelines = await self._store.find_timelines([author_id for author_id, _ in told]) if told else {}
        pushed = [
            (author_id, some)
            for author_id, some in told
            if author_id not in timelines or not await self._note(author_id, some, timelines[author_id])
        ]
        for authors in batched(pushed, AUTHORS_AT_ONCE):
            pages = await asyncio.gather(
                *(self._followers.get_follower_ids(author_id, "", FOLLOWERS_AT_ONCE) for author_id, _ in authors),
                return_exceptions=True,
            )
            for (author_id, some), page in zip(authors, pages, strict=True):
                if isinstance(page, BaseException):
                    raise page
                # One after the other: the store does one thing at a time anyway, and must not be late for others.
                await self._tell_followers(author_id, some, page)

    async def _find_what_holds(self, doubtful: Iterable[Entry]) -> list[Entry]:
        """The entries of these links, by what the link manager knows now."""
        by_author: defaultdict[int, dict[int, Entry]] = defaultdict(dict)
        for entry in doubtful:
            by_author[entry.author_id][entry.link_id] = entry
        found: list[Entry] = []
        for authors in batched(by_author, LINKS_AT_ONCE // MAX_LINKS_OF_AUTHOR):
            begun_at = min(entry.event.timestamp for author in authors for entry in by_author[author].values())
            for shared in await self._links.get_shared_links(authors, MAX_LINKS_OF_AUTHOR, begun_at):
                known = by_author[shared.user_id].get(shared.link.id)
                if known is not None:
                    found.append(entry_of_link(Actor(shared.user_id, known.event.username), shared.link))
        return found

    async def _tell_followers(self, author_id: int, news: _News, page: IdPage) -> None:
        if await self._has_many(author_id, page):
            # Open before the followers are looked for: who begins to follow after that joins by themselves.
            await self._store.open_timeline(author_id)
            if await self._store.note_in_timeline(author_id, news.entry_ids):
                await self._tell_of_timeline(author_id, "")
                return
        many_pages = bool(page.next_page_token)
        place = await self._store.find_progress(author_id, news.entry_ids) if many_pages else ""
        if place:
            page = await self._followers.get_follower_ids(author_id, place, FOLLOWERS_AT_ONCE)
        while True:
            await self._store.push(author_id, news.entry_ids, news.replaced, page.user_ids)
            if many_pages:
                await self._store.keep_progress(author_id, news.entry_ids, page.next_page_token)
            if not page.next_page_token:
                return
            page = await self._followers.get_follower_ids(author_id, page.next_page_token, FOLLOWERS_AT_ONCE)

    async def _has_many(self, author_id: int, first_page: IdPage) -> bool:
        followers = len(first_page.user_ids)
        if first_page.next_page_token:
            followers = (await self._followers.get_counts(None, author_id)).followers
        return followers > self._push_threshold

    # --- timelines ----------------------------------------------------------------------------------------------------

    async def _note(self, author_id: int, news: _News, timeline: Timeline) -> bool:
        """Whether the author still has a timeline, in which it is now."""
        followers = (await self._followers.get_counts(None, author_id)).followers
        # Not at the threshold itself, so that who is near it does not go to and fro.
        if followers <= self._push_threshold * 4 // 5:
            await self._store.close_timeline(author_id)
            return False
        if not await self._store.note_in_timeline(author_id, news.entry_ids):
            return False
        if timeline.untold is not None:
            await self._tell_of_timeline(author_id, timeline.untold)
        return True

    async def _tell_of_timeline(self, author_id: int, place: str | None) -> None:
        """Goes on from ``place``. Whoever fails here goes on with the same event, or with the author's next."""
        while place is not None:
            page = await self._followers.get_follower_ids(author_id, place, FOLLOWERS_AT_ONCE)
            await self._store.join_timeline(author_id, page.user_ids)
            place = page.next_page_token or None
            await self._store.keep_untold(author_id, place)

    # --- follows ------------------------------------------------------------------------------------------------------

    async def _on_followed(self, event: FollowEvent) -> None:
        order = FollowOrder(event.timestamp, event.id)
        if not await self._store.set_following(event.follower_id, event.followed_id, order, True):
            return
        # A feed that is built later is built with this author.
        if not await self._store.has_feed(event.follower_id) or not await self._holds(event):
            return
        # In this order: what is saved after the timeline was looked for is pushed, or is among the links.
        timelines = await self._store.find_timelines([event.followed_id])
        found = await self._links.get_shared_links([event.followed_id], BACKFILLED_LINKS)
        author = Actor(event.followed_id, event.followed)
        ids = await self._store.find_or_save_entries([entry_of_link(author, shared.link) for shared in found])
        share = Share(
            event.followed_id,
            [entry_id for entry_id in ids if entry_id is not None],
            timeline=event.followed_id in timelines,
        )
        await self._store.merge(event.follower_id, share, order)

    async def _holds(self, event: FollowEvent) -> bool:
        """The store may have forgotten that it has ended."""
        try:
            relationship = await self._followers.get_relationship(None, event.follower_id, event.followed_id)
        except NotFound:
            return False
        return relationship is Relationship.FOLLOWING

    async def _on_unfollowed(self, event: FollowEvent) -> None:
        order = FollowOrder(event.timestamp, event.id)
        if await self._store.set_following(event.follower_id, event.followed_id, order, False):
            await self._store.drop_author(event.follower_id, event.followed_id, order)
