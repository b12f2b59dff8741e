"""Calls an ASGI application in this process, as a server would: no socket, no port, the same messages."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, unquote, urlencode

import orjson
from starlette.types import ASGIApp, Message

#: Seconds; a test that waits longer has found a fault.
DEADLINE = 10.0

type Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass
class AsgiResponse:
    status: int = 0
    #: By lower-case name; of several, the last.
    headers: dict[str, str] = field(default_factory=dict)
    #: Each as it was sent.
    set_cookies: list[str] = field(default_factory=list)
    body: bytes = b""
    #: Whether the last piece of the body came; a server closes the connection if it did not.
    complete: bool = False

    def json(self) -> Any:
        return orjson.loads(self.body)


class AsgiClient:
    """``async with AsgiClient(app) as client: response = await client.request("GET", "/links")``

    ``headers`` are sent with each request. An exception that leaves the application is raised here.
    """

    def __init__(self, app: ASGIApp, *, headers: Headers = ()) -> None:
        self._app = app
        self._headers = _pairs(headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | str = "",
        headers: Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        json: object = None,
        disconnect_after: int | None = None,
    ) -> AsgiResponse:
        """``path`` is as in a URL; what is not ASCII in it is percent-encoded. ``json`` is sent as the body.

        ``disconnect_after``: the client leaves when so many pieces of the body are sent, before the answer.
        """
        if json is not None:
            body = orjson.dumps(json)
        sent = [*self._headers, *_pairs(headers)]
        if isinstance(body, bytes) and body:
            sent.append(("content-length", str(len(body))))
        exchange = _Exchange(body, disconnect_after)
        raw_path = quote(path, safe="/%:@!$&'()*+,;=~-._")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": (query if isinstance(query, str) else urlencode(query)).encode(),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        async with asyncio.timeout(DEADLINE):
            await self._app(scope, exchange.receive, exchange.send)
        return exchange.response


class _Exchange:
    def __init__(self, body: bytes | AsyncIterable[bytes], disconnect_after: int | None) -> None:
        self.response = AsgiResponse()
        self._pieces: AsyncIterator[bytes] = _one(body) if isinstance(body, bytes) else aiter(body)
        self._more = True
        self._sent = 0
        self._disconnect_after = disconnect_after
        self._finished = asyncio.Event()

    async def receive(self) -> Message:
        if self._disconnect_after is not None and self._sent >= self._disconnect_after:
            return {"type": "http.disconnect"}
        if self._more and not self._finished.is_set():
            self._sent += 1
            try:
                return {"type": "http.request", "body": await anext(self._pieces), "more_body": True}
            except StopAsyncIteration:
                self._more = False
                return {"type": "http.request", "body": b"", "more_body": False}
        await self._finished.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        response = self.response
        if message["type"] == "http.response.start":
            assert not response.status, "an answer has one start"
            response.status = message["status"]
            response.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
            }
            response.set_cookies = [
                value.decode("latin-1") for name, value in message["headers"] if name.lower() == b"set-cookie"
            ]
            return
        assert response.status, "an answer begins with its start"
        assert not response.complete, "nothing comes after the last piece"
        response.body += message.get("body", b"")
        if not message.get("more_body", False):
            response.complete = True
            self._finished.set()


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)
