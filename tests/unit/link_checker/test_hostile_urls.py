"""However a URL is written, however names resolve and wherever redirects lead: nothing on the inside is connected to.

The servers here stand for the inside: on loopback, at a port that checks may go to, under every name that there is.
They count who connects.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkg.link_checker.address_guard import AddressInfo
from pkg.link_checker.checker import LinkChecker
from pkg.link_checker.look import MAX_REDIRECTS
from pkg.object_model.types import CheckLinkRequest, LinkStatus, Verdict
from tests.unit.link_checker.sites import http_site, redirecting


def read_table() -> dict[str, list[str]]:
    """Hosts, and URLs, by their kind."""
    text = Path(__file__).with_name("hostile_urls.txt").read_text()
    seen = re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), text)
    parts = re.split(r"^# (.+)$", seen, flags=re.MULTILINE)[1:]
    return {kind: hosts.split() for kind, hosts in zip(parts[::2], parts[1::2], strict=True)}


HOSTS: Final = read_table()
URLS: Final = HOSTS.pop("URLs")
REFUSED: Final = {"address_not_allowed", "unsupported_url"}


class Inside:
    """What listens on loopback, on one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Inside]:
    """On every address of this machine that there is."""
    inside = Inside(0)
    first = await asyncio.start_server(inside.accept, "0.0.0.0", 0)  # noqa: S104  # whatever reaches us must count
    inside.port = first.sockets[0].getsockname()[1]
    servers = [first]
    if socket.has_dualstack_ipv6():
        servers.append(await asyncio.start_server(inside.accept, "::", inside.port, family=socket.AF_INET6))
    try:
        yield inside
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


