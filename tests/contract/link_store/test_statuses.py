"""What every store of links says of how they are: counts by status and reason, last changes, lists of what to mend."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from pkg.link_manager.checks import Check
from pkg.link_manager.sql_store import SqlLinkStore, _find_statement, _shape
from pkg.link_manager.store import LinkStore
from pkg.object_model.erasure import START as FIRST
from pkg.object_model.types import LinkHistory, LinkStatus, StatusChange, StatusCount
from tests.contract.link_store.links import (
    NO_LIMIT,
    START,
    add,
    candidate,
    delete,
    ids,
    key,
    make_link,
    query,
    take_in,
    update,
)

VALID, INVALID, PENDING = LinkStatus.VALID, LinkStatus.INVALID, LinkStatus.PENDING
CHECKED = START + timedelta(hours=1)


def url_of(user_id: int, number: int) -> str:
    """Nobody else's: what is known of a URL is known to all tests of a database."""
    return f"https://{number}.statuses-of-{user_id}.example/"


async def keep(store: LinkStore, url: str, status: LinkStatus, reason: str, **more: object) -> bool:
    def weigh(known: Check) -> Check:
        return replace(known, status=status, reason=reason, checked_at=CHECKED, **more)  # type: ignore[arg-type]  # of whatever the test wants

    return await store.keep_check(key(url), CHECKED, weigh)


async def counts(store: LinkStore, user_id: int) -> list[tuple[LinkStatus, str, int]]:
    return [(row.status, row.reason, row.count) for row in await store.count_statuses(user_id)]


async def test_counts_follow_whatever_happens(store: LinkStore, user_id: int) -> None:
    """Before they are added up, after, and partly."""
    assert await counts(store, user_id) == []
    one, two, three, four = (url_of(user_id, number) for number in range(1, 5))
    for number, url in enumerate((one, two), 1):
        await add(store, user_id, make_link(number, url=url))
    assert await store.count_statuses(user_id) == [StatusCount(PENDING, "", 2)]
    assert await keep(store, one, VALID, "ok")
    assert await counts(store, user_id) == [(PENDING, "", 1), (VALID, "ok", 1)]
    await store.add_up_statuses(1_000_000)
    assert await counts(store, user_id) == [(PENDING, "", 1), (VALID, "ok", 1)]
    await take_in(store, user_id, [candidate(make_link(3, url=url)) for url in (one, three)], NO_LIMIT, lambda a, _: a)
    await keep(store, two, INVALID, "not_found")
    await keep(store, three, VALID, "server_error")
    await add(store, user_id, make_link(4, url=four))
    expected = [(PENDING, "", 1), (VALID, "ok", 1), (VALID, "server_error", 1), (INVALID, "not_found", 1)]
    assert await counts(store, user_id) == expected
    # Neither who comes to what is known, nor a change of a text, is forgotten or counted twice.
    await update(store, user_id, one, lambda link: replace(link, title="new", version=2))
    await keep(store, one, VALID, "ok")
    assert await counts(store, user_id) == expected
    other = user_id + 1_000_000
    await add(store, other, make_link(1, url=two))
    assert await counts(store, other) == [(INVALID, "not_found", 1)]
    await delete(store, user_id, two)
    await store.add_up_statuses(1_000_000)
    await delete(store, user_id, four)
    assert await counts(store, user_id) == [(VALID, "ok", 1), (VALID, "server_error", 1)]
    assert await counts(store, other) == [(INVALID, "not_found", 1)]


async def test_a_verdict_counts_for_all_who_saved_the_url(store: LinkStore, user_id: int) -> None:
    url, owners = url_of(user_id, 1), [user_id + number * 1_000_000 for number in range(5)]
    for owner in owners:
        await add(store, owner, make_link(1, url=url))
    await keep(store, url, VALID, "moved", moved_to="https://new.example/")
    assert [await counts(store, owner) for owner in owners] == [[(VALID, "moved", 1)]] * 5


async def test_counts_are_exact_whatever_happens_at_once(store: LinkStore, user_id: int) -> None:
    """A verdict, a change and a sweep wait for nobody of the others, nor in a circle. What nobody has at the moment is
    not kept."""
    owners = [user_id + number * 1_000_000 for number in range(3)]
    urls = [url_of(user_id, number) for number in range(12)]

    async def save_all(owner: int) -> None:
        await take_in(
            store, owner, [candidate(make_link(n, url=url)) for n, url in enumerate(urls, 1)], NO_LIMIT, lambda a, _: a
        )

    async def change(owner: int) -> None:
        for number, url in enumerate(urls[:4]):
            await delete(store, owner, url)
            await add(store, owner, make_link(100 + number, url=url))

    async def sweep() -> None:
        for _ in range(20):
            await store.add_up_statuses(3)

    await asyncio.gather(*map(save_all, owners))
    reasons = [(VALID, "ok"), (INVALID, "gone"), (VALID, "moved")]
    await asyncio.gather(
        *map(change, owners),
        sweep(),
        sweep(),
        *(keep(store, url, *reasons[number % 3]) for number, url in enumerate(urls)),
    )
    for owner in owners:
        links = [link for link, _ in await store.find_links(query(owner))]
        expected = Counter((link.status, link.status_reason) for link in links)
        assert {(status, reason): count for status, reason, count in await counts(store, owner)} == expected
        assert sum(expected.values()) == len(urls)


