"""A thousand bookmarks of ten sites, from the import of a file to what is said of each: right in the end, asked once.

The sites are real servers, each at an address of its own, and count what they are asked. Asserted from outside, through
the public API and by what the sites saw.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from html import escape
from typing import Final

import pytest
from aiohttp import web

from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import Stack, running_stack

LINKS: Final = 1_000
SITES: Final = 10
SAVERS: Final = tuple(f"saver{number}" for number in range(20))
#: Pages that all of them save.
SHARED: Final = 100
#: Answers before the function dies: it is in the middle of it then.
SEEN: Final = 300
#: Seconds for everything; redeliveries wait for as long as a minute.
SETTLED: Final = 240.0
#: Links that were being looked at when it died, at the most: those are asked a second time.
UNDER_WAY: Final = 64


@dataclass(frozen=True)
class Kind:
    """How the pages of a site answer to HEAD and to GET, and what is to be said of them."""

    head: int
    get: int
    said: tuple[str, str]


KINDS: Final[Mapping[str, Kind]] = {
    "there": Kind(200, 200, ("valid", "ok")),
    "missing": Kind(404, 404, ("invalid", "not_found")),
    "gone": Kind(410, 410, ("invalid", "gone")),
    "moved": Kind(301, 301, ("valid", "moved")),
    "elsewhere": Kind(302, 302, ("valid", "ok")),
    "head-refused": Kind(405, 200, ("valid", "ok")),
    "head-lies": Kind(404, 200, ("valid", "ok")),
    "private": Kind(403, 403, ("pending", "forbidden")),
    "busy": Kind(429, 429, ("pending", "rate_limited")),
    "broken": Kind(503, 503, ("pending", "server_error")),
}


class Web:
    """All sites, and how often each URL was asked for by HEAD: once for each look."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.looks: Counter[str] = Counter()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        kind = KINDS.get(request.path.split("/")[1])
        if request.method == "HEAD":
            self.looks[f"http://{request.host}{request.path}"] += 1
        if kind is None:
            return web.Response(status=200 if request.path.startswith("/new/") else 404)
        status = kind.head if request.method == "HEAD" else kind.get
        return web.Response(status=status, headers={"Location": f"/new{request.path}"} if status in (301, 302) else {})

    def urls(self, name: str, count: int) -> dict[str, Kind]:
        """So many, of all kinds and sites alike."""
        kinds = list(KINDS.items())
        return {
            f"http://{self.places[number // len(kinds) % SITES]}/{kind}/{name}/{number}": about
            for number in range(count)
            for kind, about in [kinds[number % len(kinds)]]
        }


@asynccontextmanager
async def serving(internet: Web) -> AsyncIterator[None]:
    runner = web.ServerRunner(web.Server(internet.answer), shutdown_timeout=1)
    await runner.setup()
    try:
        for number in range(SITES):
            # Every address of this network is this machine.
            host = f"127.0.1.{number + 1}"
            site = web.TCPSite(runner, host, 0)
            await site.start()
            internet.places.append(f"{host}:{runner.addresses[-1][1]}")
        yield
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
async def internet() -> AsyncIterator[Web]:
    internet = Web()
    async with serving(internet):
        yield internet


@pytest.fixture(scope="module")
def stack(internet: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(
        tmp_path_factory.mktemp("checks") / "data",
        users=["alice", "bob", *SAVERS],
        environment={"LINK_CHECKER_ALLOWED": ",".join(internet.places)},
    ) as running:
        yield running


def bookmarks(urls: Iterable[str]) -> str:
    lines = [f'<DT><A HREF="{escape(url)}">Page {number}</A>' for number, url in enumerate(urls)]
    return "<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n" + "\n".join(lines) + "\n</DL><p>\n"


async def import_all(client: ApiClient, urls: Mapping[str, Kind]) -> None:
    answer = await client.expect("POST", "/v1/import", data=bookmarks(urls), headers={"Content-Type": "text/html"})
    assert answer["report"]["Imported"] == len(urls)


async def statuses(client: ApiClient) -> dict[str, tuple[str, str]]:
    links = await client.all_links(limit="200")
    return {link["Url"]: (link["Status"], link["StatusReason"]) for link in links}


async def all_said(client: ApiClient, urls: Mapping[str, Kind]) -> None:
    """Until something was said of each, and what was said is right."""

    async def settled() -> bool:
        return all(reason for _, reason in (await statuses(client)).values())

    await eventually(settled, "every link was looked at", SETTLED)
    said = await statuses(client)
    assert {url: said[url] for url, kind in urls.items() if said[url] != kind.said} == {}
    assert len(said) == len(urls)


async def test_an_import_is_looked_at_once(stack: Stack, internet: Web) -> None:
    async with api_client(stack.gateway, stack.token("alice")) as alice:
        urls = internet.urls("first", LINKS)
        await import_all(alice, urls)
        await all_said(alice, urls)
        assert {url: internet.looks[url] for url in urls if internet.looks[url] != 1} == {}
        moved = {link["Url"]: link["MovedTo"] for link in await alice.all_links(limit="200") if link["MovedTo"]}
    assert moved == {url: url.replace("/moved/", "/new/moved/") for url in urls if "/moved/" in url}


async def test_the_function_dies_in_the_middle(stack: Stack, internet: Web) -> None:
    async with api_client(stack.gateway, stack.token("bob")) as bob:
        urls = internet.urls("second", LINKS)
        importing = asyncio.create_task(import_all(bob, urls))

        async def well_under_way() -> bool:
            return sum(map(internet.looks.__getitem__, urls)) >= SEEN

        await eventually(well_under_way, "the sites are asked", SETTLED)
        os.kill(stack.ready["pids"]["link-check-function"], signal.SIGKILL)
        seen = len([url for url in urls if internet.looks[url]])
        assert seen < LINKS - UNDER_WAY, "nothing was left to be lost"
        await importing
        await all_said(bob, urls)
        again = [url for url in urls if internet.looks[url] > 1]
        print(f"killed after {seen} of {LINKS}; {len(again)} were asked again")
        assert min(map(internet.looks.__getitem__, urls)) >= 1
        assert len(again) <= UNDER_WAY


async def test_twenty_who_save_the_same_hundred_are_a_hundred_looks(stack: Stack, internet: Web) -> None:
    urls = internet.urls("shared", SHARED)

    async with AsyncExitStack() as clients:
        savers = [await clients.enter_async_context(api_client(stack.gateway, stack.token(saver))) for saver in SAVERS]
        await asyncio.gather(*(import_all(saver, urls) for saver in savers))
        for saver in savers:
            await all_said(saver, urls)
    assert {url: internet.looks[url] for url in urls if internet.looks[url] != 1} == {}