def everything_is_here(name: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
    """The name server of an attacker."""
    return [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:127.0.0.1", port, 0, 0)),
    ]


def open_anything(info: AddressInfo, ports: Collection[int]) -> socket.socket:
    return socket.socket(*info[:3])


async def look(checker: LinkChecker, url: str) -> Verdict:
    async with asyncio.timeout(30):
        return await checker.check_link(CheckLinkRequest(username="alice", url=url))


def url_of(host: str, port: int) -> str:
    return f"http://{host}:{port}/"


def test_the_table_is_long_enough() -> None:
    assert len({*URLS, *(host for hosts in HOSTS.values() for host in hosts)}) >= 300


@pytest.mark.parametrize("kind", HOSTS)
async def test_hostile_hosts(kind: str) -> None:
    async with listening() as inside, LinkChecker(pause=0, ports=[inside.port], lookup=everything_is_here) as checker:
        for host in HOSTS[kind]:
            verdict = await look(checker, url_of(host, inside.port))
            assert (verdict.status, verdict.reason in REFUSED) == (LinkStatus.PENDING, True), (host, verdict)
            assert inside.connections == 0, host


async def test_hostile_urls() -> None:
    async with (
        listening() as inside,
        LinkChecker(pause=0, ports=[inside.port, 80], lookup=everything_is_here) as checker,
    ):
        for url in URLS:
            verdict = await look(checker, url.format(port=inside.port))
            assert (verdict.status, verdict.reason in REFUSED) == (LinkStatus.PENDING, True), (url, verdict)
            assert inside.connections == 0, url


async def test_hostile_redirects() -> None:
    """From a page that may be asked, to each of them."""
    async with listening() as inside:
        targets = [url_of(host, inside.port) for hosts in HOSTS.values() for host in hosts]
        targets += [url.format(port=inside.port) for url in URLS]
        places = {f"/{number}": target for number, target in enumerate(targets)}
        async with (
            http_site(redirecting(places)) as outside,
            LinkChecker(
                pause=0,
                allowed=[outside.place],
                ports=[inside.port, 80],
                lookup=everything_is_here,
                max_per_host=8,
            ) as checker,
        ):
            for place, target in places.items():
                verdict = await look(checker, outside.url + place)
                # What is no URL of its own may be a page of the site that named it.
                assert verdict.reason in {*REFUSED, "bad_redirect", "not_found"}, (target, verdict)
                assert inside.connections == 0, target


async def test_unguarded_they_would_be_reached() -> None:
    """That the counting works, and that the guard is what keeps them out."""
    async with (
        listening() as inside,
        LinkChecker(pause=0, ports=[inside.port], lookup=everything_is_here, open_socket=open_anything) as checker,
    ):
        for host in ("127.0.0.1", "127.9.9.9", "①②⑦.⓪.⓪.①"):
            before = inside.connections
            await look(checker, url_of(host, inside.port))
            assert inside.connections > before, host


# --- by chance --------------------------------------------------------------------------------------------------------


def _spellings(address: int) -> st.SearchStrategy[str]:
    """An IPv4 address, in any base, in any number of parts, in any IPv6 clothes."""
    octets = address.to_bytes(4)
    quad = ".".join(map(str, octets))
    high, low = octets[0] << 8 | octets[1], octets[2] << 8 | octets[3]
    write = st.sampled_from([str, hex, "0{:o}".format, "{:04}".format])
    parts = st.integers(1, 4).flatmap(
        lambda count: st.tuples(*[write] * count).map(
            lambda writers: ".".join(
                writer(part)
                for writer, part in zip(
                    writers, [*octets[: count - 1], int.from_bytes(octets[count - 1 :])], strict=True
                )
            )
        )
    )
    clothes = st.sampled_from(
        [
            f"[::ffff:{quad}]",
            f"[::ffff:{high:x}:{low:x}]",
            f"[::{quad}]",
            f"[::ffff:0:{quad}]",
            f"[64:ff9b::{quad}]",
            f"[64:ff9b:1::{quad}]",
            f"[2002:{high:x}:{low:x}::1]",
            f"[2001:0:4136:e378:8000:63bf:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]",
            f"[2606:2800::5efe:{quad}]",
        ]
    )
    return st.one_of(parts, clothes)


_INSIDE = st.one_of(
    st.integers(0x7F00_0000, 0x7FFF_FFFF),
    st.integers(0x0A00_0000, 0x0AFF_FFFF),
    st.sampled_from([0, 0xA9FE_A9FE, 0xC0A8_0001, 0xAC10_0001, 0x6440_0001, 0x7F00_0001]),
)
_FULLWIDTH = str.maketrans("0123456789abcdefx.", "０１２３４５６７８９ａｂｃｄｅｆｘ。")
_DISGUISES = st.sampled_from(
    [
        lambda host: host,
        str.upper,
        lambda host: host + "." if not host.endswith("]") else host,
        lambda host: host.translate(_FULLWIDTH) if not host.startswith("[") else host,
        lambda host: f"www.example.com@{host}",
        lambda host: host.replace("]", "%25lo]"),
    ]
)
_LABELS = st.from_regex(r"[a-z0-9_-]{1,20}(\.[a-z0-9-]{1,10}){0,4}\.?", fullmatch=True)
_HOSTS = st.one_of(
    _INSIDE.flatmap(_spellings).flatmap(lambda host: _DISGUISES.map(lambda disguise: disguise(host))),
    _LABELS,
    st.text(min_size=1, max_size=20),
)
_SCHEMES = st.sampled_from(["http://", "https://", "HTTP://", "//", "http:", "http:/", "http:\\\\", "ftp://", ""])


@given(
    host=_HOSTS,
    scheme=_SCHEMES,
    path=st.sampled_from(["/", "", "/a?b#c", "\\", "/..//"]),
    hops=st.integers(0, MAX_REDIRECTS + 1),
    status=st.sampled_from([301, 302, 303, 307, 308]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_spelling_and_no_chain_of_redirects_gets_inside(
    host: str, scheme: str, path: str, hops: int, status: int
) -> None:
    async def run() -> None:
        async with listening() as inside:
            target = f"{scheme}{host}:{inside.port}{path}"
            # A header is Latin-1 without ends of lines; a URL outside of one is what it is.
            location = target.encode(errors="ignore").decode("latin-1").replace("\r", "").replace("\n", "")
            chain = {f"/{hop}": f"/{hop + 1}" for hop in range(1, hops)} | {f"/{hops}": location.replace("\0", "")}
            async with (
                http_site(redirecting(chain, status)) as outside,
                LinkChecker(
                    pause=0, allowed=[outside.place], ports=[inside.port], lookup=everything_is_here
                ) as checker,
            ):
                verdict = await look(checker, outside.url + "/1" if hops else target)
            assert inside.connections == 0
            assert verdict.reason != "ok" or hops

    asyncio.run(run())
