"""What all tests share: a Postgres with a migrated database for each service, a NATS, a Valkey; all the run's own."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.events.nats_bus import open_bus
from pkg.events.operator import ADMINISTRATOR
from pkg.events.provisioning import provision_events
from pkg.local_stack.nats_server import NatsServer
from pkg.local_stack.ports import PortChooser
from pkg.local_stack.postgres_server import PostgresServer, can_connect
from pkg.local_stack.program import launch_command
from pkg.local_stack.secret_store import SecretStore
from pkg.local_stack.valkey_server import ValkeyServer
from pkg.provisioning import valkey_users
from pkg.provisioning.databases import DATABASES, ServiceDatabase, address_of, provision
from pkg.runtime.access import NEWS_MANAGER
from pkg.runtime.migrations import upgrade
from pkg.runtime.postgres import PostgresAddress, open_pool
from pkg.runtime.redis import RedisAddress, connect_redis
from tests.schedule import Schedule, longest_first

START_DEADLINE = 30.0

# An example that takes long says something of the machine, not of the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:  # xdist says nothing of its types
    return Schedule(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        longest_first(items)


_LOOPBACK_NET = "127."
_OWN_NET = Path("/proc/thread-self/ns/net")
_HOME_NET = _OWN_NET.readlink()


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
    if name in (None, "", "localhost", "::1") or str(name).startswith(_LOOPBACK_NET):
        return
    # A network namespace that a test made leads nowhere else.
    if _OWN_NET.readlink() == _HOME_NET:
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
        provision(self.superuser, database, self.secrets.get)
        upgrade(self.address(database, database.migrator), database.migrations)

    def address(self, database: ServiceDatabase, role: str) -> PostgresAddress:
        return address_of(self.superuser, database, role, self.secrets.get)


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


@dataclass
class TestNats:
    """A server with the streams and consumers of provisioning; it can be stopped and started again."""

    __test__ = False

    server: NatsServer
    log: Path
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = self.server.program()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(launch_command(program), stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_DEADLINE
        while not self.server.greets():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"NATS did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def reload(self) -> None:
        """Has it read its configuration again, with the passwords that the store has now."""
        assert self._process is not None, "it is not running"
        self.server.initialise()
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


@asynccontextmanager
async def running_nats(folder: Path) -> AsyncIterator[TestNats]:
    server = NatsServer(folder, PortChooser().choose(0), SecretStore(folder / "secrets"))
    server.initialise()
    nats = TestNats(server, folder / "nats.log")
    try:
        nats.start()
        async with open_bus(server.address(ADMINISTRATOR), "tests") as bus:
            await provision_events(bus)
        yield nats
    finally:
        nats.stop()


@pytest.fixture(scope="session")
async def nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestNats]:
    async with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@dataclass
class TestValkey:
    """A server that can be stopped and started again; it is emptied for each test that uses it."""

    __test__ = False

    server: ValkeyServer
    log: Path
    _process: subprocess.Popen[bytes] | None = None

    def address(self, user: str = NEWS_MANAGER) -> RedisAddress:
        return RedisAddress("127.0.0.1", self.server.port, user, self.server.password(user))

    def start(self) -> None:
        program = self.server.program()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(launch_command(program), stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_DEADLINE
        while not self.server.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Valkey did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is not running"
        return self._process.pid

    async def empty(self) -> None:
        async with self.administrator() as redis:
            await redis.flushall()

    def administrator(self) -> Redis:
        return connect_redis(self.address(valkey_users.ADMINISTRATOR))


@asynccontextmanager
async def running_valkey(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[TestValkey]:
    server = ValkeyServer(folder, PortChooser().choose(0), SecretStore(folder / "secrets"), settings)
    server.initialise()
    valkey = TestValkey(server, folder / "valkey.log")
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.stop()


@pytest.fixture(scope="session")
async def valkey_of_run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestValkey]:
    async with running_valkey(tmp_path_factory.mktemp("valkey"), {}) as server:
        yield server


@pytest.fixture(scope="session")
async def valkey_cluster_of_run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestValkey]:
    """A cluster of one node: it refuses what touches more than one slot, as each node of a large one does."""
    settings = {"cluster-enabled": "yes", "cluster-port": str(PortChooser().choose(0)), "appendonly": "no"}
    async with running_valkey(tmp_path_factory.mktemp("valkey-cluster"), settings) as server:
        async with server.administrator() as redis:
            await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)  # type: ignore[no-untyped-call]  # it has none
            deadline = time.monotonic() + START_DEADLINE
            while True:
                try:
                    await redis.set("feed:{1}:1", "")
                    break
                except RedisError:
                    assert time.monotonic() < deadline, "the cluster does not come up"
                    await asyncio.sleep(0.05)
        yield server


@pytest.fixture(scope="session")
async def valkey_pair_of_run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[TestValkey, TestValkey]]:
    """A primary and its replica."""
    async with running_valkey(tmp_path_factory.mktemp("valkey-primary"), {"repl-diskless-sync-delay": "0"}) as primary:
        user = valkey_users.ADMINISTRATOR
        settings = {
            "replicaof": f"127.0.0.1 {primary.server.port}",
            "primaryuser": user,
            "primaryauth": primary.server.password(user),
        }
        async with running_valkey(tmp_path_factory.mktemp("valkey-replica"), settings) as replica:
            async with primary.administrator() as redis, asyncio.timeout(START_DEADLINE):
                await redis.wait(1, 0)
            yield primary, replica


@pytest.fixture
async def valkey_pair(valkey_pair_of_run: tuple[TestValkey, TestValkey]) -> tuple[TestValkey, TestValkey]:
    await valkey_pair_of_run[0].empty()
    return valkey_pair_of_run


@pytest.fixture
async def valkey(valkey_of_run: TestValkey) -> TestValkey:
    await valkey_of_run.empty()
    return valkey_of_run


@pytest.fixture
async def valkey_cluster(valkey_cluster_of_run: TestValkey) -> TestValkey:
    await valkey_cluster_of_run.empty()
    return valkey_cluster_of_run


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
