"""What the interfaces promise, asked of the managers and of their clients alike."""

from collections.abc import AsyncIterator

import pytest

from pkg.object_model.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from pkg.object_model.types import (
    AddLinkRequest,
    CreateTokenRequest,
    DirectoryEntry,
    FollowCounts,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    GetLinksRequest,
    GetNewsRequest,
    GetTagsRequest,
    ImportRequest,
    LinkCount,
    LinkStatus,
    NewsEventType,
    NewsPage,
    ProviderProfile,
    Relationship,
    Scope,
    TagCount,
    TokenKind,
    UpdateLinkRequest,
    Visibility,
)
from pkg.object_model.wire import news_page_to_wire
from pkg.object_model.wire_requests import MAX_LOOKUP
from pkg.runtime.json import encode
from tests.contract.clients.conftest import Services

BOOKMARKS = b"""<!DOCTYPE NETSCAPE-Bookmark-file-1>
<DL><p>
<DT><A HREF="https://a.example/?q=1&amp;r=2" ADD_DATE="1600000000" TAGS="one,zwei &amp; drei">\xc3\x84</A>
<DD>about a
<DT><A HREF="https://b.example/">B</A>
<DT><A HREF="javascript:alert(1)">not a link</A>
</DL><p>
"""
ODD_TEXT = 'Ünïcode "quoted" & <b>/\\ 100% +1 # 日本 \U0001f600\n\ttab'


