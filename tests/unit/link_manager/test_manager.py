"""The rules of links, on a store in memory and with fakes for peers, time and ids."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from pkg.link_manager.checks import MIN_INTERVAL
from pkg.link_manager.manager import ASK_BATCH, LinkManager
from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.link_manager.store import ASK_AGAIN_AFTER
from pkg.object_model.errors import (
    Conflict,
    DelinkciousError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    TooLarge,
    Unavailable,
)
from pkg.object_model.events import LinkCheckedEvent, LinkEvent, LinkEventType
from pkg.object_model.types import (
    MAX_IMPORT_BYTES,
    MAX_IMPORT_ROWS_LISTED,
    Actor,
    AddLinkRequest,
    GetLinksRequest,
    GetTagsRequest,
    ImportAction,
    ImportReport,
    ImportRequest,
    Link,
    LinkCount,
    LinkStatus,
    UpdateLinkRequest,
    Visibility,
)
from tests.fakes import FakeClock, FakeSocialGraph, FakeUserDirectory, SequentialIds, away

ALICE, BOB = Actor(1, "alice"), Actor(2, "bob")
URL = "https://a.example/"


@dataclass
class World:
    links: LinkManager
    users: FakeUserDirectory
    graph: FakeSocialGraph
    clock: FakeClock
    store: MemoryLinkStore

    @property
    def told(self) -> list[LinkEvent]:
        return [event for event in self.store.events if isinstance(event, LinkEvent)]

    async def check(self, status: LinkStatus, *, ago: float = 0, **fields: Any) -> None:
        checked_at = self.clock.time - timedelta(seconds=ago)
        values: dict[str, Any] = {"id": 1, "user_id": ALICE.user_id, "username": "alice", "url": URL} | fields
        await self.links.on_link_checked(LinkCheckedEvent(status=status, checked_at=checked_at, **values))

    async def add(self, url: str = URL, **fields: Any) -> Link:
        self.clock.advance()
        return await self.links.add_link(ALICE, AddLinkRequest(url=url, username="alice", **fields))

    async def update(self, **fields: Any) -> Link:
        self.clock.advance()
        return await self.links.update_link(
            ALICE, UpdateLinkRequest.model_validate({"url": URL, "username": "alice"} | fields)
        )

    async def titles(self, actor: Actor | None = ALICE, **filters: Any) -> list[str]:
        request = GetLinksRequest.model_validate({"username": "alice"} | filters)
        return [link.title for link in (await self.links.get_links(actor, request)).links]

    async def take_in(self, content: str, **options: Any) -> ImportReport:
        async def pieces() -> AsyncIterator[bytes]:
            yield content.encode()

        return await self.links.import_links(ALICE, ImportRequest(username="alice", **options), pieces())


@pytest.fixture
def world() -> World:
    users = FakeUserDirectory([ALICE, BOB])
    graph, clock = FakeSocialGraph(users), FakeClock()
    store = MemoryLinkStore()
    links = LinkManager(store, users, graph, clock, SequentialIds(), max_links_per_user=5)
    return World(links, users, graph, clock, store)


def file_of(*rows: str) -> str:
    return "\n".join(("<!DOCTYPE NETSCAPE-Bookmark-file-1>", "<DL><p>", *rows, "</DL><p>", ""))


def row(url: str, attributes: str = "", title: str = "t") -> str:
    return f'<DT><A HREF="{url}" {attributes}>{title}</A>'


# --- saving and changing ----------------------------------------------------------------------------------------------


async def test_a_new_link(world: World) -> None:
    link = await world.add(title="A", tags=("x", " X", "y"))
    assert (link.title, link.tags, link.version) == ("A", ("x", "y"), 1)
    assert (link.status, link.visibility) == (LinkStatus.PENDING, Visibility.PUBLIC)
    assert link.created_at == link.updated_at == world.clock.time


@pytest.mark.parametrize("actor", [BOB, None])
async def test_nobody_changes_what_is_anothers(world: World, actor: Actor | None) -> None:
    await world.add()
    links = world.links
    for refused in (
        links.add_link(actor, AddLinkRequest(url="https://b.example/", username="alice")),
        links.update_link(actor, UpdateLinkRequest(url=URL, username="alice", title="x")),
        links.delete_link(actor, "alice", URL),
        links.import_links(actor, ImportRequest(username="alice"), aiter_of(b"")),
    ):
        with pytest.raises(PermissionDenied) as denied:
            await refused
        assert denied.value.code == "not_yours"
    assert len(await world.titles()) == 1


async def aiter_of(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_an_update_changes_what_is_sent_and_counts_up(world: World) -> None:
    """In the original a tag-only update failed, tags never changed, and updated_at neither."""
    added = await world.add(title="A", description="d", tags=("x", "y"))
    changed = await world.update(add_tags=("z", "X"), remove_tags=("Y",))
    assert (changed.id, changed.title, changed.description) == (added.id, "A", "d")
    assert (changed.tags, changed.version) == (("x", "z"), 2)
    assert changed.created_at == added.created_at < changed.updated_at == world.clock.time
    assert (await world.update(title="B")).tags == ("x", "z")
    assert (await world.update(clear_description=True)).description == ""
    assert (await world.update(visibility="private")).visibility is Visibility.PRIVATE


async def test_an_update_of_nothing_is_no_change(world: World) -> None:
    added = await world.add(title="A", tags=("x",))
    assert await world.update(title="A", add_tags=("X",), remove_tags=("unknown",)) == added


async def test_a_change_of_tags_alone_is_a_change(world: World) -> None:
    added = await world.add(title="A", tags=("x", "y"))
    changed = await world.update(add_tags=("z",), remove_tags=("X",))
    assert (changed.title, changed.tags, changed.version) == ("A", ("y", "z"), added.version + 1)
    assert changed.updated_at == world.clock.time > added.updated_at
    assert await world.titles(tag="z") == ["A"]
    assert await world.titles(tag="x") == []


async def test_updated_at_never_goes_back(world: World) -> None:
    added = await world.add()
    world.clock.advance(-3_600)
    assert (await world.update(title="B")).updated_at == added.updated_at


async def test_a_stale_version_changes_nothing(world: World) -> None:
    await world.add(title="A")
    await world.update(title="B", if_version=1)
    with pytest.raises(PreconditionFailed) as stale:
        await world.update(title="C", if_version=1)
    assert stale.value.code == "version_mismatch"
    assert await world.titles() == ["B"]


async def test_missing_and_deleted(world: World) -> None:
    with pytest.raises(NotFound) as missing:
        await world.update(title="B")
    assert missing.value.code == "link_not_found"
    await world.add()
    assert await world.links.delete_link(ALICE, "Alice", "HTTPS://A.EXAMPLE") is True
    assert await world.links.delete_link(ALICE, "alice", URL) is False
    assert (await world.add()).version == 3, "its end had one of its own"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"title": "x" * 1_025}, "title_too_long"),
        ({"description": "x" * 65_537}, "description_too_long"),
        ({"title": "\x00"}, "invalid_text"),
        ({"description": "\udc00"}, "invalid_text"),
        ({"tags": ("a,b",)}, "invalid_tag"),
        ({"tags": tuple(f"t{number}" for number in range(10_000))}, "too_many_tags"),
        ({"url": "ftp://a.example/"}, "unsupported_scheme"),
        ({"idempotency_key": "x" * 256}, "invalid_idempotency_key"),
    ],
)
async def test_what_cannot_be_saved_is_told(world: World, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await world.add(**fields)
    assert refused.value.code == code
    assert await world.titles() == []


async def test_the_longest_values_are_taken(world: World) -> None:
    link = await world.add(title="ü" * 1_024, description="ü" * 65_536, tags=("ü" * 255,))
    assert (len(link.title), len(link.description), len(link.tags[0])) == (1_024, 65_536, 255)


async def test_tags_added_later_count_towards_the_limit(world: World) -> None:
    await world.add(tags=tuple(f"t{number}" for number in range(99)))
    with pytest.raises(InvalidArgument) as refused:
        await world.update(add_tags=("x", "y"))
    assert refused.value.code == "too_many_tags"
    assert len((await world.update(add_tags=("x", "y"), remove_tags=("t1",))).tags) == 100


async def test_the_limit(world: World) -> None:
    for number in range(5):
        await world.add(f"https://{number}.example/")
    with pytest.raises(Conflict) as refused:
        await world.add()
    assert refused.value.code == "link_limit_reached"
    assert await world.links.count_links(ALICE, "alice") == LinkCount(5, 5)


async def test_a_repeat_with_the_same_key_gets_the_first_answer(world: World) -> None:
    first = await world.add(title="A", tags=("x",), idempotency_key="k")
    await world.update(title="B")
    assert await world.add(title="A", tags=("x",), idempotency_key="k") == first
    with pytest.raises(Conflict) as reused:
        await world.add(title="other", idempotency_key="k")
    assert reused.value.code == "idempotency_key_reused"
    world.clock.advance(25 * 3_600)
    with pytest.raises(Conflict) as exists:
        await world.add(title="A", tags=("x",), idempotency_key="k")
    assert exists.value.code == "link_exists"


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_ones_own_links_need_nobody_else(world: World) -> None:
    await world.add(title="A", visibility=Visibility.PRIVATE)
    world.users.fault = world.graph.fault = away()
    assert await world.titles() == ["A"]
    assert (await world.links.count_links(ALICE, "ALICE")).count == 1


async def test_others_see_what_is_for_them(world: World) -> None:
    for visibility in Visibility:
        await world.add(f"https://{visibility}.example/", title=visibility, tags=(visibility,), visibility=visibility)

    async def seen(actor: Actor | None) -> tuple[set[str], set[str], int, bytes]:
        tags = (await world.links.get_tags(actor, GetTagsRequest(username="alice"))).tags
        exported = b"".join([piece async for piece in world.links.export_links(actor, "alice")])
        count = (await world.links.count_links(actor, "alice")).count
        return set(await world.titles(actor)), {row.tag for row in tags}, count, exported

    for actor, expected in ((None, {"public"}), (BOB, {"public"}), (ALICE, set(Visibility))):
        titles, tags, count, exported = await seen(actor)
        assert titles == tags == expected
        assert count == len(expected)
        assert {word for word in Visibility if f"https://{word}.example/".encode() in exported} == expected
    world.graph.set_following(BOB.user_id, ALICE.user_id)
    assert await world.titles(BOB) == ["followers", "public"]
    assert await world.titles(BOB, q="private") == []
    assert await world.titles(BOB, tag="private") == []


@pytest.mark.parametrize("actor", [BOB, None])
async def test_a_private_account_is_for_its_followers(world: World, actor: Actor | None) -> None:
    for visibility in Visibility:
        await world.add(f"https://{visibility}.example/", title=visibility, tags=(visibility,), visibility=visibility)
    world.users.private.add(ALICE.user_id)
    for filters in ({}, {"q": "public"}, {"tag": "public"}, {"url_regex": "example"}, {"visibility": "public"}):
        assert await world.titles(actor, **filters) == []
    assert (await world.links.get_tags(actor, GetTagsRequest(username="alice"))).tags == []
    assert (await world.links.count_links(actor, "alice")).count == 0
    assert b"example" not in b"".join([piece async for piece in world.links.export_links(actor, "alice")])
    assert await world.titles(ALICE) == ["private", "followers", "public"]
    world.graph.set_following(BOB.user_id, ALICE.user_id)
    assert await world.titles(BOB) == ["followers", "public"]


async def test_two_of_whom_one_has_blocked_the_other_see_nothing_of_each_other(world: World) -> None:
    await world.add(title="A")
    await world.graph.block(BOB, "alice")
    for look in (
        world.links.get_links(BOB, GetLinksRequest(username="alice")),
        world.links.get_tags(BOB, GetTagsRequest(username="alice")),
        world.links.count_links(BOB, "alice"),
        anext(world.links.export_links(BOB, "alice")),
        world.links.get_links(ALICE, GetLinksRequest(username="bob")),
    ):
        with pytest.raises(NotFound) as hidden:
            await look
        assert (hidden.value.code, hidden.value.message) == ("user_not_found", "there is no such user; check the name")


async def test_what_is_not_to_be_asked_is_told_before_who_may_ask(world: World) -> None:
    """A mistake gets the same answer whether or not there is anything to be seen."""
    await world.add(title="A")
    for private in ({ALICE.user_id}, set()):
        world.users.private = private
        with pytest.raises(InvalidArgument) as refused:
            await world.titles(BOB, start_token="?")
        assert refused.value.code == "invalid_start_token"


async def test_when_nobody_knows_who_follows_nothing_is_guessed(world: World) -> None:
    await world.add(title="A")
    world.graph.fault = away()
    with pytest.raises(Unavailable):
        await world.titles(BOB)
    assert await world.titles(None) == ["A"]


async def test_an_unknown_user(world: World) -> None:
    with pytest.raises(NotFound) as missing:
        await world.titles(BOB, username="nobody")
    assert missing.value.code == "user_not_found"


async def test_pages_are_whole_and_there_is_no_empty_last_one(world: World) -> None:
    """A full last page gave an extra empty one; news and links repeated rows."""
    for number in range(4):
        await world.add(f"https://{number}.example/", title=str(number))
    first = await world.links.get_links(ALICE, GetLinksRequest(username="alice", limit=2))
    second = await world.links.get_links(
        ALICE, GetLinksRequest(username="alice", limit=2, start_token=first.next_page_token)
    )
    assert [link.title for link in first.links + second.links] == ["3", "2", "1", "0"]
    assert (bool(first.next_page_token), second.next_page_token) == (True, "")


async def test_links_of_one_second_come_once_each(world: World) -> None:
    """Tokens were cut to seconds, so that a page of one second's links was followed by itself."""
    for number in range(4):
        world.clock.advance(-1 + 1e-6)
        await world.add(f"https://{number}.example/", title=str(number))
    titles: list[str] = []
    token = ""
    while len(titles) < 5:
        page = await world.links.get_links(ALICE, GetLinksRequest(username="alice", limit=1, start_token=token))
        titles += [link.title for link in page.links]
        if not (token := page.next_page_token):
            break
    assert titles == ["3", "2", "1", "0"]


