"""Each way in which a site can answer, or not, and what we make of it."""

import asyncio
import errno
import gzip
import socket
import ssl
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from yarl import URL

from pkg.link_checker.address_guard import AddressInfo, open_guarded_socket
from pkg.link_checker.checker import LinkChecker
from pkg.link_checker.look import MAX_REDIRECTS
from pkg.link_checker.transport import MAX_BUFFERED, Transport
from pkg.object_model.errors import Unavailable
from pkg.object_model.types import CheckLinkRequest, LinkStatus, Verdict
from tests.unit.link_checker.sites import Serve, Site, http_site, raw_site, redirecting

VALID = ("valid", "ok")


async def look(checker: LinkChecker, url: str) -> Verdict:
    return await checker.check_link(CheckLinkRequest(username="alice", url=url))


async def check(*sites: Site, path: str = "/", deadline: float = 5.0, head_deadline: float = 2.0) -> tuple[str, str]:
    """Status and reason of the first site's page, with all of these sites allowed."""
    allowed = [site.place for site in sites]
    async with LinkChecker(allowed=allowed, deadline=deadline, head_deadline=head_deadline) as checker:
        verdict = await look(checker, sites[0].url + path)
    return verdict.status.value, verdict.reason


def answers(*, head: int, get: int) -> Serve:
    async def serve(request: web.BaseRequest) -> web.Response:
        return web.Response(status=head if request.method == "HEAD" else get)

    return serve


# --- statuses -------------------------------------------------------------------------------------------------------


async def test_a_head_that_succeeds_is_all_that_is_asked() -> None:
    async with http_site(answers(head=200, get=500)) as site:
        assert await check(site, path="/page?q=a%20b#part") == VALID
    assert site.asked == ["HEAD /page?q=a%20b"]


async def test_it_says_who_it_is_and_sends_nothing_of_anybody() -> None:
    contact = "https://delinkcious.example/bot"
    async with (
        http_site(answers(head=200, get=200)) as site,
        LinkChecker(allowed=[site.place], contact=contact) as checker,
    ):
        await look(checker, site.url)
    [headers] = site.headers
    assert headers["User-Agent"] == (
        "Mozilla/5.0 (compatible; Delinkcious-LinkChecker/1.0; +https://delinkcious.example/bot)"
    )
    assert not headers.keys() & {"Cookie", "Authorization", "Referer", "Delinkcious-Caller-Token", "traceparent"}


@pytest.mark.parametrize("refusal", [400, 403, 404, 405, 406, 410, 500, 501, 503])
async def test_a_refused_head_is_asked_again_as_get(refusal: int) -> None:
    async with http_site(answers(head=refusal, get=206)) as site:
        assert await check(site) == VALID
    assert site.asked == ["HEAD /", "GET /"]
    assert site.headers[1]["Range"] == "bytes=0-8191"


@pytest.mark.parametrize(
    ("status", "verdict", "transient"),
    [
        (200, VALID, False),
        (204, VALID, False),
        (304, VALID, False),
        (400, ("pending", "forbidden"), False),
        (401, ("pending", "forbidden"), False),
        (403, ("pending", "forbidden"), False),
        (404, ("invalid", "not_found"), False),
        (408, ("pending", "timed_out"), True),
        (410, ("invalid", "gone"), False),
        (416, ("pending", "forbidden"), False),
        (429, ("pending", "rate_limited"), True),
        (451, ("pending", "forbidden"), False),
        (500, ("pending", "server_error"), True),
        (502, ("pending", "server_error"), True),
        (503, ("pending", "server_error"), True),
        (599, ("pending", "server_error"), True),
        (999, ("pending", "forbidden"), False),
    ],
)
async def test_what_a_status_says(status: int, verdict: tuple[str, str], transient: bool) -> None:
    async with http_site(answers(head=status, get=status)) as site, LinkChecker(allowed=[site.place]) as checker:
        found = await look(checker, site.url)
    assert ((found.status.value, found.reason), found.transient) == (verdict, transient)


async def test_who_is_told_to_come_later_does_not_ask_at_once() -> None:
    async with http_site(answers(head=429, get=200)) as site:
        assert await check(site) == ("pending", "rate_limited")
    assert site.asked == ["HEAD /"]


# --- redirects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    async with http_site(redirecting({"/a": "b", "/b": "/end#part"}, status)) as site:
        assert await check(site, path="/a") == (("valid", "moved") if status in (301, 308) else VALID)
        assert await check(site, path="/nowhere") == ("invalid", "not_found")
    assert site.asked[:3] == ["HEAD /a", "HEAD /b", "HEAD /end"]


