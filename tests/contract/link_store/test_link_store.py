"""What every store of links keeps, finds and counts."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pkg.link_manager.regex import parse_regex
from pkg.link_manager.store import (
    AnsweredBeforeError,
    Audience,
    ImportOutcome,
    LinkStore,
    Once,
    Place,
)
from pkg.link_manager.tags import merge_tags
from pkg.link_manager.words import parse_search
from pkg.object_model.errors import Conflict
from pkg.object_model.types import Link, LinkStatus, TagCount, Visibility
from tests.contract.link_store.links import (
    NO_LIMIT,
    START,
    add,
    candidate,
    counts,
    delete,
    ids,
    make_link,
    query,
    tags,
    take_in,
    update,
)

FAR = datetime(1970, 1, 1, tzinfo=UTC)
WHOLE = "Ünïcode \"quoted\" 'and' \\ % _ & <b> 日本 \U0001f600\n\ttab"


# --- one link ---------------------------------------------------------------------------------------------------------


async def test_a_link_comes_back_as_it_was(store: LinkStore, user_id: int) -> None:
    link = make_link(
        1,
        url="https://a.example/?x='y'&z=%22",
        title=WHOLE,
        description=WHOLE * 3,
        tags=("Zwei", "eins", "日本", "it's", 'a "b"', "back\\slash"),
        created_at=datetime(1999, 12, 31, 23, 59, 59, 123456, UTC),
        visibility=Visibility.FOLLOWERS,
    )
    added = await add(store, user_id, link)
    assert added == replace(link, version=1)
    assert [found for found, _ in await store.find_links(query(user_id))] == [added]
    assert await ids(store, user_id + 1_000_000) == []


async def test_a_url_is_saved_once(store: LinkStore, user_id: int) -> None:
    """The original had no unique (username, url)."""
    await add(store, user_id, make_link(1, url="https://a.example/"))
    with pytest.raises(Conflict) as conflict:
        await add(store, user_id, make_link(2, url="HTTPS://A.example:443"))
    assert conflict.value.code == "link_exists"
    assert await ids(store, user_id) == [1]
    assert await counts(store, user_id) == [1, 1, 1]
    await add(store, user_id + 1_000_000, make_link(1, url="https://a.example/"))


async def test_of_concurrent_adds_of_one_url_one_wins(store: LinkStore, user_id: int) -> None:
    adds = [add(store, user_id, make_link(number, url="https://a.example/", tags=("t",))) for number in range(1, 31)]
    results = await asyncio.gather(*adds, return_exceptions=True)
    won = [result for result in results if isinstance(result, Link)]
    lost = [result.code for result in results if isinstance(result, Conflict)]
    assert (len(won), lost) == (1, ["link_exists"] * 29)
    assert await ids(store, user_id) == [won[0].id]
    assert await tags(store, user_id) == {"t": 1}
    assert await counts(store, user_id) == [1, 1, 1]


async def test_the_limit_is_exact_under_concurrent_adds(store: LinkStore, user_id: int) -> None:
    """The original counted by paging through all links, and raced."""
    adds = [add(store, user_id, make_link(number), 20) for number in range(1, 101)]
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert sum(isinstance(result, Link) for result in results) == 20
    assert {result.code for result in results if isinstance(result, Conflict)} == {"link_limit_reached"}
    assert len(await ids(store, user_id)) == 20
    saved = (await store.find_links(query(user_id)))[0].link
    with pytest.raises(Conflict) as exists:
        await add(store, user_id, replace(saved, id=999), 20)
    assert exists.value.code == "link_exists", "that it is there says more than that there is no room"
    assert await delete(store, user_id, saved.url) is True
    await add(store, user_id, make_link(200), 20)
    assert await counts(store, user_id) == [20, 20, 20]


async def test_a_change_is_kept_and_nothing_else(store: LinkStore, user_id: int) -> None:
    link = await add(store, user_id, make_link(1, description="d", tags=("a", "b")))
    other = await add(store, user_id, make_link(2, tags=("a",)))

    def change(present: Link) -> Link:
        assert present == link
        later = present.updated_at + timedelta(minutes=1)
        return replace(present, title="new", tags=("b", "C"), updated_at=later, version=2)

    changed = await update(store, user_id, link.url, change)
    assert changed == replace(
        link, title="new", tags=("b", "C"), updated_at=link.updated_at + timedelta(minutes=1), version=2
    )
    assert [found for found, _ in await store.find_links(query(user_id))] == [other, changed]
    assert await tags(store, user_id) == {"a": 1, "b": 1, "C": 1}
    assert await ids(store, user_id, words=("new",)) == [1]
    assert await ids(store, user_id, words=("title", "1")) == []


async def test_a_change_that_fails_changes_nothing(store: LinkStore, user_id: int) -> None:
    link = await add(store, user_id, make_link(1))

    def fail(present: Link) -> Link:
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        await update(store, user_id, link.url, fail)
    assert await update(store, user_id, "https://none.example/", fail) is None
    assert [found for found, _ in await store.find_links(query(user_id))] == [link]


async def test_concurrent_changes_all_count(store: LinkStore, user_id: int) -> None:
    """Links and tags in one transaction: the original lost tags."""
    link = await add(store, user_id, make_link(1))

    async def change(number: int) -> None:
        def put(present: Link) -> Link:
            more = merge_tags(present.tags, [f"t{number}"])
            return replace(present, tags=more, version=present.version + 1)

        await update(store, user_id, link.url, put)

    await asyncio.gather(*[change(number) for number in range(20)])
    found = (await store.find_links(query(user_id)))[0].link
    assert set(found.tags) == {f"t{number}" for number in range(20)}
    assert found.version == 21
    assert await tags(store, user_id) == {f"t{number}": 1 for number in range(20)}


async def test_versions_survive_delete_and_a_later_add(store: LinkStore, user_id: int) -> None:
    link = await add(store, user_id, make_link(1))
    for _ in range(2):
        await update(store, user_id, link.url, lambda present: replace(present, version=present.version + 1))
    assert await delete(store, user_id, link.url) is True
    assert await delete(store, user_id, link.url) is False
    again = await add(store, user_id, make_link(2, url=link.url))
    assert again.version == 5, "its end took 4"
    await delete(store, user_id, link.url)
    assert (await add(store, user_id, make_link(3, url=link.url))).version == 7


async def test_versions_rise_whatever_is_added_and_deleted_at_once(store: LinkStore, user_id: int) -> None:
    given: list[int] = []

    async def add_and_delete(number: int) -> None:
        try:
            given.append((await add(store, user_id, make_link(number, url="https://a.example/"))).version)
        except Conflict:
            return
        await delete(store, user_id, "https://a.example/")

    for start in range(1, 60, 20):
        await asyncio.gather(*[add_and_delete(start + number) for number in range(20)])
    assert len(set(given)) == len(given)
    assert sorted(given) == list(range(1, 2 * len(given), 2)), "every other one is that of an end"


async def test_deleting_takes_the_tags_and_the_counts_along(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1, tags=("a", "b"), visibility=Visibility.PRIVATE))
    await add(store, user_id, make_link(2, tags=("a",), visibility=Visibility.FOLLOWERS))
    assert await counts(store, user_id) == [2, 1, 0]
    assert await delete(store, user_id, "https://1.example/") is True
    assert await tags(store, user_id) == {"a": 1}
    assert await counts(store, user_id) == [1, 1, 0]
    assert await ids(store, user_id, tag_key="b") == []
    assert await ids(store, user_id, words=("title",)) == [2]


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_newest_first_and_by_id_where_times_are_equal(store: LinkStore, user_id: int) -> None:
    """Ten links in one second made the original count for ever; its pages repeated rows."""
    same = START + timedelta(hours=1)
    for number in (3, 9, 1, 7):
        await add(store, user_id, make_link(number, created_at=same))
    await add(store, user_id, make_link(8, created_at=same - timedelta(microseconds=1)))
    await add(store, user_id, make_link(2, created_at=same + timedelta(microseconds=1)))
    assert await ids(store, user_id) == [2, 9, 7, 3, 1, 8]
    walked: list[int] = []
    after: Place | None = None
    while found := await store.find_links(query(user_id, limit=2, after=after)):
        walked += [link.id for link, _ in found]
        link, score = found[-1]
        after = Place(score, link.created_at, link.id)
    assert walked == [2, 9, 7, 3, 1, 8]
    exported = await store.read_oldest_first(user_id, Audience.OWNER, None, 4)
    rest = await store.read_oldest_first(user_id, Audience.OWNER, (exported[-1].created_at, exported[-1].id), 4)
    assert [link.id for link in exported + rest] == [8, 1, 3, 7, 9, 2]


async def test_everybody_sees_what_they_may(store: LinkStore, user_id: int) -> None:
    for number, visibility in enumerate(Visibility, 1):
        await add(store, user_id, make_link(number, visibility=visibility, tags=("all", f"t{number}")))
    seen = {audience: await ids(store, user_id, audience=audience) for audience in Audience}
    assert seen == {
        Audience.OWNER: [3, 2, 1],
        Audience.FOLLOWER: [2, 1],
        Audience.STRANGER: [1],
        Audience.NOBODY: [],
    }
    for audience, visible in seen.items():
        for filters in (
            {"tag_key": "all"},
            {"words": ("title",)},
            {"words": ("title",), "tag_key": "all"},
            {"url": parse_regex("example", "url_regex")},
        ):
            assert await ids(store, user_id, audience=audience, **filters) == visible, (audience, filters)
        assert await ids(store, user_id, audience=audience, tag_key="t3") == [3][: len(visible) == 3]
        assert await ids(store, user_id, audience=audience, visibility=Visibility.PRIVATE) == [3][: len(visible) == 3]
        exported = await store.read_oldest_first(user_id, audience, None, 10)
        assert [link.id for link in exported] == visible[::-1]
        expected = {tag: 1 for number in visible for tag in (f"t{number}",)} | (
            {"all": len(visible)} if visible else {}
        )
        assert await tags(store, user_id, audience) == expected
        assert await store.count_links(user_id, audience) == len(visible)


async def test_a_change_of_visibility_reaches_every_list_and_count(store: LinkStore, user_id: int) -> None:
    link = await add(store, user_id, make_link(1, tags=("a", "b")))
    await update(
        store,
        user_id,
        link.url,
        lambda present: replace(present, visibility=Visibility.PRIVATE, tags=("b", "c"), version=2),
    )
    assert await counts(store, user_id) == [1, 0, 0]
    assert await tags(store, user_id) == {"b": 1, "c": 1}
    assert await tags(store, user_id, Audience.STRANGER) == {}
    assert await ids(store, user_id, audience=Audience.STRANGER, tag_key="b") == []
    assert await ids(store, user_id, tag_key="b") == [1]


async def test_filters_hold_together(store: LinkStore, user_id: int) -> None:
    """The original dropped filters in silence, compiled all from the URL's, and named a column that was none."""
    await add(store, user_id, make_link(1, url="https://a.example/x", title="One", description="red", tags=("Tag",)))
    await add(store, user_id, make_link(2, url="https://b.example/x", title="Two", description="red", tags=("tag",)))
    await add(store, user_id, make_link(3, url="https://b.example/y", title="One", description="blue"))
    url, title, description = (parse_regex(pattern, "r") for pattern in (r"^https://b\.", "^One$", "re?d|blue"))
    assert await ids(store, user_id, url=url) == [3, 2]
    assert await ids(store, user_id, title=title) == [3, 1]
    assert await ids(store, user_id, url=url, title=title) == [3]
    assert await ids(store, user_id, description=description) == [3, 2, 1]
    assert await ids(store, user_id, tag_key="tag") == [2, 1]
    assert await ids(store, user_id, tag_key="tag", url=url, title=title) == []
    assert await ids(store, user_id, status=LinkStatus.PENDING, tag_key="tag") == [2, 1]
    assert await ids(store, user_id, status=LinkStatus.INVALID) == []
    assert await ids(store, user_id, visibility=Visibility.PUBLIC, words=("one",), tag_key="tag") == [1]


