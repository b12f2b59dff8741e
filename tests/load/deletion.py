"""What it costs others when somebody leaves who has much: ``python -m tests.load.deletion``.

An account with many links and followers is deleted while somebody else reads and saves; each step is timed, and the
other's requests before and during it.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Final

import asyncpg

from pkg.local_stack.secret_store import SecretStore
from tests.e2e.client import ApiClient, api_client
from tests.e2e.stack import Stack, running_stack

_FIRST_FOLLOWER: Final = 10**13
#: Seconds in which the neighbour is measured alone.
_BEFORE: Final = 10.0
_POLL: Final = 0.05


def bookmarks(first: int, count: int) -> str:
    rows = "".join(
        f'<DT><A HREF="https://{number}.example/" PRIVATE="0" TAGS="t{number % 50},u{number % 7},a">Link {number}</A>\n'
        for number in range(first, first + count)
    )
    return f"<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n{rows}</DL><p>\n"


async def connect(stack: Stack, database: str) -> asyncpg.Connection:
    postgres = stack.ready["postgres"]
    return await asyncpg.connect(
        host=postgres["host"],
        port=postgres["port"],
        user=postgres["user"],
        database=database,
        password=SecretStore(stack.data / "secrets").get("postgres"),
    )


async def add_followers(stack: Stack, user_id: int, count: int) -> None:
    graph = await connect(stack, "social_graph_manager")
    ids = list(range(_FIRST_FOLLOWER, _FIRST_FOLLOWER + count))
    for table, columns in (("followers", "$1::bigint, id"), ("following", "id, $1::bigint")):
        await graph.execute(
            f"INSERT INTO {table} SELECT {columns}, now() FROM unnest($2::bigint[]) AS id", user_id, ids
        )
    await graph.execute(
        "INSERT INTO follow_counts (user_id, followers, following) SELECT id, 0, 1 FROM unnest($1::bigint[]) AS id", ids
    )
    await graph.execute(
        "INSERT INTO follow_counts (user_id, followers, following) VALUES ($1, $2, 0)"
        " ON CONFLICT (user_id) DO UPDATE SET followers = excluded.followers",
        user_id,
        count,
    )
    await graph.close()


class Neighbour:
    """Reads a page and saves a link, all the time."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._numbers = itertools.count()
        self.seconds: list[float] = []

    async def live(self) -> None:
        while True:
            for method, body in (
                ("GET", None),
                ("POST", {"url": f"https://n{next(self._numbers)}.example/", "title": "n"}),
            ):
                began = time.perf_counter()
                await self._client.expect(method, "/v1/links", body=body)
                self.seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)

    def told(self) -> str:
        percentiles = quantiles([seconds * 1_000 for seconds in self.seconds], n=100)
        text = f"{len(self.seconds)} requests, p50 {percentiles[49]:.0f} ms, p99 {percentiles[98]:.0f} ms"
        self.seconds = []
        return text


async def measure(stack: Stack, links: int, followers: int) -> None:
    users = await connect(stack, "user_manager")
    async with (
        api_client(stack.gateway, stack.token("quitter")) as quitter,
        api_client(stack.gateway, stack.token("neighbour")) as other,
    ):
        for first in range(0, links, 10_000):
            file = bookmarks(first, min(10_000, links - first))
            await quitter.expect("POST", "/v1/import", data=file, headers={"Content-Type": "text/html"})
        user_id = await users.fetchval("SELECT id FROM users WHERE name = 'quitter'")
        await add_followers(stack, user_id, followers)
        neighbour = Neighbour(other)
        living = asyncio.create_task(neighbour.live())
        await asyncio.sleep(_BEFORE)
        print("before:", neighbour.told())
        began = time.perf_counter()
        await quitter.expect("DELETE", "/v1/me", body={"confirm": "quitter"})
        print(f"asked for: {time.perf_counter() - began:.2f} s")
        steps: dict[str, float] = {}
        while (
            step := await users.fetchval("SELECT step FROM account_deletions WHERE user_id = $1", user_id)
        ) is not None:
            steps.setdefault(step, time.perf_counter())
            await asyncio.sleep(_POLL)
        ended = time.perf_counter()
        print("during:", neighbour.told())
        times = [*steps.values(), ended]
        for name, (start, end) in zip(steps, itertools.pairwise(times), strict=True):
            print(f"{name}: {end - start:.2f} s")
        living.cancel()
    await users.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=50_000)
    parser.add_argument("--followers", type=int, default=10_000)
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(
            Path(folder) / "data",
            users=["quitter", "neighbour"],
            environment={
                "ACCOUNT_DELETION_SETTLE": "0",
                "MAX_LINKS_PER_USER": str(options.links + 100_000),
                "RATE_LIMIT_FACTOR": "1000",
            },
        ) as stack,
    ):
        asyncio.run(measure(stack, options.links, options.followers))


if __name__ == "__main__":
    main()
