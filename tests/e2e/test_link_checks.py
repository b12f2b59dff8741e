"""What people get from the link checker, in a running system: pages that moved and died on the demo site."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import Stack


@pytest.fixture
async def people(shared_stack: Stack) -> AsyncIterator[list[ApiClient]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(api_client(shared_stack.gateway, shared_stack.token(name)))
            for name in ("moira", "milo")
        ]


async def test_links_are_mended(shared_stack: Stack, people: list[ApiClient]) -> None:
    moira, milo = people
    site = shared_stack.ready["demo_site"]
    moved, missing = f"{site}/moved", f"{site}/missing"
    await milo.expect("POST", "/v1/following", body={"followed": "moira"})
    saved = {}
    for url in (moved, missing):
        body = {"url": url, "title": url.rpartition("/")[2], "tags": "old"}
        saved[url] = (await moira.expect("POST", "/v1/links", body=body))["link"]

    async def looked_at() -> bool:
        counts = await moira.expect("GET", "/v1/links/status")
        return bool(counts["statuses"] == {"pending": 0, "valid": 1, "invalid": 1})

    await eventually(looked_at, "verdicts of both")
    counts = await moira.expect("GET", "/v1/links/status")
    assert [(row["StatusReason"], row["Count"]) for row in counts["reasons"]] == [("moved", 1), ("not_found", 1)]

    (dead,) = (await moira.expect("GET", "/v1/links", params={"status": "invalid"}))["links"]
    assert (dead["Url"], dead["ArchivedUrl"]) == (missing, f"https://web.archive.org/web/{missing}")
    history = await moira.expect("GET", "/v1/links/history", params={"url": missing})
    assert [(change["Status"], change["StatusReason"]) for change in history["changes"]] == [("invalid", "not_found")]
    # It was looked at just now: the answer is what is known.
    asked = await moira.expect("POST", "/v1/links/check", body={"url": missing})
    assert asked["link"] == dead

    (mend,) = (await moira.expect("GET", "/v1/links", params={"status_reason": "moved"}))["links"]
    assert (mend["Url"], mend["MovedTo"]) == (moved, f"{site}/ok")
    link = (await moira.expect("POST", "/v1/links/move", body={"url": moved}, headers={"If-Match": '"1"'}))["link"]
    assert (link["Id"], link["Url"], link["Version"]) == (saved[moved]["Id"], mend["MovedTo"], 2)

    async def found() -> dict[str, Any]:
        links = (await moira.expect("GET", "/v1/links", params={"url_regex": "/ok$"}))["links"]
        return dict(links[0])

    async def is_well() -> bool:
        link = await found()
        return (link["Status"], link["StatusReason"]) == ("valid", "ok")

    await eventually(is_well, "the verdict of the new address")
    assert (await found())["Tags"] == {"old": True}

    async def is_told() -> bool:
        news = (await milo.expect("GET", "/v1/news"))["events"]
        return {event["Url"] for event in news} == {link["Url"], missing}

    await eventually(is_told, "news of the new address")
