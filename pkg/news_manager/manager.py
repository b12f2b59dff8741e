"""The rules of reading news. What comes into a feed is ``feed_writer``'s affair."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pkg.news_manager.store import NewsStore
from pkg.object_model import interfaces
from pkg.object_model.erasure import erase_part
from pkg.object_model.errors import PermissionDenied
from pkg.object_model.paging import check_page_limit, decode_page_token, encode_page_token
from pkg.object_model.types import Actor, GetNewsRequest, NewsPage


class NewsManager(interfaces.NewsManager):
    def __init__(self, store: NewsStore) -> None:
        self._store = store

    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage:
        """The actor's feed, newest first.

        Raises:
            PermissionDenied: the feed is somebody else's (``not_yours``).
            InvalidArgument: ``invalid_limit`` or ``invalid_start_token``.
        """
        place = _find_place(actor, request)
        entries, token = place.cut(await self._store.read_feed(place.reader_id, place.after, place.limit + 1))
        return NewsPage([entry.event for entry in entries], token)

    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        """Put together of what the store holds, which nobody has to read for it. Raises as ``get_news``."""
        place = _find_place(actor, request)
        entries, token = place.cut(await self._store.read_feed_json(place.reader_id, place.after, place.limit + 1))
        events = b",".join([entry.content for entry in entries])
        # A token has no character that JSON would have to escape.
        return b'{"events":[%b],"NextPageToken":"%b","err":""}' % (events, token.encode())

    async def erase_user(self, user_id: int, start_token: str) -> str:
        """Raises InvalidArgument (``invalid_start_token``)."""
        return await erase_part(self._store.erase_user, user_id, start_token)


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


class _Place(NamedTuple):
    """Where in whose feed a page is."""

    reader_id: int
    after: int | None
    limit: int

    def cut[EntryT: _Numbered](self, entries: Sequence[EntryT]) -> tuple[Sequence[EntryT], str]:
        """The page, of entries that are one more if there are more, and the token of the next."""
        page = entries[: self.limit]
        return page, encode_page_token(_scope(self.reader_id), (page[-1].id,)) if len(entries) > self.limit else ""


def _find_place(actor: Actor | None, request: GetNewsRequest) -> _Place:
    if actor is None or actor.name.casefold() != request.username.casefold():
        raise PermissionDenied("you can read your own news only", code="not_yours")
    limit = check_page_limit(request.limit)
    position = decode_page_token(request.start_token, _scope(actor.user_id), (int,))
    return _Place(actor.user_id, int(position[0]) if position is not None else None, limit)


def _scope(reader_id: int) -> tuple[str, int]:
    return "news", reader_id
