"""Every service's schema: made by its migrations alone, and not the service's to change.

The original's pods each ran CREATE TABLE IF NOT EXISTS at their start: they raced, and a table that was there never
gained a column.
"""

import asyncpg
import pytest

from pkg.provisioning.databases import DATABASES, ServiceDatabase, connect
from pkg.runtime.migrations import check_schema, upgrade
from tests.conftest import TestPostgres, service_pool

BY_NAME = pytest.mark.parametrize("database", DATABASES, ids=[database.name for database in DATABASES])

#: Everything that a migration makes: tables, columns, constraints, indexes, rights; and what it has written down.
_PICTURE = """
    SELECT 'column', table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'rights', relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'revision', version_num, xmin::text FROM alembic_version
    ORDER BY 1, 2
"""


def picture(server: TestPostgres, database: ServiceDatabase) -> list[tuple[str, str, str]]:
    connection = connect(server.address(database, database.migrator))
    try:
        with connection.cursor() as cursor:
            cursor.execute(_PICTURE)
            return [(kind, name, what) for kind, name, what in cursor.fetchall()]
    finally:
        connection.close()


@BY_NAME
def test_to_migrate_again_changes_nothing(postgres: TestPostgres, database: ServiceDatabase) -> None:
    postgres.make(database)
    before = picture(postgres, database)
    assert {"column", "constraint", "index", "revision"} <= {kind for kind, _, _ in before}
    upgrade(postgres.address(database, database.migrator), database.migrations)
    assert picture(postgres, database) == before


@BY_NAME
async def test_a_service_finds_its_schema_and_cannot_change_it(
    postgres: TestPostgres, database: ServiceDatabase
) -> None:
    async with service_pool(postgres, database.name) as pool:
        await check_schema(pool, database.migrations)
        tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        assert len(tables) > 1
        statements = ["CREATE TABLE mine (id bigint)", "CREATE SCHEMA mine"]
        for (table,) in tables:
            await pool.execute(f"SELECT FROM {table} LIMIT 1")
            statements += [
                f"DROP TABLE {table}",
                f"TRUNCATE {table}",
                f"ALTER TABLE {table} ADD COLUMN mine text",
                f"CREATE INDEX ON {table} ((1))",
            ]
        for statement in statements:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(statement)


@BY_NAME
async def test_every_table_is_keyed_by_user(postgres: TestPostgres, database: ServiceDatabase) -> None:
    """So that it can be distributed by user: the key begins with the user, whose own table it is otherwise.

    What is told is keyed by the partition that a user belongs to, and what is known of a URL by the URL.
    """
    async with service_pool(postgres, database.name) as pool:
        keys = await pool.fetch(
            """
            SELECT conrelid::regclass::text AS table_name, attname AS first_column
            FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
            WHERE contype = 'p' AND connamespace = 'public'::regnamespace
            """
        )
    first_columns = dict(map(tuple, keys))
    first_columns.pop("alembic_version")
    assert first_columns.pop("outbox", "partition") == "partition"
    if database.name == "user_manager":
        assert first_columns.pop("users") == "id"
        assert first_columns.pop("retired_names") == "name_hash"
    if database.name == "link_manager":
        assert first_columns.pop("link_checks") == "url_key"
    assert set(first_columns.values()) == {"user_id"}
