"""One drill: a system, people who use it, one fault after the other, and after each a look at everything."""

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from pkg.clients.accounts import connect_operator, let_in
from pkg.events.dead_letter_box import DeadLetterBox
from pkg.events.nats_bus import open_bus
from pkg.events.operator import nats_of_stack
from pkg.local_stack.data_folder import DataFolder
from pkg.runtime.access import OPERATOR, USER_MANAGER
from tests.e2e.stack import ROOT, Stack
from tests.faults.checks import Inspector
from tests.faults.fault import Fault, Tormentor
from tests.faults.load import PATIENCE, Load
from tests.faults.model import Person, World, read_friends
from tests.faults.proxy import ProxyControl
from tests.faults.system import running_system
from tests.faults.watch import Watchers, watching

GRAPH: Final = ROOT / "tests" / "data" / "social_graph_reed98.edges"
#: Followers, up to whom a save is pushed: about half of the people have more.
PUSH_THRESHOLD: Final = 15
#: People who look at live news all the time, of those who follow the most.
WATCHERS: Final = 5
#: Seconds for a save to be read by a follower and looked at by the link checker, after a fault.
WELL_AGAIN: Final = 60.0
_PROBE_PATIENCE: Final = 3.0
_POLL: Final = 0.02
#: What of a stage's writes comes before its fault.
_BEFORE: Final = 0.3


@dataclass(frozen=True, kw_only=True)
class DrillOptions:
    #: Accepted ones, of all faults together.
    writes: int
    faults: Sequence[Fault]
    people: int
    at_once: int
    seconds: float
    seed: int
    replicas: int


@dataclass
class Row:
    fault: str
    accepted: int = 0
    unanswered: int = 0
    lost: int = 0
    doubled: int = 0
    #: Seconds from the end of the fault (a death is its own end) until a save is read by a follower and has a status.
    well_after: float = 0.0
    #: Seconds from the last write until every feed was exact.
    exact_after: float = 0.0
    #: Seconds from then on until everybody with live news saw what was in their feed.
    live_after: float = 0.0


@dataclass
class Report:
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def total(self) -> Row:
        rows = self.rows
        return Row(
            "all",
            sum(row.accepted for row in rows),
            sum(row.unanswered for row in rows),
            sum(row.lost for row in rows),
            sum(row.doubled for row in rows),
            max((row.well_after for row in rows), default=0.0),
            max((row.exact_after for row in rows), default=0.0),
            max((row.live_after for row in rows), default=0.0),
        )

    def add(self, row: Row, faults: Sequence[str]) -> None:
        row.lost += sum(fault.startswith("lost") for fault in faults)
        row.doubled += sum(fault.startswith("doubled") for fault in faults)
        self.rows.append(row)
        self.faults += faults
        print(render(row), flush=True)
        for fault in faults[:5]:
            print(f"  {fault}", flush=True)


def head() -> str:
    names = f"| {'fault':<42} | accepted | unanswered | lost | doubled | well again, s | feeds exact, s | live too, s |"
    return (
        f"{names}\n|{'-' * 44}|---------:|-----------:|-----:|--------:|--------------:|---------------:|------------:|"
    )


def render(row: Row) -> str:
    return (
        f"| {row.fault:<42} | {row.accepted:>8} | {row.unanswered:>10} | {row.lost:>4} | {row.doubled:>7}"
        f" | {row.well_after:>13.1f} | {row.exact_after:>14.1f} | {row.live_after:>11.1f} |"
    )


class Probe:
    """Somebody who saves, and somebody who reads that."""

    def __init__(self, load: Load, writer: Person, reader: Person, site: str) -> None:
        self._load = load
        self._writer = writer
        self._reader = reader
        self._site = site
        self._numbers = itertools.count(1)

    async def follow(self) -> None:
        params = {"followed": self._writer.name}
        reply = await self._load.call(self._reader, "POST", "/v1/following", params=params)
        assert reply is not None and reply.status == 200

    async def well(self) -> None:
        """Returns when a save has come through everything.

        Raises:
            TimeoutError: none has.
        """
        async with asyncio.timeout(WELL_AGAIN):
            while (url := await self._save()) is None:  # noqa: ASYNC110  # nobody tells when the system is well
                await asyncio.sleep(_POLL)
            while not await self._is_news(url) or not await self._is_judged(url):  # noqa: ASYNC110  # likewise
                await asyncio.sleep(_POLL)

    async def _save(self) -> str | None:
        url = f"{self._site}/ok/probe/{next(self._numbers)}"
        found = await self._ask(self._writer, "POST", "/v1/links", body={"url": url, "title": "probe"})
        return None if found is None else url

    async def _is_news(self, url: str) -> bool:
        found = await self._ask(self._reader, "GET", "/v1/news", params={"limit": "3"})
        return found is not None and any(event["Url"] == url for event in found["events"])

    async def _is_judged(self, url: str) -> bool:
        found = await self._ask(self._writer, "GET", "/v1/links", params={"limit": "3"})
        return found is not None and any(link["Url"] == url and link["Status"] == "valid" for link in found["links"])

    async def _ask(
        self, person: Person, method: str, path: str, **arguments: object
    ) -> dict[str, list[dict[str, object]]] | None:
        try:
            async with asyncio.timeout(_PROBE_PATIENCE):
                reply = await self._load.call(person, method, path, **arguments)
        except TimeoutError:
            return None
        if reply is None or reply.status != 200:
            return None
        found: dict[str, list[dict[str, object]]] = reply.json
        return found


