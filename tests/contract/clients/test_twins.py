"""A caller cannot tell a manager from its client: the same calls on two equal worlds have the same outcomes, and
errors the same class, code and words."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pkg.object_model.errors import DelinkciousError
from pkg.object_model.interfaces import News
from pkg.object_model.types import (
    Actor,
    AddLinkRequest,
    AuditEventType,
    CheckLinkRequest,
    CreateTokenRequest,
    FollowRequest,
    GetFollowRequest,
    GetLinksRequest,
    GetNewsRequest,
    GetTagsRequest,
    ImportRequest,
    LinkStatus,
    MoveLinkRequest,
    NewApiToken,
    PageRequest,
    ProviderProfile,
    RegisterRequest,
    Scope,
    Session,
    Ticket,
    UpdateLinkRequest,
    UpdateUserRequest,
    Visibility,
)
from tests.contract.clients.conftest import Services, far, near
from tests.contract.clients.test_behaviour import BOOKMARKS, pieces

type Scenario = Callable[[Services], AsyncIterator[Awaitable[Any]]]

LONG = "a" * 70_000


async def outcome(call: Awaitable[Any]) -> tuple[Any, ...]:
    try:
        return ("gave", await call)
    except DelinkciousError as error:
        return ("raised", type(error), error.code, error.message)


async def everything(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


async def saving(these: Services) -> AsyncIterator[Awaitable[Any]]:
    links, alice = these.links, these.alice
    yield links.add_link(alice, AddLinkRequest(url="https://a.example/", username="alice"))
    yield links.add_link(alice, AddLinkRequest(url="HTTPS://A.example:443", username="alice"))
    yield links.add_link(alice, AddLinkRequest(url="https://b.example/", username="ALICE", tags=("x", "X", " y ")))
    yield links.add_link(these.bob, AddLinkRequest(url="https://c.example/", username="alice"))
    yield links.add_link(None, AddLinkRequest(url="https://c.example/", username="alice"))
    yield links.add_link(alice, AddLinkRequest(url="https://c.example/", username="nobody"))
    yield links.add_link(alice, AddLinkRequest(url="https://c.example/", username=""))
    for url in (
        "",
        "nonsense",
        "ftp://a.example/",
        "https://u:p@a.example/",
        "http://[::1",
        "https://a.example/" + LONG,
    ):
        yield links.add_link(alice, AddLinkRequest(url=url, username="alice"))
    yield links.add_link(alice, AddLinkRequest(url="https://c.example/", username="alice", title=LONG))
    yield links.add_link(alice, AddLinkRequest(url="https://c.example/", username="alice", description=LONG))
    yield links.add_link(alice, AddLinkRequest(url="https://c.example/", username="alice", tags=("a,b",)))
    yield links.add_link(alice, AddLinkRequest(url="https://c.example/", username="alice", tags=(LONG,)))
    many = tuple(f"t{number}" for number in range(101))
    yield links.add_link(alice, AddLinkRequest(url="https://c.example/", username="alice", tags=many))
    for number in range(9):
        yield links.add_link(alice, AddLinkRequest(url=f"https://{number}.example/", username="alice"))


async def changing(these: Services) -> AsyncIterator[Awaitable[Any]]:
    links, alice, url = these.links, these.alice, "https://a.example/"
    yield links.add_link(alice, AddLinkRequest(url=url, username="alice", title="t", tags=("x",)))
    yield links.update_link(alice, UpdateLinkRequest(url=url, username="alice"))
    yield links.update_link(alice, UpdateLinkRequest(url=url, username="alice", title="u", if_version=1))
    yield links.update_link(alice, UpdateLinkRequest(url=url, username="alice", title="v", if_version=1))
    yield links.update_link(alice, UpdateLinkRequest(url=url, username="alice", add_tags=("x", "y")))
    yield links.update_link(alice, UpdateLinkRequest(url=url, username="alice", visibility=Visibility.PRIVATE))
    yield links.update_link(alice, UpdateLinkRequest(url="https://b.example/", username="alice", title="x"))
    yield links.update_link(these.bob, UpdateLinkRequest(url=url, username="alice", title="x"))
    yield links.delete_link(these.bob, "alice", url)
    yield links.delete_link(None, "alice", url)
    yield links.delete_link(alice, "alice", "nonsense")
    yield links.delete_link(alice, "alice", "HTTPS://A.EXAMPLE")
    yield links.delete_link(alice, "alice", url)


async def reading(these: Services) -> AsyncIterator[Awaitable[Any]]:
    links, alice, bob = these.links, these.alice, these.bob
    for number, visibility in enumerate(Visibility):
        request = AddLinkRequest(
            url=f"https://{number}.example/é",
            username="alice",
            title=f"Title {number}",
            tags=("all", f"t{number}"),
            visibility=visibility,
        )
        yield links.add_link(alice, request)
    yield these.graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    for actor in (alice, bob, these.carol, None):
        yield links.get_links(actor, GetLinksRequest(username="alice"))
        yield links.get_tags(actor, GetTagsRequest(username="Alice"))
        yield links.count_links(actor, "alice")
    for user_ids in ([these.alice.user_id, these.bob.user_id], [], [5, 2**63 - 1]):
        for limit in (-1, 0, 1, 20, 1_001):
            yield these.links_for_news.get_shared_links(user_ids, limit)
            yield these.links_for_news.get_shared_links(user_ids, limit, datetime(2026, 1, 1, 1, 2, 3, 456, tzinfo=UTC))
        yield links.count_statuses(actor, "Alice")
        yield links.get_link_history(actor, "alice", "https://1.example/%C3%A9")
        yield everything(links.export_links(actor, "alice"))
    for filters in (
        {"tag": "T1"},
        {"url_regex": "[01]"},
        {"url_regex": "("},
        {"title_regex": "Title [^1]$"},
        {"description_regex": "^$"},
        {"q": "tit 2"},
        {"q": "'; --"},
        {"status": LinkStatus.VALID},
        {"status_reason": "moved"},
        {"status_reason": "é"},
        {"visibility": Visibility.PRIVATE},
        {"limit": 0},
        {"limit": 201},
        {"limit": -(2**63)},
        {"start_token": "?"},
        {"limit": 1},
    ):
        yield links.get_links(alice, GetLinksRequest.model_validate({"username": "alice"} | filters))
    yield links.get_tags(alice, GetTagsRequest(username="alice", prefix="T"))
    yield links.get_tags(alice, GetTagsRequest(username="alice", limit=0))
    for url in ("", "nonsense", "https://none.example/", "https://a.example/" + LONG[:3_000]):
        yield links.get_link_history(alice, "alice", url)
    for name in ("nobody", "", "a/b", "a\nb", "..", "é", "%41lice"):
        yield links.count_statuses(alice, name)
        yield links.get_links(None, GetLinksRequest(username=name))
        yield links.count_links(None, name)
        yield everything(links.export_links(None, name))


async def looking_after(these: Services) -> AsyncIterator[Awaitable[Any]]:
    links, alice, url = these.links, these.alice, "https://a.example/é"
    yield links.add_link(alice, AddLinkRequest(url=url, username="alice", title="t", tags=("x",)))
    for actor in (alice, these.bob, None):
        yield links.ask_for_check(actor, CheckLinkRequest(username="alice", url=url))
        yield links.move_link(actor, MoveLinkRequest(username="alice", url=url))
        yield links.move_link(actor, MoveLinkRequest(username="alice", url=url, if_version=2))
    for odd in ("", "nonsense", "https://none.example/", "https://a.example/" + LONG):
        yield links.ask_for_check(alice, CheckLinkRequest(username="alice", url=odd))
        yield links.move_link(alice, MoveLinkRequest(username="alice", url=odd))
    for status, reason, moved_to in (
        (LinkStatus.INVALID, "gone", ""),
        (LinkStatus.VALID, "moved", "https://new.example/é"),
    ):
        yield these.find(url, status, reason, moved_to)
        yield links.get_links(alice, GetLinksRequest(username="alice"))
        yield links.count_statuses(alice, "alice")
        yield links.get_link_history(alice, "alice", url)
    yield links.move_link(alice, MoveLinkRequest(username="alice", url=url, if_version=1))
    yield links.get_links(alice, GetLinksRequest(username="alice"))


async def importing(these: Services) -> AsyncIterator[Awaitable[Any]]:
    links, alice = these.links, these.alice
    yield links.import_links(alice, ImportRequest(username="alice"), pieces(BOOKMARKS))
    yield links.import_links(
        alice,
        ImportRequest(username="alice", folders_as_tags=True, visibility=Visibility.PUBLIC),
        pieces(BOOKMARKS),
    )
    yield links.import_links(these.bob, ImportRequest(username="alice"), pieces(BOOKMARKS))
    yield links.import_links(alice, ImportRequest(username="alice"), pieces(b"\x89PNG\x00\x00"))
    yield links.import_links(alice, ImportRequest(username="alice"), pieces(b""))
    more = "".join(f'<DT><A HREF="https://{number}.example/">x</A>\n' for number in range(20))
    yield links.import_links(alice, ImportRequest(username="alice"), pieces(more.encode(), 100))
    yield everything(links.export_links(alice, "alice"))


async def knowing_people(these: Services) -> AsyncIterator[Awaitable[Any]]:
    users = these.users
    yield users.register(None, RegisterRequest(name="dave", email="d@mail.example", display_name="Dave Ü"))
    for name in ("DAVE", "", "a b", "a/b", "d" * 40, "-d", "dave\u202e"):
        yield users.register(None, RegisterRequest(name=name, email="x@mail.example"))
    yield users.register(None, RegisterRequest(name="erin", email="not an address"))
    for name in ("dave", "Dave", "nobody", "a/b", "a\nb", "\n", "..", ".", "a b", "é", "%41lice", "a?b#c", "", "find"):
        yield users.get_user(None, name)
    yield users.find_users(["dave", "DAVE", "nobody", "", "a/b"])
    yield users.find_names([1_001, 1_002, 5])
    yield users.login("nobody", "any")
    yield users.login("", "")
    for token in ("", "x", "a" * 5_000, "é"):
        yield users.authenticate(token)
    yield users.logout("dave", "x")


async def shown(made: Awaitable[Ticket | NewApiToken | Session]) -> Ticket | NewApiToken | Session:
    """Without what is random."""
    found = await made
    return replace(found, ticket="") if isinstance(found, Ticket) else replace(found, token="")


async def getting_in(these: Services) -> AsyncIterator[Awaitable[Any]]:
    users = these.users
    octocat = ProviderProfile(
        provider="github", subject="583231", login="Octo Cat é", display_name="Octo Ü", email="o@mail.example"
    )
    for profile in (
        octocat,
        replace(octocat, login="renamed"),
        replace(octocat, subject="2"),
        replace(octocat, subject="3", login="", display_name="", email="x"),
        replace(octocat, subject=""),
        replace(octocat, provider="local"),
        replace(octocat, subject="4", login=LONG, display_name=LONG, email=LONG),
    ):
        yield shown(users.admit(profile))
    ticket = await users.admit(octocat)
    yield users.login("Octo-Cat", "dli_" + "x" * 43, "a browser")
    yield shown(users.login("Octo-Cat-e", ticket.ticket, "a browser é " + LONG))
    yield users.login("Octo-Cat-e", ticket.ticket)
    yield users.get_user(None, "octo-cat-e")
    yield users.list_sessions(ticket.user)


async def keeping_an_account(these: Services) -> AsyncIterator[Awaitable[Any]]:
    users, alice, bob = these.users, these.alice, these.bob
    gone = Actor(5, "gone")
    for actor in (alice, None, gone):
        yield users.update_user(actor, UpdateUserRequest(private=True))
        yield users.update_user(actor, UpdateUserRequest(display_name="Ü", email=""))
        yield users.update_user(actor, UpdateUserRequest(display_name=""))
        yield users.update_user(actor, UpdateUserRequest())
        yield users.update_user(actor, UpdateUserRequest(email="nonsense"))
        yield users.update_user(actor, UpdateUserRequest(display_name=LONG))
    for actor in (alice, alice, None, gone):
        yield shown(users.login("alice", "any", "a browser"))
        yield shown(users.create_token(actor, CreateTokenRequest(name="é laptop", scopes=(Scope.NEWS, Scope.SOCIAL))))
    for name, scopes, days in (
        ("x", (), 1),
        ("", (Scope.NEWS,), 1),
        (LONG, (Scope.NEWS,), 1),
        ("x", (Scope.NEWS,), 0),
        ("x", (Scope.NEWS,), 367),
        ("x", tuple(Scope), 366),
    ):
        request = CreateTokenRequest(name=name, scopes=scopes, expires_in_days=days)
        yield shown(users.create_token(alice, request))
    sessions, tokens = await users.list_sessions(alice), await users.list_tokens(alice)
    for actor in (alice, bob, None, gone):
        yield users.list_sessions(actor)
        yield users.list_tokens(actor)
        for limit, token in ((20, ""), (2, ""), (0, ""), (201, ""), (2, "?")):
            yield users.get_audit_events(actor, PageRequest(limit=limit, start_token=token))
    for event_type in AuditEventType:
        yield users.record_audit_event(alice, event_type, "é " + event_type, "a browser")
    yield users.record_audit_event(alice, AuditEventType.USER_BLOCKED, LONG, LONG)
    yield users.record_audit_event(None, AuditEventType.USER_BLOCKED, "")
    yield users.record_audit_event(gone, AuditEventType.USER_BLOCKED, "")
    page = await users.get_audit_events(alice, PageRequest(limit=3))
    yield users.get_audit_events(alice, PageRequest(limit=3, start_token=page.next_page_token))
    yield users.get_audit_events(bob, PageRequest(limit=3, start_token=page.next_page_token))
    for actor in (bob, None, gone, alice, alice):
        yield users.end_session(actor, sessions[0].id)
        yield users.end_session(actor, tokens[0].id)
        yield users.revoke_token(actor, tokens[0].id)
        yield users.revoke_token(actor, 0)
        yield users.revoke_token(actor, -1)
        yield users.end_sessions(actor, sessions[1].id)
    for actor in (alice, None, gone):
        yield users.end_sessions(actor)
    yield users.list_sessions(alice)
    yield users.get_audit_events(alice, PageRequest(limit=200))


async def following(these: Services) -> AsyncIterator[Awaitable[Any]]:
    graph, bob = these.graph, these.bob
    yield graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    yield graph.follow(bob, FollowRequest(followed="ALICE", follower="Bob"))
    yield graph.follow(bob, FollowRequest(followed="bob", follower="bob"))
    yield graph.follow(bob, FollowRequest(followed="nobody", follower="bob"))
    yield graph.follow(bob, FollowRequest(followed="", follower="bob"))
    yield graph.follow(bob, FollowRequest(followed="alice", follower="carol"))
    yield graph.follow(None, FollowRequest(followed="alice", follower="bob"))
    for name in ("alice", "bob", "nobody", "", "a/b", "a\nb", "..", "é"):
        yield graph.get_followers(None, GetFollowRequest(username=name))
        yield graph.get_following(bob, GetFollowRequest(username=name, limit=1))
        yield graph.get_mutuals(bob, GetFollowRequest(username=name))
    for limit in (0, 201, -1):
        yield graph.get_followers(None, GetFollowRequest(username="alice", limit=limit))
    yield graph.get_followers(None, GetFollowRequest(username="alice", limit=1, start_token="?"))
    yield graph.get_mutuals(None, GetFollowRequest(username="alice"))
    yield graph.get_mutuals(bob, GetFollowRequest(username="alice", limit=0))
    for user_id in (these.alice.user_id, 5):
        yield graph.get_follower_ids(user_id, "", 20)
        for limit in (0, 10_000, 10_001):
            yield graph.get_follower_ids(user_id, "", limit)
    yield graph.get_follower_ids(these.alice.user_id, "?", 1)
    for user_id in (bob.user_id, 5):
        for limit in (0, 1, 1_000, 1_001):
            yield graph.get_followed(user_id, "", limit)
    yield graph.get_followed(bob.user_id, "?", 1)
    yield graph.get_counts(None, these.alice.user_id)
    yield graph.get_counts(None, 5)
    for viewer in (these.alice, bob, these.carol):
        yield graph.get_relationship(None, viewer.user_id, these.alice.user_id)
    yield graph.unfollow(None, FollowRequest(followed="alice", follower="bob"))
    yield graph.unfollow(bob, FollowRequest(followed="alice", follower="bob"))
    yield graph.unfollow(bob, FollowRequest(followed="alice", follower="bob"))
    yield graph.unfollow(bob, FollowRequest(followed="nobody", follower="bob"))


async def keeping_away(these: Services) -> AsyncIterator[Awaitable[Any]]:
    graph, links, alice, bob, carol = these.graph, these.links, these.alice, these.bob, these.carol
    bobs = FollowRequest(followed="alice", follower="bob")
    yield these.make_private(alice)
    yield graph.follow(bob, bobs)
    yield graph.follow(carol, FollowRequest(followed="alice", follower="carol"))
    yield graph.get_relationship(bob, bob.user_id, alice.user_id)
    for read in (graph.get_incoming_requests, graph.get_outgoing_requests, graph.get_blocked):
        for actor, name in ((alice, "ALICE"), (bob, "bob"), (bob, "alice"), (None, "alice"), (bob, ""), (bob, "a/b")):
            yield read(actor, GetFollowRequest(username=name))
        yield read(alice, GetFollowRequest(username="alice", limit=1))
        yield read(alice, GetFollowRequest(username="alice", limit=0))
        yield read(alice, GetFollowRequest(username="alice", limit=1, start_token="?"))
    for answer in (graph.accept_follow_request, graph.reject_follow_request, graph.kick_follower):
        yield answer(bob, bobs)
        yield answer(None, bobs)
        yield answer(alice, FollowRequest(followed="alice", follower="nobody"))
        yield answer(alice, FollowRequest(followed="alice", follower=""))
    yield graph.follow(bob, bobs)
    yield links.add_link(alice, AddLinkRequest(url="https://a.example/", username="alice"))
    yield links.get_links(bob, GetLinksRequest(username="alice"))
    yield graph.accept_follow_request(alice, bobs)
    yield graph.accept_follow_request(alice, bobs)
    yield links.get_links(bob, GetLinksRequest(username="alice"))
    yield links.count_links(carol, "alice")
    yield graph.get_followers(carol, GetFollowRequest(username="alice"))
    yield graph.kick_follower(alice, bobs)
    yield links.get_tags(bob, GetTagsRequest(username="alice"))
    for name in ("bob", "bob", "alice", "nobody", "", "a/b"):
        yield graph.block(alice, name)
    yield graph.block(None, "bob")
    yield graph.get_blocked(alice, GetFollowRequest(username="alice"))
    yield graph.follow(bob, bobs)
    yield graph.follow(alice, FollowRequest(followed="bob", follower="alice"))
    yield graph.get_relationship(bob, bob.user_id, alice.user_id)
    yield links.get_links(bob, GetLinksRequest(username="alice"))
    yield links.count_links(alice, "bob")
    yield everything(links.export_links(bob, "alice"))
    for name in ("bob", "bob", "alice", "nobody", ""):
        yield graph.unblock(alice, name)
    yield graph.unblock(None, "bob")


def hearing_news(these: Services) -> AsyncIterator[Awaitable[Any]]:
    return hearing_from(these.news, these)


def hearing_news_by_grpc(these: Services) -> AsyncIterator[Awaitable[Any]]:
    return hearing_from(these.news_by_grpc, these)


async def hearing_from(news: News, these: Services) -> AsyncIterator[Awaitable[Any]]:
    links, alice, bob = these.links, these.alice, these.bob
    yield news.get_news(bob, GetNewsRequest(username="bob"))
    for number, visibility in enumerate(Visibility):
        request = AddLinkRequest(
            url=f"https://{number}.example/é", username="alice", title=LONG[:500], visibility=visibility
        )
        yield links.add_link(alice, request)
        if number == 0:
            yield these.graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    yield these.tell()
    yield news.get_news(bob, GetNewsRequest(username="BOB"))
    yield news.get_news_bytes(bob, GetNewsRequest(username="BOB"))
    yield news.get_news(bob, GetNewsRequest(username="bob", limit=1))
    for limit in (0, 201, -1, 2**40, -(2**63)):
        yield news.get_news(bob, GetNewsRequest(username="bob", limit=limit))
        yield news.get_news_bytes(bob, GetNewsRequest(username="bob", limit=limit))
    for since in (0, 2**63 - 1, -1):
        yield news.get_news(bob, GetNewsRequest(username="bob", since=since))
        yield news.get_news_bytes(bob, GetNewsRequest(username="bob", since=since))
    for token in ("?", "é", "a" * 5_000):
        yield news.get_news(bob, GetNewsRequest(username="bob", start_token=token))
    for actor, name in ((alice, "bob"), (None, "bob"), (bob, ""), (bob, "nobody"), (None, "")):
        yield news.get_news(actor, GetNewsRequest(username=name))
        yield news.get_news_bytes(actor, GetNewsRequest(username=name))
    yield links.delete_link(alice, "alice", "https://0.example/é")
    yield these.graph.unfollow(bob, FollowRequest(followed="alice", follower="bob"))
    yield these.tell()
    yield news.get_news(bob, GetNewsRequest(username="bob"))


async def leaving(these: Services) -> AsyncIterator[Awaitable[Any]]:
    alice, bob = these.alice, these.bob
    yield these.links.add_link(alice, AddLinkRequest(url="https://a.example/", username="alice"))
    yield these.graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    yield these.tell()
    yield these.news.get_news(bob, GetNewsRequest(username="bob"))
    for actor, confirm in ((alice, "bob"), (alice, ""), (None, "alice"), (alice, "ALICE"), (alice, "alice")):
        yield these.users.delete_account(actor, confirm)
    yield these.users.get_user(bob, "alice")
    for holder in these.holders:
        for user_id in (alice.user_id, alice.user_id, 0):
            yield holder.erase_user(user_id, "")
        yield holder.erase_user(alice.user_id, "?")
    yield these.links.get_links(alice, GetLinksRequest(username="alice"))
    yield these.graph.get_following(bob, GetFollowRequest(username="bob"))
    yield these.news.get_news(bob, GetNewsRequest(username="bob"))


async def outcomes(scenario: Scenario, these: Services) -> list[tuple[Any, ...]]:
    return [await outcome(call) async for call in scenario(these)]


@pytest.mark.parametrize(
    "scenario",
    [
        saving,
        changing,
        reading,
        looking_after,
        importing,
        knowing_people,
        getting_in,
        keeping_an_account,
        following,
        keeping_away,
        hearing_news,
        hearing_news_by_grpc,
        leaving,
    ],
)
async def test_near_and_far_are_alike(scenario: Scenario) -> None:
    async with near() as manager, far() as client:
        expected = await outcomes(scenario, manager)
        found = await outcomes(scenario, client)
    assert {"gave", "raised"} == {first for first, *_ in expected}, "a scenario has both sides"
    for number, (here, there) in enumerate(zip(expected, found, strict=True)):
        assert here == there, f"call {number} of {scenario.__name__}"
