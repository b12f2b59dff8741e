"""The news service's REST interface, for those who pass its pages on: what each operation is called, reads and answers.

What is contract since the original is gRPC, in ``grpc_methods.py``.
"""

from typing import Any

from fastapi import FastAPI

from pkg.object_model.interfaces import NewsManager
from pkg.object_model.types import GetNewsRequest
from pkg.object_model.wire_requests import NEWS_QUERY
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.endpoint import Answer, Endpoint, Query, build_endpoints


def build_app(manager: NewsManager, caller_auth: CallerAuth, *, docs: bool = False) -> FastAPI:
    return build_endpoints("news-manager", caller_auth, news_endpoints(manager), docs=docs)


def news_endpoints(manager: NewsManager) -> list[Endpoint[Any]]:
    async def get_news(call: Call, request: GetNewsRequest) -> Answer:
        return await manager.get_news_bytes(call.actor, request)

    return [
        Endpoint(
            method="GET",
            path="/news",
            operation="news.read",
            reads=Query(GetNewsRequest, NEWS_QUERY),
            handle=get_news,
            hot=True,
        )
    ]
