"""What followers may see of several users, by its last change."""

from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg

from pkg.link_manager.store import MAX_SHARED_DESCRIPTION, LinkStore
from pkg.object_model.types import Link, Visibility
from tests.contract.link_store.links import START, add, delete, make_link, update

EVER = START - timedelta(days=1)


async def shared(
    store: LinkStore, user_ids: list[int], limit: int = 10, changed_after: datetime = EVER
) -> list[tuple[int, int]]:
    return [(one.user_id, one.link.id) for one in await store.find_shared(user_ids, limit, changed_after)]


def changed_at(seconds: int) -> dict[str, object]:
    return {"updated_at": START + timedelta(seconds=seconds)}


async def test_the_last_changes_of_each_come_first(store: LinkStore, user_id: int) -> None:
    other_id = user_id + 2**40
    for number in (1, 2, 3):
        await add(store, user_id, make_link(number))
        await add(store, other_id, make_link(number + 10))
    await update(
        store,
        user_id,
        "https://1.example/",
        lambda link: replace(link, title="new", **changed_at(9)),  # type: ignore[arg-type]  # a time
    )
    assert sorted(await shared(store, [user_id, other_id], 2)) == sorted(
        [(user_id, 1), (user_id, 3), (other_id, 13), (other_id, 12)]
    )
    assert await shared(store, [user_id], 2) == [(user_id, 1), (user_id, 3)]
    assert await shared(store, [user_id], 9, START + timedelta(seconds=3)) == [(user_id, 1), (user_id, 3)]
    await delete(store, user_id, "https://1.example/")
    assert await shared(store, [user_id]) == [(user_id, 3), (user_id, 2)]
    assert await shared(store, []) == await shared(store, [2**62]) == []


async def test_what_followers_may_see_and_no_more(store: LinkStore, user_id: int) -> None:
    for number, visibility in enumerate(Visibility, 1):
        await add(store, user_id, make_link(number, visibility=visibility))
    seen = await store.find_shared([user_id], 10, EVER)
    assert {one.link.visibility for one in seen} == {Visibility.PUBLIC, Visibility.FOLLOWERS}
    for one in seen:
        await update(store, user_id, one.link.url, lambda link: replace(link, visibility=Visibility.PRIVATE))
    assert await shared(store, [user_id]) == []


async def test_many_long_texts_are_cut(store: LinkStore, user_id: int) -> None:
    link = make_link(1, title="t" * 1_024, description="é" * 60_000, tags=("a", "b"))
    await add(store, user_id, link)
    (one,) = await store.find_shared([user_id], 10, EVER)
    expected: Link = replace(link, description="é" * MAX_SHARED_DESCRIPTION, version=1)
    assert one.link == replace(expected, status=one.link.status)


async def test_one_index_says_it(link_pool: asyncpg.Pool) -> None:
    async with link_pool.acquire() as connection, connection.transaction():
        # A small table is scanned whole, or sorted, rightly; the question is whether it would have to be.
        for way in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(f"SET LOCAL enable_{way} = off")
        plan = await connection.fetch(
            "EXPLAIN SELECT id FROM links WHERE user_id = 1 AND visibility <= 1 AND updated_at >= $1"
            " ORDER BY updated_at DESC, id DESC LIMIT 20",
            START,
        )
    text = "\n".join(row[0] for row in plan)
    assert "links_changed_shared" in text and "Sort" not in text
