"""Colours of one system side by side: sets of service processes on the same servers, and a switch between them.

What a cluster has as Deployments of two colours and a Service that selects one of them is here processes on ports of
their own, and a proxy that shares out requests.
"""

import asyncio
import io
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from pkg.clients.accounts import connect_operator, let_in
from pkg.events.bus import ConsumerSpec
from pkg.events.consumers import CONSUMERS
from pkg.events.messages import STREAM
from pkg.events.nats_bus import open_bus
from pkg.events.operator import ADMINISTRATOR
from pkg.events.provisioning import provision_at
from pkg.local_stack import demo_site
from pkg.local_stack.console import Console
from pkg.local_stack.data_folder import DataFolder
from pkg.local_stack.identity import identity_variables
from pkg.local_stack.mutual_auth import write_mutual_auth
from pkg.local_stack.ports import LOOPBACK, PortChooser
from pkg.local_stack.secret_store import SecretStore
from pkg.local_stack.servers import Servers, choose_servers
from pkg.local_stack.services import SERVICES, Surroundings
from pkg.local_stack.supervisor import Supervisor, Timing
from pkg.provisioning.databases import DATABASES, address_of, close_to_others, provision
from pkg.runtime.access import API_GATEWAY, OPERATOR, USER_MANAGER
from pkg.runtime.migrations import upgrade
from tests.loopback_server import served_by_aiohttp

#: Of a machine on which others work as well.
TIMING = Timing(start_deadline=180.0)


@dataclass
class Colour:
    """A set of all services. ``ports``: by the names of ``Service.ports``."""

    name: str
    supervisor: Supervisor
    ports: Mapping[str, int]

    def url(self, service: str) -> str:
        known = next(other for other in SERVICES if other.name == service)
        return f"http://{LOOPBACK}:{self.ports[known.http_port_name]}"

    async def metric(self, service: str, name: str) -> float:
        """The sum over all labels of a metric of one of its services."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url(service)}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@dataclass
class House:
    """The servers, with the schema of today's code, and what is told to every colour."""

    servers: Servers
    surroundings: Surroundings
    console: Console
    ports: PortChooser
    site: str

    @asynccontextmanager
    async def colour(self, name: str, *, consume: bool, code: Path | None = None) -> AsyncIterator[Colour]:
        """Runs a colour until the block ends, and insists that it ended in good order.

        ``code``: another tree than this one, for another version.
        """
        ports = {place: self.ports.choose(0) for service in SERVICES for place in service.ports}
        own = replace(
            self.surroundings, ports={**self.surroundings.ports, **{place: [port] for place, port in ports.items()}}
        )
        switch = {"DELINKCIOUS_CONSUME": "on" if consume else "off"}
        programs = []
        for service in SERVICES:
            program = own.program(service)
            programs.append(
                replace(
                    program,
                    name=f"{name} {service.name}",
                    environment={**program.environment, **switch},
                    working_directory=code or program.working_directory,
                )
            )
        supervisor = Supervisor(self.console, timing=TIMING)
        try:
            await supervisor.start(programs)
            yield Colour(name, supervisor, ports)
        finally:
            orderly = await supervisor.stop()
        assert orderly, f"{name} did not end in good order"

    async def state_of(self, consumer: ConsumerSpec) -> dict[str, Any]:
        """What NATS says of a consumer."""
        address = self.servers.nats(ADMINISTRATOR).nats_address()
        async with open_bus(address, "tests") as bus:
            return dict(await bus.ask(f"CONSUMER.INFO.{STREAM}.{consumer.name}"))

    async def pulls(self) -> int:
        """Requests for events that wait at NATS, of anybody."""
        return sum([int((await self.state_of(consumer))["num_waiting"]) for consumer in CONSUMERS])

    async def waiting(self) -> int:
        """Events that nobody has taken, counted once for each consumer."""
        return sum([int((await self.state_of(consumer))["num_pending"]) for consumer in CONSUMERS])

    async def let_in(self, colour: Colour, name: str) -> str:
        """A token of a user of this name."""
        file = self.surroundings.mutual_auth_files[OPERATOR]
        async with connect_operator(colour.url(USER_MANAGER), file) as users:
            return (await let_in(users, name, "tests")).token


@asynccontextmanager
async def running_house(folder: Path) -> AsyncIterator[House]:
    data = DataFolder(folder)
    data.make()
    store, ports = SecretStore(data.secrets), PortChooser()
    environment = {"PATH": os.environ["PATH"], "LINK_CHECKER_CONFINED": "true", "ACCOUNT_DELETION_SETTLE": "0"}
    with Console(io.StringIO(), data.logs, ["postgres"], quiet=True) as console:
        servers = choose_servers(data, store, ports, environment)
        supervisor = Supervisor(console, timing=TIMING)
        try:
            for server in servers.own:
                await asyncio.to_thread(server.initialise)
            await supervisor.start([server.program() for server in servers.own])
            await asyncio.to_thread(_prepare_databases, servers, store)
            await provision_at(servers.nats(ADMINISTRATOR).nats_address())
            surroundings = Surroundings(
                ports={demo_site.NAME: [ports.choose(0)]},
                mutual_auth_files=write_mutual_auth(data.config, store),
                postgres=servers.postgres,
                nats=servers.nats,
                valkey=servers.valkey,
                password_files={database.service: store.path(database.service) for database in DATABASES},
                identity=identity_variables(store, environment),
                environment=environment,
            )
            await supervisor.start([surroundings.demo_site()])
            site = f"http://{LOOPBACK}:{surroundings.ports[demo_site.NAME][0]}"
            yield House(servers, surroundings, console, ports, site)
        finally:
            await supervisor.stop()


def _prepare_databases(servers: Servers, store: SecretStore) -> None:
    for database in DATABASES:
        close_to_others(servers.postgres)
        provision(servers.postgres, database, store.get)
        upgrade(address_of(servers.postgres, database, database.migrator, store.get), database.migrations)


@dataclass
class Switch:
    """Shares requests out among colours by weight, as the Service of a cluster does by pods.

    A request stays with the colour that it was given to.
    """

    weights: Sequence[tuple[Colour, float]] = ()
    #: Requests, by the colour that answered.
    answered: dict[str, int] = field(default_factory=dict)

    def to(self, *weights: tuple[Colour, float]) -> None:
        self.weights = weights

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its address."""
        async with AsyncExitStack() as stack:
            # A connection may be closed by a colour that ends just as it is used again.
            connector = aiohttp.TCPConnector(force_close=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, auto_decompress=False))

            async def forward(request: web.Request) -> web.Response:
                colours, shares = zip(*self.weights, strict=True)
                colour = random.choices(colours, shares)[0]  # not a secret
                headers = {name: value for name, value in request.headers.items() if name not in _HOP}
                async with session.request(
                    request.method,
                    f"{colour.url(API_GATEWAY)}{request.path_qs}",
                    headers=headers,
                    data=await request.read() or None,
                    allow_redirects=False,
                ) as response:
                    body = await response.read()
                self.answered[colour.name] = self.answered.get(colour.name, 0) + 1
                kept = {name: value for name, value in response.headers.items() if name not in _HOP}
                return web.Response(status=response.status, body=body, headers=kept)

            app = web.Application()
            app.router.add_route("*", "/{path:.*}", forward)
            yield await stack.enter_async_context(served_by_aiohttp(app))


#: Of one connection, which has two ends.
_HOP = frozenset(["Host", "Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive"])
