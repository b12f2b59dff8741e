"""The secrets of a stack that runs, by who has to know of a change."""

import asyncio
import http.client
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import sql
from redis.exceptions import RedisError

from pkg.events.nats_bus import open_bus
from pkg.local_stack.data_folder import DataFolder
from pkg.local_stack.identity import BROWSER_KEY
from pkg.local_stack.mutual_auth import write_mutual_auth
from pkg.local_stack.nats_server import NatsServer
from pkg.local_stack.ports import LOOPBACK
from pkg.local_stack.postgres_server import SUPERUSER
from pkg.local_stack.rotation import Kind
from pkg.local_stack.secret_store import SecretStore
from pkg.local_stack.valkey_server import ValkeyServer
from pkg.provisioning import nats_users, valkey_users
from pkg.provisioning.databases import DATABASES, connect
from pkg.provisioning.mutual_auth import edges
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.redis import RedisAddress, ask, connect_redis
from pkg.runtime.secret import Secret
from pkg.runtime.start_error import StartError

KINDS: Final = ("edges", "browser", "postgres", "nats", "valkey")

_IN_USE: Final = re.compile(r'^delinkcious_secret_file_modified_timestamp_seconds\{file="(.*)"\} (\S+)$', re.MULTILINE)
#: Seconds.
_POLL: Final = 0.2
_REPLY_TIMEOUT: Final = 5.0
#: What a metric may lose of a time, in seconds.
_ROUNDING: Final = 1e-5


class RunningStack:
    """``ready`` is what it says about itself."""

    def __init__(self, folder: DataFolder, ready: Mapping[str, Any], patience: float) -> None:
        self.store = SecretStore(folder.secrets)
        self._folder = folder
        self._ready = ready
        self._patience = patience

    def kinds(self) -> dict[str, Kind]:
        """By name; without those of servers that somebody else runs."""
        found = [
            Kind("edges", _edge_secrets(), self._tell_edges),
            Kind("browser", [BROWSER_KEY], _tell_nobody),
            Kind("postgres", self._roles(), self._tell_postgres),
        ]
        if self._is_own("nats"):
            found.append(Kind("nats", [f"nats.{user}" for user in nats_users.PERMISSIONS], self._tell_nats))
        if self._is_own("redis"):
            found.append(Kind("valkey", [f"valkey.{user}" for user in valkey_users.RULES], self._tell_valkey))
        return {kind.name: kind for kind in found}

    async def until_used(self) -> None:
        """Returns when each service works with each of its files as it is now.

        Raises:
            StartError: one does not, in time.
        """
        until = time.monotonic() + self._patience
        for name, address in self._ready["services"].items():
            while late := await asyncio.to_thread(_out_of_date, address):
                if time.monotonic() > until:
                    raise StartError(f"{name} does not work with {late} as it is now; see its log, and run this again")
                await asyncio.sleep(_POLL)

    def _is_own(self, server: str) -> bool:
        return "password_files" in self._ready[server]

    # --- edges --------------------------------------------------------------------------------------------------------

    async def _tell_edges(self) -> None:
        write_mutual_auth(self._folder.config, self.store)

    # --- Postgres -----------------------------------------------------------------------------------------------------

    def _roles(self) -> list[str]:
        roles = [role for database in DATABASES for role in (database.migrator, database.service)]
        is_own = Path(self._ready["postgres"]["password_file"]) == self.store.path(SUPERUSER)
        return [*roles, SUPERUSER] if is_own else roles

    async def _tell_postgres(self) -> None:
        try:
            await asyncio.to_thread(self._set_passwords)
        except psycopg2.Error as error:
            raise StartError(f"Postgres: {' '.join(str(error).split())}") from None

    def _set_passwords(self) -> None:
        postgres = self._ready["postgres"]
        password = Secret.in_file(Path(postgres["password_file"]), relaxed=True)
        place = postgres["host"], postgres["port"], postgres["database"]
        connection = connect(PostgresAddress(*place, postgres["user"], password))
        try:
            with connection.cursor() as cursor:
                for role in self._roles():
                    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
                    cursor.execute(statement.format(sql.Identifier(role), sql.Literal(self.store.get(role))))
        finally:
            connection.close()

    # --- NATS ---------------------------------------------------------------------------------------------------------

    async def _tell_nats(self) -> None:
        server = NatsServer(self._folder.nats, _port_of(self._ready["nats"]), self.store)
        server.initialise()
        os.kill(self._ready["pids"]["nats"], signal.SIGHUP)
        until = time.monotonic() + self._patience
        for user in nats_users.PERMISSIONS:
            async with open_bus(server.address(user), "rotation") as bus:
                if not await bus.wait_connected(max(0.0, until - time.monotonic())):
                    raise StartError(f"NATS does not let {user} in with the password that it has now; run this again")

    # --- Valkey -------------------------------------------------------------------------------------------------------

    async def _tell_valkey(self) -> None:
        server = ValkeyServer(self._folder.valkey, _port_of(self._ready["redis"]), self.store)
        server.write_access_list()
        user = valkey_users.ADMINISTRATOR
        # Of two values the server may know the old one alone.
        for password in self.store.values(f"valkey.{user}")[::-1]:
            try:
                async with (
                    asyncio.timeout(_REPLY_TIMEOUT),
                    connect_redis(RedisAddress(LOOPBACK, server.port, user, password)) as redis,
                ):
                    await ask(redis, "ACL", "LOAD")
            except (RedisError, TimeoutError, OSError) as error:
                fault = error
            else:
                return
        raise StartError(f"Valkey does not read its users again: {fault}")


async def _tell_nobody() -> None:
    """The service reads what is stored, and nobody else knows of it."""


def _edge_secrets() -> Sequence[str]:
    return [f"{caller}.{callee}.{part}" for caller, callee in edges() for part in ("token", "statement-key")]


def _port_of(server: Mapping[str, Any]) -> int:
    return int(server["url"].rpartition(":")[2])


def _out_of_date(address: str) -> str:
    """A file that the service at ``address`` does not work with as it is now; nothing if there is none."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=_REPLY_TIMEOUT)
    try:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return "anything: it does not answer"
    finally:
        connection.close()
    return next((file for file, used in _IN_USE.findall(page) if _modified(Path(file)) > float(used) + _ROUNDING), "")


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime_ns / 1e9
    except FileNotFoundError:
        return 0.0
