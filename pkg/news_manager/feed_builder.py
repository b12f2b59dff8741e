"""Feeds that are not there: never read before, expired, or lost with the whole store. They are made of what the social
graph and the link manager know, when somebody wants to read them.

A feed takes what is pushed from the moment that it is begun, and what happened before that is read after it; so nothing
is between the two, and what is in both is there once.
"""

import asyncio
import heapq
import secrets
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from datetime import datetime
from itertools import batched
from typing import Final

from pkg.news_manager.entries import entry_of_link
from pkg.news_manager.feed_writer import BACKFILLED_LINKS, LINKS_AT_ONCE, MAX_LINKS_OF_AUTHOR, LinkSource
from pkg.news_manager.store import MAX_FEED_LENGTH, Beginning, NewsStore, Share
from pkg.object_model.errors import NotFound, Unavailable
from pkg.object_model.interfaces import FollowedSource
from pkg.object_model.types import Actor

#: Seconds that a reader waits for a feed, and that its building may take.
PATIENCE: Final = 1.5
BUILD_TIMEOUT: Final = 30.0
#: Feeds that are built at once, and that wait for their turn.
BUILDS_AT_ONCE: Final = 4
MAX_BUILDS: Final = 200
#: People whom one asks for at once, and of how many at most the links are looked for: those who were there first.
FOLLOWED_AT_ONCE: Final = 1_000
MAX_FOLLOWED: Final = 10_000
#: Calls at once to the link manager, for one feed.
CALLS_AT_ONCE: Final = 4

#: Seconds between two looks at what another process builds.
_PAUSE: Final = 0.05


class FeedBuilder:
    def __init__(
        self,
        store: NewsStore,
        followed: FollowedSource,
        links: LinkSource,
        *,
        max_length: int = MAX_FEED_LENGTH,
        patience: float = PATIENCE,
    ) -> None:
        """``patience``: seconds after which a reader is told to come back; building goes on."""
        self._store = store
        self._followed = followed
        self._links = links
        self._max_length = max_length
        self._patience = patience
        self._slots = asyncio.Semaphore(BUILDS_AT_ONCE)
        #: By reader: all who wait for a feed wait for one builder.
        self._running: dict[int, asyncio.Task[None]] = {}

    async def build(self, reader_id: int) -> None:
        """Returns when there is a feed.

        Raises:
            Unavailable: it takes longer (``feed_being_built``); or a service that has to be asked is away.
            NotFound: the reader has left (``user_not_found``).
        """
        task = self._running.get(reader_id)
        if task is None:
            if len(self._running) >= MAX_BUILDS:
                raise feed_being_built()
            # Not in the reader's context: the work is for all who wait, and ends with none of them.
            task = asyncio.create_task(self._build(reader_id), name=f"feed of {reader_id}", context=Context())
            self._running[reader_id] = task
            task.add_done_callback(lambda _: self._running.pop(reader_id, None))
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if not done or task.cancelled():
            raise feed_being_built()
        task.result()

    async def close(self) -> None:
        """What is being built is begun anew elsewhere."""
        tasks = [*self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _build(self, reader_id: int) -> None:
        try:
            async with asyncio.timeout(BUILD_TIMEOUT), self._slots:
                while not await self._try(reader_id, secrets.token_hex(8)):
                    pass
        except TimeoutError as late:
            raise feed_being_built() from late

    async def _try(self, reader_id: int, builder: str) -> bool:
        """Whether the feed is there. False if it was lost meanwhile."""
        match await self._store.begin_feed(reader_id, builder):
            case Beginning.BUILT:
                return True
            case Beginning.GONE:
                raise NotFound("there is no such user; check the name", code="user_not_found")
            case Beginning.BUSY:
                await asyncio.sleep(_PAUSE)
                return False
            case Beginning.BEGUN:
                try:
                    return await self._fill(reader_id, builder)
                except BaseException:
                    # Nobody has to wait until it is clear that nothing comes.
                    with suppress(Unavailable):
                        await self._store.abandon_feed(reader_id, builder)
                    raise

    async def _fill(self, reader_id: int, builder: str) -> bool:
        filling = _Filling(self._store, self._links, reader_id, builder, self._max_length)
        token = ""
        for _ in range(MAX_FOLLOWED // FOLLOWED_AT_ONCE):
            page = await self._followed.get_followed(reader_id, token, FOLLOWED_AT_ONCE)
            if not await filling.add(page.users, whole=not (token or page.next_page_token)):
                return False
            token = page.next_page_token
            if not token:
                break
        return await self._store.finish_feed(reader_id, builder)


class _Filling:
    """Of one feed."""

    def __init__(self, store: NewsStore, links: LinkSource, reader_id: int, builder: str, max_length: int) -> None:
        self._store = store
        self._links = links
        self._reader_id = reader_id
        self._builder = builder
        self._max_length = max_length
        #: Of the newest links so far, as many as a feed holds; the oldest first.
        self._newest: list[datetime] = []

    async def add(self, authors: Sequence[Actor], *, whole: bool) -> bool:
        """``whole``: they are all. Whether the feed is still there."""
        limit = BACKFILLED_LINKS
        if whole and authors:
            limit = min(MAX_LINKS_OF_AUTHOR, max(limit, self._max_length // len(authors)))
        for calls in batched(batched(authors, LINKS_AT_ONCE // limit), CALLS_AT_ONCE):
            parts = await asyncio.gather(*(self._read(some, limit) for some in calls))
            if not await self._store.fill_feed(self._reader_id, self._builder, [one for part in parts for one in part]):
                return False
        return True

    async def _read(self, authors: Sequence[Actor], limit: int) -> list[Share]:
        by_id = {author.user_id: author for author in authors}
        # In this order, as for who begins to follow.
        timelines = await self._store.find_timelines(by_id.keys())
        # What is older than all of a full feed is of no use.
        since = self._newest[0] if len(self._newest) >= self._max_length else None
        found = await self._links.get_shared_links(by_id.keys(), limit, since)
        entries = [entry_of_link(by_id[shared.user_id], shared.link) for shared in found]
        for entry in entries:
            heapq.heappush(self._newest, entry.event.timestamp)
            if len(self._newest) > self._max_length:
                heapq.heappop(self._newest)
        ids: defaultdict[int, list[int]] = defaultdict(list)
        for entry, entry_id in zip(entries, await self._store.find_or_save_entries(entries), strict=True):
            if entry_id is not None:
                ids[entry.author_id].append(entry_id)
        return [Share(author_id, ids[author_id], timeline=author_id in timelines) for author_id in by_id]


def feed_being_built() -> Unavailable:
    return Unavailable("your news are being gathered; try again shortly", code="feed_being_built", retry_after=1)
