"""People who save, change, delete, follow and read, all the time; what they were answered goes into the model."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from tests.e2e.client import Reply
from tests.faults.model import MAX_LIVE, Person, Saved, World

#: Pages of the demo site that are saved, by all.
PAGES: Final = 400
#: Seconds that somebody waits for an answer. What is not answered by then counts as unanswered.
PATIENCE: Final = 12.0
_VISIBILITIES: Final = ("public",) * 8 + ("followers", "private")
_PAUSE: Final = 0.05


class Load:
    def __init__(
        self, session: aiohttp.ClientSession, gateway: str, site: str, world: World, chance: random.Random, people: int
    ) -> None:
        """``people``: how many do something at once."""
        self.accepted = 0
        self.unanswered = 0
        #: What must not happen to people who do nothing wrong, in words.
        self.complaints: list[str] = []
        self._session = session
        self._gateway = gateway
        self._site = site
        self._chance = chance
        self._serial = itertools.count(1)
        self._free: asyncio.Queue[Person] = asyncio.Queue()
        for person in world.people.values():
            self._free.put_nowait(person)
        self._at_once = people
        self._going_on = False
        self._tasks: list[asyncio.Task[None]] = []

    # --- as a whole ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._going_on = True
        self._tasks = [asyncio.create_task(self._use()) for _ in range(self._at_once)]

    async def stop(self) -> None:
        """Returns when the last of them has been answered, or has waited in vain."""
        self._going_on = False
        await asyncio.gather(*self._tasks)

    async def give_up(self) -> None:
        """Whatever they are about."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_accepted(self, count: int) -> None:
        while self.accepted < count:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)

    async def follow_friends(self) -> None:
        """Everybody follows everybody whom they may."""

        async def follow_all() -> None:
            while not self._free.empty():
                person = self._free.get_nowait()
                done.append(person)
                for friend in person.friends:
                    await self._follow(person, friend)

        done: list[Person] = []
        await asyncio.gather(*(follow_all() for _ in range(self._at_once)))
        for person in done:
            self._free.put_nowait(person)

    async def _use(self) -> None:
        while self._going_on:
            person = await self._free.get()
            try:
                await self._choose(person)(person)
            finally:
                self._free.put_nowait(person)

    def _choose(self, person: Person) -> Callable[[Person], Awaitable[None]]:
        wish = self._chance.random()
        touchable = [url for url in person.links if url not in person.unsure_links]
        if wish < 0.2:
            return self._read
        if wish < 0.27 and person.friends:
            return self._change_mind
        if touchable and (wish < 0.4 or len(person.links) >= MAX_LIVE):
            return self._delete
        if touchable and wish < 0.65:
            return self._update
        return self._save if len(person.links) < MAX_LIVE else self._read

    # --- what people do -----------------------------------------------------------------------------------------------

    async def _save(self, person: Person) -> None:
        number = next(self._serial)
        url = f"{self._site}/ok/{self._chance.randrange(PAGES)}"
        if url in person.links or url in person.unsure_links:
            return
        wanted = Saved(f"title {number}", frozenset({f"tag{number % 50}"}), self._chance.choice(_VISIBILITIES), 0)
        body = {"url": url, "title": wanted.title, "tags": list(wanted.tags), "visibility": wanted.visibility}
        await self._write_link(person, url, wanted, "POST", body=body)

    async def _update(self, person: Person) -> None:
        number = next(self._serial)
        url = self._chance.choice([url for url in person.links if url not in person.unsure_links])
        before = person.links[url]
        visibility = self._chance.choice(_VISIBILITIES)
        wanted = Saved(f"title {number}", before.tags | {f"tag{number % 50}"}, visibility, 0)
        body = {"url": url, "title": wanted.title, "add_tags": [f"tag{number % 50}"], "visibility": visibility}
        await self._write_link(person, url, wanted, "PUT", body=body)

    async def _delete(self, person: Person) -> None:
        url = self._chance.choice([url for url in person.links if url not in person.unsure_links])
        await self._write_link(person, url, None, "DELETE", params={"url": url})

    async def _write_link(self, person: Person, url: str, wanted: Saved | None, method: str, **arguments: Any) -> None:
        reply = await self._write(person, method, "/v1/links", **arguments)
        before = person.links.get(url)
        if reply is None:
            person.unsure_links[url] = (before, wanted)
        elif wanted is None:
            del person.links[url]
        else:
            version = reply.json["link"]["Version"]
            if before is not None and version != before.version + 1:
                self.complaints.append(f"doubled: {person.name} changed {url} once: {before.version} to {version}")
            person.links[url] = wanted._replace(version=version)

    async def _change_mind(self, person: Person) -> None:
        friend = self._chance.choice(person.friends)
        if friend in person.unsure_following:
            return
        if friend not in person.following:
            await self._follow(person, friend)
        elif await self._write(person, "DELETE", "/v1/following", params={"followed": friend}) is None:
            person.unsure_following.add(friend)
        else:
            person.following.discard(friend)

    async def _follow(self, person: Person, friend: str) -> None:
        if await self._write(person, "POST", "/v1/following", params={"followed": friend}) is None:
            person.unsure_following.add(friend)
        else:
            person.following.add(friend)

    async def _read(self, person: Person) -> None:
        """What holds at any moment: newest first, and everything once."""
        reply = await self.call(person, "GET", "/v1/news", params={"limit": "20"})
        if reply is None or reply.status >= 500:
            await asyncio.sleep(_PAUSE)
            return
        if reply.status != 200:
            self._blame(person, "GET /v1/news", reply)
            return
        events = reply.json["events"]
        ids = [int(event["Id"]) for event in events]
        if ids != sorted(set(ids), reverse=True):
            self.complaints.append(f"lost: the order of {person.name}'s news")
        if len({(event["Username"], event["Url"]) for event in events}) < len(events):
            self.complaints.append(f"doubled: a link in {person.name}'s news")

    async def _write(self, person: Person, method: str, path: str, **arguments: Any) -> Reply | None:
        """None if it may have happened or not."""
        reply = await self.call(person, method, path, **arguments)
        if reply is not None and reply.status == 200:
            self.accepted += 1
            return reply
        self.unanswered += 1
        if reply is not None and reply.status < 500:
            self._blame(person, f"{method} {path}", reply)
        # Nobody hammers at a closed door.
        await asyncio.sleep(_PAUSE)
        return None

    async def call(self, person: Person, method: str, path: str, **arguments: Any) -> Reply | None:
        """None if there is no answer."""
        body = arguments.pop("body", None)
        try:
            async with self._session.request(
                method, self._gateway + path, json=body, headers={"Access-Token": person.token}, **arguments
            ) as response:
                return Reply(response.status, dict(response.headers), await response.read())
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return None

    def _blame(self, person: Person, what: str, reply: Reply) -> None:
        self.complaints.append(f"lost: {person.name} was blamed for {what}: {reply.status} {reply.content[:200]!r}")
