"""What every store of links makes of a link that gets another URL, and of one that is there already."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from pkg.link_manager.checks import Check
from pkg.link_manager.store import AnsweredBeforeError, LinkStore, Move, Once
from pkg.link_manager.tags import merge_tags
from pkg.link_manager.urls import SavedUrl, parse_url
from pkg.object_model.errors import Conflict
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Link, LinkStatus, Visibility
from tests.contract.link_store.links import (
    START,
    add,
    counts,
    delete,
    event_of,
    events_of,
    ids,
    key,
    make_link,
    query,
    tags,
    update,
)

LATER = START + timedelta(days=1)
FOLLOWERS, PRIVATE = Visibility.FOLLOWERS, Visibility.PRIVATE


def url_of(user_id: int, name: str) -> str:
    return f"https://{name}.moves-of-{user_id}.example/"


async def move(store: LinkStore, user_id: int, old: str, new: str, once: Once | None = None) -> Link | None:
    """The one that moves keeps its title; its tags are joined by the other's, and its visibility is private then."""

    def merge(link: Link, place: SavedUrl, other: Link | None) -> Link:
        moved = replace(link, url=place.text, updated_at=LATER)
        if other is None:
            return moved
        return replace(moved, tags=merge_tags(link.tags, other.tags), visibility=PRIVATE, description=other.title)

    def tell(moved: Link, ended: Link | None) -> Sequence[LinkEvent]:
        gone = [event_of(user_id, LinkEventType.DELETED, ended)] if ended else []
        return [*gone, event_of(user_id, LinkEventType.UPDATED, moved)]

    return await store.move_link(user_id, key(old), Move(lambda _: parse_url(new), merge, tell), once)


async def links_of(store: LinkStore, user_id: int) -> list[Link]:
    return [link for link, _ in await store.find_links(query(user_id))]


async def know(store: LinkStore, url: str, status: LinkStatus, reason: str, moved_to: str = "") -> None:
    def weigh(known: Check) -> Check:
        return replace(known, status=status, reason=reason, moved_to=moved_to, checked_at=LATER, next_at=LATER)

    assert await store.keep_check(key(url), LATER, weigh)


async def test_a_link_moves_with_all_that_is_its(store: LinkStore, user_id: int) -> None:
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    await add(store, user_id, make_link(1, url=url_of(user_id, "other"), tags=("a",)))
    link = await add(store, user_id, make_link(2, url=old, tags=("a", "b"), visibility=FOLLOWERS))
    await know(store, old, LinkStatus.VALID, "moved", new)
    moved = await move(store, user_id, old, new)
    assert moved == replace(link, url=new, version=2, updated_at=LATER)
    assert (moved.status, moved.status_reason, moved.checked_at, moved.moved_to) == (LinkStatus.PENDING, "", None, "")
    assert (await links_of(store, user_id))[0] == moved
    assert await ids(store, user_id, tag_key="b") == [2]
    assert await tags(store, user_id) == {"a": 2, "b": 1}
    assert await counts(store, user_id) == [2, 2, 1]
    # It is found where it is, and the words of its URL are the new one's.
    assert await ids(store, user_id, words=("new",)) == [2]
    assert await ids(store, user_id, words=("old",)) == []
    assert await move(store, user_id, old, new) is None
    told = (await events_of(store, user_id))[2:]
    assert [(event.type, event.url, event.link_id, event.version) for event in told] == [
        (LinkEventType.UPDATED, new, 2, 2)
    ]


async def test_what_is_known_of_the_new_url_is_shown(store: LinkStore, user_id: int) -> None:
    old, new, other = url_of(user_id, "old"), url_of(user_id, "new"), user_id + 1_000_000
    await add(store, other, make_link(1, url=new))
    await know(store, new, LinkStatus.VALID, "ok")
    await add(store, user_id, make_link(1, url=old))
    moved = await move(store, user_id, old, new)
    assert moved is not None
    assert (moved.status, moved.status_reason, moved.checked_at) == (LinkStatus.VALID, "ok", LATER)
    assert [(row.status, row.reason, row.count) for row in await store.count_statuses(user_id)] == [
        (LinkStatus.VALID, "ok", 1)
    ]
    await know_again(store, new)
    assert [link.status for link in await links_of(store, user_id)] == [LinkStatus.INVALID]


async def know_again(store: LinkStore, url: str) -> None:
    at = LATER + timedelta(days=1)
    await store.keep_check(key(url), at, lambda known: replace(known, status=LinkStatus.INVALID, checked_at=at))


async def test_what_nothing_is_known_of_is_scheduled(store: LinkStore, user_id: int) -> None:
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    await add(store, user_id, make_link(1, url=old))
    await know(store, old, LinkStatus.VALID, "moved", new)
    await move(store, user_id, old, new)
    now = LATER + timedelta(hours=1)
    await store.schedule_late(now, now, 1_000_000)
    assert key(new) in {check.url_key for check in await store.find_due(now, 1_000_000)}