class Drill:
    def __init__(
        self,
        stack: Stack,
        proxy: ProxyControl,
        session: aiohttp.ClientSession,
        world: World,
        probe: tuple[Person, Person],
        watchers: Watchers,
        options: DrillOptions,
    ) -> None:
        chance = random.Random(options.seed)
        site = stack.ready["demo_site"]
        self._options = options
        self._stack = stack
        self._load = Load(session, stack.gateway, site, world, chance, options.at_once)
        self._inspector = Inspector(session, stack.gateway, world)
        self._probe = Probe(self._load, *probe, site)
        self._watchers = watchers
        self._tormentor = Tormentor(stack, proxy, self._load, options.seconds)
        self.report = Report()

    async def run(self) -> None:
        print(head(), flush=True)
        try:
            await self._inflict_all()
        finally:
            await self._load.give_up()
        print(render(self.report.total), flush=True)

    async def _inflict_all(self) -> None:
        await self._probe.follow()
        await self._load.follow_friends()
        row = Row("none: people begin to follow", self._load.accepted, self._load.unanswered)
        faults = await self._settle(row)
        self.report.add(row, faults)
        for fault in self._options.faults:
            await self._stage(fault)
        await self._end()

    async def _stage(self, fault: Fault) -> None:
        load, row = self._load, Row(fault.name, -self._load.accepted, -self._load.unanswered)
        quota = max(1, self._options.writes // len(self._options.faults))
        first = load.accepted
        load.start()
        await load.until_accepted(first + int(quota * _BEFORE))
        over = await self._tormentor.inflict(fault, quota)
        try:
            await self._probe.well()
            faults = []
        except TimeoutError:
            faults = [f"lost: nothing comes through after: {fault.name}"]
        row.well_after = time.monotonic() - over
        await load.until_accepted(first + quota)
        await load.stop()
        row.accepted += load.accepted
        row.unanswered += load.unanswered
        self.report.add(row, faults + await self._settle(row))

    async def _settle(self, row: Row) -> list[str]:
        row.exact_after, faults = await self._inspector.settle()
        row.live_after, unseen = await self._watchers.settle()
        return faults + unseen + self._take_complaints()

    async def _end(self) -> None:
        """What takes its time: every link has its status, and nothing is in the stream of dead letters."""
        begun = time.monotonic()
        faults = await self._inspector.judged()
        async with open_bus(nats_of_stack(self._stack.ready), "drill") as bus:
            letters = [letter async for letter in DeadLetterBox(bus).find()]
        faults += [f"lost: a dead letter of {letter.consumer}: {letter.reason}" for letter in letters]
        row = Row("every link has its status, no dead letters")
        row.exact_after = time.monotonic() - begun
        self.report.add(row, faults)

    def _take_complaints(self) -> list[str]:
        taken, self._load.complaints = self._load.complaints, []
        return taken


async def run_drill(options: DrillOptions) -> Report:
    chance = random.Random(options.seed)
    friends = read_friends(GRAPH, options.people, chance)
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        environment = {"RATE_LIMIT_FACTOR": "0", "NEWS_PUSH_THRESHOLD": str(PUSH_THRESHOLD)}
        with running_system(Path(folder), options.replicas, environment) as (stack, proxy):
            print(f"the system runs; its log: {stack.log}", flush=True)
            tokens = await let_everybody_in(stack, [*friends, "probe-writer", "probe-reader"])
            world = World(Person(name, tokens[name], some) for name, some in friends.items())
            probe = (Person("probe-writer", tokens["probe-writer"]), Person("probe-reader", tokens["probe-reader"]))
            with_most = sorted(world.people.values(), key=lambda person: -len(person.friends))[:WATCHERS]
            async with (
                _session(options.at_once) as session,
                watching(session, stack.gateway, with_most) as watchers,
            ):
                drill = Drill(stack, proxy, session, world, probe, watchers, options)
                await drill.run()
                return drill.report


@asynccontextmanager
async def _session(at_once: int) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=at_once * 2 + 16)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session:
        yield session


async def let_everybody_in(stack: Stack, names: Sequence[str]) -> dict[str, str]:
    """A token for each, by name."""
    mutual_auth = DataFolder(stack.data).config / OPERATOR / "mutual-auth.yaml"
    slots = asyncio.Semaphore(8)

    async with connect_operator(stack.ready["services"][USER_MANAGER], mutual_auth) as users:

        async def one(name: str) -> str:
            async with slots:
                return (await let_in(users, name, "drill")).token

        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
