"""The event path under strain, on a system with two of everything that publishes or hears events: ``make strain``.

Side by side: each relay owns its share of the partitions. Behind: news stands still until very many events wait for it,
then catches up, while link checks go on as if nothing were; and the other way round. A long outbox: a million rows are
published at one rate, from the first tenth to the last.

Ends with 1 if somebody had to wait for what is not theirs, or if the last tenth of the rows cost more than a quarter
more, or less, than the first. Rates are of this machine and this moment; processor time is what is compared.
"""

import argparse
import asyncio
import itertools
import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp
import asyncpg

from pkg.events.messages import PARTITIONS, EventName
from pkg.object_model.events import LinkEvent
from pkg.object_model.types import LinkStatus
from pkg.runtime.access import LINK_CHECKER, LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER
from pkg.runtime.json import encode
from tests.e2e.client import eventually
from tests.e2e.stack import Stack
from tests.faults.drill import let_everybody_in
from tests.faults.system import running_system
from tests.load.event_path import connect, follow, have_feeds, insert, make_events
from tests.load.processor_time import processor_seconds

#: Seconds within which a save must be news, or be looked at, whatever else is behind.
PROMPT: Final = 5.0
#: Seconds for one save, and for all of something, to come through.
_PATIENCE: Final = 300.0
_DEADLINE: Final = 3_600.0
_POLL: Final = 0.05
#: Events that are told at once, while somebody is behind with them.
_AT_ONCE: Final = 1_000
_TENTHS: Final = 10
#: By how much the cost of the last tenth may differ from that of the first.
STEADY: Final = 0.25
_ROW: Final = f"""
INSERT INTO outbox (partition, id, type, subject, body, traceparent, request_id, created_at)
SELECT number % {PARTITIONS}, $1::bigint + number, '{EventName.LINK_UPDATED}',
       'link-events.' || number % {PARTITIONS} || '.bulk', $2, '', '', now()
FROM generate_series($3::bigint, $4::bigint) AS number"""


def metrics(stack: Stack, service: str, name: str, labels: str) -> dict[str, float]:
    """By replica. ``labels`` as they stand between the braces."""
    line = re.compile(rf"^{name}{{{re.escape(labels)}}} (\S+)$", re.MULTILINE)
    found = {}
    for replica, address in stack.ready["services"].items():
        if replica == service or replica.startswith(f"{service}-"):
            with urllib.request.urlopen(f"{address}/metrics", timeout=30) as page:  # noqa: S310  # ours
                value = line.search(page.read().decode())
            found[replica] = float(value[1]) if value else 0.0
    return found


def count_published(stack: Stack) -> float:
    """Rows of the link service's outbox."""
    return sum(metrics(stack, LINK_MANAGER, "delinkcious_outbox_published_total", f'service="{LINK_MANAGER}"').values())


def pids(stack: Stack, service: str) -> list[int]:
    return [pid for name, pid in stack.ready["pids"].items() if name == service or name.startswith(f"{service}-")]


@contextmanager
def standing_still(stack: Stack, service: str) -> Iterator[None]:
    stopped = pids(stack, service)
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