async def pieces(content: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_links_there_and_back(services: Services) -> None:
    request = AddLinkRequest(
        url="https://a.example/p?x=%2F&y=%C3%A9#f",
        title=ODD_TEXT,
        description=ODD_TEXT * 2,
        username="alice",
        tags=("zwei", "a/b", "日本"),
        visibility=Visibility.FOLLOWERS,
    )
    added = await services.links.add_link(services.alice, request)
    assert (added.title, added.description) == (ODD_TEXT, ODD_TEXT * 2)
    assert set(added.tags) == {"zwei", "a/b", "日本"}
    assert added.visibility is Visibility.FOLLOWERS
    assert added.created_at.tzinfo is not None
    page = await services.links.get_links(services.alice, GetLinksRequest(username="alice", tag="a/b"))
    assert (page.links, page.next_page_token) == ([added], "")
    assert await services.links.delete_link(services.alice, "alice", request.url) is True
    assert await services.links.delete_link(services.alice, "alice", request.url) is False


async def test_an_update(services: Services) -> None:
    added = await services.links.add_link(
        services.alice, AddLinkRequest(url="https://a.example/", username="alice", title="t", description="d")
    )
    updated = await services.links.update_link(
        services.alice,
        UpdateLinkRequest(url="https://a.example/", username="alice", add_tags=("new",), if_version=added.version),
    )
    assert (updated.id, updated.title, updated.description, updated.tags) == (added.id, "t", "d", ("new",))
    assert updated.version > added.version
    cleared = await services.links.update_link(
        services.alice,
        UpdateLinkRequest(url="https://a.example/", username="alice", clear_description=True, remove_tags=("new",)),
    )
    assert (cleared.title, cleared.description, cleared.tags) == ("t", "", ())


async def test_pages_of_links_and_tags(services: Services) -> None:
    for number in range(5):
        request = AddLinkRequest(url=f"https://{number}.example/", username="alice", tags=(f"t{number}",))
        await services.links.add_link(services.alice, request)
    urls, tags, token = [], [], ""
    for _ in range(3):
        page = await services.links.get_links(None, GetLinksRequest(username="alice", limit=2, start_token=token))
        urls += [link.url for link in page.links]
        token = page.next_page_token
    assert token == ""
    assert urls == [f"https://{number}.example/" for number in (4, 3, 2, 1, 0)]
    for _ in range(3):
        tag_page = await services.links.get_tags(None, GetTagsRequest(username="alice", limit=2, start_token=token))
        tags += tag_page.tags
        token = tag_page.next_page_token
    assert token == ""
    assert sorted(tags, key=lambda row: row.tag) == [TagCount(f"t{number}", 1) for number in range(5)]


async def test_a_file_in_and_out(services: Services) -> None:
    request = ImportRequest(username="alice", visibility=Visibility.PUBLIC)
    report = await services.links.import_links(services.alice, request, pieces(BOOKMARKS))
    assert (report.total, report.imported, report.skipped) == (3, 2, 1)
    assert [row.url for row in report.rows] == ["javascript:alert(1)"]
    assert await services.links.count_links(services.bob, "alice") == LinkCount(2, 10)
    exported = b"".join([piece async for piece in services.links.export_links(services.alice, "alice")])
    again = await services.links.import_links(services.alice, request, pieces(exported, 1_000))
    assert (again.imported, again.unchanged) == (0, 2)


async def test_users(services: Services) -> None:
    session = await services.users.login("alice", "any")
    identity = await services.users.authenticate(session.token)
    assert identity.actor == services.alice == session.user
    assert identity.token.kind is TokenKind.SESSION
    assert identity.token.expires_at == session.expires_at
    await services.users.logout("alice", session.token)
    with pytest.raises(Unauthenticated):
        await services.users.authenticate(session.token)
    user = await services.users.get_user(None, "ALICE")
    assert user.ref == services.alice
    assert user.created_at.tzinfo is not None


async def test_a_token_does_what_it_may_until_it_is_revoked(services: Services) -> None:
    request = CreateTokenRequest(name="laptop", scopes=(Scope.LINKS_READ,), expires_in_days=1)
    made = await services.users.create_token(services.alice, request)
    identity = await services.users.authenticate(made.token)
    assert (identity.actor, identity.token.id, identity.token.scopes) == (
        services.alice,
        made.record.id,
        (Scope.LINKS_READ,),
    )
    assert await services.users.list_tokens(services.alice) == [made.record]
    assert not await services.users.revoke_token(services.bob, made.record.id)
    assert await services.users.revoke_token(services.alice, made.record.id)
    with pytest.raises(Unauthenticated):
        await services.users.authenticate(made.token)


async def test_a_newcomer(services: Services) -> None:
    profile = ProviderProfile(provider="github", subject="1", login="alice", display_name="", email="")
    ticket = await services.users.admit(profile)
    assert ticket.user.name == "alice-2"
    session = await services.users.login("alice-2", ticket.ticket, "a browser")
    (record,) = await services.users.list_sessions(ticket.user)
    assert (record.client, record.expires_at) == ("a browser", session.expires_at)
    assert (await services.users.authenticate(session.token)).token.id == record.id


async def test_looking_up_more_users_than_one_call_takes(services: Services) -> None:
    names = [f"nobody{number}" for number in range(2 * MAX_LOOKUP)] + ["bob", "Alice"]
    assert await services.users.find_users(names[-2:]) == {
        "bob": DirectoryEntry(services.bob.user_id, "bob"),
        "Alice": DirectoryEntry(services.alice.user_id, "alice"),
    }
    ids = [services.alice.user_id, 1]
    assert await services.users.find_names(ids) == {services.alice.user_id: "alice"}
    assert await services.users.find_users([]) == {}
    assert await services.users.find_names([]) == {}


async def test_the_graph(services: Services) -> None:
    assert (
        await services.graph.follow(services.bob, FollowRequest(followed="alice", follower="bob"))
        is FollowState.FOLLOWING
    )
    await services.graph.follow(services.carol, FollowRequest(followed="alice", follower="carol"))
    whole = await services.graph.get_followers(None, GetFollowRequest(username="alice"))
    assert (whole.names, whole.next_page_token) == (["carol", "bob"], "")
    first = await services.graph.get_followers(None, GetFollowRequest(username="alice", limit=1))
    assert first.names == ["carol"]
    second = await services.graph.get_followers(
        None, GetFollowRequest(username="alice", limit=1, start_token=first.next_page_token)
    )
    assert (second.names, second.next_page_token) == (["bob"], "")
    assert (await services.graph.get_following(None, GetFollowRequest(username="bob"))).names == ["alice"]
    assert await services.graph.get_counts(None, services.alice.user_id) == FollowCounts(2, 0)
    assert (
        await services.graph.get_relationship(None, services.bob.user_id, services.alice.user_id)
        is Relationship.FOLLOWING
    )
    await services.graph.unfollow(services.bob, FollowRequest(followed="alice", follower="bob"))
    assert (await services.graph.get_followers(None, GetFollowRequest(username="alice"))).names == ["carol"]


async def test_a_private_account(services: Services) -> None:
    graph, links, alice, bob = services.graph, services.links, services.alice, services.bob
    bobs = FollowRequest(followed="alice", follower="bob")
    await services.make_private(alice)
    await links.add_link(alice, AddLinkRequest(url="https://a.example/", username="alice", tags=("x",)))
    assert await graph.follow(bob, bobs) is FollowState.REQUESTED
    assert await graph.get_relationship(bob, bob.user_id, alice.user_id) is Relationship.REQUESTED
    assert (await graph.get_incoming_requests(alice, GetFollowRequest(username="alice"))).names == ["bob"]
    assert (await graph.get_outgoing_requests(bob, GetFollowRequest(username="bob"))).names == ["alice"]
    assert (await links.get_links(bob, GetLinksRequest(username="alice"))).links == []
    assert (await links.count_links(bob, "alice")).count == 0
    await graph.accept_follow_request(alice, bobs)
    await services.tell()
    assert (await links.count_links(bob, "alice")).count == 1
    assert [event.url for event in (await services.news.get_news(bob, GetNewsRequest(username="bob"))).events] == [
        "https://a.example/"
    ]
    await graph.kick_follower(alice, bobs)
    await services.tell()
    assert (await links.get_tags(bob, GetTagsRequest(username="alice"))).tags == []
    assert (await services.news.get_news(bob, GetNewsRequest(username="bob"))).events == []
    await graph.follow(bob, bobs)
    await graph.reject_follow_request(alice, bobs)
    assert (await graph.get_incoming_requests(alice, GetFollowRequest(username="alice"))).names == []


async def test_a_block(services: Services) -> None:
    graph, links, alice, bob = services.graph, services.links, services.alice, services.bob
    for follower, followed in ((alice, "bob"), (bob, "alice")):
        await graph.follow(follower, FollowRequest(followed=followed, follower=follower.name))
        await links.add_link(follower, AddLinkRequest(url="https://a.example/", username=follower.name))
    await services.tell()
    await graph.block(alice, "bob")
    await services.tell()
    assert (await graph.get_blocked(alice, GetFollowRequest(username="alice"))).names == ["bob"]
    for reader, other in ((alice, "bob"), (bob, "alice")):
        assert (await services.news.get_news(reader, GetNewsRequest(username=reader.name))).events == []
        with pytest.raises(NotFound, match="there is no such user"):
            await links.get_links(reader, GetLinksRequest(username=other))
        with pytest.raises(NotFound, match="there is no such user"):
            await links.count_links(reader, other)
    with pytest.raises(NotFound, match="there is no such user"):
        await graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    with pytest.raises(Conflict, match="unblock") as refused:
        await graph.follow(alice, FollowRequest(followed="bob", follower="alice"))
    assert refused.value.code == "user_blocked"
    await graph.unblock(alice, "bob")
    assert (await links.get_links(bob, GetLinksRequest(username="alice"))).links != []


async def test_news(services: Services) -> None:
    await services.graph.follow(services.bob, FollowRequest(followed="alice", follower="bob"))
    await services.tell()
    assert (await services.news.get_news(services.bob, GetNewsRequest(username="bob"))).events == []
    for number in range(5):
        await services.links.add_link(
            services.alice,
            AddLinkRequest(
                url=f"https://{number}.example/é",
                username="alice",
                title=ODD_TEXT,
                description=ODD_TEXT,
                tags=("zwei", "a/b", "日本"),
            ),
        )
    link = await services.links.update_link(
        services.alice, UpdateLinkRequest(url="https://1.example/é", username="alice", title="new")
    )
    await services.links.import_links(
        services.alice, ImportRequest(username="alice", visibility=Visibility.PUBLIC), pieces(BOOKMARKS)
    )
    await services.tell()
    events, token = [], ""
    for _ in range(3):
        request = GetNewsRequest(username="BOB", limit=2, start_token=token)
        page = await services.news.get_news(services.bob, request)
        assert await services.news.get_news_bytes(services.bob, request) == encode(news_page_to_wire(page))
        assert await services.news_by_grpc.get_news(services.bob, request) == page
        events += page.events
        token = page.next_page_token
    assert token == ""
    back = GetNewsRequest(username="bob", limit=3, start_token=page.prev_page_token)
    newer = await services.news.get_news(services.bob, back)
    assert newer.events == events[1:4]
    assert newer.prev_page_token
    assert await services.news_by_grpc.get_news(services.bob, back) == newer
    assert await services.news.get_news_bytes(services.bob, back) == encode(news_page_to_wire(newer))
    since = GetNewsRequest(username="bob", since=events[2].id)
    newest = await services.news.get_news(services.bob, since)
    assert newest == NewsPage(events[:2], "")
    assert await services.news_by_grpc.get_news(services.bob, since) == newest
    assert [event.url for event in events] == ["", *(f"https://{number}.example/é" for number in (1, 4, 3, 2, 0))]
    imported, updated, added = events[:3]
    assert (imported.event_type, imported.count, imported.title) == (NewsEventType.LINKS_IMPORTED, 2, "")
    assert (updated.event_type, updated.title, updated.version) == (NewsEventType.LINK_UPDATED, "new", 2)
    assert updated.timestamp == link.updated_at
    assert (added.event_type, added.title, added.description) == (NewsEventType.LINK_ADDED, ODD_TEXT, ODD_TEXT)
    assert (added.username, set(added.tags), added.status) == ("alice", {"zwei", "a/b", "日本"}, LinkStatus.PENDING)
    assert (await services.news.get_news(services.carol, GetNewsRequest(username="carol"))).events == []


async def test_refusals(services: Services) -> None:
    add = AddLinkRequest(url="https://a.example/", username="alice")
    await services.links.add_link(services.alice, add)
    with pytest.raises(Conflict) as conflict:
        await services.links.add_link(services.alice, add)
    assert conflict.value.code == "link_exists"
    with pytest.raises(PermissionDenied) as denied:
        await services.links.add_link(services.bob, add)
    assert denied.value.code == "not_yours"
    with pytest.raises(NotFound) as missing:
        await services.links.get_links(None, GetLinksRequest(username="nobody"))
    assert missing.value.code == "user_not_found"
    with pytest.raises(NotFound):
        await anext(services.links.export_links(None, "nobody"))
    with pytest.raises(InvalidArgument) as invalid:
        await services.links.get_links(None, GetLinksRequest(username="alice", limit=0))
    assert invalid.value.code == "invalid_limit"
