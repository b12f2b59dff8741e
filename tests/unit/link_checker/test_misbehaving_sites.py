"""Sites that misbehave, a real server each, and what is said of their pages: status, reason, where they moved."""

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from typing import Final

import pytest
import trustme
from aiohttp import web
from yarl import URL

from pkg.link_checker.checker import MAX_PER_HOST, LinkChecker
from pkg.link_checker.host_slots import OwnHostSlots
from pkg.link_checker.robots import LIFETIME, MAX_KEPT_SIZE, RobotsRules
from pkg.link_checker.transport import MAX_INFLATED, MAX_RETRY_AFTER, inflate, read_retry_after
from pkg.object_model.types import CheckLinkRequest, Verdict
from tests.unit.link_checker.sites import Serve, Site, http2_site, http_site, raw_site, redirecting

#: Nothing says so soon that it is late, on a machine that is busy.
PATIENCE: Final = 60.0


async def look(
    site: Site,
    path: str = "/page",
    *,
    make_tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    deadline: float = 10.0,
    head_deadline: float = 5.0,
) -> Verdict:
    async with (
        asyncio.timeout(PATIENCE),
        LinkChecker(allowed=[site.place], make_tls=make_tls, deadline=deadline, head_deadline=head_deadline) as checker,
    ):
        return await checker.check_link(request(site, path))


def request(site: Site, path: str = "/page") -> CheckLinkRequest:
    return CheckLinkRequest(username="alice", url=site.url + path)


def said(verdict: Verdict) -> tuple[str, str, bool]:
    return verdict.status.value, verdict.reason, verdict.transient


OK: Final = ("valid", "ok", False)


# --- TLS ------------------------------------------------------------------------------------------------------------