class Person:
    """Saves, and waits for what comes of it."""

    def __init__(self, session: aiohttp.ClientSession, stack: Stack, tokens: dict[str, str]) -> None:
        self._session = session
        self._gateway = stack.gateway
        self._site = stack.ready["demo_site"]
        self._tokens = tokens

    async def follow(self) -> None:
        await self._ask("POST", "reader", "/v1/following", {"followed": "writer"})

    async def save_until_news(self) -> float:
        """Seconds from a save until it is in a follower's news."""
        url = await self._save()

        async def is_news() -> bool:
            events = (await self._ask("GET", "reader", "/v1/news", {"limit": "3"}))["events"]
            return any(event["Url"] == url for event in events)

        begun = time.perf_counter()
        await eventually(is_news, "a save is news", _PATIENCE)
        return time.perf_counter() - begun

    async def save_until_looked_at(self) -> float:
        """Seconds from a save until the link has a status."""
        url = await self._save()

        async def is_looked_at() -> bool:
            links = (await self._ask("GET", "writer", "/v1/links", {"limit": "3"}))["links"]
            return any((link["Url"], link["Status"]) == (url, "valid") for link in links)

        begun = time.perf_counter()
        await eventually(is_looked_at, "a save is looked at", _PATIENCE)
        return time.perf_counter() - begun

    async def _save(self) -> str:
        url = f"{self._site}/ok/{time.time_ns()}"
        await self._ask("POST", "writer", "/v1/links", {"url": url, "title": "strain"})
        return url

    async def _ask(self, method: str, user: str, path: str, params: dict[str, str]) -> dict[str, list[dict[str, str]]]:
        headers = {"Access-Token": self._tokens[user]}
        async with self._session.request(method, self._gateway + path, params=params, headers=headers) as response:
            assert response.status == 200, await response.text()
            found: dict[str, list[dict[str, str]]] = await response.json()
            return found


async def waits_meanwhile(wait: Callable[[], Awaitable[float]], over: Callable[[], bool]) -> list[float]:
    """One after the other until it is over; at least one."""
    found = [await wait()]
    while not over():
        found.append(await wait())
    return found


async def tell(stack: Stack, links: asyncpg.Connection, events: list[LinkEvent]) -> None:
    """Some at a time, as they come in an hour: the outbox itself is not behind."""
    told = count_published(stack)
    for number, some in enumerate(itertools.batched(events, _AT_ONCE), 1):
        await insert(links, list(some))
        await until(lambda number=number: count_published(stack) >= told + (number - 1) * _AT_ONCE, "events are told")  # type: ignore[misc]  # a default binds it