async def test_pages_by_tag_follow_the_links_time(store: LinkStore, user_id: int) -> None:
    for number in range(1, 12):
        await add(store, user_id, make_link(number, tags=("odd",) if number % 2 else ("even",)))
    first = await store.find_links(query(user_id, tag_key="odd", limit=4))
    last = first[-1].link
    rest = await ids(store, user_id, tag_key="odd", after=Place(0, last.created_at, last.id))
    assert [link.id for link, _ in first] + rest == [11, 9, 7, 5, 3, 1]


# --- search -----------------------------------------------------------------------------------------------------------


async def search(store: LinkStore, user_id: int, q: str, **filters: object) -> list[int]:
    return await ids(store, user_id, words=parse_search(q), **filters)


async def test_search_finds_beginnings_of_words_everywhere(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1, title="Learning Kubernetes", url="https://a.example/"))
    await add(store, user_id, make_link(2, title="x", tags=("kubernetes-operators",), url="https://b.example/"))
    await add(store, user_id, make_link(3, title="x", description="runs on Kubernetes", url="https://c.example/"))
    await add(store, user_id, make_link(4, title="x", url="https://kubernetes.example/docs"))
    await add(store, user_id, make_link(5, title="Nothing to see", url="https://d.example/"))
    assert await search(store, user_id, "kubern") == [1, 2, 3, 4], "title, tags, description, URL"
    assert await search(store, user_id, "KUBERN learn") == [1]
    assert await search(store, user_id, "operators") == [2]
    assert await search(store, user_id, "docs kub") == [4]
    assert await search(store, user_id, "ubernetes") == []
    assert await search(store, user_id, "kubernetes nothing") == []


