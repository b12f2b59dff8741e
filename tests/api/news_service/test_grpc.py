"""The news service as its peers call it: gRPC over a loopback port, the manager in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

import grpc
import orjson
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # it brings no types
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]  # likewise

from pb.news_service.pb import news_pb2, news_pb2_grpc
from pkg.clients.news_grpc_client import NewsGrpcClient
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import DeadlineExceeded, DelinkciousError, Internal, NotFound, Unavailable
from pkg.object_model.interfaces import News
from pkg.object_model.types import Actor, AddLinkRequest, FollowRequest, GetNewsRequest, NewsPage
from pkg.runtime.access import API_GATEWAY, LINK_MANAGER, NEWS_MANAGER
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.context import RequestContext, current_context, use_context
from pkg.runtime.grpc_client import ServiceGrpcClient
from pkg.runtime.grpc_service import GrpcService
from pkg.runtime.logs import logs_written_to
from pkg.runtime.metrics import CALLER_REFUSALS, render_metrics
from pkg.runtime.settings import Mode, ServiceAddress
from pkg.runtime.start_error import StartError
from tests.grpc_service import NewsSettings, news_caller, served_news
from tests.internal_service import edge_secret
from tests.memory_world import MemoryWorld, build_world
from tests.metric_values import value_of

BOB = Actor(2, "bob")
TRACE = "1" * 32
TRACEPARENT = f"00-{TRACE}-{'2' * 16}-01"
OK = news_pb2.GetNewsRequest(username="bob")


class FakeNews(News):
    """Does what the test sets, and remembers what it was called in."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.wait: asyncio.Event | None = None
        self.began = asyncio.Event()
        self.contexts: list[RequestContext | None] = []
        self.calls: list[tuple[Actor | None, GetNewsRequest]] = []

    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage:
        self.contexts.append(current_context())
        self.calls.append((actor, request))
        self.began.set()
        if self.wait is not None:
            await self.wait.wait()
        if self.fault is not None:
            raise self.fault
        return NewsPage([], "")

    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        raise NotImplementedError


@dataclass(frozen=True)
class FakeHouse:
    manager: FakeNews
    service: GrpcService
    address: ServiceAddress
    client: ServiceGrpcClient

    @property
    def news(self) -> NewsGrpcClient:
        return NewsGrpcClient(self.client)


@pytest.fixture
async def house() -> AsyncIterator[FakeHouse]:
    manager = FakeNews()
    async with served_news(manager) as (service, address), news_caller(address) as client:
        yield FakeHouse(manager, service, address, client)


def stub(client: ServiceGrpcClient) -> Any:
    make: Any = news_pb2_grpc.NewsStub
    return make(client.channel)


def metadata(
    actor: Actor | None = BOB, caller: str = API_GATEWAY, other: Mapping[str, str] = MappingProxyType({})
) -> tuple[tuple[str, str], ...]:
    credentials = EdgeCredentials(caller, NEWS_MANAGER, edge_secret(caller, NEWS_MANAGER), SystemClock())
    headers = {name.lower(): value for name, value in credentials.headers(actor).items()} | dict(other)
    return tuple(headers.items())