async def test_pages_stay_stable_while_links_come_and_go(world: World) -> None:
    for number in range(5):
        await world.add(f"https://{number}.example/", title=str(number))
    first = await world.links.get_links(ALICE, GetLinksRequest(username="alice", limit=2))
    await world.links.delete_link(ALICE, "alice", "https://3.example/")
    await world.links.delete_link(ALICE, "alice", "https://1.example/")
    await world.add("https://new.example/", title="new")
    rest = await world.titles(start_token=first.next_page_token)
    assert rest == ["2", "0"]


@pytest.mark.parametrize(
    "other",
    [{"tag": "x"}, {"url_regex": "a"}, {"q": "a"}, {"status": "valid"}, {"visibility": "public"}, {"username": "bob"}],
)
async def test_a_token_of_another_list_is_refused(world: World, other: dict[str, Any]) -> None:
    for number in range(3):
        await world.add(f"https://{number}.example/")
    first = await world.links.get_links(ALICE, GetLinksRequest(username="alice", limit=1))
    with pytest.raises(InvalidArgument) as refused:
        await world.titles(ALICE, start_token=first.next_page_token, **other)
    assert refused.value.code == "invalid_start_token"
    tags = GetTagsRequest(username="alice", start_token=first.next_page_token)
    with pytest.raises(InvalidArgument):
        await world.links.get_tags(ALICE, tags)


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ({"limit": 0}, "invalid_limit"),
        ({"limit": 201}, "invalid_limit"),
        ({"q": "!"}, "invalid_search"),
        ({"url_regex": "("}, "invalid_regex"),
    ],
)
async def test_a_question_that_makes_no_sense(world: World, filters: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await world.titles(**filters)
    assert refused.value.code == code


# --- import and export ------------------------------------------------------------------------------------------------


async def test_an_import_tells_what_became_of_each_row(world: World) -> None:
    await world.add("https://saved.example/", title="mine", tags=("a",))
    content = file_of(
        row("https://one.example/", 'TAGS="x"', "One"),
        row("https://saved.example", 'TAGS="b"', "theirs"),
        row("HTTPS://ONE.example", 'TAGS="y,X"', "Uno"),
        row("javascript:alert(1)"),
        row("https://saved.example/"),
    )
    report = await world.take_in(content)
    counts = (report.total, report.imported, report.merged, report.unchanged, report.skipped)
    assert counts == (5, 1, 3, 0, 1)
    assert [(row.line, row.action, row.reason) for row in report.rows] == [
        (4, ImportAction.MERGED, "already_saved"),
        (5, ImportAction.MERGED, "duplicate_of_line_3"),
        (6, ImportAction.SKIPPED, "unsupported_scheme"),
        (7, ImportAction.MERGED, "duplicate_of_line_4"),
    ]
    links = (await world.links.get_links(ALICE, GetLinksRequest(username="alice"))).links
    assert {(link.title, link.tags, link.visibility) for link in links} == {
        ("One", ("x", "y"), Visibility.PRIVATE),
        ("mine", ("a", "b"), Visibility.PUBLIC),
    }
    again = await world.take_in(content)
    assert (again.total, again.unchanged, again.skipped) == (5, 4, 1)
    assert again.import_id != report.import_id


async def test_an_import_stops_at_the_limit_row_by_row(world: World) -> None:
    rows = [row(f"https://{number}.example/") for number in range(8)]
    report = await world.take_in(file_of(*rows))
    assert (report.imported, report.skipped) == (5, 3)
    assert {row.reason for row in report.rows} == {"link_limit_reached"}


async def test_what_is_too_long_is_cut_and_told(world: World) -> None:
    tags = ",".join(f"t{number}" for number in range(150))
    report = await world.take_in(
        file_of(row("https://a.example/", title="x" * 2_000), row("https://b.example/", f'TAGS="{tags}"'))
    )
    assert report.imported == 2
    assert [(row.action, row.reason) for row in report.rows] == [
        (ImportAction.IMPORTED, "title_cut"),
        (ImportAction.IMPORTED, "tags_cut"),
    ]
    links = (await world.links.get_links(ALICE, GetLinksRequest(username="alice"))).links
    assert sorted((len(link.title), len(link.tags)) for link in links) == [(1, 100), (1_024, 0)]


async def test_folders_become_tags_if_asked(world: World) -> None:
    content = file_of("<DT><H3>Dev, Ops</H3>", "<DL><p>", row("https://a.example/", 'TAGS="x"'), "</DL><p>")
    await world.take_in(content)
    assert (await world.links.get_tags(ALICE, GetTagsRequest(username="alice"))).tags[0].tag == "x"
    report = await world.take_in(content, folders_as_tags=True)
    assert report.merged == 1
    tags = (await world.links.get_tags(ALICE, GetTagsRequest(username="alice"))).tags
    assert [row.tag for row in tags] == ["Dev  Ops", "x"]


async def test_dates_of_a_file(world: World) -> None:
    now = world.clock.time
    future = int(now.timestamp()) + 86_400
    await world.take_in(
        file_of(
            row("https://old.example/", 'ADD_DATE="1000000000" LAST_MODIFIED="1000000005"'),
            row("https://none.example/"),
            row("https://future.example/", f'ADD_DATE="{future}"'),
        )
    )
    links = (await world.links.get_links(ALICE, GetLinksRequest(username="alice"))).links
    assert [link.url for link in links] == ["https://future.example/", "https://none.example/", "https://old.example/"]
    assert [link.created_at for link in links[:2]] == [now, now]
    assert int(links[2].created_at.timestamp()) == 1_000_000_000
    assert int(links[2].updated_at.timestamp()) == 1_000_000_005


async def test_only_so_many_rows_are_listed_those_that_matter_first(world: World) -> None:
    await world.take_in(file_of(row("https://a.example/")))
    unchanged = [row("https://a.example/")] * (MAX_IMPORT_ROWS_LISTED + 5)
    report = await world.take_in(file_of(*unchanged, row("ftp://x.example/")))
    assert (report.unchanged, report.skipped) == (MAX_IMPORT_ROWS_LISTED + 5, 1)
    assert len(report.rows) == MAX_IMPORT_ROWS_LISTED
    assert report.rows_truncated
    assert report.rows[-1].reason == "unsupported_scheme"


async def test_an_import_that_cannot_be_read_changes_nothing(world: World) -> None:
    for content, kind in (("\x00\x01binary", InvalidArgument), ("x" * (MAX_IMPORT_BYTES + 1), TooLarge)):
        with pytest.raises(kind):
            await world.take_in(content)
    assert await world.titles() == []


async def test_a_repeated_import_with_the_same_key_gets_the_first_report(world: World) -> None:
    content = file_of(row("https://a.example/"), row("ftp://b.example/"))
    first = await world.take_in(content, idempotency_key="k")
    assert await world.take_in(content, idempotency_key="k") == first
    with pytest.raises(Conflict) as reused:
        await world.take_in(content + " ", idempotency_key="k")
    assert reused.value.code == "idempotency_key_reused"


async def test_an_export_reads_back_to_the_same(world: World) -> None:
    await world.add(title='A <b> & "c"', description="two\nlines", tags=("x", "y z"))
    await world.add("https://b.example/", visibility=Visibility.FOLLOWERS)
    first = b"".join([piece async for piece in world.links.export_links(ALICE, "alice")])
    before = (await world.links.get_links(ALICE, GetLinksRequest(username="alice"))).links
    for link in before:
        await world.links.delete_link(ALICE, "alice", link.url)
    world.clock.advance(3_600)
    report = await world.take_in(first.decode())
    assert (report.imported, report.total) == (2, 2)
    after = (await world.links.get_links(ALICE, GetLinksRequest(username="alice"))).links

    def kept(link: Link) -> tuple[object, ...]:
        return link.url, link.title, link.description, link.tags, link.created_at, link.updated_at, link.visibility

    assert [kept(link) for link in after] == [kept(link) for link in before]
    assert b"".join([piece async for piece in world.links.export_links(ALICE, "alice")]) == first


async def test_every_refusal_says_what_to_do(world: World) -> None:
    with pytest.raises(DelinkciousError) as refused:
        await world.add("nonsense")
    assert "send an absolute http or https URL" in refused.value.message


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_a_change_tells_the_link_as_it_is_then(world: World) -> None:
    """In the original an update carried no link, a delete was never sent, and the time was that of consumption."""
    added = await world.add(title="A", description="d", tags=("x",), visibility=Visibility.FOLLOWERS)
    changed = await world.update(title="B", add_tags=("y",))
    world.clock.advance()
    await world.links.delete_link(ALICE, "ALICE", URL)
    assert [event.type for event in world.told] == [
        LinkEventType.ADDED,
        LinkEventType.UPDATED,
        LinkEventType.DELETED,
    ]
    for event, link in zip(world.told, (added, changed, changed), strict=True):
        assert (event.user_id, event.username, event.url, event.link_id) == (1, "alice", URL, added.id)
        assert (event.title, event.description, event.tags) == (link.title, "d", link.tags)
        assert (event.visibility, event.status, event.bulk) == (Visibility.FOLLOWERS, LinkStatus.PENDING, False)
    assert [event.timestamp for event in world.told] == [added.created_at, changed.updated_at, world.clock.time]
    assert [event.version for event in world.told] == [1, 2, 3]
    ids = {event.id for event in world.told}
    assert len(ids | {added.id}) == 4, "an event has an id of its own"


async def test_what_did_not_happen_is_not_told(world: World) -> None:
    await world.add(title="A")
    for refused in (world.add(), world.add("ftp://a.example/"), world.update(if_version=9, title="x")):
        with pytest.raises(DelinkciousError):
            await refused
    await world.update(title="A")
    await world.links.delete_link(ALICE, "alice", "https://none.example/")
    assert len(world.told) == 1


async def test_a_link_that_becomes_private_says_so(world: World) -> None:
    await world.add()
    await world.update(visibility="private")
    last = world.told[-1]
    assert (last.type, last.visibility) == (LinkEventType.UPDATED, Visibility.PRIVATE)


async def test_the_time_of_an_event_never_goes_back(world: World) -> None:
    await world.add()
    world.clock.advance(-3_600)
    await world.update(title="B")
    await world.links.delete_link(ALICE, "alice", URL)
    times = [event.timestamp for event in world.told]
    assert times == sorted(times)


async def test_a_repeat_with_the_same_key_tells_nothing_new(world: World) -> None:
    await world.add(idempotency_key="k")
    await world.add(idempotency_key="k")
    content = file_of(row("https://b.example/", 'PRIVATE="0"'))
    await world.take_in(content, idempotency_key="i")
    await world.take_in(content, idempotency_key="i")
    assert [event.type for event in world.told] == [LinkEventType.ADDED, LinkEventType.ADDED, LinkEventType.IMPORTED]


async def test_an_import_tells_each_link_and_one_summary_of_what_others_see(world: World) -> None:
    await world.add("https://saved.example/", title="mine")
    content = file_of(
        row("https://one.example/", 'PRIVATE="0" ADD_DATE="1000000000"', "One"),
        row("https://two.example/", 'PRIVATE="1"'),
        row("https://saved.example/", 'PRIVATE="0" TAGS="new"'),
        row("https://three.example/", 'PRIVATE="0"'),
    )
    await world.take_in(content)
    *each, summary = world.told[1:]
    assert [(event.type, event.url, event.visibility) for event in each] == [
        (LinkEventType.ADDED, "https://one.example/", Visibility.PUBLIC),
        (LinkEventType.ADDED, "https://two.example/", Visibility.PRIVATE),
        (LinkEventType.UPDATED, "https://saved.example/", Visibility.PUBLIC),
        (LinkEventType.ADDED, "https://three.example/", Visibility.PUBLIC),
    ]
    assert all(event.bulk for event in each)
    assert {event.timestamp for event in (*each, summary)} == {world.clock.time}, "the import's, not the file's"
    assert (summary.type, summary.count, summary.visibility) == (LinkEventType.IMPORTED, 2, Visibility.PUBLIC)
    assert (summary.url, summary.bulk, summary.username) == ("", False, "alice")
    await world.take_in(content)
    assert world.told[-1] == summary, "a second time is no news"


@pytest.mark.parametrize(
    ("visibility", "expected"),
    [(Visibility.PRIVATE, None), (Visibility.FOLLOWERS, (1, Visibility.FOLLOWERS))],
)
async def test_who_may_know_of_an_import(
    world: World, visibility: Visibility, expected: tuple[int, Visibility] | None
) -> None:
    await world.take_in(file_of(row("https://a.example/")), visibility=visibility)
    summaries = [(event.count, event.visibility) for event in world.told if event.type is LinkEventType.IMPORTED]
    assert summaries == ([expected] if expected else [])


# --- checks -----------------------------------------------------------------------------------------------------------


async def test_a_verdict_is_the_links_status_and_no_change_of_it(world: World) -> None:
    added = await world.add()
    await world.check(LinkStatus.VALID, url="HTTPS://A.example:443")
    (link,) = (await world.links.get_links(ALICE, GetLinksRequest(username="alice"))).links
    assert link == replace(added, status=LinkStatus.VALID, checked_at=world.clock.time)
    assert len(world.told) == 1


async def test_late_results_never_overwrite_newer_ones(world: World) -> None:
    await world.add()
    await world.check(LinkStatus.INVALID)
    await world.check(LinkStatus.VALID, ago=1)
    assert len(await world.titles(status="invalid")) == 1
    await world.check(LinkStatus.PENDING, ago=-1)
    assert len(await world.titles(status="invalid")) == 1, "who could not tell takes nothing away"
    world.clock.advance()
    await world.check(LinkStatus.VALID)
    assert len(await world.titles(status="valid")) == 1


async def test_a_verdict_from_the_future_does_not_stand_for_ever(world: World) -> None:
    await world.add()
    await world.check(LinkStatus.INVALID, ago=-86_400)
    world.clock.advance()
    await world.check(LinkStatus.VALID)
    assert len(await world.titles(status="valid")) == 1


async def test_a_verdict_of_what_nobody_saved(world: World) -> None:
    await world.check(LinkStatus.VALID)
    await world.check(LinkStatus.VALID, user_id=99)
    with pytest.raises(InvalidArgument):
        await world.check(LinkStatus.VALID, url="nonsense")
    assert await world.titles() == []


async def test_one_look_is_for_all_and_who_comes_later_knows_it_at_once(world: World) -> None:
    await world.add()
    await world.links.add_link(BOB, AddLinkRequest(url="HTTPS://A.example:443", username="bob"))
    await world.check(LinkStatus.VALID, reason="moved", moved_to="https://new.example/")
    carol = world.users.add(Actor(3, "carol"))
    added = await world.links.add_link(carol, AddLinkRequest(url=URL, username="carol"))
    (bobs,) = (await world.links.get_links(BOB, GetLinksRequest(username="bob"))).links
    for link in (added, bobs):
        assert (link.status, link.status_reason, link.moved_to) == (LinkStatus.VALID, "moved", "https://new.example/")
    assert world.told[-1].status is LinkStatus.VALID, "so that nobody looks"


async def test_a_link_that_waits_too_long_is_asked_for_again(world: World) -> None:
    """A lost event left the original's links pending for ever."""
    added = await world.add(title="A")
    world.clock.advance(ASK_AGAIN_AFTER.total_seconds())
    assert await world.links.ask_again() == 0
    world.clock.advance()
    assert await world.links.ask_again() == 1
    again = world.told[-1]
    assert (again.type, again.bulk, again.timestamp) == (LinkEventType.UPDATED, True, world.clock.time)
    assert (again.username, again.url, again.version, again.title) == ("alice", URL, added.version, "A")
    assert again.id != world.told[0].id
    assert await world.links.ask_again() == 0, "not again at once"
    for times in range(12):
        pause = min(2**times * ASK_AGAIN_AFTER.total_seconds(), 86_400)
        world.clock.advance(pause - 1)
        assert await world.links.ask_again() == 0, "twice as long each time, a day at most"
        world.clock.advance()
        assert await world.links.ask_again() == 1


async def test_what_is_known_is_looked_at_again(world: World) -> None:
    await world.add()
    await world.check(LinkStatus.VALID)
    world.clock.advance(MIN_INTERVAL.total_seconds() - 1)
    assert await world.links.ask_again() == 0
    world.clock.advance()
    assert await world.links.ask_again() == 1


async def test_many_are_asked_for_in_batches(world: World) -> None:
    world.links = LinkManager(
        world.store, world.users, world.graph, world.clock, SequentialIds(10_000), max_links_per_user=5_000
    )
    number = 2 * ASK_BATCH + 1
    await world.take_in(file_of(*(row(f"https://{place}.example/") for place in range(number))))
    world.clock.advance(86_400)
    before = len(world.told)
    assert await world.links.ask_again() == number
    assert len({event.url for event in world.told[before:]}) == number


async def test_users_who_are_gone_do_not_stand_in_the_way(world: World) -> None:
    gone = world.users.add(Actor(3, "carol"))
    await world.links.add_link(gone, AddLinkRequest(url=URL, username="carol"))
    world.users.remove("carol")
    await world.add()
    world.clock.advance(86_400)
    assert await world.links.ask_again() == 1
    assert world.told[-1].username == "alice"
    assert await world.links.ask_again() == 0


async def test_when_nobody_knows_the_names_it_is_left_for_the_next_time(world: World) -> None:
    await world.add()
    world.clock.advance(86_400)
    world.users.fault = away("user-manager")
    with pytest.raises(Unavailable):
        await world.links.ask_again()
    world.users.fault = None
    assert await world.links.ask_again() == 1


async def test_one_sweeps_at_a_time(world: World) -> None:
    await world.add()
    world.clock.advance(86_400)
    async with world.store.sweep_alone():
        assert await world.links.ask_again() == 0
    assert await world.links.ask_again() == 1
