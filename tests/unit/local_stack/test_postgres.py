"""The Postgres that the stack starts, and the rights in it."""

from dataclasses import replace
from pathlib import Path

import asyncpg
import psycopg2
import pytest

from pkg.local_stack.secret_store import SecretStore
from pkg.provisioning.databases import (
    DATABASES,
    ServiceDatabase,
    address_of,
    close_to_others,
    connect,
    database_named,
    provision,
)
from pkg.runtime.postgres import open_pool
from tests.conftest import TestPostgres, running_postgres

DATABASE = ServiceDatabase("provisioned", "none", "NONE")


async def execute(server: TestPostgres, role: str, statement: str) -> None:
    address = address_of(server.superuser, DATABASE, role, server.secrets.get)
    async with await open_pool(address, application_name="test", max_size=1) as pool:
        await pool.execute(statement)


async def test_a_service_reads_and_writes_rows_and_nothing_else(postgres: TestPostgres) -> None:
    provision(postgres.superuser, DATABASE, postgres.secrets.get)
    provision(postgres.superuser, DATABASE, postgres.secrets.get)
    await execute(postgres, DATABASE.migrator, "CREATE TABLE notes (id bigint PRIMARY KEY)")
    await execute(postgres, DATABASE.service, "INSERT INTO notes VALUES (1)")
    await execute(postgres, DATABASE.service, "DELETE FROM notes")
    for forbidden in (
        "CREATE TABLE mine (id bigint)",
        "DROP TABLE notes",
        "ALTER TABLE notes ADD COLUMN more text",
        "TRUNCATE notes",
        "CREATE SCHEMA mine",
        "COPY notes TO PROGRAM 'true'",
        "COPY notes FROM '/etc/passwd'",
        "CREATE TEMPORARY TABLE mine (id bigint)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE LANGUAGE mine HANDLER mine",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "CREATE POLICY mine ON notes",
        "CREATE INDEX ON notes (id)",
        "ALTER TABLE notes DISABLE TRIGGER ALL",
        "LOCK TABLE notes IN ACCESS EXCLUSIVE MODE; CREATE SEQUENCE mine",
        f"ALTER ROLE {DATABASE.service} CREATEDB",
        f"ALTER ROLE {DATABASE.migrator} PASSWORD 'mine'",
        f"SET ROLE {DATABASE.migrator}",
        f"DROP OWNED BY {DATABASE.migrator}",
        "ALTER SYSTEM SET log_statement = 'all'",
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_reload_conf()",
        "SELECT lo_import('/etc/passwd')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(postgres, DATABASE.service, forbidden)


async def test_roles_may_log_in_and_nothing_more(postgres: TestPostgres) -> None:
    provision(postgres.superuser, DATABASE, postgres.secrets.get)
    async with await open_pool(postgres.superuser, application_name="test", max_size=1) as pool:
        for role in (DATABASE.service, DATABASE.migrator):
            rights = await pool.fetchrow(
                "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,"
                " (SELECT count(*) FROM pg_auth_members WHERE member = pg_roles.oid)"
                " FROM pg_roles WHERE rolname = $1",
                role,
            )
            assert rights is not None
            assert tuple(rights) == (True, False, False, False, False, False, 0)


async def test_what_a_server_brings_is_closed_to_services(tmp_path: Path) -> None:
    with running_postgres(tmp_path) as server:
        provision(server.superuser, DATABASE, server.secrets.get)
        close_to_others(server.superuser)
        close_to_others(server.superuser)
        for role in (DATABASE.service, DATABASE.migrator):
            own = server.address(DATABASE, role)
            connect(own).close()
            for name in ("postgres", "template1"):
                with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                    connect(replace(own, database=name))
        connect(server.superuser).close()


async def test_its_log_quotes_nothing_that_is_kept_in_it(postgres: TestPostgres) -> None:
    provision(postgres.superuser, DATABASE, postgres.secrets.get)
    await execute(postgres, DATABASE.migrator, "CREATE TABLE titles (title text CONSTRAINT short CHECK (title < 'b'))")
    with pytest.raises(asyncpg.CheckViolationError):
        await execute(postgres, DATABASE.service, "INSERT INTO titles VALUES ('something private')")
    log = postgres.secrets.path("postgres").parents[1] / "postgres.log"
    assert 'violates check constraint "short"' in log.read_text()
    assert "something private" not in log.read_text()


async def test_nobody_enters_without_the_password(postgres: TestPostgres) -> None:
    provision(postgres.superuser, DATABASE, postgres.secrets.get)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=postgres.superuser.host,
            port=postgres.superuser.port,
            database=DATABASE.name,
            user=DATABASE.service,
            password="wrong",
        )


async def test_a_service_enters_its_own_database_alone(postgres: TestPostgres) -> None:
    other = ServiceDatabase("provisioned_too", "none", "NONE")
    for database in (DATABASE, other):
        provision(postgres.superuser, database, postgres.secrets.get)
    own = address_of(postgres.superuser, DATABASE, DATABASE.service, postgres.secrets.get)
    async with await open_pool(replace(own, database=other.name), application_name="test", max_size=1) as pool:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.fetchval("SELECT 1")


async def test_a_password_that_changes_in_the_store_changes_in_the_server(
    postgres: TestPostgres, tmp_path: Path
) -> None:
    database = ServiceDatabase("provisioned_anew", "none", "NONE")
    provision(postgres.superuser, database, SecretStore(tmp_path / "old").get)
    old = address_of(postgres.superuser, database, database.service, SecretStore(tmp_path / "old").get)
    provision(postgres.superuser, database, SecretStore(tmp_path / "new").get)
    async with await open_pool(old, application_name="test", max_size=1) as pool:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await pool.fetchval("SELECT 1")


async def test_who_is_no_superuser_can_provision(postgres: TestPostgres) -> None:
    connection = connect(postgres.superuser)
    connection.cursor().execute("CREATE ROLE operator LOGIN CREATEROLE CREATEDB PASSWORD 'of the operator'")
    connection.close()
    operator = replace(postgres.superuser, user="operator", password="of the operator")
    database = ServiceDatabase("provisioned_by_an_operator", "none", "NONE")
    provision(operator, database, postgres.secrets.get)
    provision(operator, database, postgres.secrets.get)
    address = address_of(operator, database, database.migrator, postgres.secrets.get)
    async with await open_pool(address, application_name="test", max_size=1) as pool:
        await pool.execute("CREATE TABLE notes (id bigint)")
    service = address_of(operator, database, database.service, postgres.secrets.get)
    async with await open_pool(service, application_name="test", max_size=1) as pool:
        await pool.execute("INSERT INTO notes VALUES (1)")


def test_a_database_by_name() -> None:
    assert [database_named(database.name) for database in DATABASES] == list(DATABASES)
    with pytest.raises(LookupError):
        database_named("news_manager")