async def test_search_folds_case_accents_and_scripts(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1, title="Café CRÈME Straße ﬁne"))
    await add(store, user_id, make_link(2, title="東京の地図", url="https://example.com/%E5%9C%B0"))
    await add(store, user_id, make_link(3, title="हिन्दी विकिपीडिया"))
    assert await search(store, user_id, "cafe creme") == [1]
    assert await search(store, user_id, "STRASSE fine") == [1]
    assert await search(store, user_id, "京地") == [2]
    assert await search(store, user_id, "हिन्दी") == [3]


async def test_search_pages_by_score_then_time(store: LinkStore, user_id: int) -> None:
    for number in range(1, 10):
        place = ("title", "description", "url")[number % 3]
        text = {"title": "nil", "url": f"https://{number}.example/"}
        text[place] = f"https://word.example/{number}" if place == "url" else "word"
        await add(store, user_id, make_link(number, **text))
    expected = [9, 6, 3, 7, 4, 1, 8, 5, 2]
    assert await search(store, user_id, "wor") == expected
    walked: list[int] = []
    after: Place | None = None
    while found := await store.find_links(query(user_id, words=("wor",), limit=2, after=after)):
        walked += [link.id for link, _ in found]
        after = Place(found[-1].score, found[-1].link.created_at, found[-1].link.id)
    assert walked == expected


