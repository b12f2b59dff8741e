"""A release as it is made in a cluster, with two versions side by side on the same stores, while people use the system.

The version of before is the code of the commit before the newest migration, on today's schema: what a rolling update, a
colour that is kept for a rollback, and the rollback itself all rest upon (docs/releases.md).
"""

import asyncio
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from pkg.runtime.access import API_GATEWAY, LINK_CHECKER, LINK_MANAGER, NEWS_MANAGER
from tests.e2e.client import ApiClient, api_client, eventually, news_counts
from tests.e2e.stack import ROOT
from tests.faults.colours import Colour, House, Switch, running_house

MIGRATIONS = "pkg/*/migrations/versions/[0-9]*.py"
#: Links a second.
RATE = 6
#: Accepted in each state of a release.
ENOUGH = 10
SETTLED = 180.0


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_before_newest_migration() -> str:
    """Empty if the history does not go so far back, as in a shallow clone."""
    newest = git("log", "-1", "--diff-filter=A", "--format=%H", "HEAD", "--", f":(glob){MIGRATIONS}")
    return git("rev-parse", "--verify", "--quiet", f"{newest}^") if newest else ""


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of the version of before."""
    commit = commit_before_newest_migration()
    if not commit or not git("ls-tree", "-r", "--name-only", commit, "--", "pkg/link_manager/migrations"):
        pytest.skip("the history does not reach back beyond the newest migration; clone without --depth")
    tree = tmp_path_factory.mktemp("before")
    archive = tree / "tree.tar"
    subprocess.run(["git", "archive", "--output", str(archive), commit], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(archive) as tar:
        tar.extractall(tree, filter="data")
    return tree


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with running_house(tmp_path_factory.mktemp("releases") / "data") as house:
        yield house


@dataclass
class Saver:
    """Saves links at a steady rate and reads them; remembers what was accepted, and every answer but 200."""

    client: ApiClient
    site: str
    accepted: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            url = f"{self.site}/ok/{number}"
            if await self._is_answered("POST", body={"url": url, "title": "release"}):
                self.accepted.append(url)
            await self._is_answered("GET")
            await asyncio.sleep(1 / RATE)

    async def _is_answered(self, method: str, **arguments: object) -> bool:
        try:
            reply = await self.client.call(method, "/v1/links", **arguments)  # type: ignore[arg-type]  # they are its own
        except aiohttp.ClientError as error:
            self.failures.append(f"{method}: {error!r}")
            return False
        if reply.status != 200:
            self.failures.append(f"{method}: {reply.status} {reply.content[:200]!r}")
        return reply.status == 200

    async def more(self, what: str, number: int = ENOUGH) -> None:
        target = len(self.accepted) + number

        async def enough() -> bool:
            return len(self.accepted) >= target or bool(self.failures)

        await eventually(enough, f"links are accepted {what}", SETTLED)
        assert self.failures == [], what


@asynccontextmanager
async def saving(saver: Saver) -> AsyncIterator[None]:
    task = asyncio.create_task(saver.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def smoke_test(code: Path, url: str, token: str, site: str) -> None:
    """The smoke test of that code, from outside."""
    environment = {"DELINKCIOUS_URL": url, "DELINKCIOUS_TOKEN": token, "DELINKCIOUS_DEMO_SITE": site}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(code / "cmd" / "smoke_test.py"),
        env={"PATH": os.environ["PATH"], **environment},
        cwd=code,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), SETTLED)
    assert process.returncode == 0, output.decode()


async def handled(colour: Colour) -> float:
    """Events that its services have worked on."""
    name = "delinkcious_events_handled_total"
    return sum([await colour.metric(service, name) for service in (LINK_MANAGER, NEWS_MANAGER, LINK_CHECKER)])


async def test_a_release_and_its_rollback_lose_nothing(house: House, old_code: Path) -> None:
    switch = Switch()
    async with AsyncExitStack() as blue, AsyncExitStack() as green, switch.serving() as url:
        old = await blue.enter_async_context(house.colour("blue", consume=True, code=old_code))
        switch.to((old, 1))
        alice_token, bob_token = [await house.let_in(old, name) for name in ("alice", "bob")]
        async with api_client(url, alice_token) as alice, api_client(url, bob_token) as bob:
            await bob.expect("POST", "/v1/following", params={"followed": "alice"})
            saver = Saver(alice, house.site)
            async with saving(saver):
                await smoke_test(old_code, url, alice_token, house.site)
                await saver.more("by the version of before, on the schema of today")

                # Green comes up beside it, answers those who try it, and works on nothing.
                preview = await green.enter_async_context(house.colour("green, unpromoted", consume=False))
                carol_token = await house.let_in(preview, "carol")
                await smoke_test(ROOT, preview.url(API_GATEWAY), carol_token, house.site)
                await saver.more("while green waits")
                assert await handled(old) > 0
                assert await handled(preview) == 0
                await check_that_nobody_consumes(house, switch, saver, blue, old_code)
                waiting = blue_of(switch)
                assert await handled(preview) == await handled(waiting) == 0

                # Promotion: some requests first, then all of them.
                async with house.colour("green", consume=True) as new:
                    switch.to((waiting, 3), (new, 1))
                    await saver.more("by both colours", 2 * ENOUGH)
                    assert switch.answered[new.name] > 0
                    switch.to((new, 1))
                    await green.aclose()
                    await saver.more("by green")
                    await smoke_test(ROOT, url, alice_token, house.site)
                    assert await handled(new) > 0

                    # Rollback: people are with blue at once, and then it works on events again.
                    switch.to((waiting, 1))
                    await saver.more("by blue again")
                    again = await blue.enter_async_context(house.colour("blue again", consume=True, code=old_code))
                    switch.to((again, 1))
                await smoke_test(old_code, url, alice_token, house.site)
                await saver.more("after the rollback")
            await check_that_all_is_there(alice, bob, saver)
    print(f"{len(saver.accepted)} links accepted, answered by {switch.answered}")


async def check_that_nobody_consumes(
    house: House, switch: Switch, saver: Saver, blue: AsyncExitStack, old_code: Path
) -> None:
    """Blue stops working on events, with green there: NATS keeps them, and nobody as much as asks for one."""
    idle = await blue.enter_async_context(house.colour("blue, idle", consume=False, code=old_code))
    consuming = blue_of(switch)
    switch.to((idle, 1))
    await consuming.supervisor.stop()

    async def nobody_asks() -> bool:
        return await house.pulls() == 0

    await eventually(nobody_asks, "requests for events have ended", SETTLED)
    before = await house.waiting()
    await saver.more("while nobody works on events")
    assert await house.waiting() > before
    assert await house.pulls() == 0


def blue_of(switch: Switch) -> Colour:
    return switch.weights[0][0]


async def check_that_all_is_there(alice: ApiClient, bob: ApiClient, saver: Saver) -> None:
    accepted = set(saver.accepted)
    assert saver.failures == []

    async def judged() -> bool:
        return not await alice.all_links(status="pending", limit="200")

    await eventually(judged, "every link has a status", SETTLED)
    # Feeds are a cache, which versions keep differently: blue may show less than all of it, and nothing twice.
    assert {url: count for url, count in (await news_counts(bob)).items() if count > 1} == {}
    saved = {link["Url"]: link["Status"] for link in await alice.all_links(limit="200")}
    assert accepted <= saved.keys()
    assert set(saved.values()) == {"valid"}
