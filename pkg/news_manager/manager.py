"""The rules of reading news. What comes into a feed is ``feed_writer``'s affair."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from pkg.news_manager.feed_builder import FeedBuilder, feed_being_built
from pkg.news_manager.store import FeedNotBuiltError, NewsStore, Stretch
from pkg.object_model import interfaces
from pkg.object_model.erasure import erase_part
from pkg.object_model.errors import InvalidArgument, PermissionDenied
from pkg.object_model.paging import check_page_limit, decode_page_token, encode_page_token
from pkg.object_model.types import Actor, GetNewsRequest, NewsPage


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


class NewsManager(interfaces.NewsManager):
    def __init__(self, store: NewsStore, builder: FeedBuilder) -> None:
        self._store = store
        self._builder = builder

    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage:
        """The actor's feed, newest first.

        Raises:
            PermissionDenied: the feed is somebody else's (``not_yours``).
            InvalidArgument: ``invalid_limit``, ``invalid_since`` or ``invalid_start_token``.
            Unavailable: the feed has to be built first, and that takes a moment (``feed_being_built``).
        """
        entries, tokens = await self._read(_find_view(actor, request), self._store.read_feed)
        return NewsPage([entry.event for entry in entries], tokens.next, tokens.prev)

    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        """Put together of what the store holds, which nobody has to read for it. Raises as ``get_news``."""
        entries, tokens = await self._read(_find_view(actor, request), self._store.read_feed_json)
        events = b",".join([entry.content for entry in entries])
        # A token has no character that JSON would have to escape.
        return b'{"events":[%b],"NextPageToken":"%b","PrevPageToken":"%b","err":""}' % (
            events,
            tokens.next.encode(),
            tokens.prev.encode(),
        )

    async def erase_user(self, user_id: int, start_token: str) -> str:
        """Raises InvalidArgument (``invalid_start_token``)."""
        return await erase_part(self._store.erase_user, user_id, start_token)

    async def _read[EntryT: _Numbered](
        self, view: "_View", read: Callable[[int, Stretch, int], Awaitable[Sequence[EntryT]]]
    ) -> tuple[Sequence[EntryT], "_Tokens"]:
        try:
            return await view.read(read)
        except FeedNotBuiltError:
            await self._builder.build(view.reader_id)
        try:
            return await view.read(read)
        except FeedNotBuiltError as lost:
            raise feed_being_built() from lost


class _Tokens(NamedTuple):
    next: str
    prev: str


class _View(NamedTuple):
    """Which part of whose feed a page is of."""

    reader_id: int
    since: int | None
    #: The id that the page is next to; None: the newest page.
    place: int | None
    #: The page is on the newer side of ``place``.
    upwards: bool
    limit: int

    async def read[EntryT: _Numbered](
        self, read: Callable[[int, Stretch, int], Awaitable[Sequence[EntryT]]]
    ) -> tuple[Sequence[EntryT], _Tokens]:
        """The page, and the ways on from it: each only where there is something."""
        if self.upwards:
            found = await read(self.reader_id, Stretch(above=self.place, oldest=True), self.limit + 1)
            page = found[-self.limit :]
            # Of an empty page, to what it is next to: that may be there still.
            last = page[-1].id if page else (self.place or 0) + 1
            older = await read(self.reader_id, Stretch(above=self.since, below=last), 1)
            return page, _Tokens(
                self._token(last) if older else "", self._token(-page[0].id) if len(found) > self.limit else ""
            )
        found = await read(self.reader_id, Stretch(above=self.since, below=self.place), self.limit + 1)
        page = found[: self.limit]
        next_token = self._token(page[-1].id) if len(found) > self.limit else ""
        if self.place is None:
            return page, _Tokens(next_token, "")
        first = page[0].id if page else self.place - 1
        newer = await read(self.reader_id, Stretch(above=first, oldest=True), 1)
        return page, _Tokens(next_token, self._token(-first) if newer else "")

    def _token(self, position: int) -> str:
        """Of what is older than an id, or, where it stands below zero, of what is newer."""
        return encode_page_token(_scope(self.reader_id, self.since), (position,))


def _find_view(actor: Actor | None, request: GetNewsRequest) -> _View:
    if actor is None or actor.name.casefold() != request.username.casefold():
        raise PermissionDenied("you can read your own news only", code="not_yours")
    limit = check_page_limit(request.limit)
    if request.since is not None and request.since < 0:
        raise InvalidArgument("since must be the Id of an entry of your news", code="invalid_since")
    token = decode_page_token(request.start_token, _scope(actor.user_id, request.since), (int,))
    position = int(token[0]) if token is not None else None
    upwards = position is not None and position < 0
    return _View(
        actor.user_id, request.since, -position if position is not None and upwards else position, upwards, limit
    )


def _scope(reader_id: int, since: int | None) -> tuple[str | int, ...]:
    return ("news", reader_id) if since is None else ("news", reader_id, since)
