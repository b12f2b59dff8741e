"""The rules of links, on a store in memory and with fakes for peers, time and ids."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from pkg.link_manager.manager import LinkManager
from pkg.link_manager.memory_store import MemoryLinkStore
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
    links = LinkManager(MemoryLinkStore(), users, graph, clock, SequentialIds(), max_links_per_user=5)
    return World(links, users, graph, clock)


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
    assert (await world.add()).version == 2


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
async def test_a_token_of_another_list_is_refused(world: World, other: dict[str, str]) -> None:
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
