"""What only a store with transactions can promise, and what its schema allows."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from pkg.events.messages import partition_of
from pkg.link_manager.checks import Check
from pkg.link_manager.regex import parse_regex
from pkg.link_manager.sql_store import SqlLinkStore
from pkg.link_manager.store import DueCheck
from pkg.object_model.errors import Conflict, InvalidArgument
from pkg.object_model.types import Link, LinkStatus
from pkg.runtime.context import RequestContext, use_context
from tests.contract.link_store.links import (
    NO_LIMIT,
    add,
    candidate,
    delete,
    ids,
    key,
    make_link,
    take_in,
    update,
)


async def test_an_import_that_fails_in_the_middle_changes_nothing(link_pool: asyncpg.Pool, user_id: int) -> None:
    store = SqlLinkStore(link_pool)
    await add(store, user_id, make_link(1))

    def fail(present: Link, other: Link) -> Link:
        raise Conflict("no")

    # The last is in another batch than the first.
    candidates = [candidate(make_link(number)) for number in range(2, 700)] + [candidate(make_link(1))]
    with pytest.raises(Conflict, match="no"):
        await take_in(store, user_id, candidates, NO_LIMIT, fail)
    assert await ids(store, user_id) == [1]


async def test_an_add_of_what_is_there_writes_nothing(link_pool: asyncpg.Pool, user_id: int) -> None:
    """No row that is dead at once, no transaction that Postgres reports as failed."""
    store = SqlLinkStore(link_pool)
    await add(store, user_id, make_link(1, url="https://a.example/"))
    # Set by whoever tried to change the row, even in vain.
    changer = "SELECT xmax::text FROM link_counts WHERE user_id = $1"
    before = await link_pool.fetchval(changer, user_id)
    with pytest.raises(Conflict) as conflict:
        await add(store, user_id, make_link(2, url="https://a.example/"))
    assert conflict.value.code == "link_exists"
    assert await link_pool.fetchval(changer, user_id) == before


async def test_counts_are_those_of_the_rows(link_pool: asyncpg.Pool, user_id: int) -> None:
    """Whatever the suite did before: what is kept is what a count would find."""
    store = SqlLinkStore(link_pool)
    await add(store, user_id, make_link(1, tags=("a",)))
    await delete(store, user_id, "https://1.example/")
    by_visibility = ", ".join(f"count(*) FILTER (WHERE visibility = {number})" for number in range(3))
    for kept, counted in (
        (
            "SELECT user_id, public, followers, private FROM link_counts WHERE public + followers + private > 0",
            f"SELECT user_id, {by_visibility} FROM links GROUP BY user_id",
        ),
        (
            "SELECT user_id, tag_key, public, followers, private FROM tag_counts",
            f"SELECT user_id, tag_key, {by_visibility} FROM link_tags GROUP BY user_id, tag_key",
        ),
        (
            """SELECT user_id, status, reason, sum(count)::bigint FROM
            (TABLE status_counts UNION ALL SELECT user_id, status, reason, more FROM status_changes) AS s
            GROUP BY user_id, status, reason HAVING sum(count) <> 0""",
            "SELECT user_id, status, status_reason, count(*) FROM links GROUP BY user_id, status, status_reason",
        ),
    ):
        assert {tuple(row) for row in await link_pool.fetch(kept)} == {
            tuple(row) for row in await link_pool.fetch(counted)
        }


async def test_pages_of_every_audience_walk_an_index(link_pool: asyncpg.Pool, user_id: int) -> None:
    """No page may sort or scan what it does not show."""
    for sees in ("true", "visibility <= 1", "visibility = 0"):
        plan = await _plan(
            link_pool,
            f"SELECT id FROM links WHERE user_id = {user_id} AND {sees}"
            " AND (created_at, id) < (now(), 5) ORDER BY created_at DESC, id DESC LIMIT 21",
        )
        assert "Index" in plan, plan
        assert "Sort" not in plan, plan


async def test_the_sweep_reads_indexes_of_its_own(link_pool: asyncpg.Pool) -> None:
    """The questions across users may read no link but those that they are about."""
    late = await _plan(
        link_pool,
        "SELECT user_id, id FROM links WHERE check_asked_at < now() AND check_asked_at < 'infinity'"
        " ORDER BY check_asked_at LIMIT 500",
    )
    due = await _plan(link_pool, "SELECT url_key FROM link_checks WHERE next_at <= now() ORDER BY next_at LIMIT 500")
    for plan, index in ((late, "links_unscheduled"), (due, "link_checks_due")):
        assert index in plan, plan
        assert "Sort" not in plan, plan
        assert "Filter" not in plan, plan


async def test_code_of_before_writes_links_that_are_looked_at_too(link_pool: asyncpg.Pool, user_id: int) -> None:
    """Expand: it knows neither when a link was checked nor when a check was asked for."""
    url = f"https://before-{user_id}.example/"
    await link_pool.execute(
        "INSERT INTO links (user_id, id, url_key, url, title, description, status, visibility, tags, version,"
        " created_at, updated_at, words)"
        " VALUES ($1, 1, $2, $3, '', '', 0, 0, '{}', 1, now(), now(), '')",
        user_id,
        key(url),
        url,
    )
    store = SqlLinkStore(link_pool)
    now = datetime.now(UTC)
    await store.schedule_late(now - timedelta(minutes=5), now, 1_000_000)
    assert key(url) not in {check.url_key for check in await store.find_due(now, 1_000_000)}
    await store.schedule_late(now + timedelta(minutes=5), now, 1_000_000)
    assert DueCheck(key(url), user_id) in await store.find_due(now, 1_000_000)
    # What it knew of the URL is not forgotten when the first look of ours meets with trouble.
    await link_pool.execute("DELETE FROM link_checks WHERE url_key = $1", key(url))
    await link_pool.execute("UPDATE links SET status = 1, check_asked_at = now() WHERE user_id = $1", user_id)
    known: list[Check] = []

    def note(check: Check) -> None:
        known.append(check)

    await store.keep_check(key(url), now, note)
    assert [(check.status, check.seen_alive) for check in known] == [(LinkStatus.VALID, True)]
    # Its counts were left out.
    await link_pool.execute("DELETE FROM links WHERE user_id = $1", user_id)


async def test_an_event_says_which_request_caused_it(link_pool: asyncpg.Pool, user_id: int) -> None:
    store = SqlLinkStore(link_pool)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with use_context(RequestContext("request-1", trace)):
        await add(store, user_id, make_link(1))
        await update(store, user_id, "https://1.example/", lambda link: replace(link, title="x", version=2))
    rows = await link_pool.fetch(
        "SELECT type, subject, partition, traceparent, request_id, created_at, published_at FROM outbox"
        " WHERE (body::jsonb ->> 'UserId')::bigint = $1 ORDER BY position",
        user_id,
    )
    partition = partition_of(user_id)
    told_at = make_link(1).updated_at
    assert [tuple(row) for row in rows] == [
        (name, f"link-events.{partition}", partition, trace, "request-1", told_at, None)
        for name in ("link.added", "link.updated")
    ]


async def test_the_relay_is_woken_by_every_kind_of_change(link_pool: asyncpg.Pool, user_id: int) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    store = SqlLinkStore(link_pool, lambda partition: heard.put_nowait(str(partition)))
    async with link_pool.acquire() as connection:

        def hear(*notice: object) -> None:
            heard.put_nowait(str(notice[-1]))

        await connection.add_listener("outbox", hear)
        try:
            for change in (
                lambda: add(store, user_id, make_link(1)),
                lambda: update(store, user_id, "https://1.example/", lambda link: replace(link, title="x", version=2)),
                lambda: delete(store, user_id, "https://1.example/"),
                lambda: take_in(store, user_id, [candidate(make_link(2))], NO_LIMIT, lambda link, _: link),
            ):
                await change()
                async with asyncio.timeout(10):
                    assert await heard.get() == str(partition_of(user_id))
        finally:
            await connection.remove_listener("outbox", hear)


async def _plan(pool: asyncpg.Pool, statement: str) -> str:
    async with pool.acquire() as connection, connection.transaction():
        # A small table is scanned whole, or sorted, rightly; the question is whether it would have to be.
        for way in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(f"SET LOCAL enable_{way} = off")
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}"))


async def test_a_regex_that_postgres_does_not_take_is_the_askers_affair(link_pool: asyncpg.Pool, user_id: int) -> None:
    store = SqlLinkStore(link_pool)
    await add(store, user_id, make_link(1))
    with pytest.raises(InvalidArgument) as refused:
        await ids(store, user_id, url=replace(parse_regex("a", "url_regex"), postgres="("))
    assert refused.value.code == "regex_too_complex"
