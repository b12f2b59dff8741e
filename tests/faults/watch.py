"""People who look at live news all the time, as a browser does: they come back whenever the stream breaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiohttp

from tests.faults.model import Person
from tests.server_sent_events import Event, EventParser

#: Entries of which somebody sees at once what becomes of them; a stream looks at more.
SCREENFUL: Final = 20
#: Seconds until they do at the latest: a stream whose announcement was lost looks after two minutes, give or take some.
_PATIENCE: Final = 150.0
#: Seconds without a sign of life after which a stream is given up.
_SILENCE: Final = 40.0
_ASK_AGAIN: Final = 0.2
_POLL: Final = 0.05

type Entries = Mapping[int, Mapping[str, Any]]


class Watcher:
    def __init__(self, session: aiohttp.ClientSession, gateway: str, person: Person) -> None:
        self.person = person
        self.complaints: list[str] = []
        #: What is on the screen, by id.
        self.shown: dict[int, Mapping[str, Any]] = {}
        self._session = session
        self._gateway = gateway
        self._place = "0"
        #: Those that were read, which the stream may not have told yet.
        self._read: frozenset[int] = frozenset()

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                await self._read_stream()
            await asyncio.sleep(_ASK_AGAIN)

    async def newest(self) -> dict[int, Mapping[str, Any]]:
        """Of the feed.

        Raises:
            aiohttp.ClientError, TimeoutError: it is not answered.
        """
        async with self._session.get(
            f"{self._gateway}/v1/news", params={"limit": str(SCREENFUL)}, headers=self._headers
        ) as response:
            response.raise_for_status()
            return _by_id((await response.json())["events"])

    async def _read_stream(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
        headers = {**self._headers, "Last-Event-ID": self._place}
        async with self._session.get(f"{self._gateway}/v1/news/stream", headers=headers, timeout=timeout) as response:
            response.raise_for_status()
            parser = EventParser()
            async for content, _ in response.content.iter_chunks():
                for event in parser.feed(content):
                    await self._take(event)
                    self._place = event.id

    async def _take(self, event: Event) -> None:
        match event.name:
            case "message":
                entry_id = int(event.data["Id"])
                if entry_id in self._screen - self._read:
                    self.complaints.append(f"doubled: {event.data['Url']} in the stream of {self.person.name}")
                self.shown[entry_id] = event.data
            case "removed":
                self.shown.pop(int(event.data["Id"]), None)
            case "present":
                ids = {int(entry_id) for entry_id in event.data["Ids"]}
                if ids <= self.shown.keys():
                    self.shown = {entry_id: self.shown[entry_id] for entry_id in ids}
                else:
                    # Something came late while nobody looked.
                    await self._read_again()
            case "reset":
                await self._read_again()

    async def _read_again(self) -> None:
        self.shown = await self.newest()
        self._read = frozenset(self.shown)

    @property
    def _screen(self) -> set[int]:
        """What ends further down is not told, and what comes back there comes as new."""
        return set(sorted(self.shown, reverse=True)[:SCREENFUL])

    @property
    def _headers(self) -> dict[str, str]:
        return {"Access-Token": self.person.token}


class Watchers:
    def __init__(self, watchers: Sequence[Watcher], patience: float = _PATIENCE) -> None:
        self._watchers = watchers
        self._patience = patience

    async def settle(self) -> tuple[float, list[str]]:
        """Seconds until everybody sees what is in their feeds, and what they still do not, in words.

        While it runs nobody may write.
        """
        begun = time.monotonic()
        wrong = list(self._watchers)
        while True:
            found = await asyncio.gather(*map(self._compare, wrong))
            wrong = [watcher for watcher, what in zip(wrong, found, strict=True) if what]
            if not wrong or time.monotonic() - begun > self._patience:
                break
            await asyncio.sleep(_POLL)
        faults = [fault for what in found for fault in what]
        for watcher in self._watchers:
            faults += watcher.complaints
            watcher.complaints = []
        return time.monotonic() - begun, faults

    async def _compare(self, watcher: Watcher) -> list[str]:
        name = watcher.person.name
        try:
            newest = await watcher.newest()
        except (aiohttp.ClientError, TimeoutError) as fault:
            return [f"lost: the news of {name}: {fault!r}"]
        bottom = min(newest, default=0) if len(newest) == SCREENFUL else 0
        shown = {entry_id: entry for entry_id, entry in watcher.shown.items() if entry_id >= bottom}
        return [
            *(f"lost: {newest[each]['Url']} in the stream of {name}" for each in newest.keys() - shown.keys()),
            *(
                f"lost: the end of {shown[each]['Url']} in the stream of {name}"
                for each in shown.keys() - newest.keys()
            ),
        ]


@asynccontextmanager
async def watching(
    session: aiohttp.ClientSession, gateway: str, people: Sequence[Person], *, patience: float = _PATIENCE
) -> AsyncIterator[Watchers]:
    watchers = [Watcher(session, gateway, person) for person in people]
    tasks = [asyncio.create_task(watcher.watch()) for watcher in watchers]
    try:
        yield Watchers(watchers, patience)
    finally:
        for task in tasks:
            task.cancel()
        # What one of them failed with is told.
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):
                raise found


def _by_id(entries: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    return {int(entry["Id"]): entry for entry in entries}