async def refused(house: FakeHouse, **options: Any) -> tuple[str, str, str]:
    """Status, code and words of a failure."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub(house.client).GetNews(OK, **options)
    error = failure.value
    trailer = dict(error.trailing_metadata() or ())
    return error.code().name, trailer.get("code", ""), error.details() or ""


# --- what an original client sees -------------------------------------------------------------------------------------


async def follow_and_save(world: MemoryWorld) -> Actor:
    alice, bob = await world.person("alice"), await world.person("bob")
    await world.graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    await world.tell()
    for number in range(3):
        await world.links.add_link(
            alice, AddLinkRequest(url=f"https://{number}.example/", username="alice", title="t", tags=("x",))
        )
    await world.tell()
    return bob


async def test_a_page_over_the_wire() -> None:
    world = build_world()
    bob = await follow_and_save(world)
    async with served_news(world.news) as (_, address), news_caller(address) as client:
        first = await stub(client).GetNews(
            news_pb2.GetNewsRequest(username="bob", limit=2), metadata=metadata(bob), timeout=5
        )
        second = await stub(client).GetNews(
            news_pb2.GetNewsRequest(username="bob", limit=2, startToken=first.nextToken),
            metadata=metadata(bob),
            timeout=5,
        )
    assert [event.url for event in first.events] == ["https://2.example/", "https://1.example/"]
    assert [event.url for event in second.events] == ["https://0.example/"]
    assert (first.err, second.err, second.nextToken) == ("", "", "")
    event = first.events[0]
    assert (event.eventType, event.username, event.title, list(event.tags)) == (
        news_pb2.LINK_ADDED,
        "alice",
        "t",
        ["x"],
    )
    assert (event.status, event.version, event.count) == ("pending", 1, 0)
    assert event.id > 0
    assert event.timestamp.ToJsonString().endswith("Z")


async def test_without_a_limit_there_is_the_usual_one(house: FakeHouse) -> None:
    await stub(house.client).GetNews(OK, metadata=metadata(), timeout=5)
    assert house.manager.calls == [(BOB, GetNewsRequest(username="bob", limit=20))]


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_callers(house: FakeHouse) -> None:
    assert await refused(house) == (
        "UNAUTHENTICATED",
        "caller_unknown",
        "a call of news-manager must carry the caller's token in Delinkcious-Caller-Token",
    )
    assert (await refused(house, metadata=metadata(caller="stranger")))[:2] == (
        "PERMISSION_DENIED",
        "caller_not_allowed",
    )
    assert (await refused(house, metadata=metadata(caller=LINK_MANAGER)))[0] == "PERMISSION_DENIED"
    forged = {"delinkcious-user-statement": dict(metadata())["delinkcious-user-statement"][:-4] + "AAAA"}
    assert (await refused(house, metadata=metadata(None, other=forged)))[:2] == (
        "UNAUTHENTICATED",
        "user_statement_invalid",
    )
    assert house.manager.calls == []


async def test_refusals_are_counted_and_logged(house: FakeHouse) -> None:
    def counted(reason: str) -> float:
        return value_of(CALLER_REFUSALS.labels(NEWS_MANAGER, "news.read", reason))

    before = counted("caller_unknown"), counted("caller_not_allowed")
    written = BytesIO()
    with logs_written_to(written):
        await refused(house, metadata=())
        await refused(house, metadata=metadata(caller=LINK_MANAGER))
    assert (counted("caller_unknown"), counted("caller_not_allowed")) == (before[0] + 1, before[1] + 1)
    lines = [orjson.loads(line) for line in written.getvalue().splitlines()]
    told = [(line["operation"], line["caller"]) for line in lines if line["event"] == "caller refused"]
    assert told == [("news.read", None), ("news.read", LINK_MANAGER)]


async def test_a_refusal_of_the_caller_is_our_fault_and_not_the_users(house: FakeHouse) -> None:
    async with news_caller(house.address, caller="stranger") as client:
        with pytest.raises(Internal) as refusal:
            await NewsGrpcClient(client).get_news(BOB, GetNewsRequest(username="bob"))
    assert refusal.value.code == "upstream_refused"


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_an_error_keeps_class_code_words_and_pause(house: FakeHouse) -> None:
    house.manager.fault = NotFound("nobody 日本", code="user_not_found")
    status, code, words = await refused(house, metadata=metadata())
    assert (status, code, words) == ("NOT_FOUND", "user_not_found", "nobody 日本")
    house.manager.fault = Unavailable("away", code="news_store_unavailable", retry_after=30)
    with pytest.raises(Unavailable) as away:
        await house.news.get_news(BOB, GetNewsRequest(username="bob"))
    assert (away.value.code, away.value.message, away.value.retry_after) == ("news_store_unavailable", "away", 30)


async def test_what_nobody_foresaw_says_nothing_of_itself(house: FakeHouse) -> None:
    house.manager.fault = ZeroDivisionError("secret")
    log = BytesIO()
    with logs_written_to(log):
        status, code, words = await refused(house, metadata=metadata())
    assert (status, code) == ("INTERNAL", "internal")
    assert "secret" not in words
    assert "ZeroDivisionError" in log.getvalue().decode()
    with pytest.raises(Internal):
        await house.news.get_news(BOB, GetNewsRequest(username="bob"))


async def test_a_read_is_repeated(house: FakeHouse) -> None:
    house.manager.fault = Unavailable("for a moment")
    with pytest.raises(Unavailable):
        await house.news.get_news(BOB, GetNewsRequest(username="bob"))
    assert len(house.manager.calls) == 3
    house.manager.fault = NotFound("no")
    with pytest.raises(NotFound):
        await house.news.get_news(BOB, GetNewsRequest(username="bob"))
    assert len(house.manager.calls) == 4


async def test_a_deadline_is_kept_on_both_sides(house: FakeHouse) -> None:
    house.manager.wait = asyncio.Event()
    soon = time.monotonic() + 0.2
    with use_context(RequestContext("r", TRACEPARENT, soon)), pytest.raises(DeadlineExceeded):
        await house.news.get_news(BOB, GetNewsRequest(username="bob"))
    (context,) = house.manager.contexts
    assert context is not None
    assert context.deadline is not None
    house.manager.wait.set()


async def test_ours_is_kept_where_the_caller_has_none() -> None:
    manager = FakeNews()
    manager.wait = asyncio.Event()
    settings = NewsSettings(mode=Mode.LOCAL, port=0, request_timeout=0.1, shutdown_grace=1)
    async with served_news(manager, settings) as (_, address), news_caller(address) as client:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub(client).GetNews(OK, metadata=metadata())
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert dict(late.value.trailing_metadata() or ())["code"] == "deadline_exceeded"


async def test_too_many_at_once_are_refused() -> None:
    manager = FakeNews()
    manager.wait = asyncio.Event()
    settings = NewsSettings(mode=Mode.LOCAL, port=0, max_concurrent_requests=1, shutdown_grace=1)
    async with served_news(manager, settings) as (_, address), news_caller(address, timeout=0.9) as client:
        first = asyncio.ensure_future(stub(client).GetNews(OK, metadata=metadata(), timeout=5))
        await asyncio.wait_for(manager.began.wait(), 5)
        with pytest.raises(Unavailable) as shed:
            await NewsGrpcClient(client).get_news(BOB, GetNewsRequest(username="bob"))
        assert (shed.value.code, shed.value.retry_after) == ("overloaded", 1)
        manager.wait.set()
        await first


async def test_a_request_that_is_too_large(house: FakeHouse) -> None:
    with pytest.raises(DelinkciousError) as large:
        await house.news.get_news(BOB, GetNewsRequest(username="bob", start_token="x" * 100_000))
    assert large.value.code == "bad_upstream_reply"
    assert house.manager.calls == []


async def test_away_and_back() -> None:
    async with served_news(FakeNews()) as (_, address):
        pass
    async with news_caller(address) as client:
        news = NewsGrpcClient(client)
        with pytest.raises(Unavailable) as away:
            await news.get_news(BOB, GetNewsRequest(username="bob"))
        assert (away.value.code, away.value.retry_after) == ("news_manager_unavailable", 1)
        async with served_news(FakeNews(), port=address.port):
            async with asyncio.timeout(10):
                while True:
                    try:
                        await news.get_news(BOB, GetNewsRequest(username="bob"))
                        break
                    except Unavailable:
                        await asyncio.sleep(0.02)


# --- context, logs, the end -------------------------------------------------------------------------------------------


async def test_request_id_and_trace_go_through(house: FakeHouse) -> None:
    with use_context(RequestContext("request-7", TRACEPARENT, None)):
        await house.news.get_news(BOB, GetNewsRequest(username="bob"))
    (context,) = house.manager.contexts
    assert context is not None
    assert context.request_id == "request-7"
    assert context.traceparent.startswith(f"00-{TRACE}-")
    assert context.traceparent.endswith("-01")
    assert "2" * 16 not in context.traceparent

    await stub(house.client).GetNews(OK, metadata=metadata(other={"x-request-id": "not one of ours!"}), timeout=5)
    assert house.manager.contexts[-1] is not None
    assert house.manager.contexts[-1].request_id != "not one of ours!"


def requests_in(log: BytesIO) -> list[tuple[str, int]]:
    lines = [orjson.loads(line) for line in log.getvalue().splitlines()]
    return [(line["route"], line["status"]) for line in lines if line["event"] == "request"]


async def test_one_log_line_and_the_metrics_of_all_services(house: FakeHouse) -> None:
    log = BytesIO()
    with logs_written_to(log, "info"):
        await house.news.get_news(BOB, GetNewsRequest(username="bob"))
        house.manager.fault = NotFound("no")
        with pytest.raises(NotFound):
            await house.news.get_news(BOB, GetNewsRequest(username="bob"))
        # A line is written after its answer has left.
        deadline = time.monotonic() + 10
        while len(requests := requests_in(log)) < 2:
            assert time.monotonic() < deadline, requests
            await asyncio.sleep(0.01)
    assert requests == [("/pb.News/GetNews", 200), ("/pb.News/GetNews", 404)]
    sample = (
        'delinkcious_http_requests_total{method="POST",route="/pb.News/GetNews",service="news-manager",status="404"}'
    )
    assert sample in render_metrics().decode()


async def test_health_and_reflection(house: FakeHouse) -> None:
    health = health_pb2_grpc.HealthStub(house.client.channel)
    for name in ("", "pb.News"):
        status = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert status.status == health_pb2.HealthCheckResponse.SERVING
    assert set((await health.List(health_pb2.HealthListRequest())).statuses) == {"", "pb.News"}
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await health.Check(health_pb2.HealthCheckRequest(service="pb.Olds"))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    told = (
        await reflection_pb2_grpc.ServerReflectionStub(house.client.channel)
        .ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        .read()
    )
    assert "pb.News" in {service.name for service in told.list_services_response.service}


async def test_at_the_end_watchers_are_told_and_calls_are_finished() -> None:
    manager = FakeNews()
    manager.wait = asyncio.Event()
    settings = NewsSettings(mode=Mode.LOCAL, port=0, shutdown_grace=10)
    serving = served_news(manager, settings)
    _, address = await serving.__aenter__()
    async with news_caller(address) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="pb.News"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        pending = asyncio.ensure_future(stub(client).GetNews(OK, metadata=metadata(), timeout=10))
        await asyncio.wait_for(manager.began.wait(), 5)
        ending = asyncio.ensure_future(serving.__aexit__(None, None, None))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not ending.done(), "it waits for what is being worked on"
        manager.wait.set()
        assert (await pending).err == ""
        await asyncio.wait_for(ending, 5)


async def test_a_port_that_is_taken(house: FakeHouse) -> None:
    with pytest.raises(StartError) as taken:
        async with served_news(FakeNews(), port=house.address.port):
            pass
    assert str(house.address.port) in str(taken.value)
