"""What was accepted is kept, whichever process dies in the middle."""

import asyncio
import os
import signal
from collections.abc import Iterator

import aiohttp
import pytest

from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import Stack, running_stack

VICTIMS = ("link-manager", "user-manager", "social-graph-manager", "api-gateway", "postgres")


@pytest.fixture(scope="module")
def limited_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("durable") / "data", users=["alice", "dora"]) as stack:
        yield stack


async def add_until(client: ApiClient, victim: str, enough: asyncio.Event) -> tuple[set[str], int]:
    """Adds links without pause; gives the accepted URLs and how many calls failed."""
    accepted: set[str] = set()
    failed = 0
    number = 0
    while not enough.is_set():
        number += 1
        url = f"https://{victim}.example/{number}"
        try:
            reply = await client.call("POST", "/v1/links", body={"url": url, "title": victim, "tags": [victim]})
        except aiohttp.ClientError:
            failed += 1
            continue
        if reply.status == 200:
            accepted.add(url)
        else:
            assert reply.status >= 500, f"a crash was blamed on the caller: {reply.status} {reply.content!r}"
            failed += 1
    return accepted, failed


@pytest.mark.parametrize("victim", VICTIMS)
async def test_killing_a_process_loses_no_accepted_link(limited_stack: Stack, victim: str) -> None:
    async with api_client(limited_stack.gateway, limited_stack.token("dora")) as dora:
        enough = asyncio.Event()
        adding = asyncio.create_task(add_until(dora, victim, enough))

        async def saved(count: int) -> bool:
            try:
                tags = (await dora.expect("GET", "/v1/tags", params={"prefix": victim}))["tags"]
            except (AssertionError, aiohttp.ClientError):
                return False
            return bool(tags) and tags[0]["Count"] >= count

        await eventually(lambda: saved(20), "links are being added")
        before = limited_stack.ready["pids"][victim]
        os.kill(before, signal.SIGKILL)

        async def back() -> bool:
            now = limited_stack.ready["pids"].get(victim)
            return f"{victim} (pid {now}) serves again" in limited_stack.log.read_text()

        await eventually(back, f"{victim} serves again")
        at_death = len(await _links_when_up(dora, victim))
        await eventually(lambda: saved(at_death + 20), "links are being added again")
        enough.set()
        accepted, failed = await adding
        present = {link["Url"] for link in await dora.all_links(tag=victim, limit="200")}
        assert accepted - present == set(), f"lost of {len(accepted)} accepted, {failed} refused"
        count = (await dora.expect("GET", "/v1/tags", params={"prefix": victim}))["tags"][0]["Count"]
        assert count == len(present)


async def _links_when_up(client: ApiClient, tag: str) -> list[dict[str, object]]:
    links: list[dict[str, object]] = []

    async def readable() -> bool:
        nonlocal links
        try:
            links = await client.all_links(tag=tag, limit="200")
        except (AssertionError, aiohttp.ClientError):
            return False
        return True

    await eventually(readable, "the list can be read")
    return links