async def test_what_is_added_up_is_not_there_any_more(link_pool: asyncpg.Pool, user_id: int) -> None:
    store = SqlLinkStore(link_pool)
    for number in range(5):
        await add(store, user_id, make_link(number, url=url_of(user_id, number)))
    while await store.add_up_statuses(2):
        pass
    assert await link_pool.fetchval("SELECT count(*) FROM status_changes WHERE user_id = $1", user_id) == 0
    assert await counts(store, user_id) == [(PENDING, "", 5)]


async def test_nothing_is_counted_of_whoever_left(store: LinkStore, user_id: int) -> None:
    for number in range(3):
        await add(store, user_id, make_link(number, url=url_of(user_id, number)))
        await store.add_up_statuses(1)
    while await store.erase_user(user_id, FIRST) is not None:
        pass
    assert await counts(store, user_id) == []


async def test_links_of_a_reason(store: LinkStore, user_id: int) -> None:
    kinds = [(VALID, "ok"), (VALID, "moved"), (INVALID, "gone"), (VALID, "moved"), (PENDING, "forbidden")]
    for number, (status, reason) in enumerate(kinds, 1):
        await add(
            store, user_id, make_link(number, url=url_of(user_id, number), tags=("even",) if number % 2 == 0 else ())
        )
        await keep(store, url_of(user_id, number), status, reason)
    await add(store, user_id, make_link(6, url=url_of(user_id, 6)))
    assert await ids(store, user_id, status_reason="moved") == [4, 2]
    assert await ids(store, user_id, status_reason="moved", limit=1) == [4]
    assert await ids(store, user_id, status_reason="moved", status=VALID, tag_key="even") == [4, 2]
    assert await ids(store, user_id, status_reason="moved", status=INVALID) == []
    assert await ids(store, user_id, status_reason="ok") == [1]
    assert await ids(store, user_id, status_reason="") == [6]
    assert await ids(store, user_id, status_reason="gone'; --") == []
    assert await ids(store, user_id, status=PENDING) == [6, 5]
    assert await ids(store, user_id, status=INVALID) == [3]


async def test_the_last_changes_newest_first(store: LinkStore, user_id: int) -> None:
    url = url_of(user_id, 1)
    link = await add(store, user_id, make_link(1, url=url))
    assert await store.find_history(user_id, key(url)) == LinkHistory(link, [])
    changes = tuple(
        StatusChange(START + timedelta(days=day), VALID, reason) for day, reason in enumerate(("ok", "moved"))
    )
    await keep(store, url, VALID, "moved", history=changes)
    found = await store.find_history(user_id, key(url))
    assert found is not None
    assert found.changes == list(reversed(changes))
    assert found.link == replace(link, status=VALID, status_reason="moved", checked_at=CHECKED)
    assert await store.find_history(user_id + 1_000_000, key(url)) is None
    await delete(store, user_id, url)
    assert await store.find_history(user_id, key(url)) is None


@pytest.mark.parametrize(
    ("filters", "index"),
    [({"status": INVALID}, "links_by_status"), ({"status_reason": "moved"}, "links_by_reason")],
    ids=["status", "reason"],
)
async def test_what_is_to_be_mended_is_found_by_an_index(
    link_pool: asyncpg.Pool, user_id: int, filters: dict[str, object], index: str
) -> None:
    """Among a million links that are well it would be looked for through all of them. As the store asks, with a plan
    that is good for every value."""
    shape, values = _shape(query(user_id, **filters))
    arguments = ", ".join(repr(value) for value in (user_id, *values, 21))
    async with link_pool.acquire() as connection, connection.transaction():
        # A small table is scanned whole, or sorted, rightly; the question is whether it would have to be.
        for way in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(f"SET LOCAL enable_{way} = off")
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE mend AS {_find_statement(shape)}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE mend ({arguments})")
        await connection.execute("DEALLOCATE mend")
    plan = "\n".join(row[0] for row in rows)
    assert index in plan, plan
    assert "Filter" not in plan, plan
    assert "Sort" not in plan, plan
