"""What all tests share: a Postgres of the run's own, with a migrated database for each service."""

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from pkg.local_stack.ports import PortChooser
from pkg.local_stack.postgres_server import PostgresServer, can_connect
from pkg.local_stack.program import launch_command
from pkg.local_stack.provisioning import DATABASES, ServiceDatabase, address_of, provision
from pkg.local_stack.secret_store import SecretStore
from pkg.runtime.migrations import upgrade
from pkg.runtime.postgres import PostgresAddress, open_pool

START_DEADLINE = 30.0

# An example that takes long says something of the machine, not of the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

_LOOPBACK_NET = "127."


def _stay_at_home(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: what Python is about to do. Loops of uvloop, which ask nobody, run in processes of their own."""
    if event == "socket.connect":
        connecting, address = arguments
        if not isinstance(connecting, socket.socket) or connecting.family not in (socket.AF_INET, socket.AF_INET6):
            return
        host = address[0] if isinstance(address, tuple) else address
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (None, "", "localhost", "::1") and not str(name).startswith(_LOOPBACK_NET):
        raise RuntimeError(f"a test must not reach {name}: it is not on this machine")


sys.addaudithook(_stay_at_home)

#: A test's database need not survive a power cut.
FAST = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class TestPostgres:
    """The server of this run."""

    __test__ = False

    superuser: PostgresAddress
    secrets: SecretStore

    def make(self, database: ServiceDatabase) -> None:
        provision(self.superuser, database, self.secrets)
        upgrade(self.address(database, database.migrator), database.migrations)

    def address(self, database: ServiceDatabase, role: str) -> PostgresAddress:
        return address_of(self.superuser, database, role, self.secrets)


@contextmanager
def running_postgres(folder: Path) -> Iterator[TestPostgres]:
    secrets = SecretStore(folder / "secrets")
    server = PostgresServer(folder / "postgres", PortChooser().choose(0), secrets.path("postgres"), FAST)
    server.initialise()
    program = server.program()
    log = folder / "postgres.log"
    with log.open("wb") as output:
        process = subprocess.Popen(launch_command(program), stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_DEADLINE
        while not can_connect(server.superuser):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield TestPostgres(server.superuser, secrets)
    finally:
        process.send_signal(program.stop_signal)
        process.wait(30)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestPostgres]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@asynccontextmanager
async def service_pool(server: TestPostgres, name: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on the database of this name, with the rights that its service has."""
    database = next(database for database in DATABASES if database.name == name)
    server.make(database)
    address = server.address(database, database.service)
    pool = await open_pool(address, application_name="tests", max_size=20, statement_timeout=10)
    async with pool:
        yield pool


@pytest.fixture(scope="session")
async def link_pool(postgres: TestPostgres) -> AsyncIterator[asyncpg.Pool]:
    async with service_pool(postgres, "link_manager") as pool:
        yield pool


@pytest.fixture(scope="session")
async def user_pool(postgres: TestPostgres) -> AsyncIterator[asyncpg.Pool]:
    async with service_pool(postgres, "user_manager") as pool:
        yield pool


@pytest.fixture(scope="session")
async def social_graph_pool(postgres: TestPostgres) -> AsyncIterator[asyncpg.Pool]:
    async with service_pool(postgres, "social_graph_manager") as pool:
        yield pool