async def test_a_long_text_can_be_kept_and_searched(store: LinkStore, user_id: int) -> None:
    words = " ".join(f"word{number}" for number in range(7_000))
    await add(store, user_id, make_link(1, description=words[:65_536]))
    await add(store, user_id, make_link(2, description="字" * 65_536, title="a" * 1_024))
    await add(store, user_id, make_link(3, description="".join(map(chr, range(0x4E00, 0x9FFF)))))
    assert await search(store, user_id, "word6000 word1") == [1]
    assert await search(store, user_id, "a" * 64) == [2]
    assert await search(store, user_id, "鿾") == [3]


# --- tags -------------------------------------------------------------------------------------------------------------


async def test_tags_are_listed_by_key_with_a_prefix_and_by_pages(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1, tags=("Python", "pytest", "Ärger", "zoo", "\U0001f469\u200d\U0001f4bb")))
    await add(store, user_id, make_link(2, tags=("PYTHON", "go", "py_x", "py%")))
    assert await tags(store, user_id, prefix="py") == {"py%": 1, "py_x": 1, "pytest": 1, "Python": 2}
    assert await tags(store, user_id, prefix="py%") == {"py%": 1}
    assert await tags(store, user_id, prefix="ä") == {"Ärger": 1}
    assert await tags(store, user_id, prefix="q") == {}
    walked: list[tuple[str, TagCount]] = []
    while found := await store.find_tags(user_id, Audience.OWNER, "", walked[-1][0] if walked else None, 3):
        walked += found
    keys = [tag for tag, _ in walked]
    assert keys == sorted(keys)
    assert keys == ["go", "py%", "py_x", "pytest", "python", "zoo", "ärger", "\U0001f469\u200d\U0001f4bb"]


