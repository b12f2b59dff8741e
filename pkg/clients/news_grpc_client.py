"""The news service from afar, over gRPC, which is the original's contract."""

from datetime import UTC
from typing import Any, Final

from pb.news_service.pb import news_pb2, news_pb2_grpc
from pkg.object_model import interfaces
from pkg.object_model.errors import Internal
from pkg.object_model.types import Actor, GetNewsRequest, LinkStatus, NewsEvent, NewsEventType, NewsPage
from pkg.object_model.wire import news_page_to_wire
from pkg.runtime.grpc_client import ServiceGrpcClient
from pkg.runtime.json import encode

_SERVICE: Final = "news-manager"


class NewsGrpcClient(interfaces.News):
    def __init__(self, client: ServiceGrpcClient) -> None:
        self._client = client
        stub: Any = news_pb2_grpc.NewsStub
        self._get_news = stub(client.channel).GetNews

    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage:
        message = news_pb2.GetNewsRequest(
            username=request.username, startToken=request.start_token, limit=request.limit, since=request.since
        )
        reply = await self._client.call(self._get_news, message, actor=actor, repeatable=True)
        try:
            return NewsPage([_event_from_proto(event) for event in reply.events], reply.nextToken, reply.prevToken)
        except ValueError:
            raise Internal(f"{_SERVICE} gave an answer that we cannot read", code="bad_upstream_reply") from None

    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        return encode(news_page_to_wire(await self.get_news(actor, request)))


def _event_from_proto(event: news_pb2.Event) -> NewsEvent:
    return NewsEvent(
        id=event.id,
        event_type=NewsEventType(event.eventType),
        username=event.username,
        url=event.url,
        timestamp=event.timestamp.ToDatetime(UTC),
        title=event.title,
        description=event.description,
        tags=tuple(event.tags),
        status=LinkStatus(event.status),
        version=event.version,
        count=event.count,
    )
