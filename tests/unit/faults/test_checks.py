"""The looks of the drills: everything that could be wrong is found, and nothing that may be so."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.faults.checks import Inspector
from tests.faults.model import Person, Saved, World
from tests.loopback_server import served_by_aiohttp

PAGE, OTHER = "https://site.example/1", "https://site.example/2"
SAVED = Saved("One", frozenset({"x"}), "public", 3)


def link(url: str = PAGE, saved: Saved = SAVED) -> dict[str, Any]:
    tags = dict.fromkeys(saved.tags, True)
    return {
        "Url": url,
        "Title": saved.title,
        "Tags": tags,
        "Visibility": saved.visibility,
        "Version": saved.version,
        "Status": "valid",
    }


def entry(number: int, url: str = PAGE, saved: Saved = SAVED) -> dict[str, Any]:
    return {"Id": str(number), "Username": "alice", "Url": url, "Title": saved.title, "Version": saved.version}


class Api:
    """What the gateway answers."""

    def __init__(self) -> None:
        self.links = {"alice": [link()], "bob": []}
        self.following = {"alice": {}, "bob": {"alice": True}}
        self.news = {"alice": [], "bob": [entry(9)]}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        def answer(key: str, rows: dict[str, Any]) -> Callable[[web.Request], Any]:
            async def handle(request: web.Request) -> web.Response:
                return web.json_response({key: rows[request.headers["Access-Token"]], "NextPageToken": "", "err": ""})

            return handle

        app = web.Application()
        app.router.add_get("/v1/links", answer("links", self.links))
        app.router.add_get("/v1/following", answer("following", self.following))
        app.router.add_get("/v1/news", answer("events", self.news))
        async with served_by_aiohttp(app) as url:
            yield url


def world() -> World:
    alice, bob = Person("alice", "alice"), Person("bob", "bob")
    alice.links[PAGE] = SAVED
    bob.following.add("alice")
    return World([alice, bob])


async def settle(api: Api, of: World) -> list[str]:
    async with api.serving() as gateway, aiohttp.ClientSession() as session:
        _, faults = await Inspector(session, gateway, of, patience=0.2).settle()
    return faults


async def test_what_is_as_it_must_be_is_no_fault() -> None:
    assert await settle(Api(), world()) == []


def _lose_link(api: Api) -> None:
    api.links["alice"] = []


def _keep_deleted(api: Api) -> None:
    api.links["alice"] = [link(), link(OTHER)]


def _keep_old(api: Api) -> None:
    api.links["alice"] = [link(saved=SAVED._replace(title="Zero", version=2))]


def _lose_follow(api: Api) -> None:
    api.following["bob"] = {}


def _lose_news(api: Api) -> None:
    api.news["bob"] = []


def _keep_news(api: Api) -> None:
    api.news["bob"] = [entry(9), entry(8, OTHER)]


def _keep_old_news(api: Api) -> None:
    api.news["bob"] = [entry(9, saved=SAVED._replace(title="Zero", version=2))]


@pytest.mark.parametrize(
    "harm", [_lose_link, _keep_deleted, _keep_old, _lose_follow, _lose_news, _keep_news, _keep_old_news]
)
async def test_what_is_lost_is_found(harm: Callable[[Api], None]) -> None:
    api = Api()
    harm(api)
    faults = await settle(api, world())
    assert faults
    assert all(fault.startswith("lost") for fault in faults)


async def test_an_order_that_is_wrong_is_found() -> None:
    api, people = Api(), world()
    people.people["alice"].links[OTHER] = SAVED
    api.links["alice"] = [link(), link(OTHER)]
    api.news["bob"] = [entry(8), entry(9, OTHER)]
    assert await settle(api, people) == ["lost: the order of bob's news"]


def _double_link(api: Api) -> None:
    api.links["alice"] = [link(), link()]


def _double_change(api: Api) -> None:
    api.links["alice"] = [link(saved=SAVED._replace(version=4))]
    api.news["bob"] = [entry(9)]


def _double_news(api: Api) -> None:
    api.news["bob"] = [entry(9), entry(8)]


@pytest.mark.parametrize("harm", [_double_link, _double_change, _double_news])
async def test_what_is_there_twice_is_found(harm: Callable[[Api], None]) -> None:
    api = Api()
    harm(api)
    faults = await settle(api, world())
    assert [fault.partition(":")[0] for fault in faults] == ["doubled"]


@pytest.mark.parametrize("happened", [True, False])
async def test_what_was_not_answered_may_have_happened_or_not_and_is_known_then(happened: bool) -> None:
    api, people = Api(), world()
    alice, bob = people.people.values()
    wanted = Saved("Two", frozenset({"x"}), "public", 0)
    alice.unsure_links[PAGE] = (SAVED, wanted)
    bob.unsure_following.add("alice")
    if happened:
        now = wanted._replace(version=4)
        api.links["alice"] = [link(saved=now)]
        api.news["bob"] = [entry(9, saved=now)]
    else:
        api.following["bob"], api.news["bob"] = {}, []
    assert await settle(api, people) == []
    assert alice.links[PAGE].version == (4 if happened else 3)
    assert (bob.following == {"alice"}) is happened
    assert not alice.unsure_links
    assert not bob.unsure_following


@pytest.mark.parametrize("status", ["pending", "invalid"])
async def test_a_status_that_is_stuck_is_found(status: str) -> None:
    api = Api()
    async with api.serving() as gateway, aiohttp.ClientSession() as session:
        inspector = Inspector(session, gateway, world(), judging=0.2)
        assert await inspector.judged() == []
        api.links["alice"][0]["Status"] = status
        assert await inspector.judged() == [f"lost: the status of alice's {PAGE}, {status}"]


async def test_what_was_not_answered_must_not_have_happened_twice_or_otherwise() -> None:
    for version, title, kind in ((5, "Two", "doubled"), (4, "Three", "lost")):
        api, people = Api(), world()
        people.people["alice"].unsure_links[PAGE] = (SAVED, Saved("Two", frozenset({"x"}), "public", 0))
        now = Saved(title, frozenset({"x"}), "public", version)
        api.links["alice"], api.news["bob"] = [link(saved=now)], [entry(9, saved=now)]
        assert [fault.partition(":")[0] for fault in await settle(api, people)] == [kind]
