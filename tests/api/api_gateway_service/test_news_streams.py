"""GET /v1/news/stream, in this process: what it tells, to whom, and how it ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pkg.events.announcements import NEWS_CHANGES, TOKEN_REVOCATIONS, write_news_change, write_revocation
from pkg.events.memory_bus import MemoryBus
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import DelinkciousError, Unavailable
from pkg.object_model.interfaces import News
from pkg.object_model.types import Actor, CreateTokenRequest, GetNewsRequest, Identity, NewsPage, Scope
from pkg.rate_limits.memory_store import MemoryLimitStore
from pkg.runtime.http_service import HttpService
from pkg.runtime.json import encode
from svc.api_gateway_service.app import build_gateway, build_limits, build_verdicts
from svc.api_gateway_service.event_stream import HEARTBEAT
from svc.api_gateway_service.feed_view import WINDOW
from svc.api_gateway_service.news_changes import hear_news_changes
from svc.api_gateway_service.news_stream import MAX_MISSED
from svc.api_gateway_service.news_streams import NewsStreams
from svc.api_gateway_service.revocations import hear_revocations
from svc.api_gateway_service.tokens import Authenticator
from svc.news_service.events import change_of
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse, Person
from tests.fakes import away
from tests.server_sent_events import DEADLINE, Event, Stream, open_stream

PATH = "/v1/news/stream"


class WatchedNews(News):
    """Reads what the managers have, or what it was given; counts, and fails as it is told."""

    def __init__(self, news: News) -> None:
        self._news = news
        self.read: list[GetNewsRequest] = []
        self.away = False
        #: Ids, newest first.
        self.feed: list[int] | None = None
        #: Those that come right before it is asked what is newer than something.
        self.on_the_way: list[int] = []

    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage:
        raise NotImplementedError

    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        self.read.append(request)
        if self.away:
            raise Unavailable("news-manager cannot be reached", code="news_manager_unavailable")
        if self.feed is None:
            return await self._news.get_news_bytes(actor, request)
        if request.since is not None:
            self.feed = sorted({*self.feed, *self.on_the_way}, reverse=True)
        found = [each for each in self.feed if each > (request.since or 0)]
        events = [{"Id": str(each)} for each in found[: request.limit]]
        return encode({"events": events, "NextPageToken": "x" * (len(found) > request.limit), "err": ""})


class WatchedUsers:
    """Says who it is, or fails as it is told; counts."""

    def __init__(self, users: Authenticator) -> None:
        self._users = users
        self.asked = 0
        self.fault: DelinkciousError | None = None

    async def authenticate(self, token: str) -> Identity:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return await self._users.authenticate(token)


@dataclass
class Live:
    """A gateway whose streams go on."""

    house: GatewayHouse
    app: HttpService
    streams: NewsStreams
    news: WatchedNews
    users: WatchedUsers
    bus: MemoryBus

    async def tell(self) -> None:
        """What the news service does with what has happened."""
        world = self.house.world
        known = {event.id for event in world.told}
        new = [event for event in world.events if event.id not in known]
        await world.tell()
        await self.bus.announce(NEWS_CHANGES, write_news_change(change_of(new)))

    async def save(self, number: int) -> None:
        link = {"url": f"https://{number}.example/", "title": f"Title {number}"}
        await self.house.alice.ok("POST", "/v1/links", json=link)
        await self.tell()

    async def follow(self) -> None:
        await self.house.bob.ok("POST", "/v1/following", json={"followed": "alice"})
        await self.tell()

    @asynccontextmanager
    async def stream(self, person: Person | None = None, **options: Any) -> AsyncIterator[Stream]:
        token = (person or self.house.bob).token
        async with open_stream(self.app, PATH, **({"token": token} | options)) as stream:
            yield stream

    async def until(self, condition: Any) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


async def make_live(house: GatewayHouse, **settings: Any) -> Live:
    chosen = SETTINGS.model_copy(update={"news_stream_lifetime": 60.0, "news_stream_heartbeat": 30.0} | settings)
    bus = MemoryBus(SystemClock())
    news = WatchedNews(house.peers.news)
    streams = NewsStreams(news, house.peers.social_graph, house.clock, chosen.stream_bounds)
    limits = build_limits(chosen, MemoryLimitStore(time.monotonic))
    users = WatchedUsers(house.peers.users)
    verdicts = build_verdicts(chosen, users, limits, house.clock)
    await hear_revocations(bus, verdicts, streams)
    await hear_news_changes(bus, streams)
    app = build_gateway(chosen, house.peers, streams, house.clock, limits, verdicts)
    return Live(house, app, streams, news, users, bus)


@pytest.fixture
async def live(house: GatewayHouse) -> Live:
    return await make_live(house)


def said(event: Event) -> tuple[str, str]:
    return event.name, event.data.get("Url", event.data.get("Id", ""))


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_a_save_a_change_and_an_end(live: Live) -> None:
    await live.follow()
    async with live.stream() as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-length" not in stream.headers
        assert stream.parser.retry is not None
        await live.save(1)
        saved = await stream.next()
        page = await live.house.bob.ok("GET", "/v1/news")
        assert (saved.name, saved.data, saved.id) == ("message", page["events"][0], page["events"][0]["Id"])
        await live.house.alice.ok("PUT", "/v1/links", json={"url": "https://1.example/", "title": "new"})
        await live.tell()
        removed, changed = await stream.next(), await stream.next()
        assert (removed.name, removed.data) == ("removed", {"Id": saved.data["Id"]})
        assert (changed.data["Title"], changed.data["EventType"]) == ("new", 1)
        assert changed.id == changed.data["Id"]
        await live.house.alice.ok("DELETE", "/v1/links", json={"url": "https://1.example/"})
        await live.tell()
        ended = await stream.next()
        assert (ended.name, ended.data, ended.id) == ("removed", {"Id": changed.data["Id"]}, changed.id)
        assert stream.waiting() == []


async def test_what_was_there_is_not_told_and_is_where_a_client_comes_back_to(live: Live) -> None:
    await live.follow()
    await live.save(1)
    async with live.stream() as stream:
        newest = (await live.house.bob.ok("GET", "/v1/news"))["events"][0]["Id"]
        assert stream.parser.last_id == newest
        assert stream.waiting() == []


async def test_who_comes_back_is_told_first_what_they_missed(live: Live) -> None:
    await live.follow()
    await live.save(1)
    async with live.stream() as stream:
        place = stream.parser.last_id
    for number in (2, 3):
        await live.save(number)
    page = await live.house.bob.ok("GET", "/v1/news")
    # A browser comes back to the same URL, whatever stood in it.
    for options in (
        {"last_event_id": place},
        {"query": {"since": place}},
        {"last_event_id": place, "query": {"since": "0"}},
    ):
        async with live.stream(**options) as stream:
            told = [await stream.next() for _ in range(3)]
            assert [said(event) for event in told[:2]] == [("message", f"https://{n}.example/") for n in (2, 3)]
            assert (told[2].name, told[2].data) == ("present", {"Ids": [event["Id"] for event in page["events"]]})
            await live.bus.announce(NEWS_CHANGES, write_news_change(change_of(live.house.world.events)))
            assert stream.waiting() == []


async def test_those_whom_one_begins_to_follow_and_ceases_to(live: Live) -> None:
    await live.save(1)
    async with live.stream() as stream:
        await live.follow()
        first = await stream.next()
        assert said(first) == ("message", "https://1.example/")
        await live.save(2)
        second = await stream.next()
        assert said(second) == ("message", "https://2.example/")
        await live.house.bob.ok("DELETE", "/v1/following", json={"followed": "alice"})
        await live.tell()
        gone = [await stream.next(), await stream.next()]
        assert [said(event) for event in gone] == [("removed", first.data["Id"]), ("removed", second.data["Id"])]
        before = len(live.news.read)
        await live.save(3)
        assert len(live.news.read) == before, "nobody looks for what is none of theirs"


async def test_only_those_look_who_follow(live: Live) -> None:
    await live.follow()
    async with live.stream(live.house.alice) as idle, live.stream() as stream:
        before = len(live.news.read)
        await live.save(1)
        await stream.next()
        assert [request.username for request in live.news.read[before:]] == ["bob"]
        assert idle.waiting() == []


async def test_what_comes_between_two_looks_is_read_once(live: Live) -> None:
    await live.follow()
    async with live.stream() as stream:
        await live.save(0)
        await stream.next()
        before = len(live.news.read)
        for number in range(1, 8):
            await live.save(number)
        assert [said(await stream.next())[1] for _ in range(7)] == [f"https://{n}.example/" for n in range(1, 8)]
        assert len(live.news.read) - before <= 3


@pytest.mark.parametrize("missed", [WINDOW + 5, MAX_MISSED])
async def test_more_than_one_look_shows(live: Live, missed: int) -> None:
    live.news.feed = [5]
    async with live.stream() as stream:
        live.news.feed = [*range(9 + missed, 9, -1), 5]
        live.streams.look_all()
        assert [said(await stream.next()) for _ in range(missed)] == [
            ("message", str(each)) for each in range(10, 10 + missed)
        ]


async def test_what_comes_while_it_is_read_what_was_missed_is_told_once(live: Live) -> None:
    """What the look itself shows is told by the next one."""
    live.news.feed = [5]
    async with live.stream() as stream:
        live.news.feed = [*range(1_000 + 10 * (WINDOW - 1), 999, -10), 5]
        there = live.news.feed[-2::-1]
        live.news.on_the_way = [999, 1_445, 9_999]
        live.streams.look_all()
        assert [int(said(await stream.next())[1]) for _ in range(WINDOW + 1)] == [999, *there]
        live.streams.look_all()
        assert [int(said(await stream.next())[1]) for _ in range(2)] == [1_445, 9_999]
        assert stream.waiting() == []


async def test_more_than_can_be_told_one_by_one(live: Live) -> None:
    live.news.feed = [*range(10 + MAX_MISSED, 5, -1), 5]
    async with live.stream(last_event_id="5") as stream:
        reset = await stream.next()
        assert (reset.name, reset.data["code"], reset.id) == ("reset", "too_old", "5")
        newest = [await stream.next() for _ in range(WINDOW)]
        assert [int(event.data["Id"]) for event in newest] == sorted(live.news.feed[:WINDOW])
        assert (await stream.next()).name == "present"
        live.news.feed.insert(0, 1_000)
        live.streams.look_all()
        assert said(await stream.next()) == ("message", "1000")


async def test_one_that_comes_late_is_told_and_takes_nobody_back(live: Live) -> None:
    live.news.feed = [30, 10]
    async with live.stream() as stream:
        live.news.feed = [30, 20, 10]
        live.streams.look_all()
        late = await stream.next()
        assert (said(late), late.id) == (("message", "20"), "30")


# --- while others are away --------------------------------------------------------------------------------------------


async def test_it_goes_on_when_news_is_back(live: Live) -> None:
    await live.follow()
    async with live.stream() as stream:
        live.news.away = True
        await live.save(1)
        await live.until(lambda: len(live.news.read) >= 3)
        assert stream.waiting() == []
        live.news.away = False
        assert said(await stream.next()) == ("message", "https://1.example/")


async def test_what_may_have_been_missed_is_looked_for(live: Live) -> None:
    await live.follow()
    async with live.stream() as stream:
        await live.house.alice.ok("POST", "/v1/links", json={"url": "https://1.example/", "title": "x"})
        await live.house.world.tell()
        live.bus.away = True
        assert stream.waiting() == []
        live.bus.away = False
        assert said(await stream.next()) == ("message", "https://1.example/")


async def test_nonsense_is_no_change(live: Live) -> None:
    async with live.stream() as stream:
        before = len(live.news.read)
        for body in (b"nonsense", b'{"AuthorIds": 3}', b'{"AuthorIds": ["x"], "ReaderIds": []}'):
            await live.bus.announce(NEWS_CHANGES, body)
        assert len(live.news.read) == before
        assert not stream.over


async def test_what_cannot_be_read_is_refused_at_once(live: Live) -> None:
    live.news.away = True
    async with live.stream() as stream:
        assert stream.status == 503
        assert b"news_manager_unavailable" in stream.body
    assert live.streams.bounds.of_user == 5
    live.news.away = False
    for _ in range(6):
        async with live.stream() as stream:
            assert stream.status == 200


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_a_user_has_so_many_and_all_together_so_many(house: GatewayHouse) -> None:
    live = await make_live(house, news_streams_of_user=2, news_streams=3)
    async with live.stream(), live.stream(), live.stream(house.alice):
        async with live.stream() as third:
            assert third.status == 429
            assert b'"too_many_streams"' in third.body
        async with live.stream(house.alice) as fourth:
            assert fourth.status == 503
            assert b'"overloaded"' in fourth.body
            assert fourth.headers["retry-after"] == "1"
    async with live.stream() as again:
        assert again.status == 200


async def test_a_stream_takes_the_room_of_no_request(house: GatewayHouse) -> None:
    live = await make_live(house, max_concurrent_requests=1)
    async with live.stream() as one, live.stream() as other:
        assert (one.status, other.status) == (200, 200)
        assert live.app.in_flight == 0
    assert live.app.in_flight == 0


@pytest.mark.parametrize("place", ["x", "-1", "9" * 20])
async def test_what_is_no_place(live: Live, place: str) -> None:
    async with live.stream(last_event_id=place) as stream:
        assert stream.status == 400
        assert b"invalid_since" in stream.body


async def test_a_session_that_ends_ends_its_streams_at_once(live: Live) -> None:
    await live.follow()
    world, bob = live.house.world, live.house.bob
    other = (await world.users.login("bob", "any")).token
    async with live.stream() as stream, live.stream(token=other) as left:
        await world.users.logout("bob", bob.token)
        await live.bus.announce(TOKEN_REVOCATIONS, write_revocation(bob.actor.user_id))
        ended = await stream.next()
        assert (ended.name, ended.data["code"]) == ("end", "invalid_token")
        await stream.ends()
        assert stream.complete
        await live.save(1)
        assert said(await left.next()) == ("message", "https://1.example/")


async def test_a_token_that_runs_out_ends_its_stream(live: Live) -> None:
    world, bob = live.house.world, live.house.bob
    request = CreateTokenRequest(name="laptop", scopes=(Scope.NEWS,), expires_in_days=1)
    token = (await world.users.create_token(bob.actor, request)).token
    async with live.stream(token=token) as stream:
        live.house.clock.advance(timedelta(days=3).total_seconds())
        live.streams.look_all()
        assert (await stream.next()).name == "end"
        await stream.ends()


async def test_nothing_is_shown_while_nobody_can_say_to_whom(live: Live) -> None:
    """And all of it when somebody can."""
    await live.follow()
    async with live.stream() as stream:
        live.users.fault = away("user-manager")
        await live.bus.announce(TOKEN_REVOCATIONS, write_revocation(live.house.bob.actor.user_id))
        await live.save(1)
        await live.until(lambda: live.users.asked >= 2)
        assert stream.waiting() == []
        live.users.fault = None
        assert said(await stream.next()) == ("message", "https://1.example/")


# --- how it ends ------------------------------------------------------------------------------------------------------


async def test_a_sign_of_life(house: GatewayHouse) -> None:
    live = await make_live(house, news_stream_heartbeat=0.05)
    async with live.stream() as stream:
        await stream.until(lambda: stream.parser.comments >= 3)
        assert stream.body.endswith(HEARTBEAT)
        assert stream.waiting() == []


async def test_its_time_is_over(house: GatewayHouse) -> None:
    live = await make_live(house, news_stream_lifetime=0.05)
    async with live.stream() as stream:
        await stream.ends()
        assert stream.complete
        assert stream.body.endswith(b"retry: %d\n\n" % (stream.parser.retry or 0))


async def test_a_process_that_is_stopped_ends_them_and_begins_no_more(live: Live) -> None:
    async with live.stream() as stream:
        live.app.begin_drain()
        await stream.ends()
        assert stream.complete
        assert stream.body.endswith(b"retry: %d\n\n" % (stream.parser.retry or 0))
    async with live.stream() as late:
        assert late.status == 503
        assert b"shutting_down" in late.body


async def test_who_does_not_take_what_is_sent_is_left_and_slows_nobody(house: GatewayHouse) -> None:
    live = await make_live(house, news_stream_write_timeout=0.5)
    await live.follow()
    async with live.stream() as slow, live.stream() as quick:
        slow.takes.clear()
        await live.save(1)
        assert said(await quick.next()) == ("message", "https://1.example/")
        await slow.ends()
        # Without an end: nobody takes half for the whole.
        assert (slow.complete, slow.waiting()) == (False, [])
        await live.save(2)
        assert said(await quick.next()) == ("message", "https://2.example/")


async def test_nothing_is_kept_of_who_has_left(live: Live) -> None:
    await live.follow()
    async with live.stream():
        assert list(live.streams._by_author) == [live.house.alice.actor.user_id]
    assert (live.streams._readers, live.streams._by_author, live.streams._count) == ({}, {}, 0)


async def test_a_look_at_the_head_alone(live: Live) -> None:
    response = await live.house.bob.call("HEAD", PATH)
    assert (response.status, response.body, response.complete) == (200, b"", True)
