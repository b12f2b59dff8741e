"""What comes into whose feed: the rules of news, as they follow from events.

Events come at least once, and some late: whatever is repeated changes nothing, and what is older never overwrites what
is newer. The followers of an author are asked for after the event was heard, so that everybody is among them who
followed before it happened.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import batched
from typing import Final, Protocol

from pkg.news_manager.entry_ids import make_entry_id
from pkg.news_manager.store import LIFETIME, Change, Entry, FollowOrder, LinkEnd, NewsStore
from pkg.object_model.clock import Clock
from pkg.object_model.errors import NotFound, PermissionDenied
from pkg.object_model.events import Event, FollowEvent, LinkEvent, LinkEventType
from pkg.object_model.types import (
    Actor,
    GetLinksRequest,
    IdPage,
    Link,
    LinkPage,
    NewsEvent,
    NewsEventType,
    Visibility,
)

#: Links of a user that come into the feed of who begins to follow them.
BACKFILLED_LINKS: Final = 20
#: Followers that are asked for at once.
FOLLOWERS_AT_ONCE: Final = 10_000
#: Authors whose followers are asked for at once.
AUTHORS_AT_ONCE: Final = 8
#: An entry tells of a link and is not the link: what is longer is cut, so that feeds stay small whatever is saved.
MAX_DESCRIPTION_SHOWN: Final = 1_000
#: Characters, of all tags of an entry together.
MAX_TAGS_SHOWN: Final = 2_000

_ELLIPSIS: Final = "…"


class FollowerSource(Protocol):
    """The part of the social graph that is needed here."""

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage: ...


class LinkSource(Protocol):
    """The part of the link manager that is needed here."""

    async def get_links(self, actor: Actor | None, request: GetLinksRequest) -> LinkPage: ...


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
    ) -> None:
        self._store = store
        self._followers = followers
        self._links = links
        self._clock = clock
        self._lifetime = lifetime

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
            return _entry_of_event(event) if event.count and event.visibility is not Visibility.PRIVATE else None
        if event.type is LinkEventType.DELETED or event.visibility is Visibility.PRIVATE:
            return LinkEnd(author_id=event.user_id, link_id=event.link_id, version=event.version)
        # Added or updated: the link's one entry, whether or not it had one.
        return _entry_of_event(event)

    async def _change_entries(self, changes: Sequence[Entry | LinkEnd]) -> None:
        news: dict[int, _News] = {}
        for change, became in zip(changes, await self._store.change_entries(changes), strict=True):
            news.setdefault(change.author_id, _News()).note(change, became)
        # Once for all that an author did in this run: asking for followers, and going through them, is what costs.
        told = [(author_id, some) for author_id, some in news.items() if some.entry_ids]
        for authors in batched(told, AUTHORS_AT_ONCE):
            pages = await asyncio.gather(
                *(self._followers.get_follower_ids(author_id, "", FOLLOWERS_AT_ONCE) for author_id, _ in authors),
                return_exceptions=True,
            )
            for (author_id, some), page in zip(authors, pages, strict=True):
                if isinstance(page, BaseException):
                    raise page
                # One after the other: the store does one thing at a time anyway, and must not be late for others.
                await self._tell_followers(author_id, some, page)

    async def _tell_followers(self, author_id: int, news: _News, page: IdPage) -> None:
        while True:
            await self._store.push(author_id, news.entry_ids, news.replaced, page.user_ids)
            if not page.next_page_token:
                return
            page = await self._followers.get_follower_ids(author_id, page.next_page_token, FOLLOWERS_AT_ONCE)

    # --- follows ------------------------------------------------------------------------------------------------------

    async def _on_followed(self, event: FollowEvent) -> None:
        order = FollowOrder(event.timestamp, event.id)
        if not await self._store.set_following(event.follower_id, event.followed_id, order, True):
            return
        entries = [_entry_of_link(event, link) for link in await self._recent_links(event)]
        entry_ids = await self._store.find_or_save_entries(entries)
        await self._store.merge(event.follower_id, event.followed_id, order, entry_ids)

    async def _on_unfollowed(self, event: FollowEvent) -> None:
        order = FollowOrder(event.timestamp, event.id)
        if await self._store.set_following(event.follower_id, event.followed_id, order, False):
            await self._store.drop_author(event.follower_id, event.followed_id, order)

    async def _recent_links(self, event: FollowEvent) -> Sequence[Link]:
        """As the follower may see them."""
        request = GetLinksRequest(username=event.followed, limit=BACKFILLED_LINKS)
        try:
            page = await self._links.get_links(Actor(event.follower_id, event.follower), request)
        except (NotFound, PermissionDenied):
            # Gone, renamed or closed meanwhile: there is nothing to show, and no use in trying again.
            return []
        return [link for link in page.links if link.visibility is not Visibility.PRIVATE]


def _entry_of_event(event: LinkEvent) -> Entry:
    return Entry(
        author_id=event.user_id,
        link_id=event.link_id,
        event=NewsEvent(
            id=make_entry_id(event.timestamp, event.id, event.user_id),
            event_type=NewsEventType(event.type),
            username=event.username,
            url=event.url,
            timestamp=event.timestamp,
            title=event.title,
            description=_excerpt(event.description),
            tags=_some_tags(event.tags),
            status=event.status,
            version=event.version,
            count=event.count,
        ),
    )


def _entry_of_link(event: FollowEvent, link: Link) -> Entry:
    """For a link of which no event is remembered."""
    return Entry(
        author_id=event.followed_id,
        link_id=link.id,
        event=NewsEvent(
            id=make_entry_id(link.created_at, link.id, event.followed_id),
            event_type=NewsEventType.LINK_ADDED,
            username=event.followed,
            url=link.url,
            timestamp=link.created_at,
            title=link.title,
            description=_excerpt(link.description),
            tags=_some_tags(link.tags),
            status=link.status,
            version=link.version,
        ),
    )


def _excerpt(text: str) -> str:
    return text if len(text) <= MAX_DESCRIPTION_SHOWN else text[: MAX_DESCRIPTION_SHOWN - 1] + _ELLIPSIS


def _some_tags(tags: Sequence[str]) -> tuple[str, ...]:
    room = MAX_TAGS_SHOWN
    shown = []
    for tag in tags:
        room -= len(tag)
        if room < 0:
            break
        shown.append(tag)
    return tuple(shown)
