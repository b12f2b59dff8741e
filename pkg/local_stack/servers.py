"""The servers of a stack: its own, or those that the environment names."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg2

from pkg.events.settings import USUAL_PORT as NATS_PORT
from pkg.events.settings import NatsAddress
from pkg.local_stack import postgres_server, valkey_server
from pkg.local_stack.data_folder import DataFolder
from pkg.local_stack.nats_server import NatsServer
from pkg.local_stack.ports import LOOPBACK, PortChooser
from pkg.local_stack.postgres_server import PostgresServer
from pkg.local_stack.secret_store import SecretStore, write_private
from pkg.local_stack.valkey_server import ValkeyServer
from pkg.provisioning import nats_users, valkey_users
from pkg.provisioning.databases import connect
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.secret import passwords_of
from pkg.runtime.start_error import StartError

POSTGRES_URL: Final = "DELINKCIOUS_POSTGRES_URL"
NATS_URL: Final = "DELINKCIOUS_NATS_URL"
REDIS_URL: Final = "DELINKCIOUS_REDIS_URL"
_SCHEMES: Final[Mapping[str, tuple[str, ...]]] = {
    POSTGRES_URL: ("postgresql", "postgres"),
    NATS_URL: ("nats", "tls"),
    REDIS_URL: ("redis", "rediss"),
}
_ENCRYPTED: Final = frozenset({"tls", "rediss"})


@dataclass(frozen=True)
class Login:
    """Where a server is, and as whom one gets in."""

    host: str
    port: int
    user: str
    password_file: Path
    tls: bool = False

    def nats_address(self) -> NatsAddress:
        password = self.password_file.read_text(encoding="utf-8").strip()
        return NatsAddress(self.host, self.port, self.user, password, self.tls)


@dataclass(frozen=True)
class Servers:
    #: To be started; what the environment names is not among them.
    own: tuple[PostgresServer | NatsServer | ValkeyServer, ...]
    postgres: PostgresAddress
    #: Of each user.
    nats: Callable[[str], Login]
    valkey: Callable[[str], Login]
    #: By name, where each is and who gets in, for ``ready.json``.
    descriptions: Mapping[str, Mapping[str, Any]]
    #: By name, where those are that somebody else runs.
    given: Mapping[str, str]


def choose_servers(
    folder: DataFolder, store: SecretStore, ports: PortChooser, environment: Mapping[str, str]
) -> Servers:
    """
    Raises:
        StartError: a URL of the environment cannot be used.
    """
    own: list[PostgresServer | NatsServer | ValkeyServer] = []
    given: dict[str, str] = {}

    if url := environment.get(POSTGRES_URL):
        address = _postgres_address(url)
        password_file = folder.secrets / "given-postgres"
        write_private(password_file, passwords_of(address.password)[0])
        given["postgres"] = f"{address.host}:{address.port}"
    else:
        password_file = store.path("postgres")
        postgres = PostgresServer(folder.postgres, ports.choose(postgres_server.USUAL_PORT), password_file)
        address = postgres.superuser
        own.append(postgres)

    if url := environment.get(NATS_URL):
        given["nats"] = _place(NATS_URL, url)
        nats_login, nats = _given(NATS_URL, url, NATS_PORT, folder.secrets / "given-nats")
    else:
        nats_own = NatsServer(folder.nats, ports.choose(NATS_PORT), store)
        nats_login, nats = _logins(nats_own), _description(nats_own, nats_users.PERMISSIONS)
        own.append(nats_own)

    if url := environment.get(REDIS_URL):
        given["valkey"] = _place(REDIS_URL, url)
        valkey_login, redis = _given(
            REDIS_URL, url, valkey_server.USUAL_PORT, folder.secrets / "given-valkey", nobody="default"
        )
    else:
        valkey = ValkeyServer(folder.valkey, ports.choose(valkey_server.USUAL_PORT), store)
        valkey_login, redis = _logins(valkey), _description(valkey, valkey_users.RULES)
        own.append(valkey)

    descriptions = {"postgres": _postgres_description(address, password_file), "nats": nats, "redis": redis}
    return Servers(tuple(own), address, nats_login, valkey_login, descriptions, given)


def check_given_postgres(address: PostgresAddress) -> None:
    """
    Raises:
        StartError: nobody answers there, or we are not let in.
    """
    try:
        connect(address).close()
    except psycopg2.OperationalError as error:
        raise StartError(f"{POSTGRES_URL}: cannot connect: {str(error).strip()}") from None


def _logins(server: NatsServer | ValkeyServer) -> Callable[[str], Login]:
    return lambda user: Login(LOOPBACK, server.port, user, server.password_file(user))


def _given(
    variable: str, url: str, usual_port: int, password_file: Path, nobody: str = ""
) -> tuple[Callable[[str], Login], dict[str, Any]]:
    """Everybody gets in as the URL says. Without a user in it the server must be one that asks nobody.

    ``nobody`` is what such a server calls everybody, if it takes no other name.
    """
    parts = urlsplit(url)
    user = unquote(parts.username or "") or nobody
    if parts.username is not None and not (user and parts.password):
        raise StartError(
            f"{variable} names a user without a password, or none; write it as {parts.scheme}://user:password@host"
        )
    write_private(password_file, unquote(parts.password or secrets.token_urlsafe(32)))

    def login(service: str) -> Login:
        host, port = parts.hostname or "", parts.port or usual_port
        return Login(host, port, user or service, password_file, tls=parts.scheme in _ENCRYPTED)

    if parts.username is None:
        return login, {"url": url}
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return login, {"url": bare, "user": user, "password_file": str(password_file)}


def _description(server: NatsServer | ValkeyServer, users: Mapping[str, object]) -> dict[str, Any]:
    return {"url": server.url, "password_files": {user: str(server.password_file(user)) for user in users}}


def _postgres_description(address: PostgresAddress, password_file: Path) -> dict[str, Any]:
    return {
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "database": address.database,
        "password_file": str(password_file),
    }


def _postgres_address(url: str) -> PostgresAddress:
    _place(POSTGRES_URL, url)
    parts = urlsplit(url)
    if parts.username is None or parts.hostname is None or parts.query:
        raise StartError(f"{POSTGRES_URL} must be like postgresql://user:password@host:5432/postgres")
    return PostgresAddress(
        host=parts.hostname,
        port=parts.port or postgres_server.USUAL_PORT,
        database=unquote(parts.path.strip("/")) or "postgres",
        user=unquote(parts.username),
        password=unquote(parts.password or ""),
    )


def _place(variable: str, url: str) -> str:
    """Host and port alone: the rest may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise StartError(f"{variable} is not a URL") from None
    if parts.scheme not in _SCHEMES[variable] or not parts.hostname:
        raise StartError(f"{variable} must begin with {' or '.join(_SCHEMES[variable])}:// and name a host")
    return f"{parts.hostname}:{port}" if port else parts.hostname