async def test_a_tag_is_shown_as_first_written_until_it_is_gone(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1, tags=("First",)))
    await add(store, user_id, make_link(2, tags=("FIRST",)))
    assert await tags(store, user_id) == {"First": 2}
    await delete(store, user_id, "https://1.example/")
    assert await tags(store, user_id) == {"First": 1}
    await delete(store, user_id, "https://2.example/")
    assert await tags(store, user_id) == {}
    await add(store, user_id, make_link(3, tags=("first",)))
    assert await tags(store, user_id) == {"first": 1}


# --- import -----------------------------------------------------------------------------------------------------------


def merge(present: Link, other: Link) -> Link:
    tags = merge_tags(present.tags, other.tags)
    return present if tags == present.tags else replace(present, tags=tags, version=present.version + 1)


async def test_an_import_adds_merges_and_leaves_alone(store: LinkStore, user_id: int) -> None:
    saved = await add(store, user_id, make_link(1, tags=("a",)))
    await add(store, user_id, make_link(2, tags=("a",)))
    gone = await add(store, user_id, make_link(3))
    await delete(store, user_id, gone.url)
    candidates = [
        candidate(make_link(11, url=saved.url, tags=("B", "A"))),
        candidate(make_link(12, url="https://2.example/", tags=("A",))),
        candidate(make_link(13, url=gone.url, tags=("n", "B"), visibility=Visibility.PRIVATE, description=WHOLE)),
        candidate(make_link(14, url="https://new.example/", title=WHOLE, created_at=FAR)),
    ]
    outcomes = await take_in(store, user_id, candidates, NO_LIMIT, merge)
    assert outcomes == [
        ImportOutcome.MERGED,
        ImportOutcome.UNCHANGED,
        ImportOutcome.IMPORTED,
        ImportOutcome.IMPORTED,
    ]
    found = {link.id: link for link, _ in await store.find_links(query(user_id))}
    assert found.keys() == {1, 2, 13, 14}
    assert (found[1].tags, found[1].version) == (("a", "B"), 2)
    assert found[13] == replace(candidates[2].link, version=3)
    assert found[14] == replace(candidates[3].link, version=1)
    assert await tags(store, user_id) == {"a": 2, "B": 2, "n": 1}
    assert await tags(store, user_id, Audience.STRANGER) == {"a": 2, "B": 1}
    assert await counts(store, user_id) == [4, 3, 3]
    assert await search(store, user_id, "日本") == [13, 14][::-1]
    again = await take_in(store, user_id, candidates, NO_LIMIT, merge)
    assert again == [ImportOutcome.UNCHANGED] * 4


