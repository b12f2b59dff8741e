"""What every store of links tells of a change: in the same step, or not at all."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from pkg.link_manager.store import ImportOutcome, LinkStore, Once
from pkg.object_model.errors import Conflict
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Link, Visibility
from tests.contract.link_store.links import (
    NO_LIMIT,
    START,
    add,
    candidate,
    delete,
    events_of,
    ids,
    key,
    make_link,
    take_in,
    update,
)

ADDED, UPDATED, DELETED, IMPORTED = LinkEventType
ODD = 'Ünïcode "quoted" \'and\' \\u0041 \\ % {} "Version":0, 日本 \U0001f600\n\ttab'


def retitle(link: Link) -> Link:
    return replace(link, title=f"{link.title}!", version=link.version + 1)


def brief(event: LinkEvent) -> tuple[LinkEventType, str, int]:
    return event.type, event.url, event.version


async def test_each_change_is_told_once_with_its_version(store: LinkStore, user_id: int) -> None:
    """The original never sent deletes, and its updates had no link in them."""
    link = await add(store, user_id, make_link(1, tags=("a", "B")))
    changed = await update(store, user_id, link.url, retitle)
    assert await delete(store, user_id, link.url)
    again = await add(store, user_id, make_link(2, url=link.url))
    told = await events_of(store, user_id)
    assert [brief(event) for event in told] == [
        (ADDED, link.url, 1),
        (UPDATED, link.url, 2),
        (DELETED, link.url, 3),
        (ADDED, link.url, again.version),
    ]
    assert again.version == 4
    assert changed is not None
    assert (told[1].title, told[1].tags, told[1].link_id) == (changed.title, ("a", "B"), 1)
    assert (told[2].title, told[2].link_id) == (changed.title, 1)
    assert len({event.id for event in told}) == 4


async def test_an_event_comes_back_as_it_was(store: LinkStore, user_id: int) -> None:
    link = make_link(
        1, title=ODD, description=ODD * 500, tags=("Zwei", "日本", 'a "b"'), visibility=Visibility.FOLLOWERS
    )
    await add(store, user_id, link)
    await update(store, user_id, link.url, retitle)
    added, updated = await events_of(store, user_id)
    assert added == replace(updated, id=added.id, type=ADDED, timestamp=link.updated_at, title=ODD, version=1)
    assert (added.description, added.tags, added.visibility) == (ODD * 500, link.tags, link.visibility)


async def test_what_changes_nothing_is_not_told(store: LinkStore, user_id: int) -> None:
    """The original checked and announced links that were never saved."""
    link = await add(store, user_id, make_link(1))

    def fail(present: Link) -> Link:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await add(store, user_id, make_link(2, url=link.url))
    with pytest.raises(Conflict):
        await add(store, user_id, make_link(3), 1)
    with pytest.raises(Conflict):
        await update(store, user_id, link.url, fail)
    await update(store, user_id, link.url, lambda present: present)
    await update(store, user_id, "https://none.example/", retitle)
    assert not await delete(store, user_id, "https://none.example/")
    assert await take_in(store, user_id, [candidate(make_link(1))], NO_LIMIT, lambda present, _: present) == [
        ImportOutcome.UNCHANGED
    ]
    assert [brief(event) for event in await events_of(store, user_id)] == [(ADDED, link.url, 1)]


async def test_what_cannot_be_told_is_not_done(store: LinkStore, user_id: int) -> None:
    link = await add(store, user_id, make_link(1))

    def fail(present: Link) -> LinkEvent:
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        await store.change_link(user_id, key(link.url), retitle, fail)
    with pytest.raises(Conflict, match="no"):
        await store.delete_link(user_id, key(link.url), fail)
    assert await ids(store, user_id, words=("title", "1")) == [1]
    assert len(await events_of(store, user_id)) == 1
    changed = await update(store, user_id, link.url, retitle)
    assert changed is not None
    assert changed.version == 2


async def test_a_repeat_is_told_once(store: LinkStore, user_id: int) -> None:
    once = Once(b"k", b"f", START, START - timedelta(hours=24), str)
    adds = [add(store, user_id, make_link(number), NO_LIMIT, once) for number in range(1, 6)]
    results = await asyncio.gather(*adds, return_exceptions=True)
    (added,) = [result for result in results if isinstance(result, Link)]
    assert [event.link_id for event in await events_of(store, user_id)] == [added.id]


async def test_an_import_tells_each_link_and_then_the_whole(store: LinkStore, user_id: int) -> None:
    for number in (1, 2):
        await add(store, user_id, make_link(number))
    await add(store, user_id, make_link(3))
    await delete(store, user_id, "https://3.example/")
    candidates = [candidate(make_link(number, url=f"https://{number % 10}.example/")) for number in (14, 11, 12, 13)]
    candidates += [candidate(make_link(number)) for number in range(100, 700)]

    def merge(present: Link, _: Link) -> Link:
        return retitle(present) if present.id == 1 else present

    before = len(await events_of(store, user_id))
    outcomes = await take_in(store, user_id, candidates, 600, merge)
    *told, summary = (await events_of(store, user_id))[before:]
    assert outcomes.count(ImportOutcome.IMPORTED) == 598
    assert [brief(event) for event in told[:3]] == [
        (ADDED, "https://4.example/", 1),
        (UPDATED, "https://1.example/", 2),
        (ADDED, "https://3.example/", 3),
    ]
    assert [event.link_id for event in told[3:]] == list(range(100, 696)), "those that had room, in the order given"
    assert all(event.bulk for event in told)
    assert told[1].title == "title 1!"
    assert (summary.type, summary.count, summary.url) == (IMPORTED, 598, "")


async def test_a_users_events_are_in_the_order_of_their_changes(store: LinkStore, user_id: int) -> None:
    link = await add(store, user_id, make_link(1))

    async def change(number: int) -> None:
        await update(store, user_id, link.url, retitle)
        if number % 4 == 0 and await delete(store, user_id, link.url):
            await add(store, user_id, make_link(number, url=link.url))

    await asyncio.gather(*[change(number) for number in range(2, 42)])
    versions = [event.version for event in await events_of(store, user_id)]
    assert versions == list(range(1, len(versions) + 1))
    assert len(versions) > 20
