"""The pool, on a real server, and what becomes of a database's faults."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from pkg.object_model.errors import DeadlineExceeded, DelinkciousError, Unavailable
from pkg.provisioning.databases import ServiceDatabase, connect, provision
from pkg.runtime.mutual_auth import new_secret
from pkg.runtime.postgres import PostgresAddress, database_errors, hold_alone, open_pool
from pkg.runtime.secret import Secret, passwords_of
from tests.conftest import TestPostgres


@pytest.fixture
async def pool(postgres: TestPostgres) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(postgres.superuser, application_name="told", max_size=2, statement_timeout=0.2) as pool:
        yield pool


async def test_it_opens_at_first_use(postgres: TestPostgres) -> None:
    async with await open_pool(postgres.superuser, application_name="lazy") as pool:
        assert pool.get_size() == 0
        assert await pool.fetchval("SELECT 1") == 1
        assert pool.get_size() == 1


async def test_a_session_is_as_we_want_it(pool: asyncpg.Pool) -> None:
    shown = {
        name: await pool.fetchval(f"SHOW {name}")
        for name in ("application_name", "statement_timeout", "timezone", "idle_in_transaction_session_timeout")
    }
    assert shown == {
        "application_name": "told",
        "statement_timeout": "200ms",
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": "30s",
    }


async def test_it_holds_no_more_connections_than_it_may(pool: asyncpg.Pool) -> None:
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.01)") for _ in range(10)))
    assert pool.get_size() == 2


async def test_a_statement_that_takes_too_long(pool: asyncpg.Pool) -> None:
    with pytest.raises(DeadlineExceeded) as slow, database_errors():
        await pool.execute("SELECT pg_sleep(30)")
    assert slow.value.code == "query_too_slow"


async def test_a_connection_that_is_cut(pool: asyncpg.Pool) -> None:
    with pytest.raises(Unavailable) as cut, database_errors():
        await pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert cut.value.code == "database_unavailable"
    assert await pool.fetchval("SELECT 1") == 1


async def test_two_that_wait_for_each_other(pool: asyncpg.Pool) -> None:
    async def lock(first: int, second: int, met: asyncio.Barrier) -> str:
        async with pool.acquire() as connection:
            try:
                with database_errors():
                    async with connection.transaction():
                        await connection.execute("SET LOCAL deadlock_timeout = '10ms'; SET LOCAL statement_timeout = 0")
                        await connection.execute("SELECT pg_advisory_xact_lock($1)", first)
                        await met.wait()
                        await connection.execute("SELECT pg_advisory_xact_lock($1)", second)
            except DelinkciousError as error:
                return error.code
        return "ok"

    met = asyncio.Barrier(2)
    assert sorted(await asyncio.gather(lock(1, 2, met), lock(2, 1, met))) == ["ok", "try_again"]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"port": 1}, "database_unavailable"), ({"password": "x"}, "database_unavailable"), ({"database": "none"}, None)],
)
async def test_a_database_that_cannot_be_entered(
    postgres: TestPostgres, change: dict[str, object], code: str | None
) -> None:
    server = postgres.superuser
    parts = {"host": server.host, "port": server.port, "database": server.database} | {
        "user": server.user,
        "password": server.password,
    }
    address = PostgresAddress(**(parts | change))  # type: ignore[arg-type]  # of two types
    async with await open_pool(address, application_name="stranger", max_size=1) as pool:
        with pytest.raises(Unavailable) as away, database_errors():
            await pool.fetchval("SELECT 1")
    assert away.value.code == (code or "database_unavailable")
    assert passwords_of(server.password)[0] not in away.value.message
    assert away.value.retry_after == 1


async def test_a_password_that_is_rotated(postgres: TestPostgres, tmp_path: Path) -> None:
    """Connections that are made before, while and after the server's changes, with what the file holds at each step."""
    database = ServiceDatabase("rotated", "none", "NONE")
    old, new = new_secret(), new_secret()
    file = tmp_path / "password"
    file.write_text(old)
    provision(postgres.superuser, database, lambda _role: old)
    address = replace(postgres.superuser, user=database.service, database=database.name, password=Secret.in_file(file))
    async with await open_pool(address, application_name="rotated", max_size=1) as pool:

        async def connects() -> bool:
            await pool.expire_connections()
            return bool(await pool.fetchval("SELECT 1") == 1)

        assert await connects()
        file.write_text(f"{old}\n{new}")
        assert await connects()
        provision(postgres.superuser, database, lambda _role: new)
        assert await connects()
        file.write_text(f"{new}\n{old}")
        assert await connects()
        file.write_text(new)
        assert await connects()
        file.write_text(old)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await connects()
    # Tools and tests ask like this.
    file.write_text(f"{old}\n{new}")
    connect(address).close()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (asyncpg.QueryCanceledError(), "query_too_slow"),
        (asyncpg.DeadlockDetectedError(), "try_again"),
        (asyncpg.SerializationError(), "try_again"),
        (ConnectionRefusedError(), "database_unavailable"),
        (TimeoutError(), "database_unavailable"),
        (asyncpg.ConnectionDoesNotExistError(), "database_unavailable"),
        (asyncpg.InterfaceError("the pool is closing"), "database_unavailable"),
        (asyncpg.CannotConnectNowError(), "database_unavailable"),
        (asyncpg.TooManyConnectionsError(), "database_unavailable"),
        (asyncpg.DiskFullError(), "database_unavailable"),
        (asyncpg.AdminShutdownError(), "database_unavailable"),
        (asyncpg.ReadOnlySQLTransactionError(), "database_unavailable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_a_fault_of_the_database_is_ours(fault: Exception, code: str) -> None:
    with pytest.raises(DelinkciousError) as raised, database_errors():
        raise fault
    assert raised.value.code == code


async def test_what_a_statement_means_is_the_stores_affair(pool: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.UndefinedTableError), database_errors():
        await pool.execute("SELECT * FROM no_such_table")
    with pytest.raises(asyncpg.UniqueViolationError), database_errors():
        raise asyncpg.UniqueViolationError
    with pytest.raises(KeyError), database_errors():
        raise KeyError


async def test_our_own_mistake_is_not_called_a_database_that_is_away(pool: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.DataError), database_errors():
        await pool.fetchval("SELECT $1::bigint", 2**63)


@pytest.mark.parametrize("how", ["well", "badly"])
async def test_who_was_alone_leaves_room_for_others(postgres: TestPostgres, pool: asyncpg.Pool, how: str) -> None:
    """Others are other processes: what one connection holds, the same one would get twice."""

    async def fail() -> None:
        async with hold_alone(pool, 7) as alone:
            assert alone
            async with hold_alone(others, 7) as nobody:
                assert not nobody
            if how == "badly":
                raise LookupError

    async with await open_pool(postgres.superuser, application_name="others") as others:
        with contextlib.suppress(LookupError):
            await fail()
        async with hold_alone(others, 7) as alone:
            assert alone
        async with hold_alone(pool, 7) as alone, hold_alone(others, 8) as with_another_key:
            assert alone
            assert with_another_key