async def test_a_redirect_to_a_dead_page_is_a_dead_link() -> None:
    async with http_site(redirecting({"/a": "/dead"})) as site:
        assert await check(site, path="/a") == ("invalid", "not_found")


async def test_so_many_redirects_and_no_more() -> None:
    chain = {f"/{number}": f"/{number + 1}" for number in range(1, MAX_REDIRECTS + 1)}
    async with http_site(redirecting({**chain, f"/{MAX_REDIRECTS}": "/end"})) as site:
        assert await check(site, path="/1") == VALID
    async with http_site(redirecting({**chain, f"/{MAX_REDIRECTS + 1}": "/end"})) as site:
        assert await check(site, path="/1") == ("pending", "too_many_redirects")
    assert len(site.asked) == MAX_REDIRECTS + 1


async def test_a_loop_ends() -> None:
    async with http_site(redirecting({"/a": "/b", "/b": "/a"})) as site:
        assert await check(site, path="/a") == ("pending", "too_many_redirects")
    assert len(site.asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "location", ["ftp://host/", "file:///etc/passwd", "gopher://x/", "http://[::1", "http://u:p@127.0.0.1/"]
)
async def test_a_redirect_to_what_is_no_page(location: str) -> None:
    async with http_site(redirecting({"/a": location})) as site:
        assert await check(site, path="/a") == ("pending", "bad_redirect")
    assert site.asked == ["HEAD /a"]


async def test_a_redirect_without_a_place_is_an_answer() -> None:
    async with http_site(answers(head=302, get=302)) as site:
        assert await check(site) == VALID


# --- where it may not go --------------------------------------------------------------------------------------------


async def test_an_address_that_is_not_public_is_not_asked() -> None:
    async with http_site(answers(head=200, get=200)) as site, LinkChecker() as checker:
        verdict = await look(checker, site.url)
    assert verdict == Verdict(status=LinkStatus.PENDING, reason="address_not_allowed")
    assert site.asked == []


def never(name: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
    raise AssertionError(f"{name} was looked up")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fd00:ec2::254]",
        "localhost",
        "link-db",
        "LOCALHOST.",
        "metadata.google.internal",
        "a.localhost",
        "printer.local",
    ],
)
async def test_hosts_of_the_inside(host: str) -> None:
    async with LinkChecker(lookup=never) as checker:
        assert (await look(checker, f"http://{host}/")).reason == "address_not_allowed"


async def test_a_redirect_into_the_inside_is_not_followed() -> None:
    async with (
        http_site(answers(head=200, get=200)) as inside,
        http_site(redirecting({"/a": inside.url + "/secret"})) as outside,
    ):
        assert await check(outside, path="/a") == ("pending", "address_not_allowed")
    assert inside.asked == []


async def test_a_confined_checker_looks_at_allowed_places_alone_and_looks_up_no_name() -> None:
    async with (
        http_site(answers(head=200, get=200)) as site,
        http_site(answers(head=200, get=200)) as other,
        http_site(redirecting({"/a": other.url})) as leading_out,
        LinkChecker(allowed=[site.place, leading_out.place], confined=True, lookup=never) as checker,
    ):
        assert (await look(checker, site.url)).reason == "ok"
        for url in ("https://www.example.com/", other.url, f"{leading_out.url}/a"):
            assert (await look(checker, url)).reason == "address_not_allowed"
    assert other.asked == []


async def test_only_the_very_place_is_allowed() -> None:
    """Neither another name of the address, nor another port of the name."""
    async with http_site(answers(head=200, get=200)) as site:
        port = site.place[1]
        names = FakeNames({"other.example": [["127.0.0.1"]]})
        async with LinkChecker(allowed=[site.place, ("other.example", 1)], lookup=names.look_up) as checker:
            assert (await look(checker, f"http://other.example:{port}/")).reason == "address_not_allowed"
    assert site.asked == []


async def test_a_place_is_allowed_in_whatever_script_it_is_written() -> None:
    transport = Transport(
        allowed=[("bücher.example", 80)],
        ports=[],
        lookup=never,
        open_socket=open_guarded_socket,
        make_tls=ssl.create_default_context,
    )
    try:
        for host in ("bücher.example", "BÜCHER.example", "xn--bcher-kva.example"):
            assert transport.is_allowed(URL(f"http://{host}/"))
        assert not transport.is_allowed(URL("http://bucher.example/"))
    finally:
        await transport.close()