async def test_a_link_that_is_there_ends_and_nothing_of_it_is_lost(store: LinkStore, user_id: int) -> None:
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    for version in (1, 3, 5):
        await add(store, user_id, make_link(9, url=new, tags=("b", "c"), title="other"))
        if version < 5:
            await delete(store, user_id, new)
    link = await add(store, user_id, make_link(2, url=old, tags=("a", "b")))
    assert await counts(store, user_id) == [2, 2, 2]
    moved = await move(store, user_id, old, new)
    assert moved == replace(
        link, url=new, tags=("a", "b", "c"), visibility=PRIVATE, description="other", version=7, updated_at=LATER
    )
    assert await links_of(store, user_id) == [moved]
    assert await counts(store, user_id) == [1, 0, 0]
    assert await tags(store, user_id) == {"a": 1, "b": 1, "c": 1}
    told = (await events_of(store, user_id))[-2:]
    assert [(event.type, event.link_id, event.version, event.url) for event in told] == [
        (LinkEventType.DELETED, 9, 6, new),
        (LinkEventType.UPDATED, 2, 7, new),
    ]


async def test_versions_rise_at_both_urls(store: LinkStore, user_id: int) -> None:
    """There and back, whatever is saved in between: no version is given twice at a URL."""
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    link = await add(store, user_id, make_link(1, url=old))
    await update(store, user_id, old, lambda before: replace(before, title="x", version=7))
    there = await move(store, user_id, old, new)
    again = await add(store, user_id, make_link(2, url=old))
    assert there is not None
    assert (there.id, there.version, again.version) == (link.id, 8, 9)
    back = await move(store, user_id, new, old)
    assert back is not None
    assert back.version == 11, "greater than that of the end of the other"
    assert (await add(store, user_id, make_link(3, url=new))).version == 10


async def test_another_spelling_of_the_same_url(store: LinkStore, user_id: int) -> None:
    old = f"https://old.moves-of-{user_id}.example/%7Ea"
    new = f"https://old.moves-of-{user_id}.example/~a"
    await add(store, user_id, make_link(1, url=old, tags=("a",)))
    await know(store, old, LinkStatus.VALID, "moved", new)
    moved = await move(store, user_id, old, new)
    assert moved is not None
    assert (moved.url, moved.version, moved.status_reason, moved.tags) == (new, 2, "moved", ("a",))
    assert await links_of(store, user_id) == [moved]
    assert await counts(store, user_id) == [1, 1, 1]


async def test_a_move_that_is_refused_changes_nothing(store: LinkStore, user_id: int) -> None:
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    for number, url in enumerate((old, new), 1):
        await add(store, user_id, make_link(number, url=url, tags=("a",)))
    before = await links_of(store, user_id)

    def refuse(*_: object) -> Link:
        raise Conflict("no")

    for refused in (Move(refuse, refuse, refuse), Move(lambda _: parse_url(new), refuse, refuse)):  # type: ignore[arg-type]  # it gives nothing
        with pytest.raises(Conflict, match="no"):
            await store.move_link(user_id, key(old), refused)
    assert await links_of(store, user_id) == before
    assert len(await events_of(store, user_id)) == 2
    assert await counts(store, user_id) == [2, 2, 2]


async def test_of_two_moves_at_once_one_finds_it(store: LinkStore, user_id: int) -> None:
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    for number, url in enumerate((old, new), 1):
        await add(store, user_id, make_link(number, url=url))
    results = await asyncio.gather(
        *(move(store, user_id, old, new) for _ in range(5)), know_again(store, old), know_again(store, new)
    )
    assert sum(link is not None for link in results) == 1
    assert [(link.id, link.url) for link in await links_of(store, user_id)] == [(1, new)]
    assert await counts(store, user_id) == [1, 0, 0]


async def test_a_promise_is_kept_once(store: LinkStore, user_id: int) -> None:
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    once = Once(b"k", b"move", LATER, START, lambda link: f"moved to {link.url}")
    await add(store, user_id, make_link(1, url=old))
    assert await store.recall_answer(user_id, once) is None
    assert await move(store, user_id, old, new, once) is not None
    assert await store.recall_answer(user_id, once) == f"moved to {new}"
    # Another link there, and the same promise.
    again = await add(store, user_id, make_link(2, url=old))
    told = len(await events_of(store, user_id))
    with pytest.raises(AnsweredBeforeError):
        await move(store, user_id, old, new, once)
    assert {link.id: link.url for link in await links_of(store, user_id)} == {1: new, again.id: old}
    assert len(await events_of(store, user_id)) == told


async def test_of_the_same_promise_twice_at_once_one_is_kept(store: LinkStore, user_id: int) -> None:
    old, new = url_of(user_id, "old"), url_of(user_id, "new")
    once = Once(b"k", b"move", LATER, START, lambda link: link.url)
    await add(store, user_id, make_link(1, url=old))
    moves = [move(store, user_id, old, new, once) for _ in range(2)]
    outcomes = await asyncio.gather(*moves, return_exceptions=True)
    (moved,) = [outcome for outcome in outcomes if isinstance(outcome, Link)]
    assert moved.url == new
    assert {type(outcome) for outcome in outcomes} - {Link} <= {type(None), AnsweredBeforeError}
    assert await store.recall_answer(user_id, once) == new
