"""A database elsewhere is spoken with in secret, and only if it is the one that is meant."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
import trustme

from pkg.object_model.errors import Unavailable
from pkg.provisioning.databases import connect, database_named
from pkg.runtime.migrations import upgrade
from pkg.runtime.postgres import PostgresAddress, database_errors, open_pool
from tests.conftest import TestPostgres

DATABASE = database_named("social_graph_manager")
#: What a client asks first, and the answer that it may go on with TLS (PostgreSQL, "SSL Session Encryption").
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
YES = b"S"


@asynccontextmanager
async def tls_in_front_of(address: PostgresAddress, certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """The port where a server is reached by TLS alone; the server of the tests has none itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readexactly(8) != SSL_REQUEST:
                return
            writer.write(YES)
            await writer.start_tls(context)
            inward, outward = await asyncio.open_connection(address.host, address.port)
            await asyncio.gather(pump(reader, outward), pump(inward, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def elsewhere(postgres: TestPostgres, tmp_path: Path) -> AsyncIterator[PostgresAddress]:
    postgres.make(DATABASE)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    inside = postgres.address(DATABASE, DATABASE.migrator)
    async with tls_in_front_of(inside, authority.issue_cert("127.0.0.1")) as port:
        yield replace(inside, port=port, ca_file=str(tmp_path / "ca.crt"))


async def ask(address: PostgresAddress) -> int:
    pool = await open_pool(address, application_name="tls", max_size=1)
    try:
        with database_errors():
            return int(await pool.fetchval("SELECT 42"))
    finally:
        await pool.close()


async def test_who_is_known_is_spoken_with(elsewhere: PostgresAddress) -> None:
    assert await ask(elsewhere) == 42
    connection = await asyncio.to_thread(connect, elsewhere)
    await asyncio.to_thread(connection.close)
    await asyncio.to_thread(upgrade, elsewhere, DATABASE.migrations)


async def test_somebody_else_is_not(elsewhere: PostgresAddress, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(other)
    stranger = replace(elsewhere, ca_file=str(other))
    with pytest.raises(Unavailable):
        await ask(stranger)
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        await asyncio.to_thread(connect, stranger)


async def test_nobody_is_spoken_with_in_the_open(elsewhere: PostgresAddress, postgres: TestPostgres) -> None:
    """Where TLS is wanted, a server that has none is refused."""
    plain = replace(elsewhere, port=postgres.superuser.port)
    with pytest.raises((Unavailable, ConnectionError)):
        await ask(plain)
    with pytest.raises(psycopg2.OperationalError, match="server does not support SSL"):
        await asyncio.to_thread(connect, plain)