class FakeNames:
    """Name servers that give each name's answers in turn, the last one for ever."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def look_up(self, name: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
        self.asked.append(name)
        turns = self._answers.get(name.removesuffix("."))
        if turns is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port))
            for address in addresses
        ]


class HomeBoundSockets:
    """Guarded sockets that cannot leave this machine: past the guard, the world cannot be reached."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, info: AddressInfo, ports: Collection[int]) -> socket.socket:
        open_guarded_socket(info, ports).close()
        self.opened.append(info[4][0])
        raise OSError(errno.ENETUNREACH, "Network is unreachable")


async def test_a_name_that_is_bound_anew_gains_nothing() -> None:
    names = FakeNames({"rebound.example": [["93.184.215.14"], ["127.0.0.1"]]})
    sockets = HomeBoundSockets()
    async with LinkChecker(lookup=names.look_up, open_socket=sockets.open) as checker:
        first = await look(checker, "http://rebound.example/")
        second = await look(checker, "http://rebound.example/")
    assert (first.reason, second.reason) == ("unreachable", "address_not_allowed")
    assert sockets.opened == ["93.184.215.14"]


async def test_each_of_several_addresses_is_judged() -> None:
    names = FakeNames({"several.example": [["10.0.0.1", "127.0.0.1", "93.184.215.14", "169.254.169.254"]]})
    sockets = HomeBoundSockets()
    async with LinkChecker(lookup=names.look_up, open_socket=sockets.open) as checker:
        verdict = await look(checker, "http://several.example/")
    assert verdict.reason == "unreachable"
    assert set(sockets.opened) == {"93.184.215.14"}


@pytest.mark.parametrize("port", [22, 6379, 5432, 8080])
async def test_a_public_address_has_no_other_ports_for_us(port: int) -> None:
    names = FakeNames({"public.example": [["93.184.215.14"]]})
    sockets = HomeBoundSockets()
    async with LinkChecker(lookup=names.look_up, open_socket=sockets.open) as checker:
        assert (await look(checker, f"http://public.example:{port}/")).reason == "address_not_allowed"
    assert sockets.opened == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    ok = answers(head=200, get=200)
    async with http_site(ok) as proxy, http_site(ok) as site:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert await check(site) == VALID
    assert (proxy.asked, site.asked) == ([], ["HEAD /"])


# --- names ----------------------------------------------------------------------------------------------------------


async def test_a_name_that_nobody_has_is_a_dead_link() -> None:
    names = FakeNames({})
    async with LinkChecker(lookup=names.look_up) as checker:
        verdict = await look(checker, "https://no-such.example/")
    assert verdict == Verdict(status=LinkStatus.INVALID, reason="no_such_name")
    assert names.asked == ["no-such.example."], "a name is whole: no search domain of ours is tried"