async def test_an_import_stops_at_the_limit_and_goes_on_with_what_is_there(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    candidates = [candidate(make_link(number)) for number in (5, 6, 7, 8)]
    candidates.append(candidate(make_link(1, tags=("x",))))
    outcomes = await take_in(store, user_id, candidates, 3, merge)
    assert outcomes == [
        ImportOutcome.IMPORTED,
        ImportOutcome.IMPORTED,
        ImportOutcome.LIMIT_REACHED,
        ImportOutcome.LIMIT_REACHED,
        ImportOutcome.MERGED,
    ]
    assert sorted(await ids(store, user_id)) == [1, 5, 6]


async def test_an_import_and_adds_at_once_keep_the_limit(store: LinkStore, user_id: int) -> None:
    candidates = [candidate(make_link(number)) for number in range(1, 51)]
    adds = [add(store, user_id, make_link(100 + number), 60) for number in range(50)]
    outcomes, *results = await asyncio.gather(
        take_in(store, user_id, candidates, 60, merge), *adds, return_exceptions=True
    )
    assert isinstance(outcomes, list)
    added = outcomes.count(ImportOutcome.IMPORTED) + sum(isinstance(result, Link) for result in results)
    assert added == len(await ids(store, user_id)) == 60


async def test_a_large_import_goes_in_in_batches(store: LinkStore, user_id: int) -> None:
    candidates = [
        candidate(make_link(number, tags=(f"t{number % 7}", "all"), visibility=list(Visibility)[number % 3]))
        for number in range(1, 2_051)
    ]
    outcomes = await take_in(store, user_id, candidates, 2_000, merge)
    assert outcomes.count(ImportOutcome.IMPORTED) == 2_000
    assert outcomes[2_000:] == [ImportOutcome.LIMIT_REACHED] * 50
    assert (await tags(store, user_id))["all"] == 2_000
    assert await counts(store, user_id) == [2_000, 1_333, 666]
    assert await take_in(store, user_id, candidates[:2_000], 2_000, merge) == [ImportOutcome.UNCHANGED] * 2_000


# --- answers ----------------------------------------------------------------------------------------------------------


def promise(name: bytes, fingerprint: bytes = b"f", now: datetime = START) -> Once:
    return Once(name, fingerprint, now, now - timedelta(hours=24), str)


async def test_an_answer_is_kept_with_what_it_answers(store: LinkStore, user_id: int) -> None:
    once = promise(b"k")
    assert await store.recall_answer(user_id, once) is None
    added = await add(store, user_id, make_link(1), NO_LIMIT, once)
    assert await store.recall_answer(user_id, once) == str(added)
    assert await store.recall_answer(user_id + 1_000_000, once) is None
    with pytest.raises(Conflict) as reused:
        await store.recall_answer(user_id, promise(b"k", b"another"))
    assert reused.value.code == "idempotency_key_reused"
    with pytest.raises(AnsweredBeforeError):
        await add(store, user_id, make_link(2), NO_LIMIT, once)
    assert await ids(store, user_id) == [1]
    assert await counts(store, user_id) == [1, 1, 1]


async def test_what_is_not_done_is_not_answered(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    once = promise(b"k")
    with pytest.raises(Conflict):
        await add(store, user_id, make_link(2, url="https://1.example/"), NO_LIMIT, once)
    with pytest.raises(Conflict):
        await add(store, user_id, make_link(3), 1, once)
    assert await store.recall_answer(user_id, once) is None


async def test_answers_are_forgotten_after_a_day(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1), NO_LIMIT, promise(b"k"))
    later = promise(b"k", b"another", START + timedelta(hours=25))
    assert await store.recall_answer(user_id, later) is None
    await add(store, user_id, make_link(2), NO_LIMIT, later)
    assert await store.recall_answer(user_id, later) is not None


async def test_an_imports_answer(store: LinkStore, user_id: int) -> None:
    once = promise(b"i")
    outcomes = await take_in(store, user_id, [candidate(make_link(1))], NO_LIMIT, merge, once)
    assert await store.recall_answer(user_id, once) == str(outcomes)
    with pytest.raises(AnsweredBeforeError):
        await take_in(store, user_id, [candidate(make_link(2))], NO_LIMIT, merge, once)
    assert await ids(store, user_id) == [1]


async def test_one_key_at_once_adds_once(store: LinkStore, user_id: int) -> None:
    once = promise(b"k")
    adds = [add(store, user_id, make_link(number), NO_LIMIT, once) for number in range(1, 11)]
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert sum(isinstance(result, Link) for result in results) == 1
    assert sum(isinstance(result, AnsweredBeforeError) for result in results) == 9
    assert len(await ids(store, user_id)) == 1
