"""What is private is nowhere: not in any answer to anybody who may not see it, not in any log.

Every link has a word of its own in its URL, title, description and tag. Everybody asks for everything that can be read,
by each word as well as without; the words that come back must be exactly those that they may see. An operation that is
added and can be read needs a line in QUESTIONS.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from pkg.object_model.types import GetLinksRequest
from svc.api_gateway_service.handlers import Handlers
from svc.api_gateway_service.routes import api_operations
from tests.api.api_gateway_service.conftest import GatewayHouse, Person, make_streams
from tests.api.api_gateway_service.test_personal_data import unpack

#: Word -> the visibility of the link that has it, in the end. "turned", "narrowed" and "gone" were public once, and in
#: everybody's news.
WORDS: Final = {
    "qpublic": "public",
    "qfollowers": "followers",
    "qprivate": "private",
    "qturned": "private",
    "qnarrowed": "followers",
    "qgone": "deleted",
    "qimported": "private",
}
FOR_FOLLOWERS: Final = frozenset({"qpublic", "qfollowers", "qnarrowed"})
OWN: Final = frozenset(WORDS) - {"qgone"}

#: Reader -> what they may see of a public account, and of a private one.
READERS: Final[dict[str, tuple[Collection[str], Collection[str]]]] = {
    "follower": (FOR_FOLLOWERS, FOR_FOLLOWERS),
    "stranger": ({"qpublic"}, ()),
    # Who followed, and was removed, or left.
    "kicked": ({"qpublic"}, ()),
    "leaver": ({"qpublic"}, ()),
    # Of a public account: follows at once.
    "asker": (FOR_FOLLOWERS, ()),
    "blocked": ((), ()),
    "blocker": ((), ()),
}

type Question = tuple[str, dict[str, str]]


def link_questions(path: str) -> Iterator[Question]:
    yield path, {}
    yield path, {"limit": "1"}
    for visibility in ("public", "followers", "private"):
        yield path, {"visibility": visibility}
    for word in WORDS:
        for name in ("q", "tag", "url_regex", "title_regex", "description_regex"):
            yield path, {name: word}


#: By operation: what is asked of it. Of those that are read in pages the first is enough, if it has room for all.
QUESTIONS: Final[dict[str, Callable[[], Iterator[Question]]]] = {
    "get_links": lambda: link_questions("/v1/links"),
    "get_user_links": lambda: link_questions("/v1/users/owner/links"),
    "get_news": lambda: iter([("/v1/news", {}), ("/v1/news", {"limit": "1"})]),
    "stream_news": lambda: iter([("/v1/news/stream", {}), ("/v1/news/stream", {"since": "0"})]),
    "get_tags": lambda: iter([("/v1/tags", {}), *(("/v1/tags", {"prefix": word}) for word in WORDS)]),
    "get_link_statuses": lambda: iter([("/v1/links/status", {})]),
    "get_link_history": lambda: iter([("/v1/links/history", {"url": f"https://{word}.example/"}) for word in WORDS]),
    "get_me": lambda: iter([("/v1/me", {})]),
    "get_user": lambda: iter([("/v1/users/owner", {})]),
    "get_followers": lambda: iter([("/v1/followers", {})]),
    "get_following": lambda: iter([("/v1/following", {})]),
    "get_mutuals": lambda: iter([("/v1/mutuals", {}), ("/v1/mutuals", {"username": "owner"})]),
    "get_follow_requests": lambda: iter(
        [("/v1/follow-requests", {"direction": direction}) for direction in ("incoming", "outgoing")]
    ),
    "get_blocked": lambda: iter([("/v1/blocks", {})]),
    "get_sessions": lambda: iter([("/v1/me/sessions", {})]),
    "get_tokens": lambda: iter([("/v1/me/tokens", {})]),
    "get_events": lambda: iter([("/v1/me/audit", {"limit": "200"})]),
    "export_links": lambda: iter([("/v1/export", {})]),
    "export_my_data": lambda: iter([("/v1/me/export", {})]),
}


@dataclass(frozen=True)
class Scene:
    house: GatewayHouse
    owner: Person
    readers: Mapping[str, Person]
    private: bool


async def arrive(house: GatewayHouse, name: str) -> Person:
    actor = await house.world.person(name)
    return Person(house.gateway, actor, (await house.world.users.login(name, "any")).token)


def link(word: str, visibility: str) -> dict[str, Any]:
    return {
        "url": f"https://{word}.example/",
        "title": f"About {word}",
        "description": f"Much of {word}.",
        "tags": [word],
        "visibility": visibility,
    }


@pytest.fixture(params=["public", "private"])
async def scene(request: pytest.FixtureRequest, house: GatewayHouse) -> Scene:
    """Everybody but the stranger followed while the account was public, and had its news; then things change."""
    private = request.param == "private"
    owner = await arrive(house, "owner")
    readers = {name: await arrive(house, name) for name in READERS}
    following = {"followed": "owner"}
    for name in ("follower", "kicked", "leaver", "blocked", "blocker"):
        await readers[name].ok("POST", "/v1/following", json=following)
    await owner.ok("POST", "/v1/following", json={"followed": "blocker"})
    for word, visibility in WORDS.items():
        if word != "qimported":
            first = "public" if word in {"qturned", "qnarrowed", "qgone"} else visibility
            await owner.ok("POST", "/v1/links", json=link(word, first))
    await house.world.tell()
    for name in ("follower", "kicked", "leaver", "blocked", "blocker"):
        news = (await readers[name].call("GET", "/v1/news")).body
        assert b"qturned" in news, "it was there"
        assert b"qgone" in news

    file = b'<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DT><A HREF="https://qimported.example/" TAGS="qimported">About</A>\n'
    await owner.ok("POST", "/v1/import", body=file)
    for word in ("qturned", "qnarrowed"):
        await owner.ok("PUT", "/v1/links", json={"url": f"https://{word}.example/", "visibility": WORDS[word]})
    await owner.ok("DELETE", "/v1/links", json={"url": "https://qgone.example/"})
    if private:
        await house.world.make_private(owner.actor)
    await owner.ok("DELETE", "/v1/followers", json={"follower": "kicked"})
    await readers["leaver"].ok("DELETE", "/v1/following", json=following)
    await readers["asker"].ok("POST", "/v1/following", json=following)
    await owner.ok("POST", "/v1/blocks", json={"blocked": "blocked"})
    await readers["blocker"].ok("POST", "/v1/blocks", json={"blocked": "owner"})
    await house.world.tell()
    return Scene(house, owner, readers, private)


def found(*answers: bytes) -> set[str]:
    return {word for word in WORDS if any(word.encode() in answer for answer in answers)}


async def ask_everything(house: GatewayHouse, token: str | None) -> list[bytes]:
    answers = []
    for operation in api_operations(Handlers(house.peers, make_streams(house.peers, house.clock))):
        if operation.method != "GET":
            continue
        for path, query in QUESTIONS[operation.name]():
            response = await house.gateway.call("GET", path, token=token, query=query)
            assert response.status in ({401} if token is None else {200, 404}), (path, query)
            answers.append(response.body + repr(response.headers).encode())
            if response.headers["content-type"] == "application/zip":
                answers += unpack(response.body).values()
    return answers


@pytest.mark.parametrize("name", READERS)
async def test_everybody_finds_what_they_may_see_and_nothing_else(scene: Scene, name: str) -> None:
    reader, may_see = scene.readers[name], READERS[name][scene.private]
    assert found(*await ask_everything(scene.house, reader.token)) == set(may_see)
    user = await reader.call("GET", "/v1/users/owner")
    if may_see or name not in {"blocked", "blocker"}:
        assert user.json()["user"]["LinkCount"] == len(may_see)
    else:
        assert user.status == 404
    news = await reader.ok("GET", "/v1/news")
    follows = len(may_see) > 1
    assert {word for event in news["events"] for word in event["Tags"]} == (set(may_see) if follows else set())
    assert not any(event.get("Count") for event in news["events"]), "nor is a private import counted"


async def test_nobody_is_told_nothing(scene: Scene) -> None:
    assert found(*await ask_everything(scene.house, None)) == set()


async def test_the_owner_finds_all_of_it(scene: Scene) -> None:
    """Or else nothing would be shown by not finding it."""
    answers = await ask_everything(scene.house, scene.owner.token)
    assert found(*answers) == OWN
    assert (await scene.owner.ok("GET", "/v1/me"))["user"]["LinkCount"] == len(OWN)


@pytest.mark.parametrize("name", READERS)
async def test_a_change_of_what_others_have_tells_nothing_of_it(scene: Scene, name: str) -> None:
    """Whether somebody else has saved a URL makes no difference to anybody's answers."""
    reader = scene.readers[name]
    for method, fields in (("PUT", {"title": "x"}), ("DELETE", {}), ("POST", {"title": "x"})):
        taken, free = [
            await reader.call(method, "/v1/links", json={"url": f"https://{host}.example/"} | fields)
            for host in ("qprivate", "unknown0")
        ]
        assert taken.status == free.status
        told, expected = [
            {key: value for key, value in response.json().items() if key != "request_id"} for response in (taken, free)
        ]
        if "link" in told:
            for body in (told, expected):
                body["link"] = {
                    key: value
                    for key, value in body["link"].items()
                    if key not in {"Id", "Url", "CreatedAt", "UpdatedAt"}
                }
        assert told == expected


async def test_no_service_logs_any_of_it(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    """The owner's own requests included, and those that fail."""
    for token in (scene.owner.token, *(reader.token for reader in scene.readers.values()), None):
        await ask_everything(scene.house, token)
    for method in ("POST", "PUT"):
        for wrong in ({}, {"tags": ["qprivate,"]}, {"url": "ftp://qprivate.example/"}, {"qprivate": "qprivate"}):
            await scene.owner.call(method, "/v1/links", json=link("qprivate", "private") | wrong)
    logs = capfd.readouterr()
    assert '"event":"request"' in logs.out + logs.err
    assert found(logs.out.encode(), logs.err.encode()) == set()


async def test_who_asks_for_nobody_finds_what_strangers_do(scene: Scene) -> None:
    """The gateway has no such question; the service would answer it all the same."""
    page = await scene.house.world.links.get_links(None, GetLinksRequest(username="owner"))
    assert {word for link in page.links for word in link.tags} == set(READERS["stranger"][scene.private])
