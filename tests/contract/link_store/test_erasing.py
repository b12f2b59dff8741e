"""What is left of a user who leaves: nothing, and of everybody else everything."""

from dataclasses import replace
from datetime import timedelta
from itertools import count

import asyncpg

from pkg.events.outbox import ERASE_BATCH
from pkg.link_manager.sql_store import _ERASE_BATCH, SqlLinkStore
from pkg.link_manager.store import LinkStore, Once
from pkg.object_model.erasure import START
from pkg.object_model.types import Link, Visibility
from tests.contract.link_store.links import (
    START as EARLIER,
)
from tests.contract.link_store.links import (
    add,
    candidate,
    counts,
    delete,
    events_of,
    ids,
    key,
    make_link,
    tags,
    take_in,
    update,
)

NOBODY = 10**9
NO_LIMIT = 10**6
TABLES = {
    "links",
    "link_tags",
    "tag_counts",
    "link_versions",
    "answers",
    "link_counts",
    "status_changes",
    "status_counts",
}


async def erase(store: LinkStore, user_id: int) -> int:
    """How many calls it took."""
    place = START
    for calls in count(1):
        assert calls < 1_000, "it comes to an end"
        more = await store.erase_user(user_id, place)
        if more is None:
            return calls
        place = more
    raise AssertionError


async def test_all_of_it_goes(store: LinkStore, user_id: int) -> None:
    other = user_id + NOBODY
    once = Once(b"key", b"fingerprint", EARLIER, EARLIER - timedelta(days=1), lambda link: link.title)
    for owner in (user_id, other):
        for number, visibility in enumerate(Visibility, 1):
            await add(store, owner, make_link(number, tags=("a", "b"), visibility=visibility))
        await add(store, owner, make_link(9, tags=("c",)), once=once)
        await update(store, owner, "https://1.example/", lambda link: replace(link, title="new", version=2))
        await delete(store, owner, "https://2.example/")
    told = await events_of(store, other)

    await erase(store, user_id)

    assert await ids(store, user_id) == []
    assert await tags(store, user_id) == {}
    assert await counts(store, user_id) == [0, 0, 0]
    assert await store.recall_answer(user_id, once) is None
    assert await events_of(store, user_id) == []
    assert await ids(store, other) == [9, 3, 1]
    assert await tags(store, other) == {"a": 2, "b": 2, "c": 1}
    assert await counts(store, other) == [3, 2, 2]
    assert await store.recall_answer(other, once) == "title 9"
    assert await events_of(store, other) == told


async def test_nothing_of_a_link_is_remembered(store: LinkStore, user_id: int) -> None:
    """Not even that there was one: a version is never given twice, but to somebody who begins anew."""
    await add(store, user_id, make_link(1))
    await erase(store, user_id)
    assert (await add(store, user_id, make_link(2, url="https://1.example/"))).version == 1


async def test_what_is_known_of_a_url_goes_with_the_last_who_had_it(store: LinkStore, user_id: int) -> None:
    other = user_id + NOBODY
    own, shared, left = (f"https://{name}.of-{user_id}.example/" for name in ("own", "shared", "left"))
    for number, url in enumerate((own, shared, left), 1):
        await add(store, user_id, make_link(number, url=url))
        assert await store.keep_check(key(url), EARLIER, lambda known: replace(known, moved_to=own))
    await add(store, other, make_link(1, url=shared))
    await delete(store, user_id, left)

    async def known() -> set[str]:
        due = {check.url_key for check in await store.find_due(EARLIER + timedelta(days=1_000), 1_000_000)}
        return {url for url in (own, shared, left) if key(url) in due}

    assert await known() == {own, shared, left}
    await erase(store, user_id)
    assert await known() == {shared}
    await erase(store, other)
    assert await known() == set()


async def test_erasing_twice_and_whoever_is_not_there(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    await erase(store, user_id)
    await erase(store, user_id)
    await erase(store, user_id + NOBODY)
    assert await ids(store, user_id) == []


async def test_a_part_at_a_time(link_pool: asyncpg.Pool, user_id: int) -> None:
    """No call takes long, whatever somebody has; and one that is begun anew goes on."""
    store = SqlLinkStore(link_pool)
    links: list[Link] = [make_link(number, tags=("x",)) for number in range(1, 2 * _ERASE_BATCH + 2)]
    await take_in(store, user_id, [candidate(link) for link in links], NO_LIMIT, lambda saved, _: saved)
    held = await link_pool.fetchval("SELECT count(*) FROM links WHERE user_id = $1", user_id)
    assert await store.erase_user(user_id, START) == START
    left = await link_pool.fetchval("SELECT count(*) FROM links WHERE user_id = $1", user_id)
    assert held - left == _ERASE_BATCH
    assert await erase(store, user_id) >= 2 + len(links) // ERASE_BATCH
    for table in TABLES:
        assert await link_pool.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user_id) == 0, table


async def test_what_only_looks_like_the_user_stays(store: LinkStore, user_id: int) -> None:
    """Ids that begin alike, and texts that look like the field."""
    other = int(f"{user_id}0")
    link = make_link(1, title=f'"UserId":"{user_id}"', url=f"https://one.example/?UserId={user_id}")
    await add(store, other, link)
    await add(store, user_id, make_link(1))
    await erase(store, user_id)
    assert [event.title for event in await events_of(store, other)] == [link.title]


async def test_every_table_of_users_is_known(link_pool: asyncpg.Pool) -> None:
    rows = await link_pool.fetch("SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id'")
    assert {name for (name,) in rows} == TABLES
