"""Every process killed in turn while links are added at a steady rate: nothing that was accepted is lost.

Asserted from outside, through the public API alone: every accepted link is in the follower's news exactly once, and has
a status.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest

from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import Stack, running_stack

VICTIMS = (
    "link-manager",
    "user-manager",
    "social-graph-manager",
    "news-manager",
    "link-checker",
    "link-check-function",
    "api-gateway",
    "nats",
    "valkey",
    "postgres",
)
#: Links a second: few enough that all of them fit into one feed.
RATE = 6
#: Accepted before and after each death.
ENOUGH = 12
#: Seconds for what was interrupted to come to its end; redeliveries wait for half a minute.
SETTLED = 180.0


@pytest.fixture(scope="module")
def drilled_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("faults") / "data", users=["alice", "bob"]) as stack:
        yield stack


class Adder:
    """Adds links at a steady rate, and remembers which were accepted."""

    def __init__(self, client: ApiClient, site: str) -> None:
        self.accepted: list[str] = []
        self.refused = 0
        self._client = client
        self._site = site
        self._enough = asyncio.Event()

    async def run(self) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            await self._add(f"{self._site}/ok/{number}")
            try:
                await asyncio.wait_for(self._enough.wait(), 1 / RATE)
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._enough.set()

    async def _add(self, url: str) -> None:
        try:
            reply = await self._client.call("POST", "/v1/links", body={"url": url, "title": "drill"})
        except aiohttp.ClientError:
            self.refused += 1
            return
        if reply.status == 200:
            self.accepted.append(url)
        else:
            assert reply.status >= 500, f"a crash was blamed on the caller: {reply.status} {reply.content!r}"
            self.refused += 1


async def test_nothing_accepted_is_lost(drilled_stack: Stack) -> None:
    stack = drilled_stack
    async with (
        api_client(stack.gateway, stack.token("alice")) as alice,
        api_client(stack.gateway, stack.token("bob")) as bob,
    ):
        await bob.expect("POST", "/v1/following", params={"followed": "alice"})
        adder = Adder(alice, stack.ready["demo_site"])
        adding = asyncio.create_task(adder.run())
        for victim in VICTIMS:
            await kill_and_wait(stack, victim, adder)
        adder.stop()
        await adding
        accepted = set(adder.accepted)
        assert len(accepted) == len(adder.accepted)
        print(f"{len(accepted)} accepted, {adder.refused} refused while something was away")

        async def told() -> bool:
            return accepted <= set(await news_counts(bob))

        await eventually(told, "every accepted link is in the news", SETTLED)

        async def judged() -> bool:
            return not await alice.all_links(status="pending", limit="200")

        await eventually(judged, "every link has a status", SETTLED)
        counts = await news_counts(bob)
        assert {url: count for url, count in counts.items() if count > 1} == {}
        saved = {link["Url"]: link["Status"] for link in await alice.all_links(limit="200")}
        assert accepted <= saved.keys()
        assert set(saved.values()) == {"valid"}


async def kill_and_wait(stack: Stack, victim: str, adder: Adder) -> None:
    """Kills it in the middle of the adding, and goes on when links are accepted again."""

    async def more(than: int) -> bool:
        return len(adder.accepted) >= than

    target = len(adder.accepted) + ENOUGH
    await eventually(lambda: more(target), f"links are accepted before {victim} dies", 60)
    before = stack.ready["pids"][victim]
    os.kill(before, signal.SIGKILL)

    async def back() -> bool:
        return bool(stack.ready["pids"].get(victim) not in (None, before))

    await eventually(back, f"{victim} is started again", 60)
    again = len(adder.accepted) + ENOUGH
    await eventually(lambda: more(again), f"links are accepted after {victim} died", 60)


async def news_counts(reader: ApiClient) -> Counter[str]:
    counts: Counter[str] = Counter()
    token = ""
    while True:
        params = {"limit": "200", **({"start_token": token} if token else {})}
        page = await reader.expect("GET", "/v1/news", params=params)
        counts.update(event["Url"] for event in page["events"])
        token = page["NextPageToken"]
        if not token:
            return counts
