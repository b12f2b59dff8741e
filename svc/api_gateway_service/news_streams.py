"""Live news: the streams that are open here, and whom to wake when feeds have changed.

An announcement says of which author something is new, once for all followers. Each reader with an open stream is known
by those whom they follow, so that it wakes those streams alone.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from prometheus_client import Counter, Gauge

from pkg.events.announcements import NewsChange
from pkg.object_model.clock import Clock
from pkg.object_model.errors import RateLimited, Unavailable
from pkg.object_model.interfaces import FollowedSource, News
from pkg.object_model.types import Actor, GetNewsRequest, Identity
from pkg.runtime.json import decode
from svc.api_gateway_service.event_stream import ClientTooSlow
from svc.api_gateway_service.news_stream import NewsStream, Page, StreamBounds

OPEN: Final = Gauge("delinkcious_news_streams", "Streams of news that are open.")
ENDED: Final = Counter(
    "delinkcious_news_streams_ended_total",
    "Streams of news that have ended, by why: the client left, or was too slow; its token ended; the stream's time was "
    "over; or the process is being stopped.",
    ("reason",),
)

#: Of those whom a reader follows, so many wake their streams; what others do is seen with the next look.
MAX_FOLLOWED: Final = 10_000
_FOLLOWED_AT_ONCE: Final = 1_000
#: Reads at once, of all streams together: the others of an author with many followers wait.
_READS_AT_ONCE: Final = 32
#: Seconds after which there may be room for one more.
_RETRY_AFTER: Final = 1


class _Reader:
    """Somebody with open streams."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.streams: set[NewsStream] = set()
        self.followed: frozenset[int] = frozenset()
        #: How often those whom they follow have changed, and at which of these they were read.
        self.changes = 0
        self.read_at = -1
        self.reading = asyncio.Lock()


class NewsStreams:
    def __init__(self, news: News, followed: FollowedSource, clock: Clock, bounds: StreamBounds) -> None:
        self.bounds = bounds
        self._news = news
        self._followed = followed
        self._clock = clock
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self._readers: dict[int, _Reader] = {}
        self._by_author: defaultdict[int, set[_Reader]] = defaultdict(set)
        self._count = 0
        self._closed = False

    @asynccontextmanager
    async def open(
        self, identity: Identity, confirm: Callable[[], Awaitable[Identity]], place: int | None
    ) -> AsyncIterator[AsyncGenerator[bytes]]:
        """What to send, until the end.

        ``confirm`` says anew who it is. ``place`` is the id of the newest entry that the client has; None: it begins
        with what comes from now on.

        Raises:
            RateLimited: the user has as many streams as one may have (``too_many_streams``).
            Unavailable: there are too many in all, or no more are opened; or the feed cannot be read now.
        """
        self._check_room(identity.actor.user_id)
        user_id = identity.actor.user_id
        reader = self._readers.setdefault(user_id, _Reader(user_id))
        refresh = partial(self._read_followed, reader)
        stream = NewsStream(identity, confirm, refresh, self._read, self._clock, self.bounds)
        reader.streams.add(stream)
        self._count += 1
        OPEN.inc()
        try:
            # In this order: whatever is saved from here on either wakes the stream or is in what it reads.
            await self._read_followed(reader)
            yield stream.pieces(await stream.begin(place))
        except ClientTooSlow:
            stream.end_reason = "slow"
            raise
        finally:
            OPEN.dec()
            ENDED.labels(stream.end_reason or "client").inc()
            self._count -= 1
            reader.streams.discard(stream)
            if not reader.streams:
                del self._readers[user_id]
                self._index(reader, frozenset())

    def hear(self, change: NewsChange) -> None:
        for author_id in change.author_ids:
            for reader in self._by_author.get(author_id, ()):
                _look(reader)
        for reader_id in change.reader_ids:
            if (changed := self._readers.get(reader_id)) is not None:
                changed.changes += 1
                _look(changed)

    def look_all(self) -> None:
        """Has all look again, at those whom they follow as well: something may have been missed."""
        for reader in self._readers.values():
            reader.changes += 1
            _look(reader)

    def forget(self, user_id: int) -> None:
        """Has it asked again for whom the tokens of this user's streams stand."""
        reader = self._readers.get(user_id)
        for stream in reader.streams if reader is not None else ():
            stream.doubt()

    def forget_all(self) -> None:
        for user_id in self._readers:
            self.forget(user_id)

    def close(self) -> None:
        """Has all streams end, and opens no more."""
        self._closed = True
        for reader in self._readers.values():
            for stream in reader.streams:
                stream.close()

    async def _read(self, actor: Actor, request: GetNewsRequest) -> Page:
        async with self._reads:
            wire: Any = decode(await self._news.get_news_bytes(actor, request))
        return Page(wire["events"], bool(wire["NextPageToken"]))

    async def _read_followed(self, reader: _Reader) -> None:
        """Raises what the social graph raises."""
        async with reader.reading:
            if reader.read_at == reader.changes:
                return
            changes = reader.changes
            followed: set[int] = set()
            token = ""
            while True:
                page = await self._followed.get_followed(reader.user_id, token, _FOLLOWED_AT_ONCE)
                followed.update(user.user_id for user in page.users)
                token = page.next_page_token
                if not token or len(followed) >= MAX_FOLLOWED:
                    break
            if reader.streams:
                self._index(reader, frozenset(followed))
                reader.read_at = changes

    def _index(self, reader: _Reader, followed: frozenset[int]) -> None:
        for author_id in reader.followed - followed:
            readers = self._by_author[author_id]
            readers.discard(reader)
            if not readers:
                del self._by_author[author_id]
        for author_id in followed - reader.followed:
            self._by_author[author_id].add(reader)
        reader.followed = followed

    def _check_room(self, user_id: int) -> None:
        if self._closed:
            raise Unavailable("shutting down; try again", code="shutting_down", retry_after=1)
        reader = self._readers.get(user_id)
        if reader is not None and len(reader.streams) >= self.bounds.of_user:
            raise RateLimited(
                f"you have {len(reader.streams)} streams of news open, as many as one may have; close one of them",
                code="too_many_streams",
                retry_after=_RETRY_AFTER,
            )
        if self._count >= self.bounds.in_all:
            raise Unavailable(
                "too many streams at once; try again shortly, or ask GET /v1/news now and then",
                code="overloaded",
                retry_after=_RETRY_AFTER,
            )


def _look(reader: _Reader) -> None:
    for stream in reader.streams:
        stream.look()
