"""Real bookmarks through the public API of a running system: in, found, paged, changed, and out again."""

import asyncio
import html.parser
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.client import ApiClient, api_client, as_saved
from tests.e2e.stack import Stack

DATA = Path(__file__).parents[1] / "data"
HTML = {"Content-Type": "text/html"}


class ReferenceReader(html.parser.HTMLParser):
    """A second, simpler reader of the well-formed sample file, to compare the product's with."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, str]] = []
        self._into: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.rows.append({key: value or "" for key, value in attrs} | {"title": "", "description": ""})
        self._into = {"a": "title", "dd": "description"}.get(tag)

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into and self.rows:
            self.rows[-1][self._into] += data


def reference_rows(name: str) -> list[dict[str, str]]:
    reader = ReferenceReader()
    reader.feed((DATA / name).read_text())
    return reader.rows


@pytest.fixture
async def alice(shared_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(shared_stack.gateway, shared_stack.token("alice")) as client:
        yield client


@pytest.fixture
async def bob(shared_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(shared_stack.gateway, shared_stack.token("bob")) as client:
        yield client


@pytest.fixture
async def carol(shared_stack: Stack) -> AsyncIterator[ApiClient]:
    async with api_client(shared_stack.gateway, shared_stack.token("carol")) as client:
        yield client


async def test_a_real_file_arrives_whole(alice: ApiClient) -> None:
    content = (DATA / "bookmarks_firefox.html").read_bytes()
    report = (await alice.expect("POST", "/v1/import", data=content, headers=HTML))["report"]
    counts = {key: report[key] for key in ("Total", "Imported", "Merged", "Unchanged", "Skipped")}
    assert counts == {"Total": 1290, "Imported": 1279, "Merged": 11, "Unchanged": 0, "Skipped": 0}
    assert [row["Action"] for row in report["Rows"]] == ["merged"] * 11

    saved = {link["Url"]: link for link in await alice.all_links(limit="200")}
    assert len(saved) == 1279
    first: dict[str, dict[str, str]] = {}
    for row in reference_rows("bookmarks_firefox.html"):
        first.setdefault(row["href"], row)
    missing = [url for url in first if url not in saved]
    assert len(first) == 1283
    assert len(missing) == 4, "only other spellings of a saved address may be missing"
    for url, link in saved.items():
        row = first[url]
        assert link["Title"] == row["title"].strip()
        assert link["Description"] == row["description"].strip()
        assert set(filter(None, row["tags"].split(","))) <= link["Tags"].keys()
        added = datetime.fromtimestamp(int(row["add_date"]), UTC)
        assert datetime.fromisoformat(link["CreatedAt"]) == added
        assert link["Visibility"] == "private"

    again = (await alice.expect("POST", "/v1/import", data=content, headers=HTML))["report"]
    assert (again["Unchanged"], again["Imported"], again["Merged"]) == (1290, 0, 0)


async def test_pages_neither_repeat_nor_leave_out(alice: ApiClient) -> None:
    everything = await alice.all_links(limit="200")
    by_sevens = await alice.all_links(limit="7", tag="major-cloud-providers")
    wanted = [link["Id"] for link in everything if "major-cloud-providers" in link["Tags"]]
    assert [link["Id"] for link in by_sevens] == wanted
    assert len(wanted) > 7
    order = [(link["CreatedAt"], int(link["Id"])) for link in everything]
    assert order == sorted(order, reverse=True)


async def test_filters_find_what_a_scan_finds(alice: ApiClient) -> None:
    everything = await alice.all_links(limit="200")
    github = await alice.all_links(limit="200", url_regex=r"^https://github\.com/")
    assert [link["Id"] for link in github] == [
        link["Id"] for link in everything if link["Url"].startswith("https://github.com/")
    ]
    assert github
    both = await alice.all_links(limit="200", title_regex="(?i)cloud", description_regex="free")
    assert [link["Id"] for link in both] == [
        link["Id"] for link in everything if "cloud" in link["Title"].lower() and "free" in link["Description"]
    ]
    assert both
    found = await alice.expect("GET", "/v1/links", params={"q": "kubern", "limit": "200"})
    assert found["links"]
    for link in found["links"]:
        text = " ".join([link["Title"], link["Description"], link["Url"], *link["Tags"]]).lower()
        assert "kubern" in text
    tags = (await alice.expect("GET", "/v1/tags", params={"limit": "200"}))["tags"]
    counted = {row["Tag"]: row["Count"] for row in tags}
    assert counted["major-cloud-providers"] == sum("major-cloud-providers" in link["Tags"] for link in everything)


async def test_a_link_lives_and_dies(alice: ApiClient) -> None:
    url = "https://example.com/lives?and=dies"
    added = await alice.expect("POST", "/v1/links", body={"url": url, "title": "One", "tags": ["A", "b"]})
    assert added["link"]["Tags"] == {"A": True, "b": True}
    assert (await alice.call("POST", "/v1/links", body={"url": url, "title": "Two"})).json["code"] == "link_exists"
    changed = await alice.expect("PUT", "/v1/links", data={"url": url, "remove_tags": "a", "add_tags": "c,d"})
    assert changed["link"]["Tags"] == {"b": True, "c": True, "d": True}
    assert (changed["link"]["Title"], changed["link"]["Version"]) == ("One", 2)
    stale = await alice.call("PUT", "/v1/links", body={"url": url, "title": "Late"}, headers={"If-Match": "1"})
    assert (stale.status, stale.json["code"]) == (412, "version_mismatch")
    assert (await alice.expect("DELETE", "/v1/links", params={"url": url}))["deleted"] is True
    assert await alice.all_links(url_regex="lives") == []
    again = await alice.expect("POST", "/v1/links", body={"url": url, "title": "Three"})
    assert again["link"]["Version"] > 2
    await alice.expect("DELETE", "/v1/links", params={"url": url})


async def test_the_export_is_the_collection(alice: ApiClient, carol: ApiClient) -> None:
    exported = await alice.call("GET", "/v1/export")
    assert exported.status == 200
    report = (await carol.expect("POST", "/v1/import", data=exported.content, headers=HTML))["report"]
    assert (report["Imported"], report["Total"]) == (1279, 1279)
    assert (await carol.call("GET", "/v1/export")).content == exported.content

    def kept(links: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{key: value for key, value in link.items() if key not in ("Id", "Version")} for link in as_saved(links)]

    def by_url(link: dict[str, object]) -> str:
        return str(link["Url"])

    mine = sorted(kept(await alice.all_links(limit="200")), key=by_url)
    assert sorted(kept(await carol.all_links(limit="200")), key=by_url) == mine


async def test_a_follower_reads_what_is_public(alice: ApiClient, bob: ApiClient) -> None:
    for visibility in ("public", "followers", "private"):
        await alice.expect(
            "POST",
            "/v1/links",
            body={"url": f"https://seen.example/{visibility}", "title": visibility, "visibility": visibility},
        )

    async def seen() -> set[str]:
        return {link["Title"] for link in await bob.all_links("/v1/users/alice/links", url_regex="seen")}

    assert await seen() == {"public"}
    assert (await bob.expect("POST", "/v1/following", params={"followed": "alice"}))["State"] == "following"
    assert await seen() == {"public", "followers"}
    profile = (await bob.expect("GET", "/v1/users/alice"))["user"]
    assert (profile["Relationship"], profile["FollowerCount"], profile["LinkCount"]) == ("following", 1, 2)
    assert "Email" not in profile
    assert (await alice.expect("GET", "/v1/followers"))["followers"] == {"bob": True}
    assert (await bob.expect("GET", "/v1/following"))["following"] == {"alice": True}
    await bob.expect("DELETE", "/v1/following", params={"followed": "alice"})
    assert await seen() == {"public"}
    assert (await alice.expect("GET", "/v1/me"))["user"]["FollowerCount"] == 0


async def test_two_adds_of_one_url_leave_one_link(bob: ApiClient) -> None:
    body = {"url": "https://race.example/", "title": "race"}
    replies = await asyncio.gather(*[bob.call("POST", "/v1/links", body=body) for _ in range(20)])
    assert sorted(reply.status for reply in replies) == [200] + [409] * 19
    assert len(await bob.all_links(url_regex="race")) == 1


async def test_the_script_of_the_original(bob: ApiClient) -> None:
    target = {"url": "https://github.com/the-gigi"}
    for prefix in ("/v1", "/v1.0"):
        await bob.expect("DELETE", f"{prefix}/links", params=target)
        await bob.expect("POST", f"{prefix}/links", params={**target, "title": "Gigi on GitHub"})
        links = (await bob.expect("GET", f"{prefix}/links"))["links"]
        assert [link["Status"] for link in links if link["Url"] == target["url"]] == ["pending"]
