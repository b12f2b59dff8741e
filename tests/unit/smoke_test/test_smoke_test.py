"""The smoke test against a small server of the original's contract: it passes where all is well, and fails where one
thing is wrong.
"""

import asyncio
import importlib.util
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web

from tests.unit.link_checker.sites import http_site

ROOT = Path(__file__).parents[3]
TOKEN = "a-token"
PAGE = "http://127.0.0.1:9/ok"
MINE = "https://host.example/mine"


def load_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smoke_test", ROOT / "cmd" / "smoke_test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROGRAM: Any = load_program()


@dataclass
class OriginalApi:
    """Links of one user, a few to a page. ``fault`` names what it does wrong."""

    fault: str = ""
    #: Looks at the link until its status changes.
    looks: int = 5
    links: dict[str, dict[str, Any]] = field(default_factory=lambda: {MINE: link_of(MINE, "Mine")})
    log: list[str] = field(default_factory=list)

    async def serve(self, request: web.BaseRequest) -> web.Response:
        self.log.append(request.method)
        if request.headers.get("Access-Token") != TOKEN:
            return web.json_response({"err": "who are you?"}, status=401)
        body = await request.text()
        arguments: dict[str, Any] = {**request.query, **(json.loads(body) if body else {})}
        if self.fault == f"{request.method} fails":
            return web.json_response({"err": "broken"}, status=500)
        if self.fault == f"{request.method} says err":
            return web.json_response({"err": "broken"})
        if self.fault == f"{request.method} is no JSON":
            return web.Response(text="<html>", content_type="text/html")
        match request.method:
            case "POST":
                if self.fault != "loses links":
                    self.links[arguments["url"]] = link_of(arguments["url"], arguments["title"])
            case "PUT":
                link = self.links[arguments["url"]]
                link["Description"] = arguments["description"]
                if self.fault != "loses tags":
                    link["Tags"] |= arguments["add_tags"]
            case "DELETE":
                if self.fault != "keeps links":
                    self.links.pop(arguments["url"], None)
            case _:
                return web.json_response(self.list_links(arguments))
        return web.json_response({"err": ""})

    def list_links(self, arguments: dict[str, str]) -> dict[str, Any]:
        found = [
            link
            for link in self.links.values()
            if re.search(arguments.get("url_regex", ""), link["Url"])
            and re.search(arguments.get("title_regex", ""), link["Title"])
            and ("tag" not in arguments or arguments["tag"] in link["Tags"])
        ]
        if self.fault == "finds nothing by tag" and "tag" in arguments:
            found = []
        for link in found:
            if link["Url"] != MINE:
                self.looks -= 1
                if self.looks <= 0 and self.fault != "stays pending":
                    link["Status"] = "invalid" if self.fault == "becomes invalid" else "valid"
        start = int(arguments.get("start_token") or 0)
        following = str(start + 1) if start + 1 < len(found) else ""
        return {"links": found[start : start + 1], "NextPageToken": following, "err": ""}


def link_of(url: str, title: str) -> dict[str, Any]:
    return {"Url": url, "Title": title, "Description": "", "Status": "pending", "Tags": {}}


@dataclass
class House:
    api: OriginalApi
    url: str
    folder: Path

    async def check(self, *, url: str = "", token: str = TOKEN) -> str:
        """What went wrong, or nothing."""
        test = PROGRAM.SmokeTest(PROGRAM.Api(url or self.url, token), PAGE, deadline=0.3, poll=0.01)
        try:
            await asyncio.to_thread(test.run)
        except PROGRAM.Failure as failure:
            return str(failure)
        return ""

    async def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "cmd" / "smoke_test.py"),
            *arguments,
            cwd=self.folder,
            env={
                "DELINKCIOUS_URL": self.url,
                "DELINKCIOUS_TOKEN": TOKEN,
                "DELINKCIOUS_DEMO_SITE": "http://127.0.0.1:9",
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    api = OriginalApi()
    async with http_site(api.serve) as site:
        yield House(api, site.url, tmp_path)


async def test_where_all_is_well_it_passes(house: House) -> None:
    code, output, errors = await house.run()
    assert (code, errors) == (0, "")
    assert output.endswith("smoke test: passed\n")
    assert len(re.findall(r"^- ", output, re.MULTILINE)) == 8
    assert list(house.api.links) == [MINE], "it leaves nothing, and nothing of anybody else's is touched"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("POST fails", "answered 500: broken"),
        ("POST says err", "answered 200: broken"),
        ("GET is no JSON", "which is no JSON object"),
        ("PUT fails", "answered 500"),
        ("loses links", "not found in the list"),
        ("stays pending", "still pending after 0.3 s"),
        ("becomes invalid", "became invalid"),
        ("loses tags", "its Tags is {}"),
        ("finds nothing by tag", "not found by its tag"),
        ("keeps links", "still there"),
    ],
)
async def test_where_one_thing_is_wrong_it_fails_and_cleans_up(house: House, fault: str, said: str) -> None:
    house.api.fault = fault
    assert said in await house.check()
    if fault != "keeps links":
        assert list(house.api.links) == [MINE]
    assert house.api.log[-1] == "DELETE"


async def test_a_failure_is_an_exit_code_and_a_line(house: House) -> None:
    house.api.fault = "POST fails"
    code, output, errors = await house.run()
    assert code == 1
    assert errors == "smoke test: FAILED: POST /v1/links: answered 500: broken\n"
    assert "passed" not in output


async def test_a_wrong_token_is_told(house: House) -> None:
    assert "answered 401: who are you?" in await house.check(token="another")


async def test_a_gateway_that_is_away_is_told(house: House) -> None:
    assert "cannot be reached" in await house.check(url="http://127.0.0.1:1")


async def test_what_is_not_set_comes_from_the_local_stack(house: House) -> None:
    folder = house.folder / ".delinkcious"
    folder.mkdir()
    ready = {"gateway": house.url, "tokens": {"alice": TOKEN}, "demo_site": "http://127.0.0.1:9"}
    (folder / "ready.json").write_text(json.dumps(ready))
    unset = {"DELINKCIOUS_URL": "", "DELINKCIOUS_TOKEN": "", "DELINKCIOUS_DEMO_SITE": ""}
    code, output, errors = await house.run(**unset)
    assert (code, errors) == (0, "")
    assert "http://127.0.0.1:9/ok?smoke=" in output


async def test_what_is_missing_is_named(house: House) -> None:
    code, _, errors = await house.run(DELINKCIOUS_TOKEN="")
    assert (code, "set DELINKCIOUS_TOKEN" in errors) == (1, True)


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("https://host.example/page", r"https://host\.example/page\?smoke=[0-9a-f]{16}"),
        ("https://host.example/page?a=b#part", r"https://host\.example/page\?a=b&smoke=[0-9a-f]{16}#part"),
    ],
)
async def test_a_page_of_ones_own(house: House, asked: str, page: str) -> None:
    test = PROGRAM.SmokeTest(PROGRAM.Api(house.url, TOKEN), PROGRAM.choose_page(asked, {}), deadline=5, poll=0.01)
    await asyncio.to_thread(test.run)
    assert re.fullmatch(page, test.url)


def test_without_a_page_it_asks_for_one() -> None:
    with pytest.raises(PROGRAM.Failure, match="name one with --url"):
        PROGRAM.choose_page(None, {})
    with pytest.raises(PROGRAM.Failure, match="must begin with http"):
        PROGRAM.choose_page("ftp://host.example/", {})
