"""What is private, for followers, or of somebody who has blocked: through a whole running system, its logs included."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import aiohttp
import pytest

from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import Stack

#: Word in URL, title, description and tag of a link -> who sees it at first, and in the end.
WORDS: Final = {
    "zqopen": ("public", "public"),
    "zqfollowers": ("followers", "followers"),
    "zqprivate": ("private", "private"),
    "zqturned": ("public", "private"),
    "zqnarrowed": ("public", "followers"),
}
PEOPLE: Final = ("pia", "percy", "paul", "petra")
QUESTIONS: Final = (
    "/v1/links",
    "/v1/tags",
    "/v1/news?limit=200",
    "/v1/export",
    "/v1/me",
    "/v1/followers",
    "/v1/following",
    "/v1/follow-requests",
    "/v1/follow-requests?direction=outgoing",
    "/v1/blocks",
    "/v1/users/pia",
    "/v1/users/pia/links",
    *(
        f"/v1/users/pia/links?{name}={word}"
        for word in WORDS
        for name in ("q", "tag", "url_regex", "description_regex")
    ),
)


@dataclass(frozen=True)
class People:
    pia: ApiClient
    #: Follows pia to the end.
    percy: ApiClient
    #: Followed her, and is blocked.
    paul: ApiClient
    #: Followed her, and is removed.
    petra: ApiClient


@pytest.fixture
async def people(shared_stack: Stack) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:
        yield People(
            *[
                await stack.enter_async_context(api_client(shared_stack.gateway, shared_stack.token(name)))
                for name in PEOPLE
            ]
        )


def words_in(*contents: bytes) -> set[str]:
    return {word for word in WORDS if any(word.encode() in content for content in contents)}


async def ask_everything(reader: ApiClient) -> set[str]:
    replies = [await reader.call("GET", path) for path in QUESTIONS]
    assert {reply.status for reply in replies} <= {200, 404}
    return words_in(*(reply.content + repr(reply.headers).encode() for reply in replies))


async def in_the_news_of(reader: ApiClient) -> set[str]:
    return words_in((await reader.call("GET", "/v1/news", params={"limit": "200"})).content)


def has_news(reader: ApiClient, words: Collection[str]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await in_the_news_of(reader) == set(words)

    return check


async def test_what_is_private_is_nowhere(shared_stack: Stack, people: People) -> None:
    for reader in (people.percy, people.paul, people.petra):
        await reader.expect("POST", "/v1/following", body={"followed": "pia"})
    for word, (visibility, _) in WORDS.items():
        link = {"url": f"https://{word}.example/", "title": word, "description": word, "tags": [word]}
        await people.pia.expect("POST", "/v1/links", body=link | {"visibility": visibility})
    for reader in (people.percy, people.paul, people.petra):
        await eventually(has_news(reader, set(WORDS) - {"zqprivate"}), "what they may see is in the news")

    changed = time.monotonic()
    for word, (before, after) in WORDS.items():
        if before != after:
            await people.pia.expect("PUT", "/v1/links", body={"url": f"https://{word}.example/", "visibility": after})
    await people.pia.expect("POST", "/v1/blocks", body={"blocked": "paul"})
    await people.pia.expect("DELETE", "/v1/followers", body={"follower": "petra"})
    for_followers = set(WORDS) - {"zqprivate", "zqturned"}
    # The promise is a second. A machine that runs other tests as well gets some more.
    for reader, words in ((people.percy, for_followers), (people.paul, set()), (people.petra, set())):
        await eventually(has_news(reader, words), "what they may no longer see is out of the news", 5)
    print(f"out of the news after {time.monotonic() - changed:.3f} s")

    assert await ask_everything(people.pia) == set(WORDS)
    assert await ask_everything(people.percy) == for_followers
    assert await ask_everything(people.petra) == {"zqopen"}
    assert await ask_everything(people.paul) == set()
    for reader, count in ((people.percy, 3), (people.petra, 1)):
        assert (await reader.expect("GET", "/v1/users/pia"))["user"]["LinkCount"] == count
    for path in ("/v1/users/pia", "/v1/users/pia/links"):
        blocked, missing = await people.paul.call("GET", path), await people.paul.call("GET", path.replace("pia", "pi"))
        assert blocked.status == missing.status == 404
        assert blocked.json["err"] == missing.json["err"]
    async with aiohttp.ClientSession() as session:
        for path in QUESTIONS:
            async with session.get(shared_stack.gateway + path) as response:
                assert response.status == 401
                assert words_in(await response.read()) == set()

    files = sorted((shared_stack.data / "logs").iterdir())
    assert {file.stem for file in files} >= set(shared_stack.ready["services"])
    for file in files:
        assert words_in(file.read_bytes()) == set(), file.name


async def test_who_may_follow_again_has_it_back(people: People) -> None:
    """After the one before: paul is blocked, petra was removed."""
    assert (await people.paul.call("POST", "/v1/following", body={"followed": "pia"})).status == 404
    await people.pia.expect("DELETE", "/v1/blocks", body={"blocked": "paul"})
    for reader in (people.paul, people.petra):
        await reader.expect("POST", "/v1/following", body={"followed": "pia"})
        await eventually(has_news(reader, {"zqopen", "zqfollowers", "zqnarrowed"}), "what she saved is there again")