async def until(over: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not over():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(_POLL)


def show_waits(what: str, waits: Sequence[float]) -> bool:
    """Whether all were prompt."""
    print(f"  {what:<54} median {median(waits):.2f} s, longest {max(waits):.2f} s of {len(waits)}", flush=True)
    return max(waits) <= PROMPT


def side_by_side(stack: Stack) -> bool:
    print("partitions of the outbox, by relay")
    fair = True
    for service in (LINK_MANAGER, SOCIAL_GRAPH_MANAGER):
        owned = metrics(stack, service, "delinkcious_outbox_partitions", f'service="{service}"')
        print("  " + ", ".join(f"{replica} {count:.0f}" for replica, count in owned.items()), flush=True)
        fair = fair and set(owned.values()) == {PARTITIONS / len(owned)}
    return fair


async def behind(stack: Stack, links: asyncpg.Connection, person: Person, service: str, events: int) -> bool:
    """One of the two that hear link events stands still until so many wait for it; the other must not notice."""
    is_news = service == NEWS_MANAGER
    consumer = "news" if is_news else "link-checks"
    wait, what = (
        (person.save_until_looked_at, "a save is looked at") if is_news else (person.save_until_news, "a save is news")
    )
    # What is looked at already is nothing to the link checker; that is what the other half of this is for.
    status = LinkStatus.VALID if is_news else LinkStatus.PENDING
    made = make_events(events, status=status, site=f"{stack.ready['demo_site']}/ok")

    def done() -> float:
        labels = f'consumer="{consumer}",outcome="done"'
        return sum(metrics(stack, service, "delinkcious_events_handled_total", labels).values())

    print(f"{service} stands still until {events:,} events wait for it")
    prompt = show_waits(f"{what}, before", [await wait() for _ in range(5)])
    before = done()
    with standing_still(stack, service):
        telling = asyncio.create_task(tell(stack, links, made))
        waits = await waits_meanwhile(wait, telling.done)
        await telling
    prompt = show_waits(f"{what}, while they are published", waits) and prompt
    begun = time.perf_counter()
    waits = await waits_meanwhile(wait, lambda: done() >= before + events)
    seconds = time.perf_counter() - begun
    print(f"  it caught up in {seconds:.0f} s: {events / seconds:,.0f} events/s", flush=True)
    return show_waits(f"{what}, while it catches up", waits) and prompt


async def drain(stack: Stack, links: asyncpg.Connection, rows: int) -> bool:
    """A long outbox is published at one rate."""
    body = encode(_nobody().to_wire()).decode()
    first, each = int(time.time() * 1000) * 2**20, rows // _TENTHS
    print(f"{rows:,} rows wait in the outbox", flush=True)

    def spent() -> float:
        return processor_seconds([*pids(stack, LINK_MANAGER), stack.ready["pids"]["postgres"]])

    done = count_published(stack)
    with standing_still(stack, LINK_MANAGER):
        async with links.transaction():
            for tenth in range(_TENTHS):
                await links.execute(_ROW, first, body, tenth * each + 1, (tenth + 1) * each)
        # What is left to be done about so many new rows is no part of publishing the first of them.
        await links.execute("VACUUM outbox")
        await links.execute("CHECKPOINT")
    costs = []
    for tenth in range(1, _TENTHS + 1):
        begun, before, start = time.perf_counter(), spent(), count_published(stack)
        await until(lambda tenth=tenth: count_published(stack) >= done + tenth * each, "rows are published")  # type: ignore[misc]  # a default binds it
        count, seconds = count_published(stack) - start, time.perf_counter() - begun
        costs.append((spent() - before) / count * 1e6)
        print(
            f"  tenth {tenth:>2}: {count / seconds:8,.0f} rows/s   {costs[-1]:6.1f} us of relay and database",
            flush=True,
        )
    for row in await links.fetch(_SIZES):
        print(f"  {row['name']:<20} {row['bytes'] / 2**20:8.0f} MiB")
    (dead,) = await links.fetch(_DEAD)
    print(
        f"  rows: {dead['n_live_tup']:,} live, {dead['n_dead_tup']:,} dead; vacuumed {dead['autovacuum_count']} times"
    )
    change = costs[-1] / costs[0] - 1
    print(f"  the last tenth cost {change:+.0%} of the first")
    return abs(change) <= STEADY


_DEAD: Final = """
SELECT n_live_tup, n_dead_tup, autovacuum_count FROM pg_stat_user_tables WHERE relname = 'outbox'"""
_SIZES: Final = """
SELECT relname AS name, pg_relation_size(oid) AS bytes FROM pg_class
WHERE relname LIKE 'outbox%' AND relkind IN ('r', 'i') ORDER BY relname"""


def _nobody() -> LinkEvent:
    """Of nobody's link, and nothing to do for whoever hears it."""
    (event,) = make_events(1, status=LinkStatus.VALID)
    return event


async def run(options: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory(prefix="strain") as folder:
        environment = {"RATE_LIMIT_FACTOR": "0"}
        with running_system(Path(folder), 2, environment) as (stack, _proxy):
            print(f"the system runs; its log: {stack.log}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", flush=True)
            password = (stack.data / "secrets" / "postgres").read_text(encoding="utf-8").strip()
            graph = await connect(stack, password, "social_graph_manager")
            links = await connect(stack, password, "link_manager")
            tokens = await let_everybody_in(stack, ["writer", "reader"])
            timeout = aiohttp.ClientTimeout(total=60)
            try:
                async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
                    person = Person(session, stack, tokens)
                    await person.follow()
                    await follow(graph, 1)
                    await have_feeds(stack, 1)
                    passed = [side_by_side(stack)]
                    if options.events:
                        passed.append(await behind(stack, links, person, NEWS_MANAGER, options.events))
                    if options.checks:
                        passed.append(await behind(stack, links, person, LINK_CHECKER, options.checks))
                    if options.rows:
                        passed.append(await drain(stack, links, options.rows))
                    return all(passed)
            finally:
                await graph.close()
                await links.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make strain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000, help="that wait for news (%(default)s)")
    parser.add_argument("--checks", type=int, default=5_000, help="that wait for the link checker (%(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="in the outbox (%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        passed = asyncio.run(run(options))
    except KeyboardInterrupt:
        print("stopped")
        return 130
    print("steady, and nobody waits for others" if passed else "not as it should be; see above")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
