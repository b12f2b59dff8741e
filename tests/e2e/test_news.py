"""From a save to the followers' news and to a status: through a whole running system, in the contract's words."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import ROOT, Stack

DATA = ROOT / "tests" / "data"


@pytest.fixture
async def nina(shared_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(shared_stack.gateway, shared_stack.token("nina")) as client:
        yield client


@pytest.fixture
async def ned(shared_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(shared_stack.gateway, shared_stack.token("ned")) as client:
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


async def test_a_save_is_news_at_once_and_gets_a_status(shared_stack: Stack, nina: ApiClient, ned: ApiClient) -> None:
    await ned.expect("POST", "/v1/following", params={"followed": "nina"})
    url = f"{shared_stack.ready['demo_site']}/ok/first"
    saved = time.monotonic()
    await nina.expect("POST", "/v1/links", body={"url": url, "title": "First", "tags": ["x"]})

    async def told() -> bool:
        return len(await about(ned, url)) == 1

    # The promise is a second. A machine that runs other tests as well gets some more.
    await eventually(told, "ned's news has it", 5)
    took = time.monotonic() - saved
    (entry,) = await about(ned, url)
    assert (entry["Username"], entry["Title"], entry["EventType"]) == ("nina", "First", 0)
    assert entry["Tags"] == {"x": True}
    print(f"in the news after {took:.3f} s")

    async def checked() -> bool:
        links = (await nina.expect("GET", "/v1/links", params={"url_regex": "first$"}))["links"]
        return [link["Status"] for link in links] == ["valid"]

    await eventually(checked, "the link has been checked", 15)
    (link,) = (await nina.expect("GET", "/v1/links", params={"url_regex": "first$"}))["links"]
    assert (link["Version"], link["UpdatedAt"]) == (1, link["CreatedAt"]), "a verdict is no change of the link"
    assert len(await about(ned, url)) == 1, "a verdict is no news"

    missing = f"{shared_stack.ready['demo_site']}/missing"
    await nina.expect("POST", "/v1/links", body={"url": missing, "title": "Dead"})

    async def dead() -> bool:
        links = (await nina.expect("GET", "/v1/links", params={"status": "invalid"}))["links"]
        return [link["Url"] for link in links] == [missing]

    await eventually(dead, "a dead link is told", 15)


async def test_an_update_replaces_the_entry_and_a_delete_removes_it(nina: ApiClient, ned: ApiClient) -> None:
    await ned.expect("POST", "/v1/following", params={"followed": "nina"})
    url, other = "https://changed.example/", "https://other.example/"
    for saved in (url, other):
        await nina.expect("POST", "/v1/links", body={"url": saved, "title": "Old"})
    await nina.expect("PUT", "/v1/links", body={"url": url, "title": "New"})

    async def replaced() -> bool:
        events = await news_of(ned)
        return [(event["Url"], event["Title"], event["EventType"]) for event in events[:2]] == [
            (url, "New", 1),
            (other, "Old", 0),
        ]

    await eventually(replaced, "the update is on top, once")
    await nina.expect("PUT", "/v1/links", body={"url": other, "visibility": "private"})
    await nina.expect("DELETE", "/v1/links", params={"url": url})

    async def gone() -> bool:
        return not await about(ned, url) and not await about(ned, other)

    await eventually(gone, "what is deleted or private is no news")


async def test_an_import_is_one_summary_or_nothing(shared_stack: Stack, ned: ApiClient) -> None:
    content = (DATA / "bookmarks_firefox.html").read_bytes()
    for user, visibility, expected in (("nora", "private", []), ("nick", "public", [(3, 1279)])):
        await ned.expect("POST", "/v1/following", params={"followed": user})
        async with api_client(shared_stack.gateway, shared_stack.token(user)) as author:
            await author.expect("POST", f"/v1/import?visibility={visibility}", data=content)
            # What comes after it in the same user's order: when this is there, the import has been worked on.
            await author.expect("POST", "/v1/links", body={"url": "https://after.example/", "title": "After"})

        async def last(user: str = user) -> bool:
            return any(event["Username"] == user for event in await about(ned, "https://after.example/"))

        await eventually(last, f"what {user} saved last is there")
        summaries = [
            (event["EventType"], event["Count"])
            for event in await news_of(ned)
            if event["Username"] == user and event["Url"] != "https://after.example/"
        ]
        assert summaries == expected


async def test_following_brings_what_is_there_and_unfollowing_takes_it(shared_stack: Stack, nina: ApiClient) -> None:
    urls = {f"https://back.example/{number}" for number in range(3)}
    for url in sorted(urls):
        await nina.expect("POST", "/v1/links", body={"url": url, "title": "Before"})
    async with api_client(shared_stack.gateway, shared_stack.token("nora")) as nora:
        await nora.expect("POST", "/v1/following", params={"followed": "nina"})

        async def filled() -> bool:
            return urls <= {event["Url"] for event in await news_of(nora)}

        await eventually(filled, "what nina saved before is there")
        await nora.expect("DELETE", "/v1/following", params={"followed": "nina"})

        async def emptied() -> bool:
            return all(event["Username"] != "nina" for event in await news_of(nora))

        await eventually(emptied, "what nina saved is gone")


async def test_news_is_paged_newest_first(nina: ApiClient, ned: ApiClient) -> None:
    """The original's every page was page one, oldest first."""
    await ned.expect("POST", "/v1/following", params={"followed": "nina"})
    for number in range(7):
        await nina.expect("POST", "/v1/links", body={"url": f"https://page.example/{number}", "title": str(number)})

    async def there() -> bool:
        return len([event for event in await news_of(ned) if "page.example" in event["Url"]]) == 7

    await eventually(there, "all seven are there")
    walked: list[str] = []
    token = ""
    for _ in range(4):
        params = {"limit": "2", **({"start_token": token} if token else {})}
        page = await ned.expect("GET", "/v1/news", params=params)
        walked += [event["Title"] for event in page["events"]]
        token = page["NextPageToken"]
    assert walked[:7] == ["6", "5", "4", "3", "2", "1", "0"]


def test_the_smoke_test_passes_and_can_fail(shared_stack: Stack) -> None:
    environment = {
        "DELINKCIOUS_URL": shared_stack.gateway,
        "DELINKCIOUS_TOKEN": shared_stack.token("nick"),
        "DELINKCIOUS_DEMO_SITE": shared_stack.ready["demo_site"],
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


async def test_everything_said_twice_is_heard_once(nina: ApiClient, ned: ApiClient) -> None:
    """Many saves at once: each is news exactly once."""
    await ned.expect("POST", "/v1/following", params={"followed": "nina"})
    urls = [f"https://many.example/{number}" for number in range(60)]
    await asyncio.gather(*[nina.expect("POST", "/v1/links", body={"url": url, "title": "m"}) for url in urls])

    async def there() -> bool:
        return sorted(event["Url"] for event in await news_of(ned) if "many.example" in event["Url"]) == sorted(urls)

    await eventually(there, "each of them once")
