"""Somebody takes all that is theirs along, and leaves: through a whole running system."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.e2e.client import ApiClient, api_client, as_saved, eventually
from tests.e2e.stack import Stack

FILE = '<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DT><A HREF="https://lena.example/file">In a file</A>\n'


@pytest.fixture
async def lena_and_leo(shared_stack: Stack) -> AsyncIterator[tuple[ApiClient, ApiClient]]:
    async with AsyncExitStack() as stack:
        lena, leo = [
            await stack.enter_async_context(api_client(shared_stack.gateway, shared_stack.token(name)))
            for name in ("lena", "leo")
        ]
        yield lena, leo


async def test_taking_everything_along_and_leaving(lena_and_leo: tuple[ApiClient, ApiClient]) -> None:
    lena, leo = lena_and_leo
    await leo.expect("POST", "/v1/following", body={"followed": "lena"})
    await lena.expect("POST", "/v1/following", body={"followed": "leo"})
    for number in range(3):
        await lena.expect("POST", "/v1/links", body={"url": f"https://lena.example/{number}", "title": str(number)})
    await lena.expect("POST", "/v1/import", data=FILE, headers={"Content-Type": "text/html"})

    async def told() -> bool:
        return len((await leo.expect("GET", "/v1/news"))["events"]) == 3

    await eventually(told, "leo has news of lena")

    exported = await lena.call("GET", "/v1/me/export")
    assert exported.status == 200
    with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
        assert archive.testzip() is None
        links = json.loads(archive.read("links.json"))["links"]
        assert as_saved(links) == as_saved(await lena.all_links())
        assert len(links) == 4
        assert json.loads(archive.read("followers.json")) == {"followers": ["leo"]}
        assert archive.read("bookmarks.html").count(b"HREF=") == 4

    assert (await lena.call("DELETE", "/v1/me", params={"confirm": "leo"})).status == 400
    assert (await lena.expect("DELETE", "/v1/me", params={"confirm": "lena"}))["State"] == "deleting"

    async def locked_out() -> bool:
        return (await lena.call("GET", "/v1/me")).status == 401

    # Within a second, or, should NATS have lost it, as soon as the gateway forgets.
    await eventually(locked_out, "lena's token is nobody's", 10)
    assert (await leo.call("GET", "/v1/users/lena")).status == 404

    async def gone() -> bool:
        following = (await leo.expect("GET", "/v1/following"))["following"]
        return not following and not (await leo.expect("GET", "/v1/news"))["events"]

    await eventually(gone, "nothing of lena is left with leo", 60)
    me = (await leo.expect("GET", "/v1/me"))["user"]
    assert (me["FollowerCount"], me["FollowingCount"]) == (0, 0)
