"""Our own calls to a provider: each with a deadline, each reply with a bound, and nothing of either in a log."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from pkg.identity_providers.provider import provider_away, provider_too_slow, unreadable_reply
from pkg.object_model.errors import InvalidArgument
from pkg.runtime.json import decode
from pkg.runtime.logs import get_logger

#: Seconds for one call.
CALL_DEADLINE: Final = 4.0
#: Bytes. Profiles, lists of addresses and keys are a few thousand.
MAX_REPLY: Final = 256 * 1024
_MAX_CONNECTIONS: Final = 20
_USER_AGENT: Final = "Delinkcious"
_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"

_log = get_logger(__name__)


class Reply(NamedTuple):
    status: int
    #: The JSON of the body.
    content: Any


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """For all providers. It knows no proxy, keeps no cookie and unpacks nothing, which could be a trap."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
    ) as session:
        yield session


class BackChannel:
    def __init__(self, session: aiohttp.ClientSession, title: str, deadline: float = CALL_DEADLINE) -> None:
        """``title`` is what the provider is called in messages."""
        self._session = session
        self._title = title
        self._deadline = deadline

    async def get(self, url: str, *, bearer: str = "", accept: str = _JSON) -> Reply:
        """Raises as ``post`` does."""
        headers = {"Accept": accept}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        return await self._call("GET", url, headers, None)

    async def post(self, url: str, form: str, headers: Mapping[str, str]) -> Reply:
        """
        Raises:
            Unavailable, DeadlineExceeded: there was no answer, or one that says that they cannot now.
            Internal: the answer is no JSON, or too long.
        """
        return await self._call("POST", url, {"Accept": _JSON, "Content-Type": _FORM, **headers}, form)

    async def _call(self, method: str, url: str, headers: Mapping[str, str], form: str | None) -> Reply:
        try:
            async with (
                asyncio.timeout(self._deadline),
                # A redirect would carry secrets to where nobody meant them to go.
                self._session.request(method, url, headers=headers, data=form, allow_redirects=False) as response,
            ):
                body = await self._read(response)
        except TimeoutError:
            _log.warning("an identity provider is too slow", provider=self._title)
            raise provider_too_slow(self._title) from None
        except (aiohttp.ClientError, HttpProcessingError) as fault:
            _log.warning("an identity provider cannot be reached", provider=self._title, fault=type(fault).__name__)
            raise provider_away(self._title) from None
        return self._judge(response.status, body)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > MAX_REPLY:
                response.close()
                raise unreadable_reply(self._title)
        return bytes(body)

    def _judge(self, status: int, body: bytes) -> Reply:
        if status >= 500 or status == 429:
            _log.warning("an identity provider is in trouble", provider=self._title, status=status)
            raise provider_away(self._title)
        try:
            return Reply(status, decode(body))
        except InvalidArgument:
            _log.warning("an identity provider answered no JSON", provider=self._title, status=status)
            raise unreadable_reply(self._title) from None
