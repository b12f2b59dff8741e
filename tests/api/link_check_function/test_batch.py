"""A batch as somebody runs it: a process, its exit code, and what it says."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fun.link_checker.batch import ATTEMPTS, MAX_BYTES, look_at_all, read_urls
from pkg.object_model.errors import Unavailable
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import CheckLinkRequest, LinkStatus, Verdict
from tests.unit.link_checker.sites import Site, http_site

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
VALID = Verdict(status=LinkStatus.VALID, reason="ok")


async def start(*arguments: str, site: Site | None = None, variables: Mapping[str, str] | None = None) -> Process:
    environment = {"PATH": os.environ["PATH"], "LINK_CHECKER_CONFINED": "true", **(variables or {})}
    if site is not None:
        environment["LINK_CHECKER_ALLOWED"] = f"{site.place[0]}:{site.place[1]}"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fun.link_checker.batch", *arguments),
        cwd=ROOT,
        env=environment,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )


async def finish(process: Process, sent: bytes | None = None) -> tuple[int | None, list[Any], bytes]:
    """Exit code, what was said of each URL, and the log."""
    async with asyncio.timeout(PATIENCE):
        said, log = await process.communicate(sent)
    return process.returncode, [json.loads(line) for line in said.splitlines()], log


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Its pages are named for the status that they answer."""

    async def serve(request: web.BaseRequest) -> web.Response:
        return web.Response(status=int(request.path.strip("/")))

    async with http_site(serve) as serving:
        yield serving


async def test_each_url_has_its_line(site: Site, tmp_path: Path) -> None:
    batch = tmp_path / "urls.txt"
    batch.write_text(f"# of a site\n{site.url}/200\n\n  {site.url}/404 \nhttp://10.0.0.1/\nno url\n")
    code, said, log = await finish(await start(str(batch), site=site))
    assert code == 0, log
    assert {line["Url"]: (line["Status"], line["Reason"]) for line in said} == {
        f"{site.url}/200": ("valid", "ok"),
        f"{site.url}/404": ("invalid", "not_found"),
        "http://10.0.0.1/": ("pending", "address_not_allowed"),
        "no url": ("pending", "unsupported_url"),
    }
    assert all(line["err"] == "" and "Username" not in line for line in said)


async def test_it_reads_its_standard_input(site: Site) -> None:
    code, said, log = await finish(await start(site=site), f"{site.url}/200\n".encode())
    assert (code, [line["Reason"] for line in said]) == (0, ["ok"]), log
    code, said, log = await finish(await start("-"), b"")
    assert (code, said) == (0, []), log


async def test_told_to_stop_it_ends_what_it_has_begun() -> None:
    go_on = asyncio.Event()

    async def serve(request: web.BaseRequest) -> web.Response:
        if request.path == "/slow":
            await go_on.wait()
        return web.Response()

    async with http_site(serve) as site:
        process = await start(site=site)
        assert process.stdin is not None and process.stdout is not None
        # A few of one host are begun at once.
        names = ["fast", *["slow"] * 3, *map(str, range(1_000))]
        process.stdin.write("".join(f"{site.url}/{name}\n" for name in names).encode())
        process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            first = json.loads(await process.stdout.readline())
            while len(site.asked) < 4:  # noqa: ASYNC110  # the site tells nobody
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        go_on.set()
        code, said, log = await finish(process)
    assert code == os.EX_TEMPFAIL, log
    assert (first["Url"], first["Reason"]) == (f"{site.url}/fast", "ok")
    assert [line["Reason"] for line in said if line["Url"].endswith("/slow")] == ["ok"] * 3
    assert len(said) < 1_000
    assert b"Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "sent", "variables", "code", "log"),
    [
        (["/nowhere/urls.txt"], b"", {}, os.EX_NOINPUT, b"cannot be read"),
        ([], b"x" * (MAX_BYTES + 1), {}, os.EX_DATAERR, b"too long"),
        ([], b"", {"LINK_CHECKER_PORTS": "http"}, os.EX_CONFIG, b"LINK_CHECKER_PORTS"),
    ],
)
async def test_what_is_no_batch(
    arguments: Sequence[str], sent: bytes, variables: dict[str, str], code: int, log: bytes
) -> None:
    ended, said, logged = await finish(await start(*arguments, variables=variables), sent)
    assert (ended, said) == (code, [])
    assert log in logged


class BusyChecker(LinkChecker):
    """There is no room for the first few looks."""

    def __init__(self, busy: int) -> None:
        self.busy = busy
        self.asked = 0

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        self.asked += 1
        if self.asked <= self.busy:
            raise Unavailable("busy", code="link_checker_busy")
        return VALID


@pytest.mark.parametrize(("busy", "complete"), [(ATTEMPTS - 1, True), (ATTEMPTS, False)])
async def test_whose_turn_does_not_come_is_tried_again(busy: int, complete: bool) -> None:
    told: list[bytes] = []
    checker = BusyChecker(busy)
    assert await look_at_all(["http://a.example/"], checker, told.append, asyncio.Event()) is complete
    (line,) = map(json.loads, told)
    assert checker.asked == ATTEMPTS
    assert (line.get("Reason"), line.get("code")) == (("ok", None) if complete else (None, "link_checker_busy"))


def test_a_batch_is_of_lines() -> None:
    assert read_urls(b"") == []
    assert read_urls(b"\n#no\r\n http://a/#part \xff\n") == ["http://a/#part \ufffd"]
