"""From a save to the followers' news and to a status: through a whole running system, in the contract's words."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import ROOT, Stack, running_stack

DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module")
def news_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("news") / "data", users=["alice", "bob", "carol", "dave"]) as stack:
        yield stack


@pytest.fixture
async def alice(news_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(news_stack.gateway, news_stack.token("alice")) as client:
        yield client


@pytest.fixture
async def bob(news_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(news_stack.gateway, news_stack.token("bob")) as client:
        yield client


async def news_of(reader: ApiClient) -> list[dict[str, Any]]:
    """Every entry, page by page."""
    events: list[dict[str, Any]] = []
    token = ""
    while True:
        params = {"limit": "50", **({"start_token": token} if token else {})}
        page = await reader.expect("GET", "/v1/news", params=params)
        events += page["events"]
        token = page["NextPageToken"]
        if not token:
            return events


async def about(reader: ApiClient, url: str) -> list[dict[str, Any]]:
    return [event for event in await news_of(reader) if event["Url"] == url]


async def test_a_save_is_news_at_once_and_gets_a_status(news_stack: Stack, alice: ApiClient, bob: ApiClient) -> None:
    await bob.expect("POST", "/v1/following", params={"followed": "alice"})
    url = f"{news_stack.ready['demo_site']}/ok/first"
    saved = time.monotonic()
    await alice.expect("POST", "/v1/links", body={"url": url, "title": "First", "tags": ["x"]})

    async def told() -> bool:
        return len(await about(bob, url)) == 1

    # The promise is a second. A machine that runs other tests as well gets some more.
    await eventually(told, "bob's news has it", 5)
    took = time.monotonic() - saved
    (entry,) = await about(bob, url)
    assert (entry["Username"], entry["Title"], entry["EventType"]) == ("alice", "First", 0)
    assert entry["Tags"] == {"x": True}
    print(f"in the news after {took:.3f} s")

    async def checked() -> bool:
        links = (await alice.expect("GET", "/v1/links", params={"url_regex": "first$"}))["links"]
        return [link["Status"] for link in links] == ["valid"]

    await eventually(checked, "the link has been checked", 15)
    (link,) = (await alice.expect("GET", "/v1/links", params={"url_regex": "first$"}))["links"]
    assert (link["Version"], link["UpdatedAt"]) == (1, link["CreatedAt"]), "a verdict is no change of the link"
    assert len(await about(bob, url)) == 1, "a verdict is no news"

    missing = f"{news_stack.ready['demo_site']}/missing"
    await alice.expect("POST", "/v1/links", body={"url": missing, "title": "Dead"})

    async def dead() -> bool:
        links = (await alice.expect("GET", "/v1/links", params={"status": "invalid"}))["links"]
        return [link["Url"] for link in links] == [missing]

    await eventually(dead, "a dead link is told", 15)


async def test_an_update_replaces_the_entry_and_a_delete_removes_it(alice: ApiClient, bob: ApiClient) -> None:
    await bob.expect("POST", "/v1/following", params={"followed": "alice"})
    url, other = "https://changed.example/", "https://other.example/"
    for saved in (url, other):
        await alice.expect("POST", "/v1/links", body={"url": saved, "title": "Old"})
    await alice.expect("PUT", "/v1/links", body={"url": url, "title": "New"})

    async def replaced() -> bool:
        events = await news_of(bob)
        return [(event["Url"], event["Title"], event["EventType"]) for event in events[:2]] == [
            (url, "New", 1),
            (other, "Old", 0),
        ]

    await eventually(replaced, "the update is on top, once")
    await alice.expect("PUT", "/v1/links", body={"url": other, "visibility": "private"})
    await alice.expect("DELETE", "/v1/links", params={"url": url})

    async def gone() -> bool:
        return not await about(bob, url) and not await about(bob, other)

    await eventually(gone, "what is deleted or private is no news")


async def test_an_import_is_one_summary_or_nothing(news_stack: Stack, bob: ApiClient) -> None:
    content = (DATA / "bookmarks_firefox.html").read_bytes()
    for user, visibility, expected in (("carol", "private", []), ("dave", "public", [(3, 1279)])):
        await bob.expect("POST", "/v1/following", params={"followed": user})
        async with api_client(news_stack.gateway, news_stack.token(user)) as author:
            await author.expect("POST", f"/v1/import?visibility={visibility}", data=content)
            # What comes after it in the same user's order: when this is there, the import has been worked on.
            await author.expect("POST", "/v1/links", body={"url": "https://after.example/", "title": "After"})

        async def last(user: str = user) -> bool:
            return any(event["Username"] == user for event in await about(bob, "https://after.example/"))

        await eventually(last, f"what {user} saved last is there")
        summaries = [
            (event["EventType"], event["Count"])
            for event in await news_of(bob)
            if event["Username"] == user and event["Url"] != "https://after.example/"
        ]
        assert summaries == expected


async def test_following_brings_what_is_there_and_unfollowing_takes_it(news_stack: Stack, alice: ApiClient) -> None:
    urls = {f"https://back.example/{number}" for number in range(3)}
    for url in sorted(urls):
        await alice.expect("POST", "/v1/links", body={"url": url, "title": "Before"})
    async with api_client(news_stack.gateway, news_stack.token("carol")) as carol:
        await carol.expect("POST", "/v1/following", params={"followed": "alice"})

        async def filled() -> bool:
            return urls <= {event["Url"] for event in await news_of(carol)}

        await eventually(filled, "what alice saved before is there")
        await carol.expect("DELETE", "/v1/following", params={"followed": "alice"})

        async def emptied() -> bool:
            return all(event["Username"] != "alice" for event in await news_of(carol))

        await eventually(emptied, "what alice saved is gone")


async def test_news_is_paged_newest_first(alice: ApiClient, bob: ApiClient) -> None:
    """The original's every page was page one, oldest first."""
    await bob.expect("POST", "/v1/following", params={"followed": "alice"})
    for number in range(7):
        await alice.expect("POST", "/v1/links", body={"url": f"https://page.example/{number}", "title": str(number)})

    async def there() -> bool:
        return len([event for event in await news_of(bob) if "page.example" in event["Url"]]) == 7

    await eventually(there, "all seven are there")
    walked: list[str] = []
    token = ""
    for _ in range(4):
        params = {"limit": "2", **({"start_token": token} if token else {})}
        page = await bob.expect("GET", "/v1/news", params=params)
        walked += [event["Title"] for event in page["events"]]
        token = page["NextPageToken"]
    assert walked[:7] == ["6", "5", "4", "3", "2", "1", "0"]


def test_the_smoke_test_passes_and_can_fail(news_stack: Stack) -> None:
    environment = {
        "DELINKCIOUS_URL": news_stack.gateway,
        "DELINKCIOUS_TOKEN": news_stack.token("dave"),
        "DELINKCIOUS_DEMO_SITE": news_stack.ready["demo_site"],
    }

    def smoke(*options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "cmd/smoke_test.py", *options],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    passed = smoke()
    assert passed.returncode == 0, passed.stdout + passed.stderr
    environment["DELINKCIOUS_TOKEN"] = "wrong"
    failed = smoke()
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr


async def test_everything_said_twice_is_heard_once(alice: ApiClient, bob: ApiClient) -> None:
    """Many saves at once: each is news exactly once."""
    await bob.expect("POST", "/v1/following", params={"followed": "alice"})
    urls = [f"https://many.example/{number}" for number in range(60)]
    await asyncio.gather(*[alice.expect("POST", "/v1/links", body={"url": url, "title": "m"}) for url in urls])

    async def there() -> bool:
        return sorted(event["Url"] for event in await news_of(bob) if "many.example" in event["Url"]) == sorted(urls)

    await eventually(there, "each of them once")
