"""Reads server-sent events as a browser does: from an application in this process, or from bytes that came."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message

#: Seconds; a test that waits longer has found a fault.
DEADLINE = 10.0


@dataclass(frozen=True)
class Event:
    #: "message" unless it has another.
    name: str
    #: Of this event, or of the last one that had one.
    id: str
    data: Any


class EventParser:
    """As https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation has it."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self.comments = 0
        self._rest = b""
        self._name, self._data = "", ""

    def feed(self, content: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [event for line in lines if (event := self._line(line.decode())) is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            name, data = self._name, self._data
            self._name, self._data = "", ""
            return Event(name or "message", self.last_id, json.loads(data)) if data else None
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match key:
            case "":
                self.comments += 1
            case "event":
                self._name = value
            case "data":
                self._data += value
            case "id":
                self.last_id = value
            case "retry":
                self.retry = int(value)
            case _:
                raise AssertionError(f"no browser knows {line!r}")
        return None


@dataclass
class Stream:
    parser: EventParser = field(default_factory=EventParser)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: Whether the answer came to its end, and whether the server gave it up before.
    complete: bool = False
    over: bool = False
    #: Cleared, the client takes nothing.
    takes: asyncio.Event = field(default_factory=asyncio.Event)
    _events: list[Event] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: bool = False

    async def next(self) -> Event:
        await self.until(lambda: bool(self._events))
        return self._events.pop(0)

    def waiting(self) -> list[Event]:
        """Those that have come and nobody has asked for."""
        return list(self._events)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                assert not (self.over and not self._events), f"the stream is over: {self.status} {self.body!r}"
                self._changed.clear()
                await self._changed.wait()

    async def ends(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while not self.over:
                self._changed.clear()
                await self._changed.wait()

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]
            if self.status == 200:
                self._events += self.parser.feed(message["body"])
            self.complete = not message.get("more_body", False)
        self._changed.set()

    def leave(self) -> None:
        self._gone.set()

    def end(self) -> None:
        self.over = True
        self._changed.set()


@asynccontextmanager
async def open_stream(
    app: ASGIApp, path: str, *, token: str, query: Mapping[str, str] | None = None, last_event_id: str = ""
) -> AsyncIterator[Stream]:
    """It has begun, or was refused. The client leaves at the end."""
    stream = Stream()
    stream.takes.set()
    headers = [(b"access-token", token.encode())]
    if last_event_id:
        headers.append((b"last-event-id", last_event_id.encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query or {}).encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    serving = asyncio.create_task(_serve(app, scope, stream))
    try:
        await stream.until(lambda: stream.body or stream.over)
        yield stream
    finally:
        stream.leave()
        stream.takes.set()
        async with asyncio.timeout(DEADLINE):
            await serving


async def _serve(app: ASGIApp, scope: dict[str, Any], stream: Stream) -> None:
    try:
        await app(scope, stream.receive, stream.send)
    finally:
        stream.end()
