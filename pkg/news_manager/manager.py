"""The rules of reading news. What comes into a feed is ``feed_writer``'s affair."""

from pkg.news_manager.store import NewsStore
from pkg.object_model import interfaces
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
        if actor is None or actor.name.casefold() != request.username.casefold():
            raise PermissionDenied("you can read your own news only", code="not_yours")
        limit = check_page_limit(request.limit)
        scope = ("news", actor.user_id)
        position = decode_page_token(request.start_token, scope, (int,))
        after = int(position[0]) if position is not None else None
        entries = await self._store.read_feed(actor.user_id, after, limit + 1)
        events = [entry.event for entry in entries[:limit]]
        token = encode_page_token(scope, (events[-1].id,)) if len(entries) > limit else ""
        return NewsPage(events, token)
