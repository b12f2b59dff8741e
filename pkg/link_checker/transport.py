"""One question to a site and the beginning of its answer: through the guard, within bounds, in the HTTP that it speaks.

Nothing is kept of one question for another: no connection, no cookie. Nothing of the environment is used: no proxy, no
credentials.
"""

import asyncio
import ipaddress
import socket
import ssl
import zlib
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Final, NamedTuple

import aiohttp
from yarl import URL

from pkg.link_checker.address_guard import WEB_PORTS, AddressInfo, HostPort, OpenSocket
from pkg.link_checker.http2 import NoHttp2, ask_http2
from pkg.link_checker.name_resolver import Lookup, NameResolver

#: Bytes of an answer that may lie in memory.
MAX_BUFFERED: Final = 64 * 1024
#: Bytes that a compressed body may become.
MAX_INFLATED: Final = 64 * 1024
#: Seconds for the beginning of a body. That there is one was said already; what of it came by then is what we have.
BODY_DEADLINE: Final = 2.0
#: Seconds: a day. Nobody is left alone for longer.
MAX_RETRY_AFTER: Final = 86_400

_INFLATABLE: Final = frozenset({"gzip", "x-gzip", "deflate"})
_DETECT_HEADER: Final = 32 + zlib.MAX_WBITS


class Answer(NamedTuple):
    status: int
    location: str
    #: Seconds for which the site asks to be left alone; None if it does not.
    retry_after: int | None
    #: What of the text was asked for; empty where it is none.
    text: str = ""


class Transport:
    def __init__(
        self,
        *,
        allowed: Collection[HostPort],
        ports: Collection[int],
        lookup: Lookup,
        open_socket: OpenSocket,
        make_tls: Callable[[], ssl.SSLContext],
    ) -> None:
        """``allowed``: places to which the guard does not apply. ``ports``: of public addresses, besides the web's."""
        # As URLs have them on the wire: to read a host back into other scripts costs more than all else of a check.
        self._allowed = frozenset((URL.build(scheme="http", host=host).raw_host, port) for host, port in allowed)
        self._open_socket = open_socket
        self._ports = WEB_PORTS.union(ports)
        self._names = NameResolver(lookup)
        self._make_tls = make_tls
        self._guarded = _open_session(
            aiohttp.TCPConnector(
                resolver=self._names,
                use_dns_cache=False,
                socket_factory=self._open_guarded,
                force_close=True,
                limit=0,  # the slots are the limit
            )
        )
        self._unguarded = _open_session(aiohttp.TCPConnector(use_dns_cache=False, force_close=True, limit=0))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return _with_protocol(self._make_tls(), "http/1.1")

    @cached_property
    def _tls2(self) -> ssl.SSLContext:
        return _with_protocol(self._make_tls(), "h2")

    async def close(self) -> None:
        await self._guarded.close()
        await self._unguarded.close()

    def is_allowed(self, url: URL) -> bool:
        return (url.raw_host, url.port) in self._allowed

    async def ask(self, method: str, url: URL, headers: dict[str, str], size: int = 0) -> Answer:
        """``size``: bytes of the text that are wanted.

        Raises:
            aiohttp.ClientError, TimeoutError: there was no answer.
        """
        try:
            return await self._ask_http1(method, url, headers, size)
        except (aiohttp.ClientSSLError, aiohttp.ClientResponseError, aiohttp.ServerDisconnectedError) as fault:
            if url.scheme != "https" or isinstance(fault, aiohttp.ClientConnectorCertificateError):
                raise
            try:
                return await self._ask_http2(method, url, headers)
            except (NoHttp2, OSError):
                raise fault from None

    async def _ask_http1(self, method: str, url: URL, headers: dict[str, str], size: int) -> Answer:
        session = self._unguarded if self.is_allowed(url) else self._guarded
        tls = self._tls if url.scheme == "https" else True
        response = await session.request(method, url, headers=headers, allow_redirects=False, ssl=tls)
        try:
            text = await _read_text(response, size) if size else ""
        finally:
            # With the connection, whatever is still on its way.
            response.close()
        return _answer(response.status, response.headers.get("Location", ""), response.headers.get("Retry-After"), text)

    async def _ask_http2(self, method: str, url: URL, headers: dict[str, str]) -> Answer:
        connected = await self._connect(url)
        status, answer = await ask_http2(connected, self._tls2, method, url, headers)
        return _answer(status, answer.get("location", ""), answer.get("retry-after"), "")

    def _open_guarded(self, info: AddressInfo) -> socket.socket:
        return self._open_socket(info, self._ports)

    async def _find_address(self, host: str, port: int) -> AddressInfo:
        if _is_address(host):
            return socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)
        found, *_ = await self._names.resolve(host, port)
        return found["family"], socket.SOCK_STREAM, found["proto"], "", (found["host"], found["port"])

    async def _connect(self, url: URL) -> socket.socket:
        """Raises OSError."""
        info = await self._find_address(url.raw_host or "", url.port or 443)
        connected = socket.socket(*info[:3]) if self.is_allowed(url) else self._open_guarded(info)
        try:
            connected.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connected, info[4])
        except BaseException:
            connected.close()
            raise
        return connected


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with_protocol(tls: ssl.SSLContext, protocol: str) -> ssl.SSLContext:
    tls.set_alpn_protocols([protocol])
    return tls


def _open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
        auto_decompress=False,
        # The reader stops at twice this.
        read_bufsize=MAX_BUFFERED // 2,
    )
    # aiohttp repeats what broke off; once is enough of a burden for a site.
    session._retry_connection = False  # noqa: SLF001  # there is no public switch
    return session


def _answer(status: int, location: str, retry_after: str | None, text: str) -> Answer:
    return Answer(status, location, read_retry_after(retry_after or "", datetime.now(UTC)), text)


def read_retry_after(value: str, now: datetime) -> int | None:
    """Seconds, a day at most, from either form that it has (RFC 9110, 10.2.3)."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:9]), MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0, min(int((at - now).total_seconds()), MAX_RETRY_AFTER))


async def _read_text(response: aiohttp.ClientResponse, size: int) -> str:
    if not response.content_type.startswith("text/"):
        return ""
    taken = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            while len(taken) < size and (piece := await response.content.readany()):
                taken += piece
    except (TimeoutError, aiohttp.ClientError):
        pass
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    return _decode(inflate(bytes(taken[:size]), encoding), response.charset)


def inflate(data: bytes, encoding: str) -> bytes:
    """What a body says, up to MAX_INFLATED; nothing, if it is in no form that we read."""
    if encoding in ("", "identity"):
        return data
    if encoding not in _INFLATABLE:
        return b""
    try:
        # No more than that comes out, however much there is in it.
        return zlib.decompressobj(_DETECT_HEADER).decompress(data, MAX_INFLATED)
    except zlib.error:
        return b""


def _decode(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8", errors="replace")
    except LookupError:
        return data.decode("utf-8", errors="replace")
