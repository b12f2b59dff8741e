"""The news service's gRPC interface: what each method reads and answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from pb.news_service.pb import news_pb2, news_pb2_grpc
from pkg.object_model.interfaces import News
from pkg.object_model.types import DEFAULT_PAGE_LIMIT, GetNewsRequest, NewsEvent
from pkg.runtime.caller_auth import Call
from pkg.runtime.grpc_service import GrpcService

#: The services that are served here, by full name.
SERVICES: Final = (news_pb2.DESCRIPTOR.services_by_name["News"].full_name,)


class NewsServicer:
    """The methods, under the names that the generated code looks for."""

    def __init__(self, manager: News, service: GrpcService) -> None:
        self._manager = manager
        self.GetNews: Callable[..., Awaitable[Any]] = service.method("/pb.News/GetNews", "news.read", self._get_news)

    async def _get_news(self, call: Call, request: news_pb2.GetNewsRequest) -> news_pb2.GetNewsResponse:
        wanted = GetNewsRequest(
            username=request.username,
            start_token=request.startToken,
            limit=request.limit if request.HasField("limit") else DEFAULT_PAGE_LIMIT,
            since=request.since if request.HasField("since") else None,
        )
        page = await self._manager.get_news(call.actor, wanted)
        return news_pb2.GetNewsResponse(
            events=[_event_to_proto(event) for event in page.events],
            nextToken=page.next_page_token,
            prevToken=page.prev_page_token,
        )


def register(manager: News, service: GrpcService, server: grpc.aio.Server) -> None:
    add: Any = news_pb2_grpc.add_NewsServicer_to_server
    add(NewsServicer(manager, service), server)


def _event_to_proto(event: NewsEvent) -> news_pb2.Event:
    timestamp = Timestamp()
    timestamp.FromDatetime(event.timestamp)
    return news_pb2.Event(
        eventType=news_pb2.EventType.Name(event.event_type),
        username=event.username,
        url=event.url,
        timestamp=timestamp,
        title=event.title,
        description=event.description,
        tags=event.tags,
        status=event.status,
        version=event.version,
        id=event.id,
        count=event.count,
    )
