"""Valkey, or anything else that speaks Redis's protocol: a pool that connects at its first use, and scripts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import NoScriptError

from pkg.runtime.redis_sentinels import PrimaryConnection, PrimaryFinder, PrimarySslConnection, RedisSentinels
from pkg.runtime.secret import Password, passwords_of

#: Seconds, for a new connection and for a free one of the pool.
_CONNECT_TIMEOUT: Final = 1.0
_POOL_TIMEOUT: Final = 2.0

#: Keys and arguments.
type Call = tuple[Sequence[str], Sequence[Any]]
type Command = Sequence[Any]


@dataclass(frozen=True, slots=True)
class RedisAddress:
    host: str
    port: int
    user: str
    password: Password = field(repr=False)
    #: Whether the connection is encrypted; the certificate must then be one that this machine trusts.
    tls: bool = False


def connect_redis(address: RedisAddress | RedisSentinels, *, max_connections: int = 32) -> Redis:
    """Connects at its first use: a service whose store is away, or all of its sentinels, starts, and says that it is
    not ready.

    Commands have no time limit here: a timer for each command and one for each answer cost half as much as both, so
    whoever calls sets one for all that a call asks.
    """
    credentials = _Credentials(address)
    pool = BlockingConnectionPool(
        **_way_to(address, credentials),
        credential_provider=credentials,
        max_connections=max_connections,
        timeout=_POOL_TIMEOUT,
        socket_timeout=None,
        socket_connect_timeout=_CONNECT_TIMEOUT,
        # Once, for a connection that the server has closed meanwhile, or one to a server that leads no more. Everything
        # here may be repeated.
        retry=Retry(NoBackoff(), 1),
        health_check_interval=30,
    )
    return Redis.from_pool(pool)


def _way_to(address: RedisAddress | RedisSentinels, credentials: CredentialProvider) -> dict[str, Any]:
    if isinstance(address, RedisAddress):
        return {
            "connection_class": SSLConnection if address.tls else Connection,
            "host": address.host,
            "port": address.port,
        }
    return {
        "connection_class": PrimarySslConnection if address.tls else PrimaryConnection,
        "finder": PrimaryFinder(address, credentials),
    }


class _Credentials(CredentialProvider):
    """As they are when a connection is made. The server knows both of two passwords while they are rotated."""

    def __init__(self, address: RedisAddress | RedisSentinels) -> None:
        self._address = address

    def get_credentials(self) -> tuple[str, str]:
        return self._address.user, passwords_of(self._address.password)[0]

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


class Script:
    """A program that the server runs as one step."""

    def __init__(self, *parts: str) -> None:
        self.source = "\n".join(parts)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run_all(self, redis: Redis, calls: Sequence[Call], then: Sequence[Command] = ()) -> list[Any]:
        """By its digest, all calls in one go with what is to be done ``then``; the replies in their order.

        A server that does not know it, or no longer, is told it again.
        """
        try:
            return await ask_all(redis, [*self._commands("EVALSHA", self.sha, calls), *then])
        except NoScriptError:
            # Loading it first would leave a gap in which a restart forgets it again.
            return await ask_all(redis, [*self._commands("EVAL", self.source, calls), *then])

    def _commands(self, verb: str, what: str, calls: Sequence[Call]) -> list[Command]:
        return [(verb, what, len(keys), *keys, *arguments) for keys, arguments in calls]


async def ask_all(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """In one go, on one connection; the replies in their order."""
    pipeline = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return await pipeline.execute()


async def ask(redis: Redis, *command: Any) -> Any:  # noqa: ANN401  # replies are of any shape
    return await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # it has no types
