"""The step to kept counts: what was there before is counted, and so is what code of before writes from then on."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

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


#: Where it is said how the indexes of the step are built before it.
RELEASES = Path(__file__).parents[3] / "docs" / "releases.md"
_BLOCK = re.compile(r"^<!-- indexes of step 0005 -->\n```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def at_version_before(postgres: TestPostgres, name: str) -> PostgresAddress:
    """A database of its own, one step before."""
    server = postgres.superuser
    connection = connect(server)
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    address = PostgresAddress(server.host, server.port, name, server.user, server.password)
    upgrade(address, HISTORY, "0004")
    return address


@pytest.fixture
async def pool(postgres: TestPostgres) -> AsyncIterator[asyncpg.Pool]:
    address = at_version_before(postgres, "links_of_before")
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


async def test_indexes_that_were_built_before_are_those_that_it_would_build(postgres: TestPostgres) -> None:
    (text,) = _BLOCK.findall(RELEASES.read_text())
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'links' ORDER BY indexname"
    built = "SELECT oid FROM pg_class WHERE relname ~ '^links_by_(status|reason)$' ORDER BY oid"
    found = []
    for name, statements in (("links_of_few", []), ("links_of_many", text.split(";")[:-1])):
        address = at_version_before(postgres, name)
        async with await open_pool(address, application_name="test", max_size=1) as pool:
            for statement in statements:
                await pool.execute(statement)
            before = await pool.fetch(built)
            assert len(before) == len(statements)
            upgrade(address, HISTORY)
            assert not before or await pool.fetch(built) == before
            found.append(await pool.fetch(indexes))
    assert found[0] == found[1]
