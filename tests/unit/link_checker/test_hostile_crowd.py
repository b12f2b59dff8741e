"""A crowd of sites that send without end, or nothing: each costs its own slot, and of memory next to nothing.

The checker is a process of its own, whose memory nothing else has grown; the sites are here.
"""

import asyncio
import itertools
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Final

from aiohttp import web

from tests.unit.link_checker.sites import http_site, raw_site

ROOT: Final = Path(__file__).parents[3]
#: Of each kind, at once.
EACH: Final = 20
HEALTHY: Final = 60
PATIENCE: Final = 120.0
#: Bytes. The crowd sends more than a hundred times as much to whoever lets it.
MOST: Final = 32 * 1024**2

LOOKING = """
import asyncio, json, pathlib, re, sys
from pkg.link_checker.checker import LinkChecker
from pkg.object_model.types import CheckLinkRequest

def most() -> int:
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s*([0-9]+) kB", status)[1]) * 1024

async def look_at_all(crowd, healthy, places):
    async with LinkChecker(
        allowed=map(tuple, places), deadline=8.0, head_deadline=4.0, max_per_host=len(crowd)
    ) as checker:

        async def look(url):
            return (await checker.check_link(CheckLinkRequest(username="a", url=url))).reason

        # What a first look loads is no matter of the crowd.
        await look(healthy[0])
        before = most()
        said = asyncio.gather(*map(look, crowd))
        healthy_said = await asyncio.gather(*map(look, healthy))
        waiting = not said.done()
        reasons = dict(zip(crowd, await said, strict=True))
        print(json.dumps({"healthy": healthy_said, "waiting": waiting, "crowd": reasons, "grown": most() - before}))

asyncio.run(look_at_all(*json.loads(sys.argv[1])))
"""


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An endless page, whatever is asked."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        writer.write(b"X-%d: " % number + b"a" * 4_000 + b"\r\n")
        await writer.drain()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def lead_on(request: web.BaseRequest) -> web.StreamResponse:
    """For ever, with as much to carry as a head may have."""
    return web.Response(status=302, headers={"Location": request.path + "x", "X-Heavy": "a" * 7_000})


async def ok(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


async def test_a_crowd_of_them_keeps_nobody_waiting_and_takes_no_memory() -> None:
    async def flood_those_who_get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if half_flooding.asked[-1].startswith("HEAD"):
            writer.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
        else:
            await flood(reader, writer)

    async with (
        raw_site(flood) as flooding,
        raw_site(flood_those_who_get) as half_flooding,
        raw_site(endless_headers) as boasting,
        raw_site(drip) as dripping,
        http_site(lead_on) as leading_on,
        http_site(ok) as healthy,
    ):
        sites = [flooding, half_flooding, boasting, dripping, leading_on]
        crowd = [f"{site.url}/{number}" for number in range(EACH) for site in sites]
        port = healthy.place[1]
        pages = [f"http://localhost:{port}/{number}" for number in range(HEALTHY)]
        places = [*(site.place for site in sites), ("localhost", port)]
        looking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LOOKING, json.dumps([crowd, pages, places]), cwd=ROOT, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(PATIENCE):
            said, fault = await looking.communicate()
    assert looking.returncode == 0, fault
    found = json.loads(said)
    assert found["healthy"] == ["ok"] * HEALTHY
    assert found["waiting"], "the slow ones had not even ended"
    reasons = {
        site.url: {reason for url, reason in found["crowd"].items() if url.startswith(f"{site.url}/")} for site in sites
    }
    assert reasons[flooding.url] == reasons[half_flooding.url] == {"ok"}
    assert reasons[boasting.url] == {"malformed_answer"}
    assert reasons[dripping.url] == {"timed_out"}
    assert reasons[leading_on.url] == {"too_many_redirects"}
    assert found["grown"] < MOST, f"{found['grown'] / 1024**2:.0f} MiB"
    print(f"{found['grown'] / 1024**2:.1f} MiB for {len(crowd)} of them")