@pytest.mark.parametrize("fault", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
async def test_name_servers_that_do_not_say_are_no_death(fault: int) -> None:
    def fail(name: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
        raise socket.gaierror(fault, "try again")

    async with LinkChecker(lookup=fail) as checker:
        verdict = await look(checker, "https://some.example/")
    assert verdict == Verdict(status=LinkStatus.PENDING, reason="dns_failed", transient=True)


# --- time -----------------------------------------------------------------------------------------------------------


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_site_that_never_answers() -> None:
    async with raw_site(hang) as site:
        # On a busy machine a connection may take a while, and what is asked is to be seen.
        assert await check(site, deadline=1.5, head_deadline=0.5) == ("pending", "timed_out")
    assert site.asked == ["HEAD /", "GET /"]


async def test_a_head_that_is_never_answered_is_asked_again_as_get() -> None:
    async def answer_get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if site.asked[-1].startswith("HEAD"):
            await reader.read()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_site(answer_get) as site:
        assert await check(site, head_deadline=0.05) == VALID


async def test_a_head_that_drips_ends_with_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rest = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000
        while rest:
            writer.write(rest[:1])
            rest = rest[1:]
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_site(drip) as site:
        assert await check(site, deadline=0.2, head_deadline=0.1) == ("pending", "timed_out")


async def test_who_waited_for_others_all_the_time_says_nothing_of_the_site() -> None:
    async with raw_site(hang) as site, LinkChecker(allowed=[site.place], deadline=0.2, max_checks=1) as checker:
        verdicts = await asyncio.gather(*(look(checker, site.url) for _ in range(5)), return_exceptions=True)
    busy = [verdict for verdict in verdicts if isinstance(verdict, Unavailable)]
    timed_out = [verdict.reason for verdict in verdicts if isinstance(verdict, Verdict)]
    assert {fault.code for fault in busy} == {"link_checker_busy"}
    # The second may get the place in the moment in which its own time ends, before or after it has asked.
    assert set(timed_out) == {"timed_out"}
    assert 1 <= len(site.asked) <= len(timed_out) <= 2


# --- size -----------------------------------------------------------------------------------------------------------


async def test_a_huge_body_is_not_taken() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if site.asked[-1].startswith("HEAD"):
            writer.write(b"HTTP/1.1 405 Not so\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
                sent += 65_536
        closed.set()

    closed = asyncio.Event()
    async with raw_site(flood) as site:
        assert await check(site) == VALID
        async with asyncio.timeout(5):
            await closed.wait()
    # What was on its way in the kernel's buffers on either side is not ours.
    assert sent < 20_000_000
    assert MAX_BUFFERED == 65_536


async def test_a_compressed_trap_is_not_opened() -> None:
    trap = gzip.compress(bytes(50_000_000))

    async def serve(request: web.BaseRequest) -> web.Response:
        if request.method == "HEAD":
            return web.Response(status=405)
        return web.Response(body=trap, headers={"Content-Encoding": "gzip"})

    async with http_site(serve) as site:
        assert await check(site) == VALID


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /" + b"a" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none(head: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()
        await reader.read()

    async with raw_site(speak) as site:
        assert await check(site) == ("pending", "malformed_answer")


# --- connections ----------------------------------------------------------------------------------------------------


async def test_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        host, port = reserved.getsockname()
        async with LinkChecker(allowed=[(host, port)]) as checker:
            verdict = await look(checker, f"http://{host}:{port}/")
    assert verdict == Verdict(status=LinkStatus.PENDING, reason="connection_refused", transient=True)


async def test_a_connection_that_breaks() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        writer.transport.abort()

    async with raw_site(reset) as site:
        assert await check(site) == ("pending", "connection_lost")
    assert site.asked == ["HEAD /", "GET /"], "some hang up on a HEAD"


async def test_a_site_that_hangs_up_on_head_only() -> None:
    async def pick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if site.asked[-1].startswith("GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with raw_site(pick) as site:
        assert await check(site) == VALID


async def test_no_tls_where_tls_is_asked() -> None:
    async with http_site(answers(head=200, get=200)) as site:
        site.url = site.url.replace("http:", "https:")
        assert await check(site) == ("pending", "tls_failed")


async def test_a_certificate_that_vouches_for_itself(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    authority = trustme.CA()
    authority.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(certificate)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with http_site(answers(head=200, get=200), tls=tls) as site:
        assert await check(site) == ("pending", "certificate_self_signed")
    assert site.asked == []


# --- bounds ---------------------------------------------------------------------------------------------------------


class Counted:
    """Pages that count how many are being asked at once, until ``together`` are."""

    def __init__(self, together: int) -> None:
        self.now = 0
        self.most = 0
        self._together = together
        self._enough = asyncio.Event()

    async def serve(self, request: web.BaseRequest) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= self._together:
            self._enough.set()
        await self._enough.wait()
        # Whoever else could be here gets the time to come.
        for _ in range(20):
            await asyncio.sleep(0)
        self.now -= 1
        return web.Response()


@pytest.mark.parametrize(("limits", "most"), [({"max_per_host": 3}, 3), ({"max_checks": 2, "max_per_host": 9}, 2)])
async def test_so_many_at_once(limits: dict[str, int], most: int) -> None:
    counted = Counted(together=most)
    async with (
        http_site(counted.serve) as site,
        LinkChecker(allowed=[site.place], **limits) as checker,  # type: ignore[arg-type]
    ):
        verdicts = await asyncio.gather(*(look(checker, f"{site.url}/{number}") for number in range(12)))
        assert checker._means is not None
        assert len(checker._means.allowed_hosts) == 0, "hosts are forgotten"
    assert {verdict.reason for verdict in verdicts} == {"ok"}
    assert counted.most == most


# --- what is no question --------------------------------------------------------------------------------------------


BAD_URLS = (
    "",
    "no url",
    "/relative",
    "ftp://host/",
    "file:///etc/passwd",
    "http://",
    "https:///path",
    "http://user:secret@host.example/",
    "http://user@host.example/",
    "http://host:0/",
    "http://host:99999/",
    "http://[::1/",
    "http://host.example/" + "a" * 2_048,
    "javascript:alert(1)",
)


@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: url[:30])
async def test_what_is_no_url_is_not_asked_for(url: str) -> None:
    async with LinkChecker(lookup=never) as checker:
        assert await look(checker, url) == Verdict(status=LinkStatus.PENDING, reason="unsupported_url")
