"""The looks at live news: what a stream does not tell, or tells twice, is found."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pkg.runtime.json import encode
from svc.api_gateway_service.event_stream import write_event
from tests.faults.model import Person
from tests.faults.watch import SCREENFUL, watching
from tests.loopback_server import served_by_aiohttp


def entry(number: int) -> dict[str, Any]:
    return {"Id": str(number), "Url": f"https://{number}.example/"}


def message(number: int) -> bytes:
    return write_event(number, encode(entry(number)))


def removed(number: int, place: int) -> bytes:
    return write_event(place, encode({"Id": str(number)}), "removed")


def present(place: int, *numbers: int) -> bytes:
    return write_event(place, encode({"Ids": [str(number) for number in numbers]}), "present")


class Api:
    """A feed, and what its streams tell, one after the other: each is asked for where the one before had come to."""

    def __init__(self, feed: Sequence[int], *streams: bytes) -> None:
        self.feed = feed
        self.places: list[str] = []
        self._streams = list(streams)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/v1/news", self._news)
        app.router.add_get("/v1/news/stream", self._stream)
        async with served_by_aiohttp(app) as url:
            yield url

    async def _news(self, request: web.Request) -> web.Response:
        return web.json_response({"events": [*map(entry, self.feed[: int(request.query["limit"])])]})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.places.append(request.headers["Last-Event-ID"])
        response = web.StreamResponse()
        await response.prepare(request)
        if self._streams:
            await response.write(self._streams.pop(0))
        if not self._streams:
            await asyncio.Event().wait()
        return response


async def look_at(api: Api, patience: float = 5.0) -> list[str]:
    async with (
        api.serving() as gateway,
        aiohttp.ClientSession() as session,
        watching(session, gateway, [Person("bob", "bob")], patience=patience) as watchers,
    ):
        _, faults = await watchers.settle()
    return faults


@pytest.mark.parametrize(
    ("feed", "streams"),
    [
        ([], ()),
        ([3, 1], (message(1) + message(2) + message(3) + removed(2, 3),)),
        ([4, 3], (message(3), message(4) + present(4, 4, 3))),
        ([4], (message(3), message(4) + present(4, 4))),
        # Came late, while nobody looked, or was too much to tell: it is read.
        ([4, 3, 2], (message(3), message(4) + present(4, 4, 3, 2))),
        ([4, 3], (message(1), write_event(1, b"{}", "reset") + message(4))),
        ([*range(99, 0, -1)], (b"".join(map(message, range(40, 100))),)),
    ],
)
async def test_what_is_seen_as_it_is(feed: Sequence[int], streams: Sequence[bytes]) -> None:
    assert await look_at(Api(feed, *streams)) == []


@pytest.mark.parametrize(
    ("feed", "told", "fault"),
    [
        ([2, 1], message(1), "lost: https://2.example/ in the stream of bob"),
        ([1], message(1) + message(2), "lost: the end of https://2.example/ in the stream of bob"),
    ],
)
async def test_what_is_not_told(feed: Sequence[int], told: bytes, fault: str) -> None:
    assert await look_at(Api(feed, told), patience=0.2) == [fault]


async def test_what_is_told_twice() -> None:
    assert await look_at(Api([1], message(1) + message(1))) == ["doubled: https://1.example/ in the stream of bob"]
    again = message(1) + b"".join(map(message, range(2, 2 + SCREENFUL))) + message(1)
    assert await look_at(Api([*range(1 + SCREENFUL, 0, -1)], again)) == [], "what is out of sight may come back as new"


async def test_who_comes_back_says_how_far_they_have_come() -> None:
    api = Api([2, 1], message(1), message(2))
    assert await look_at(api) == []
    assert api.places == ["0", "1"]
