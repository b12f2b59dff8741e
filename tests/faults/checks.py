"""Holds the model against the system, from outside, through the public API."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import aiohttp

from tests.faults.model import FeedKey, Person, Saved, World

#: Seconds for everything that was accepted to be where it must be.
SETTLED: Final = 90.0
#: Seconds for every link to be looked at; the last retry of a check may be minutes late.
JUDGED: Final = 240.0
#: People who are looked at, at once.
_AT_ONCE: Final = 8
_POLL: Final = 0.1


class Inspector:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        gateway: str,
        world: World,
        *,
        patience: float = SETTLED,
        judging: float = JUDGED,
    ) -> None:
        self._session = session
        self._gateway = gateway
        self._world = world
        self._patience = patience
        self._judging = judging
        #: What was found wrong before, so that it counts once.
        self._known: set[str] = set()

    async def settle(self) -> tuple[float, list[str]]:
        """Seconds until everything was as it must be, and what still was not, in words that begin with lost or doubled.

        While it runs nobody may write. What was unsure is known afterwards.
        """
        begun = time.monotonic()
        people = list(self._world.people.values())
        faults = [fault for found in await self._each(people, self._check_own) for fault in found]
        wrong = people
        while True:
            found = await self._each(wrong, self._check_feed)
            wrong = [person for person, what in zip(wrong, found, strict=True) if what]
            if not wrong or time.monotonic() - begun > self._patience:
                break
            await asyncio.sleep(_POLL)
        faults += [fault for what in found for fault in what]
        new = [fault for fault in faults if fault not in self._known]
        self._known.update(new)
        return time.monotonic() - begun, new

    async def judged(self) -> list[str]:
        """Waits until every link has its status; those that have not."""
        deadline = time.monotonic() + self._judging
        waiting = list(self._world.people.values())
        while True:
            found = await self._each(waiting, self._misjudged)
            waiting = [person for person, urls in zip(waiting, found, strict=True) if urls]
            if not waiting or time.monotonic() > deadline:
                return [f"lost: the status of {url}" for urls in found for url in urls]
            await asyncio.sleep(_POLL)

    # --- one person ---------------------------------------------------------------------------------------------------

    async def _check_own(self, person: Person) -> list[str]:
        return [*await self._check_links(person), *await self._check_following(person)]

    async def _check_links(self, person: Person) -> list[str]:
        links = await self._pages(person, "/v1/links", "links")
        found = {link["Url"]: link for link in links}
        faults = (
            [f"doubled: {person.name} has {len(links) - len(found)} links twice"] if len(links) > len(found) else []
        )
        for url, possible in person.unsure_links.items():
            faults += _settle_link(person, url, possible, found.get(url))
        person.unsure_links.clear()
        for url, saved in person.links.items():
            if url not in found:
                faults.append(f"lost: {person.name}'s {url}, {saved.title}")
            elif not saved.is_what(found[url]):
                faults.append(f"{_kind(saved, found[url])}: {person.name}'s {url} is {found[url]}, not {saved}")
        faults += [f"lost: that {person.name} deleted {url}" for url in found.keys() - person.links.keys()]
        return faults

    async def _check_following(self, person: Person) -> list[str]:
        followed = set((await self._get(person, "/v1/following", {}))["following"])
        faults = [
            f"lost: that {person.name} follows {name}, or does not"
            for name in (followed ^ person.following) - person.unsure_following
        ]
        person.unsure_following.clear()
        person.following = followed
        return faults

    async def _check_feed(self, person: Person) -> list[str]:
        expected = self._world.feed_of(person)
        events = await self._pages(person, "/v1/news", "events")
        faults = []
        ids = [int(event["Id"]) for event in events]
        if ids != sorted(ids, reverse=True):
            faults.append(f"lost: the order of {person.name}'s news")
        times = Counter(FeedKey(event["Username"], event["Url"]) for event in events)
        faults += [f"doubled: {key} in {person.name}'s news" for key, count in times.items() if count > 1]
        faults += [f"lost: the end of {key} in {person.name}'s news" for key in times.keys() - expected.keys()]
        faults += [f"lost: {key} in {person.name}'s news" for key in expected.keys() - times.keys()]
        for event in events:
            saved = expected.get(FeedKey(event["Username"], event["Url"]))
            if saved and (event["Title"], event["Version"]) != (saved.title, saved.version):
                faults.append(f"lost: {saved.title} in {person.name}'s news, which has {event['Title']}")
        return faults

    async def _misjudged(self, person: Person) -> list[str]:
        """Every page that is saved is there, so that there is one right status."""
        links = await self._pages(person, "/v1/links", "links")
        return [f"{person.name}'s {link['Url']}, {link['Status']}" for link in links if link["Status"] != "valid"]

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _each[T](self, people: Iterable[Person], check: Callable[[Person], Awaitable[T]]) -> list[T]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(person: Person) -> T:
            async with slots:
                return await check(person)

        return await asyncio.gather(*(one(person) for person in people))

    async def _pages(self, person: Person, path: str, key: str, **filters: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        params = {"limit": "200", **filters}
        while True:
            page = await self._get(person, path, params)
            rows += page[key]
            if not page["NextPageToken"]:
                return rows
            params["start_token"] = page["NextPageToken"]

    async def _get(self, person: Person, path: str, params: Mapping[str, str]) -> Any:
        """Asks until it is answered: right after a fault it may take a few times."""
        deadline = time.monotonic() + SETTLED
        while True:
            answer = "nothing"
            try:
                async with self._session.get(
                    self._gateway + path, params=params, headers={"Access-Token": person.token}
                ) as response:
                    if response.status == 200:
                        return await response.json()
                    answer = f"{response.status} {await response.text()}"
            except (aiohttp.ClientError, TimeoutError) as fault:
                answer = repr(fault)
            if time.monotonic() > deadline:
                raise AssertionError(f"{person.name} asks for {path} and gets {answer}")
            await asyncio.sleep(_POLL)


def _settle_link(
    person: Person, url: str, possible: tuple[Saved | None, Saved | None], found: Mapping[str, Any] | None
) -> list[str]:
    """What an unanswered write was about is, from now on, what it is seen to be: as before, or as wanted."""
    person.links.pop(url, None)
    if found is None:
        return [] if None in possible else [f"lost: {person.name}'s {url}"]
    before, wanted = possible
    person.links[url] = Saved(found["Title"], frozenset(found["Tags"]), found["Visibility"], found["Version"])
    if before is not None and before.is_what(found):
        return []
    if wanted is None or not wanted.is_what(found):
        return [f"lost: {person.name}'s {url} is {found}, neither {before} nor {wanted}"]
    if before is not None and found["Version"] != before.version + 1:
        return [f"doubled: a change of {person.name}'s {url}, {before.version} to {found['Version']}"]
    return []


def _kind(saved: Saved, link: Mapping[str, Any]) -> str:
    return "doubled" if saved._replace(version=0).is_what(link) and link["Version"] > saved.version else "lost"
