"""The Postgres that the stack starts, and the rights in it."""

import asyncpg
import pytest

from pkg.local_stack.provisioning import ServiceDatabase, address_of, provision
from pkg.runtime.postgres import open_pool
from tests.conftest import TestPostgres

DATABASE = ServiceDatabase("provisioned", "none", "NONE")


async def execute(server: TestPostgres, role: str, statement: str) -> None:
    address = address_of(server.superuser, DATABASE, role, server.secrets)
    async with await open_pool(address, application_name="test", max_size=1) as pool:
        await pool.execute(statement)


async def test_a_service_reads_and_writes_rows_and_nothing_else(postgres: TestPostgres) -> None:
    provision(postgres.superuser, DATABASE, postgres.secrets)
    provision(postgres.superuser, DATABASE, postgres.secrets)
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
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(postgres, DATABASE.service, forbidden)


async def test_nobody_enters_without_the_password(postgres: TestPostgres) -> None:
    provision(postgres.superuser, DATABASE, postgres.secrets)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=postgres.superuser.host,
            port=postgres.superuser.port,
            database=DATABASE.name,
            user=DATABASE.service,
            password="wrong",
        )
