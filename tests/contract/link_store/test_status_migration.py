"""The step to kept counts: what was there before is counted, and so is what code of before writes from then on."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from pkg.link_manager.sql_store import SqlLinkStore
from pkg.object_model.types import LinkStatus, StatusCount
from pkg.provisioning.databases import connect
from pkg.runtime.migrations import upgrade
from pkg.runtime.postgres import PostgresAddress, open_pool
from tests.conftest import TestPostgres
from tests.contract.link_store.links import add, make_link

HISTORY = "pkg.link_manager.migrations"
#: What the code of before knows of a link.
ADD = (
    "INSERT INTO links (user_id, id, url_key, url, title, description, status, visibility, tags, version, created_at,"
    " updated_at, words)"
    " SELECT $1, n, sha256(n::text::bytea), n || '.example', '', '', $2, 0, '{}', 1, now(), now(), ''"
    " FROM generate_series($3::int, $4::int) AS n"
)


@pytest.fixture
async def pool(postgres: TestPostgres) -> AsyncIterator[asyncpg.Pool]:
    server, name = postgres.superuser, "links_of_before"
    connection = connect(server)
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    address = PostgresAddress(server.host, server.port, name, server.user, server.password)
    upgrade(address, HISTORY, "0004")
    async with await open_pool(address, application_name="test", max_size=1) as pool:
        await pool.execute(ADD, 1, 1, 1, 10)
        await pool.execute(ADD, 2, 0, 1, 3)
        upgrade(address, HISTORY)
        yield pool


async def test_what_was_there_is_counted_and_what_code_of_before_writes(pool: asyncpg.Pool) -> None:
    store = SqlLinkStore(pool)
    assert await store.count_statuses(1) == [StatusCount(LinkStatus.VALID, "", 10)]
    assert await store.count_statuses(2) == [StatusCount(LinkStatus.PENDING, "", 3)]
    await pool.execute(ADD, 1, 0, 11, 12)
    await pool.execute("UPDATE links SET status = 2 WHERE user_id = 1 AND id IN (1, 11)")
    await pool.execute("UPDATE links SET title = 'new', checked_at = now() WHERE user_id = 1")
    await pool.execute("DELETE FROM links WHERE user_id = 2 AND id = 1")
    await add(store, 2, make_link(4))
    assert await store.count_statuses(1) == [
        StatusCount(LinkStatus.PENDING, "", 1),
        StatusCount(LinkStatus.VALID, "", 9),
        StatusCount(LinkStatus.INVALID, "", 2),
    ]
    assert await store.count_statuses(2) == [StatusCount(LinkStatus.PENDING, "", 3)]
