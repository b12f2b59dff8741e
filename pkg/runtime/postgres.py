"""Postgres for the request path: a pool that opens when first needed, and one place where faults get a meaning."""

import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from pkg.object_model.errors import DeadlineExceeded, Unavailable
from pkg.runtime.secret import Password, passwords_of

#: Seconds to wait for a connection of the pool, or for a new one.
_CONNECT_TIMEOUT: Final = 2.0
_STATEMENTS_KEPT: Final = 256

_TRY_LOCK: Final = "SELECT pg_try_advisory_lock($1)"
_UNLOCK: Final = "SELECT pg_advisory_unlock($1)"

_GONE: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # A standby that has not become the primary yet.
    asyncpg.ReadOnlySQLTransactionError,
)


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    host: str
    port: int
    database: str
    user: str
    password: Password = field(repr=False)
    #: The file with the certificates by which the server is known. With it connections are encrypted, and only to a
    #: server that shows that it is the host of this name; without it, whether they are is the server's to say.
    ca_file: str = ""

    @property
    def libpq_tls(self) -> dict[str, Any]:
        """What libpq is told of it besides."""
        return {"sslmode": "verify-full", "sslrootcert": self.ca_file} if self.ca_file else {}


async def open_pool(
    address: PostgresAddress,
    *,
    application_name: str,
    max_size: int = 10,
    statement_timeout: float = 5.0,
) -> asyncpg.Pool:
    """A pool that connects at its first use: a service whose database is away starts, and says that it is not ready.

    ``statement_timeout`` is in seconds, and kept by the server.
    """
    return await asyncpg.create_pool(
        host=address.host,
        port=address.port,
        database=address.database,
        user=address.user,
        connect=_connect_with(address.password),
        ssl=ssl.create_default_context(cafile=address.ca_file) if address.ca_file else None,
        min_size=0,
        max_size=max_size,
        timeout=_CONNECT_TIMEOUT,
        statement_cache_size=_STATEMENTS_KEPT,
        max_inactive_connection_lifetime=300,
        reset=_reset,
        server_settings={
            "application_name": application_name,
            "statement_timeout": str(int(statement_timeout * 1000)),
            "idle_in_transaction_session_timeout": "30000",
            "timezone": "UTC",
        },
    )


def _connect_with(password: Password) -> Callable[..., Coroutine[Any, Any, asyncpg.Connection]]:
    """How the pool makes a connection: with the password as it is then, and the one that follows it."""

    async def connect(*arguments: Any, **options: Any) -> asyncpg.Connection:  # noqa: ANN401  # asyncpg's
        first, *others = passwords_of(password)
        try:
            return await asyncpg.connect(*arguments, password=first, **options)
        except asyncpg.InvalidPasswordError:
            if not others:
                raise
        return await asyncpg.connect(*arguments, password=others[0], **options)

    return connect


async def _reset(connection: asyncpg.Connection) -> None:
    """Before a connection goes back. asyncpg's own way costs a round trip each time, and undoes what nobody here does:
    settings, listening and advisory locks of a session are for connections of one's own."""
    if connection.is_in_transaction():
        await connection.reset()


@asynccontextmanager
async def hold_alone(pool: asyncpg.Pool, key: int) -> AsyncIterator[bool]:
    """Whether nobody else, in any process, is in such a block for ``key``, until it ends.

    A connection of the pool is kept for it. The lock is the session's (PostgreSQL, "Advisory Locks"): if the connection
    is lost, somebody else may begin.
    """
    async with pool.acquire() as connection:
        alone = bool(await connection.fetchval(_TRY_LOCK, key))
        try:
            yield alone
        finally:
            if alone and not connection.is_closed():
                await connection.execute(_UNLOCK, key)


@contextmanager
def database_errors() -> Iterator[None]:
    """Faults of the database as ours; what a statement itself means (a unique violation) stays the store's affair.

    Raises:
        Unavailable: the database cannot be reached, or chose another transaction over this one; nothing was written.
        DeadlineExceeded: a statement took longer than it may (``query_too_slow``).
    """
    try:
        yield
    except asyncpg.QueryCanceledError:
        raise DeadlineExceeded("the query took too long; narrow it", code="query_too_slow") from None
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
        raise Unavailable("another change came in between; try again", code="try_again", retry_after=1) from None
    except _GONE:
        raise Unavailable(
            "the database cannot be reached; try again shortly", code="database_unavailable", retry_after=1
        ) from None
