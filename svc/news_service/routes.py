"""The news service's REST interface, for those who pass its pages on: what each operation is called, reads and answers.

What is contract since the original is gRPC, in ``grpc_methods.py``.
"""

from typing import Any

from fastapi import FastAPI

from pkg.object_model.interfaces import NewsManager
from pkg.object_model.types import GetNewsRequest
from pkg.object_model.wire_requests import ERASE_QUERY, NEWS_QUERY, EraseUserRequest
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.endpoint import Answer, Endpoint, Query, build_endpoints


def build_app(manager: NewsManager, caller_auth: CallerAuth, *, docs: bool = False) -> FastAPI:
    return build_endpoints("news-manager", caller_auth, news_endpoints(manager), docs=docs)


def news_endpoints(manager: NewsManager) -> list[Endpoint[Any]]:
    handlers = _Handlers(manager)
    return [
        Endpoint(
            method="GET",
            path="/news",
            operation="news.read",
            reads=Query(GetNewsRequest, NEWS_QUERY),
            handle=handlers.get_news,
            hot=True,
        ),
        Endpoint(
            method="DELETE",
            path="/users/{user_id}",
            operation="news.erase",
            reads=Query(EraseUserRequest, ERASE_QUERY),
            handle=handlers.erase_user,
        ),
    ]


class _Handlers:
    def __init__(self, manager: NewsManager) -> None:
        self._manager = manager

    async def get_news(self, call: Call, request: GetNewsRequest) -> Answer:
        return await self._manager.get_news_bytes(call.actor, request)

    async def erase_user(self, call: Call, request: EraseUserRequest) -> Answer:
        """A part of all that is a user's who leaves; with the token, the next."""
        token = await self._manager.erase_user(request.user_id, request.start_token)
        return {"NextPageToken": token, "err": ""}