class Authority:
    """One whom the checker trusts, and the certificates that it gives."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context

    def serve(self, name: str = "127.0.0.1", not_after: datetime | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        not_before = datetime(2000, 1, 1, tzinfo=UTC) if not_after else None
        self._ca.issue_cert(name, not_before=not_before, not_after=not_after).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def ok(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


async def test_a_page_over_tls(authority: Authority) -> None:
    async with http_site(ok, tls=authority.serve()) as site:
        assert said(await look(site, make_tls=authority.trust)) == OK


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda ours: ours.serve(not_after=datetime(2001, 1, 1, tzinfo=UTC)), "certificate_expired"),
        (lambda ours: ours.serve("other.example"), "certificate_of_another_host"),
        (lambda ours: ours.serve("127.0.0.2"), "certificate_of_another_host"),
        (lambda _ours: Authority().serve(), "certificate_untrusted"),
    ],
    ids=["expired", "another name", "another address", "of nobody whom we know"],
)
async def test_a_wrong_certificate(
    authority: Authority, make: Callable[[Authority], ssl.SSLContext], reason: str
) -> None:
    async with http_site(ok, tls=make(authority)) as site:
        assert said(await look(site, make_tls=authority.trust)) == ("pending", reason, True)
    assert site.asked == [], "a page that anybody could have sent says nothing"


async def test_a_tls_that_does_not_come_about() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        # Alert, fatal: protocol_version (RFC 8446, section 6).
        writer.write(bytes.fromhex("15 0301 0002 02 46"))
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        place = server.sockets[0].getsockname()
        site = Site(f"https://127.0.0.1:{place[1]}", place)
        assert said(await look(site)) == ("pending", "tls_failed", True)


# --- HTTP/2 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, OK), (404, ("invalid", "not_found", False)), (503, ("pending", "server_error", True))],
)
async def test_a_server_that_speaks_http_2_alone(
    authority: Authority, status: int, verdict: tuple[str, str, bool]
) -> None:
    async with http2_site(authority.serve(), {"/page?a=b": (status, {})}) as site:
        assert said(await look(site, "/page?a=b", make_tls=authority.trust)) == verdict
    assert site.asked[0] == "HEAD /page?a=b"
    assert "Delinkcious-LinkChecker" in site.headers[0]["user-agent"]


async def test_redirects_over_http_2(authority: Authority) -> None:
    answers = {"/a": (301, {"location": "/page"}), "/page": (200, {})}
    async with http2_site(authority.serve(), answers) as site:
        verdict = await look(site, "/a", make_tls=authority.trust)
    assert (verdict.reason, verdict.moved_to) == ("moved", site.url + "/page")


async def test_over_http_2_the_guard_holds(authority: Authority) -> None:
    async with (
        http2_site(authority.serve(), {}) as inside,
        LinkChecker(ports=[inside.place[1]], make_tls=authority.trust) as checker,
    ):
        verdict = await checker.check_link(request(inside))
    assert (verdict.reason, inside.asked) == ("address_not_allowed", [])


async def test_what_is_no_http_at_all(authority: Authority) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01\x02 what do you want?\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with raw_site(speak, tls=authority.serve()) as site:
        assert said(await look(site, make_tls=authority.trust)) == ("pending", "malformed_answer", True)


# --- HEAD, and its lies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", [400, 401, 403, 404, 405, 410, 500, 501])
async def test_head_lies(lie: int) -> None:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=lie if request.method == "HEAD" else 200)

    async with http_site(serve) as site:
        assert said(await look(site)) == OK
    assert (site.asked, site.robots_asked) == (["HEAD /page", "GET /page"], 1)


async def test_a_head_with_a_body() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async with raw_site(speak) as site:
        assert said(await look(site)) == OK


# --- later, please --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
async def test_it_says_when_to_come_back(status: int) -> None:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, headers={"Retry-After": "120"})

    async with http_site(serve) as site:
        verdict = await look(site)
    assert (verdict.transient, verdict.retry_after) == (True, 120)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("0", 0),
        ("120", 120),
        ("99999999999999999999", MAX_RETRY_AFTER),
        ("-5", None),
        ("soon", None),
        ("٣", None),
        (format_datetime(datetime(2030, 1, 1, 0, 2, tzinfo=UTC), usegmt=True), 120),
        (format_datetime(datetime(2029, 1, 1, tzinfo=UTC), usegmt=True), 0),
        (format_datetime(datetime(2039, 1, 1, tzinfo=UTC), usegmt=True), MAX_RETRY_AFTER),
        ("Tue, 01 Jan 2030 00:02:00", 120),
    ],
)
def test_when_to_come_back(value: str, seconds: int | None) -> None:
    assert read_retry_after(value, datetime(2030, 1, 1, tzinfo=UTC)) == seconds


# --- moved ----------------------------------------------------------------------------------------------------------


def chain(hops: dict[str, tuple[int, str]]) -> Serve:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        status, location = hops.get(request.path, (200, ""))
        return web.Response(status=status, headers={"Location": location} if location else {})

    return serve


@pytest.mark.parametrize(
    ("hops", "moved_to"),
    [
        ({"/a": (301, "/b")}, "/b#part"),
        ({"/a": (308, "/b?x=1#other")}, "/b?x=1#other"),
        ({"/a": (301, "/b"), "/b": (308, "/c")}, "/c#part"),
        ({"/a": (301, "/b"), "/b": (302, "/c")}, "/b#part"),
        ({"/a": (302, "/b"), "/b": (301, "/c")}, None),
        ({"/a": (307, "/b")}, None),
    ],
)
async def test_only_what_is_for_good_is_a_move(hops: dict[str, tuple[int, str]], moved_to: str | None) -> None:
    async with http_site(chain(hops)) as site:
        verdict = await look(site, "/a#part")
    if moved_to is None:
        assert said(verdict) == OK
    else:
        assert (*said(verdict), verdict.moved_to) == ("valid", "moved", False, site.url + moved_to)


async def test_moved_to_where_nothing_is() -> None:
    async with http_site(redirecting({"/a": "/gone-away"}, 301)) as site:
        verdict = await look(site, "/a")
    assert (verdict.reason, verdict.moved_to) == ("not_found", "")


# --- soft 404 -------------------------------------------------------------------------------------------------------


def titled(title: str) -> web.Response:
    return web.Response(text=f"<html><head><title>{title}</title></head></html>", content_type="text/html")


async def all_lead_home(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response() if request.path == "/" else web.Response(status=302, headers={"Location": "/"})


async def all_lead_to_an_error_page(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/errors/404.html":
        return web.Response()
    return web.Response(status=301, headers={"Location": f"/errors/404.html?from={request.path}"})


async def all_say_so_with_a_success(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=405) if request.method == "HEAD" else titled("Page &ndash; not  found")


@pytest.mark.parametrize("serve", [all_lead_home, all_lead_to_an_error_page, all_say_so_with_a_success])
async def test_a_site_that_shows_the_same_for_all_that_is_not_there(serve: Serve) -> None:
    async with http_site(serve) as site:
        assert said(await look(site, "/articles/2009/one")) == ("pending", "soft_404", True)
        assert said(await look(site, "/")) == OK or serve is all_lead_to_an_error_page
    probes = [asked for asked in site.asked if asked.startswith("GET /articles/2009/") and not asked.endswith("/one")]
    assert len(probes) == 1


async def this_one_leads_home(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/old-front-page":
        return web.Response(status=301, headers={"Location": "/"})
    return web.Response(status=200 if request.path == "/" else 404)


async def a_page_about_404(request: web.BaseRequest) -> web.StreamResponse:
    if request.method == "HEAD":
        return web.Response(status=405)
    return titled("404 Not Found explained") if request.path == "/wiki/404" else web.Response(status=404)


async def everybody_has_a_page(request: web.BaseRequest) -> web.StreamResponse:
    if request.method == "HEAD":
        return web.Response(status=405)
    return titled(f"404 fans: {request.path}")


@pytest.mark.parametrize(
    ("serve", "path", "reason"),
    [
        (this_one_leads_home, "/old-front-page", "moved"),
        (a_page_about_404, "/wiki/404", "ok"),
        (everybody_has_a_page, "/fans/bob", "ok"),
    ],
)
async def test_a_page_that_only_looks_like_it(serve: Serve, path: str, reason: str) -> None:
    async with http_site(serve) as site:
        verdict = await look(site, path)
    assert (verdict.status.value, verdict.reason) == ("valid", reason)


async def test_a_page_that_is_not_suspect_is_asked_once() -> None:
    async with http_site(ok) as site:
        assert said(await look(site, "/articles/2009/one")) == OK
    assert (site.asked, site.robots_asked) == (["HEAD /articles/2009/one"], 0)


# --- robots.txt -----------------------------------------------------------------------------------------------------


def robots(text: str, status: int = 200) -> Serve:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=text, status=status)

    return serve


async def refuse_head(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=405 if request.method == "HEAD" else 200)


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        (robots("User-agent: *\nDisallow: /"), ("pending", "forbidden_by_robots_txt", False)),
        (robots("User-agent: Delinkcious-LinkChecker\nDisallow: /page"), ("pending", "forbidden_by_robots_txt", False)),
        (robots("User-agent: *\nDisallow: /\nAllow: /page$"), OK),
        (robots("User-agent: other\nDisallow: /"), OK),
        (robots("User-agent: *\nDisallow: /", status=404), OK),
        (robots("<html>what?</html>"), OK),
        (robots("", status=500), ("pending", "server_error", True)),
    ],
)
async def test_what_robots_may_not_get(rules: Serve, verdict: tuple[str, str, bool]) -> None:
    async with http_site(refuse_head, rules) as site:
        assert said(await look(site)) == verdict
    assert site.asked == (["HEAD /page", "GET /page"] if verdict == OK else ["HEAD /page"])


async def test_robots_are_asked_once_a_site() -> None:
    async with http_site(refuse_head) as site, LinkChecker(allowed=[site.place]) as checker:
        for number in range(3):
            await checker.check_link(request(site, f"/{number}"))
    assert site.robots_asked == 1


def test_rules_of_robots_are_kept_for_a_while() -> None:
    time = [0.0]
    kept = RobotsRules(now=lambda: time[0], max_kept=2)
    one, two, three = (URL(f"https://{name}.example/page") for name in ("one", "two", "three"))
    kept.keep(one, "User-agent: *\nDisallow: /page")
    rules = kept.recall(one / "deeper")
    assert rules is not None
    assert not rules(one)
    time[0] = LIFETIME
    assert kept.recall(one) is None
    kept.keep(one, "")
    kept.keep(two, "")
    kept.keep(three, "")
    kept.keep(URL("https://long.example/"), "#" * (MAX_KEPT_SIZE + 1))
    assert [kept.recall(url) is not None for url in (one, two, three)] == [False, True, True]


# --- endless, and too much ------------------------------------------------------------------------------------------


HTML: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


@pytest.mark.parametrize(
    ("page", "rest", "every"),
    [
        (HTML + b"\r\n", b"x" * 65_536, 0.0),
        (HTML + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", 0.0),
        (HTML + b"Content-Length: 1000\r\n\r\n<ti", b"t", 0.05),
        (HTML + b"Content-Length: 1000\r\n\r\n<title>", b"", 0.0),
        (HTML + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(60_000_000)), b"", 0.0),
        (HTML + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(bytes(60_000_000)), b"", 0.0),
        (HTML + b"Content-Encoding: br\r\n\r\nwhat", b"", 0.0),
        (HTML + b"Content-Encoding: gzip\r\n\r\nthis is none", b"", 0.0),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=klingon\r\n\r\n\xff\xfe", b"", 0.0),
    ],
    ids=["endless", "endless chunks", "dripping", "stuck", "gzip bomb", "deflate bomb", "brotli", "no gzip", "charset"],
)
async def test_a_page_is_there_whatever_its_body_is(page: bytes, rest: bytes, every: float) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if site.asked[-1].startswith("HEAD"):
            writer.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(page)
        while rest:
            writer.write(rest)
            await writer.drain()
            await asyncio.sleep(every)
        await reader.read()

    async with raw_site(speak) as site:
        assert said(await look(site, deadline=30.0)) == OK
    assert site.asked == ["HEAD /page", "GET /page"]


@pytest.mark.parametrize(("make", "encoding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
def test_of_a_bomb_no_more_comes_out_than_fits(make: Callable[[bytes], bytes], encoding: str) -> None:
    assert len(inflate(make(bytes(60_000_000)), encoding)) == MAX_INFLATED
    assert inflate(make(b"a page"), encoding) == b"a page"


@pytest.mark.parametrize("line", [b"X-%d: " + b"a" * 900 + b"\r\n", b"X-%d: b\r\n", b"Set-Cookie: c%d=d\r\n"])
async def test_ten_megabytes_of_headers(line: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(10_000_000 // len(line)):
            writer.write(line % number)
            if number % 100 == 0:
                await writer.drain()

    async with raw_site(speak) as site:
        assert said(await look(site, deadline=30.0)) == ("pending", "malformed_answer", True)


async def test_a_slow_loris_takes_its_own_time_and_nobody_elses() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Slow: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with (
        asyncio.timeout(PATIENCE),
        raw_site(drip) as slow,
        http_site(ok) as other,
        LinkChecker(
            allowed=[slow.place, ("localhost", other.place[1])], deadline=PATIENCE, head_deadline=PATIENCE
        ) as checker,
    ):
        dripping = asyncio.gather(*(checker.check_link(request(slow, f"/{number}")) for number in range(20)))
        fast = Site(other.url.replace("127.0.0.1", "localhost"), other.place)
        verdicts = [await checker.check_link(request(fast, f"/{number}")) for number in range(20)]
        assert not dripping.done()
        dripping.cancel()
    assert {verdict.reason for verdict in verdicts} == {"ok"}
    assert len(slow.asked) == MAX_PER_HOST


# --- cookies, and addresses -----------------------------------------------------------------------------------------


async def test_cookies_are_not_kept() -> None:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(status=302 if request.path == "/a" else 200, headers={"Location": "/b"})
        response.set_cookie("session", "secret")
        return response

    async with http_site(serve) as site, LinkChecker(allowed=[site.place]) as checker:
        for _ in range(2):
            await checker.check_link(request(site, "/a"))
    assert len(site.headers) == 4
    assert not any("Cookie" in headers for headers in site.headers)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_a_page_over_ipv6() -> None:
    asked = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(speak, "::1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        site = Site(f"http://[::1]:{port}", ("::1", port))
        assert said(await look(site)) == OK
    assert asked == 1


# --- one at a time --------------------------------------------------------------------------------------------------


async def test_a_slot_rests_after_its_use() -> None:
    loop = asyncio.get_running_loop()
    slots = OwnHostSlots(1, pause=0.05)
    begun: list[float] = []

    async def use(host: str) -> None:
        async with slots.slot(host):
            begun.append(loop.time())

    await asyncio.gather(*(use("a.example") for _ in range(4)))
    assert all(later - earlier >= 0.045 for earlier, later in pairwise(begun))
    leaving = asyncio.create_task(use("a.example"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    # The last one's rest ends after this one's, which begins later.
    await use("a.example")
    resting = loop.create_future()
    loop.call_later(0.06, resting.set_result, None)
    await resting
    assert len(slots) == 0, "hosts are forgotten"


async def test_other_hosts_do_not_wait_for_it() -> None:
    slots = OwnHostSlots(1, pause=3_600.0)
    async with asyncio.timeout(PATIENCE):
        for host in ("a.example", "b.example"):
            async with slots.slot(host):
                pass
    assert len(slots) == 2
