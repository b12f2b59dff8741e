"""The whole system as one foreground process: servers, databases, services, and an orderly end."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

import psycopg2

from pkg.clients.accounts import connect_operator, let_in
from pkg.events.operator import ADMINISTRATOR
from pkg.events.provisioning import provision_at
from pkg.local_stack import demo_site
from pkg.local_stack.console import Console
from pkg.local_stack.data_folder import DataFolder
from pkg.local_stack.identity import identity_variables
from pkg.local_stack.log_lines import Level
from pkg.local_stack.mutual_auth import write_mutual_auth
from pkg.local_stack.ports import LOOPBACK, PortChooser, is_free
from pkg.local_stack.secret_store import SecretStore, write_private
from pkg.local_stack.servers import Servers, check_given_postgres, choose_servers
from pkg.local_stack.services import SERVICES, Reach, Service, Surroundings, reach_directly, replica_name
from pkg.local_stack.supervisor import Supervisor
from pkg.object_model.errors import DelinkciousError, Unavailable
from pkg.provisioning.databases import DATABASES, address_of, close_to_others, provision
from pkg.runtime.access import API_GATEWAY, OPERATOR, USER_MANAGER
from pkg.runtime.migrations import upgrade
from pkg.runtime.start_error import StartError

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SERVER_NAMES: Final = ("postgres", "nats", "valkey")


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    data: Path
    #: None: the usual one if it is free. 0: any free one.
    gateway_port: int | None = None
    users: Sequence[str] = ()
    quiet: bool = False
    #: By service, where there is more than one. Without a ``reach`` that spreads the calls, all come to the first.
    replicas: Mapping[str, int] = field(default_factory=dict)
    reach: Reach = reach_directly


def run_stack(options: StackOptions, environment: Mapping[str, str], stream: TextIO) -> int:
    """Runs the system until a signal says stop; gives the exit code of the process: 0 after an orderly end.

    Raises:
        StartError: nothing was started.
    """
    folder = DataFolder(options.data)
    folder.make()
    lock = folder.lock()
    coloured = stream.isatty() and not environment.get("NO_COLOR")
    names = (*_SERVER_NAMES, *(name for service in SERVICES for name in _replicas(service, options)), demo_site.NAME)
    with Console(stream, folder.logs, names, quiet=options.quiet, coloured=coloured) as console:
        return asyncio.run(_Stack(options, folder, environment, console, lock).run())


class _Stack:
    def __init__(
        self, options: StackOptions, folder: DataFolder, environment: Mapping[str, str], console: Console, lock: int
    ) -> None:
        self._options = options
        self._folder = folder
        self._environment = environment
        self._console = console
        self._store = SecretStore(folder.secrets)
        self._ports = PortChooser()
        self._supervisor = Supervisor(console, on_change=self._write_ready_file, inherited=(lock,))
        self._stop_asked = asyncio.Event()
        self._killed = False
        #: What ``ready.json`` says besides the pids, from the moment when all is ready until the stop.
        self._ready: dict[str, Any] | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        self._remove_ready_file()
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop_asked.wait())
        code = 0
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
        except StartError as error:
            code = 1
            for fault in error.faults:
                self._console.say(fault, Level.ERROR)
        finally:
            starting.cancel()
            stopping.cancel()
            self._ready = None
            self._remove_ready_file()
            orderly = await self._supervisor.stop()
        if code:
            self._console.say("could not start; everything is stopped again", Level.ERROR)
        else:
            self._console.say("stopped")
        return code if orderly and not self._killed else 1

    def _on_signal(self) -> None:
        if not self._stop_asked.is_set():
            self._console.say("stopping; once more kills at once")
            self._stop_asked.set()
            return
        self._killed = True
        self._console.say("killing everything", Level.WARNING)
        self._supervisor.kill()

    async def _start(self) -> None:
        servers = choose_servers(self._folder, self._store, self._ports, self._environment)
        ports = self._choose_ports()
        await self._start_servers(servers)
        await asyncio.to_thread(self._prepare_databases, servers)
        await self._prepare_events(servers)
        files = write_mutual_auth(self._folder.config, self._store)
        surroundings = Surroundings(
            ports=ports,
            mutual_auth_files=files,
            postgres=servers.postgres,
            nats=servers.nats,
            valkey=servers.valkey,
            password_files={database.service: self._store.path(database.service) for database in DATABASES},
            identity=identity_variables(self._store, self._environment),
            environment=self._environment,
            reach=self._options.reach,
        )
        programs = [surroundings.demo_site()]
        programs += [program for service in SERVICES for program in surroundings.programs(service)]
        await self._supervisor.start(programs)
        # Where each answers over HTTP, which for one of them is not where it works.
        addresses = {
            name: f"http://{LOOPBACK}:{port}"
            for service in SERVICES
            for name, port in zip(_replicas(service, self._options), ports[service.http_port_name], strict=True)
        }
        site = f"http://{LOOPBACK}:{ports[demo_site.NAME][0]}"
        tokens = await self._let_users_in(addresses[USER_MANAGER], files[OPERATOR])
        self._ready = {
            "gateway": addresses[API_GATEWAY],
            "services": addresses,
            "demo_site": site,
            "tokens": tokens,
            **servers.descriptions,
        }
        self._write_ready_file()
        self._show(servers, {**addresses, demo_site.NAME: site}, tokens, addresses[API_GATEWAY])

    def _choose_ports(self) -> dict[str, list[int]]:
        # The gateway first: it is the one whose port a person may have chosen.
        gateway_first = sorted(SERVICES, key=lambda service: service.name != API_GATEWAY)
        ports = {
            name: [self._choose_port(service, name, usual)]
            for service in gateway_first
            for name, usual in service.ports.items()
        }
        for service in SERVICES:
            for name in service.ports:
                ports[name] += [self._ports.choose(0) for _ in _replicas(service, self._options)[1:]]
        return {**ports, demo_site.NAME: [self._ports.choose(demo_site.USUAL_PORT)]}

    def _choose_port(self, service: Service, name: str, usual: int) -> int:
        asked = self._options.gateway_port if service.name == API_GATEWAY else None
        if asked and not is_free(asked):
            raise StartError(f"--gateway-port {asked}: the port is taken; choose another, or 0 for one that is free")
        port = self._ports.choose(usual if asked is None else asked)
        if asked and port != asked:
            raise StartError(f"--gateway-port {asked}: another stack has it; choose another, or 0 for one that is free")
        if asked is None and port != usual:
            level = Level.WARNING if service.name == API_GATEWAY else Level.INFO
            self._console.say(f"{name}: port {usual} is taken, so it listens on {port}", level)
        return port

    async def _start_servers(self, servers: Servers) -> None:
        try:
            await asyncio.gather(*(asyncio.to_thread(server.initialise) for server in servers.own))
            programs = [server.program() for server in servers.own]
        except (OSError, RuntimeError) as error:
            raise StartError(str(error)) from None
        await self._supervisor.start(programs)
        if "postgres" in servers.given:
            await asyncio.to_thread(check_given_postgres, servers.postgres)

    def _prepare_databases(self, servers: Servers) -> None:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  # takes a while, and the servers start meanwhile

        # One after the other: Alembic's operations find their connection in a global.
        for database in DATABASES:
            try:
                if "postgres" not in servers.given:
                    close_to_others(servers.postgres)
                provision(servers.postgres, database, self._store.get)
                upgrade(address_of(servers.postgres, database, database.migrator, self._store.get), database.migrations)
            except (psycopg2.Error, SQLAlchemyError, ImportError) as error:
                raise StartError(f"cannot make or migrate the database {database.name}: {error}") from None

    async def _prepare_events(self, servers: Servers) -> None:
        try:
            await provision_at(servers.nats(ADMINISTRATOR).nats_address())
        except Unavailable as error:
            raise StartError(f"cannot make the streams and consumers of NATS: {error.message}") from None

    async def _let_users_in(self, user_manager: str, mutual_auth_file: Path) -> dict[str, str]:
        tokens = {}
        async with connect_operator(user_manager, mutual_auth_file) as users:
            for name in self._options.users:
                try:
                    tokens[name] = (await let_in(users, name, "make up")).token
                except DelinkciousError as error:
                    raise StartError(f"--user {name}: {error.message}") from None
        return tokens

    def _write_ready_file(self) -> None:
        if self._ready is None:
            return
        content = {**self._ready, "pids": self._supervisor.pids}
        try:
            write_private(self._folder.ready_file, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            self._console.say(f"cannot write {self._folder.ready_file}: {error.strerror}", Level.ERROR)

    def _remove_ready_file(self) -> None:
        self._folder.ready_file.unlink(missing_ok=True)

    def _show(self, servers: Servers, addresses: Mapping[str, str], tokens: Mapping[str, str], gateway: str) -> None:
        pids = self._supervisor.pids
        rows = [("service", "address", "pid")]
        own = {program.name: program.address for program in (server.program() for server in servers.own)}
        places = {**own, **servers.given}
        rows += [(name, places[name], str(pids.get(name, "given"))) for name in _SERVER_NAMES]
        rows += [(name, address, str(pids.get(name, ""))) for name, address in addresses.items()]
        self._console.show(_table(rows))
        for user, token in tokens.items():
            self._console.show(f"token of {user}: {token}")
        # The last line of the start, for whoever waits for it: the system serves.
        self._console.show(f"ready: {gateway}")


def _replicas(service: Service, options: StackOptions) -> list[str]:
    """The names of their processes."""
    return [replica_name(service.name, replica) for replica in range(1, options.replicas.get(service.name, 1) + 1)]


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return os.linesep.join(lines)
