"""The public API as a program would call it."""

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class ApiClient:
    def __init__(self, session: aiohttp.ClientSession, gateway: str, token: str) -> None:
        self._session = session
        self._base = gateway
        self._token = token

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        if isinstance(data, str | bytes):
            # Sent as a file is: aiohttp warns of large pieces.
            data = io.BytesIO(data.encode() if isinstance(data, str) else data)
        async with self._session.request(
            method,
            self._base + path,
            params=params,
            json=body,
            data=data,
            headers={"Access-Token": self._token, **(headers or {})},
        ) as response:
            return Reply(response.status, dict(response.headers), await response.read())

    async def expect(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON of a call that must succeed."""
        reply = await self.call(method, path, **arguments)
        assert reply.status == 200, f"{method} {path}: {reply.status} {reply.content[:500]!r}"
        assert reply.json["err"] == ""
        return reply.json

    async def all_links(self, path: str = "/v1/links", **filters: str) -> list[dict[str, Any]]:
        """Every link of a list, page by page."""
        links: list[dict[str, Any]] = []
        token = ""
        while True:
            params = {**filters, **({"start_token": token} if token else {})}
            page = await self.expect("GET", path, params=params)
            assert page["links"] or not links, "an empty last page"
            links += page["links"]
            token = page["NextPageToken"]
            if not token:
                return links


def as_saved(links: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without what the link checker says of each, in its own time."""
    said = {"Status", "StatusReason", "CheckedAt", "MovedTo", "ArchivedUrl"}
    return [{name: value for name, value in link.items() if name not in said} for link in links]


@asynccontextmanager
async def api_client(gateway: str, token: str) -> AsyncIterator[ApiClient]:
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        yield ApiClient(session, gateway, token)


async def news_counts(reader: ApiClient) -> Counter[str]:
    """How often each URL is in somebody's news."""
    counts: Counter[str] = Counter()
    token = ""
    while True:
        params = {"limit": "200", **({"start_token": token} if token else {})}
        page = await reader.expect("GET", "/v1/news", params=params)
        counts.update(event["Url"] for event in page["events"])
        token = page["NextPageToken"]
        if not token:
            return counts


async def eventually(check: Callable[[], Awaitable[bool]], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
