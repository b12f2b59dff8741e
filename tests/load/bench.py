"""What the whole path costs, against the floor: ``make bench``.

Starts a system of its own, fills it with real bookmarks, and puts the same questions to the gateway and to one raw
process that runs the same SQL (``tests.load.floor``), in turn, on this machine. Figures are medians over rounds:
processor time a request, summed over all processes, the database included; requests a second; the ratio of the two.
Nothing is asserted.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import asyncpg
import uvloop

from tests.e2e.client import api_client, eventually
from tests.e2e.stack import ROOT, Stack, running_stack
from tests.load import news, saves
from tests.load.event_path import EventRun, measure_delay, measure_events, measure_stream
from tests.load.link_checks import CONCURRENCY, HOSTS, measure_checks
from tests.load.parts import measure_parts
from tests.load.processor_time import processor_seconds
from tests.load.requests import http_request, load

BOOKMARKS = ROOT / "tests" / "data" / "bookmarks_firefox.html"


@dataclass
class Side:
    """One of the two that are compared."""

    name: str
    url: str
    pids: Sequence[int]
    headers: dict[str, str] = field(default_factory=dict)
    micros: list[float] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    #: Warm-ups too, so that no two runs add the same links.
    runs: int = 0

    def forget(self) -> None:
        self.micros.clear()
        self.throughput.clear()

    async def run(self, request: Callable[["Side", int], bytes], requests: int, connections: int) -> None:
        before = processor_seconds(self.pids)
        done = await load(self.url, lambda number: request(self, number), requests=requests, connections=connections)
        spent = processor_seconds(self.pids) - before
        if done.failures:
            raise SystemExit(f"{self.name}: {done.failures} of {requests} requests failed; the figures mean nothing")
        self.runs += 1
        self.micros.append(spent / requests * 1e6)
        self.throughput.append(done.throughput)


@contextmanager
def running_floor(stack: Stack, owner_id: int, reader_id: int) -> Iterator[tuple[str, int]]:
    """Its address and its pid."""
    postgres, redis = stack.ready["postgres"], stack.ready["redis"]
    environment = {
        **os.environ,
        "LINK_DB_SERVICE_HOST": postgres["host"],
        "LINK_DB_SERVICE_PORT": str(postgres["port"]),
        "LINK_DB_PASSWORD_FILE": str(stack.data / "secrets" / "link_manager_service"),
        "REDIS_URL": redis["url"],
        "NEWS_REDIS_PASSWORD_FILE": redis["password_files"]["news-manager"],
        "FLOOR_OWNER_ID": str(owner_id),
        "FLOOR_READER_ID": str(reader_id),
    }
    command = [sys.executable, "-m", "tests.load.floor"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid
        finally:
            process.terminate()


def page_request(side: Side, _number: int) -> bytes:
    return http_request("GET", f"{side.url}/v1/links", side.headers)


def news_request(side: Side, _number: int) -> bytes:
    return http_request("GET", f"{side.url}/v1/news", side.headers)


def add_request(prefix: str) -> Callable[[Side, int], bytes]:
    def make(side: Side, number: int) -> bytes:
        url = f"https://{prefix}-{side.runs}-{side.name.replace(' ', '-')}.example/{number}"
        return http_request("POST", f"{side.url}/v1/links?url={url}&title=bench&tags=bench,load", side.headers)

    return make


async def compare(
    what: str, sides: Sequence[Side], request: Callable[[Side, int], bytes], options: argparse.Namespace
) -> None:
    for side in sides:
        await side.run(request, 300, options.connections)
        side.forget()
    for _ in range(options.rounds):
        for side in sides:
            await side.run(request, options.requests, options.connections)
    path, floor = sides
    ratios = [ours / theirs for ours, theirs in zip(path.micros, floor.micros, strict=True)]
    print(f"\n{what}")
    for side in sides:
        print(f"  {side.name:<11} {median(side.micros):7.0f} us a request   {median(side.throughput):7.0f} requests/s")
    print(f"  ratio       {median(ratios):7.2f}   ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)")


async def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Limits are kept, as for everybody, but far above what is asked here.
        environment = {"MAX_LINKS_PER_USER": "10000000", "RATE_LIMIT_FACTOR": "100000"}
        data = Path(folder) / "data"
        with running_stack(data, users=["alice", "bob", "zoe"], environment=environment) as stack:
            password = (data / "secrets" / "postgres").read_text(encoding="utf-8").strip()
            await fill(stack)
            await compare_paths(stack, await find_ids(stack, password), options)
            for followers in (1, 100):
                done = await measure_events(stack, password, options.events, followers)
                raw = await measure_stream(stack, options.events)
                print(f"\nevents from the outbox to feeds, {followers} for each")
                show_events(done, followers)
                print("  the same through JetStream alone: kept, fetched, acknowledged")
                show_events(raw)
                print(f"  ratio       {done.micros / raw.micros:7.2f}   of processor time")
            delay = await measure_delay(stack, password, options.rounds * 5)
            print(f"\none event alone, from its commit into a feed: {delay * 1e3:.0f} ms")
    await compare_checks(options.rounds)


def show_events(run: EventRun, followers: int = 0) -> None:
    rate = run.events / run.seconds
    print(f"  {rate:7.0f} events/s" + (f"   {rate * followers:9.0f} feeds/s" if followers else ""))
    micros = {name: spent / run.events * 1e6 for name, spent in run.processor_seconds.items()}
    print(f"  {run.micros:7.0f} us an event, over all processes:")
    print("          " + ", ".join(f"{name} {spent:.0f}" for name, spent in micros.items() if spent >= 1))


async def compare_checks(rounds: int) -> None:
    ours, bare = await measure_checks(rounds)
    print(f"\nchecks of healthy pages, {HOSTS} hosts, {CONCURRENCY} at once")
    print(f"  checker     {ours}")
    print(f"  bare HEAD   {bare}")
    shares = [theirs / its for its, theirs in zip(ours.micros, bare.micros, strict=True)]
    print(f"  share       {median(shares):7.2f}   ({min(shares):.2f} to {max(shares):.2f} in {len(shares)} rounds)")


async def fill(stack: Stack) -> None:
    """Alice has real bookmarks to be paged through; bob's news is full of zoe's."""
    async with (
        api_client(stack.gateway, stack.token("alice")) as alice,
        api_client(stack.gateway, stack.token("bob")) as bob,
        api_client(stack.gateway, stack.token("zoe")) as zoe,
    ):
        await alice.expect("POST", "/v1/import", data=BOOKMARKS.read_bytes())
        await bob.expect("POST", "/v1/following", params={"followed": "zoe"})
        for number in range(200):
            body = {"url": f"{stack.ready['demo_site']}/ok/{number}", "title": f"Number {number}", "tags": ["a", "b"]}
            await zoe.expect("POST", "/v1/links", body=body)

        async def told() -> bool:
            return len((await bob.expect("GET", "/v1/news", params={"limit": "200"}))["events"]) == 200

        await eventually(told, "bob's news is full", 60)


async def compare_paths(stack: Stack, ids: Mapping[str, int], options: argparse.Namespace) -> None:
    pids = stack.ready["pids"]
    stores = [pids["postgres"], pids["valkey"]]
    # Whoever serves these requests. Events are worked on afterwards, by others.
    services = [pids[name] for name in ("api-gateway", "link-manager", "user-manager", "news-manager")]
    with running_floor(stack, ids["alice"], ids["bob"]) as (floor_url, floor_pid):

        def sides(user: str) -> tuple[Side, Side]:
            return (
                Side("whole path", stack.gateway, [*services, *stores], {"Access-Token": stack.token(user)}),
                Side("floor", floor_url, [floor_pid, *stores]),
            )

        await compare("a page of 20 links", sides("alice"), page_request, options)
        await compare("a page of 20 news", sides("bob"), news_request, options)
        await compare("a link added, with two tags and its event", sides("alice"), add_request("bench"), options)


async def find_ids(stack: Stack, password: str) -> dict[str, int]:
    postgres = stack.ready["postgres"]
    connection = await asyncpg.connect(
        host=postgres["host"],
        port=postgres["port"],
        user=postgres["user"],
        database="user_manager",
        password=password,
    )
    try:
        return {row["name"]: row["id"] for row in await connection.fetch("SELECT id, name FROM users")}
    finally:
        await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3_000, help="in each round and on each side (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (%(default)s)")
    parser.add_argument("--events", type=int, default=20_000, help="from the outbox to feeds (%(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="at once (%(default)s)")
    options = parser.parse_args()
    asyncio.run(run(options))
    print("\nwhat one request pays for, in one process")
    for name, micros in measure_parts().items():
        print(f"  {name:<44} {micros:7.1f} us")
    print("\nfeeds: pushing, reading, memory")
    uvloop.run(news.run(followers=10_000, saves=4, rounds=options.rounds))
    print("\na save, by followers of its author")
    uvloop.run(saves.run(saves=100, most=1_000_000))


if __name__ == "__main__":
    main()
