"""Migrations as a step of their own, and what a service says of a schema that is behind."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import asyncpg
import psycopg2
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from pkg.object_model.errors import Unavailable
from pkg.provisioning.databases import DATABASES, connect
from pkg.runtime.migrations import check_schema, head_revision, upgrade
from pkg.runtime.postgres import PostgresAddress, open_pool
from tests.conftest import TestPostgres

HISTORY = "tests.unit.runtime.history"


@pytest.fixture
def empty(postgres: TestPostgres, request: pytest.FixtureRequest) -> PostgresAddress:
    name = f"empty_{abs(hash(request.node.nodeid))}"
    connection = connect(postgres.superuser)
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    server = postgres.superuser
    return PostgresAddress(server.host, server.port, name, server.user, server.password)


@pytest.fixture
async def pool(empty: PostgresAddress) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(empty, application_name="test", max_size=1) as pool:
        yield pool


def columns(address: PostgresAddress) -> list[str]:
    connection = connect(address)
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'notes' ORDER BY 1")
        names = [row[0] for row in cursor.fetchall()]
    connection.close()
    return names


def test_step_by_step_and_again(empty: PostgresAddress) -> None:
    upgrade(empty, HISTORY, "0001")
    assert columns(empty) == ["id"]
    upgrade(empty, HISTORY)
    upgrade(empty, HISTORY)
    assert columns(empty) == ["id", "text"]


def test_several_at_once(empty: PostgresAddress) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: upgrade(empty, HISTORY), range(4)))
    assert columns(empty) == ["id", "text"]


async def test_a_schema_that_is_behind_is_said(empty: PostgresAddress, pool: asyncpg.Pool) -> None:
    with pytest.raises(Unavailable, match="nothing") as nothing:
        await check_schema(pool, HISTORY)
    assert nothing.value.code == "schema_behind"
    upgrade(empty, HISTORY, "0001")
    with pytest.raises(Unavailable, match="0001"):
        await check_schema(pool, HISTORY)
    upgrade(empty, HISTORY)
    await check_schema(pool, HISTORY)


async def test_a_newer_schema_serves_older_code(empty: PostgresAddress, pool: asyncpg.Pool) -> None:
    upgrade(empty, HISTORY)
    await pool.execute("UPDATE alembic_version SET version_num = '0003_of_tomorrow'")
    await check_schema(pool, HISTORY)
    assert head_revision(HISTORY) < await pool.fetchval("SELECT version_num FROM alembic_version")


async def test_older_code_leaves_a_newer_schema_alone(empty: PostgresAddress, pool: asyncpg.Pool) -> None:
    """After a rollback the version of before runs its migrations as well, as each release does."""
    upgrade(empty, HISTORY)
    await pool.execute("UPDATE alembic_version SET version_num = '0003_of_tomorrow'")
    upgrade(empty, HISTORY)
    assert await pool.fetchval("SELECT version_num FROM alembic_version") == "0003_of_tomorrow"
    assert columns(empty) == ["id", "text"]


async def test_a_database_that_is_away_is_unavailable() -> None:
    nowhere = PostgresAddress("127.0.0.1", 1, "none", "nobody", "nothing")
    async with await open_pool(nowhere, application_name="test", max_size=1) as pool:
        with pytest.raises(Unavailable) as away:
            await check_schema(pool, HISTORY)
    assert away.value.code == "database_unavailable"
    with pytest.raises(sa.exc.OperationalError):
        upgrade(nowhere, HISTORY)
    with pytest.raises(psycopg2.OperationalError):
        connect(nowhere)


def test_the_head_is_the_newest() -> None:
    assert head_revision(HISTORY) == "0002"


@pytest.mark.parametrize("history", [HISTORY, *(database.migrations for database in DATABASES)])
def test_the_head_is_the_one_that_alembic_finds(history: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(files(history)))
    config.set_main_option("path_separator", "os")
    assert head_revision(history) == ScriptDirectory.from_config(config).get_current_head()


@pytest.mark.parametrize(
    ("name", "parents"),
    [("empty", []), ("forked", ["None", "'0001'", "'0001'"]), ("rootless", ["'0003'", "'0001'"])],
)
def test_a_history_that_is_not_one_line_is_refused(
    name: str, parents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / f"{name}_history" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "__init__.py").touch()
    for number, parent in enumerate(parents, 1):
        (versions / f"{number}.py").write_text(f"revision = '000{number}'\ndown_revision = {parent}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LookupError, match="not one line"):
        head_revision(f"{name}_history")
