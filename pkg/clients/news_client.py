"""The news service from afar."""

from typing import Final

from pkg.clients.erasure import erase_user
from pkg.clients.reply import read_reply
from pkg.object_model import interfaces
from pkg.object_model.types import Actor, GetNewsRequest, NewsPage
from pkg.object_model.wire import news_page_from_wire
from pkg.object_model.wire_requests import NEWS_QUERY, to_query
from pkg.runtime.http_client import ServiceHttpClient

_SERVICE: Final = "news-manager"


class NewsClient(interfaces.NewsManager):
    """``get_news_bytes`` is for those who pass the page on: the public form is the same."""

    def __init__(self, http: ServiceHttpClient) -> None:
        self._http = http

    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage:
        return read_reply(_SERVICE, await self.get_news_bytes(actor, request), news_page_from_wire)

    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        return await self._http.request(
            "GET", "/news", actor=actor, params=to_query(request, NEWS_QUERY), repeatable=True
        )

    async def erase_user(self, user_id: int, start_token: str) -> str:
        return await erase_user(self._http, _SERVICE, user_id, start_token)
