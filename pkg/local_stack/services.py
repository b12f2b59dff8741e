"""The services of the stack: what each is called, where its code is, what it has to be told."""

import asyncio
import http.client
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from pkg.local_stack import demo_site
from pkg.local_stack.ports import LOOPBACK
from pkg.local_stack.program import Program
from pkg.local_stack.servers import Login
from pkg.provisioning.databases import ServiceDatabase, database_named
from pkg.runtime.access import (
    API_GATEWAY,
    LINK_CHECK_FUNCTION,
    LINK_CHECKER,
    LINK_MANAGER,
    NEWS_MANAGER,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
)
from pkg.runtime.postgres import PostgresAddress

_ROOT: Final = Path(__file__).parents[2]
#: What a service gets of our own environment, where it is set. Nothing else: a service must not work here because of
#: something that happens to be around.
_PASSED_ON: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LOG_LEVEL",
    "MAX_LINKS_PER_USER",
    "NEWS_PUSH_THRESHOLD",
    "DELINKCIOUS_TOKEN_CACHE_SECONDS",
    "DELINKCIOUS_PUBLIC_URL",
    "GITHUB_URL",
    "GITHUB_API_URL",
    "OIDC_ISSUER",
    "OIDC_CLIENT_ID",
    "ACCOUNT_DELETION_SETTLE",
    "ACCOUNT_DELETION_GRACE",
    "RATE_LIMIT_FACTOR",
    "NEWS_STREAMS_OF_USER",
    "NEWS_STREAM_LIFETIME",
    "NEWS_STREAM_WRITE_TIMEOUT",
    "TRUSTED_PROXIES",
    "TRUSTED_PROXY_HEADER",
    "CORS_ORIGINS",
    "LINK_CHECKER_CANARIES",
    "LINK_CHECKER_CONFINED",
    "LINK_CHECKER_CONTACT",
    "LINK_CHECKER_PORTS",
)
_ALLOWED: Final = "LINK_CHECKER_ALLOWED"
_PROBE_TIMEOUT: Final = 3.0
#: Longer than a service gives its last requests.
_STOP_GRACE: Final = 25.0

#: Gets who calls, the name of the port that is called, and the ports that have it (one for each replica); says which
#: one the caller is told of. Whoever drills the stack puts something in between.
type Reach = Callable[[str, str, Sequence[int]], int]


def reach_directly(_caller: str, _callee: str, ports: Sequence[int]) -> int:
    return ports[0]


@dataclass(frozen=True)
class Service:
    name: str
    module: str
    #: Prefix of the variables that tell others where it is.
    variable: str
    usual_port: int
    database: str | None = None
    #: Names of the services that it calls.
    needs: tuple[str, ...] = ()
    #: Whether it tells or hears something over NATS.
    events: bool = False
    #: What it finds on the demo site, it may look at.
    looks_at_demo_site: bool = False
    #: Where it speaks HTTP, if its own port is for something else.
    http_port: int | None = None
    #: If it keeps something in Valkey: prefixes of the variables that tell it where that is, and as whom to log in.
    valkey: tuple[str, str] | None = None
    #: Whether people log in there.
    identity: bool = False

    @property
    def ports(self) -> dict[str, int]:
        """The usual ones, by the name that each has in the stack."""
        http = {} if self.http_port is None else {f"{self.name} http": self.http_port}
        return {self.name: self.usual_port, **http}

    @property
    def http_port_name(self) -> str:
        return list(self.ports)[-1]


#: In the order in which they are shown; they are stopped in the reverse one.
SERVICES: Final = (
    Service(
        USER_MANAGER,
        "svc.user_service",
        "USER_MANAGER",
        7070,
        "user_manager",
        (SOCIAL_GRAPH_MANAGER, LINK_MANAGER, NEWS_MANAGER),
        events=True,
    ),
    Service(
        SOCIAL_GRAPH_MANAGER,
        "svc.social_graph_service",
        "SOCIAL_GRAPH_MANAGER",
        9090,
        "social_graph_manager",
        (USER_MANAGER,),
        events=True,
    ),
    Service(
        LINK_MANAGER,
        "svc.link_service",
        "LINK_MANAGER",
        8080,
        "link_manager",
        (USER_MANAGER, SOCIAL_GRAPH_MANAGER),
        events=True,
    ),
    Service(
        NEWS_MANAGER,
        "svc.news_service",
        "NEWS_MANAGER",
        6060,
        needs=(LINK_MANAGER, SOCIAL_GRAPH_MANAGER),
        events=True,
        http_port=6061,
        valkey=("NEWS_MANAGER_REDIS", "NEWS_REDIS"),
    ),
    Service(
        LINK_CHECK_FUNCTION,
        "fun.link_checker.host",
        "LINK_CHECK_FUNCTION",
        8090,
        looks_at_demo_site=True,
        valkey=("LINK_CHECKER_REDIS", "LINK_CHECKER_REDIS"),
    ),
    Service(LINK_CHECKER, "svc.link_checker_service", "LINK_CHECKER", 8082, needs=(LINK_CHECK_FUNCTION,), events=True),
    Service(
        API_GATEWAY,
        "svc.api_gateway_service",
        "API_GATEWAY",
        5000,
        needs=(LINK_MANAGER, USER_MANAGER, SOCIAL_GRAPH_MANAGER, NEWS_MANAGER),
        valkey=("RATE_LIMIT_REDIS", "RATE_LIMIT_REDIS"),
        events=True,
        identity=True,
    ),
)


def replica_name(name: str, replica: int) -> str:
    """Of a process, or of a port of it; the first replica is called as the service is."""
    return name if replica == 1 else f"{name}-{replica}"


@dataclass(frozen=True)
class Surroundings:
    """What the services of one stack have in common."""

    #: By the names of ``Service.ports``, for each replica.
    ports: Mapping[str, Sequence[int]]
    mutual_auth_files: Mapping[str, Path]
    postgres: PostgresAddress
    #: Of each user.
    nats: Callable[[str], Login]
    valkey: Callable[[str], Login]
    #: By role.
    password_files: Mapping[str, Path]
    #: Variables that tell how people log in.
    identity: Mapping[str, str]
    #: The environment of the stack itself.
    environment: Mapping[str, str]
    reach: Reach = field(default=reach_directly)

    def programs(self, service: Service) -> list[Program]:
        """One for each replica."""
        return [self.program(service, replica) for replica in range(1, len(self.ports[service.name]) + 1)]

    def program(self, service: Service, replica: int = 1) -> Program:
        port = self.ports[service.http_port_name][replica - 1]
        return Program(
            name=replica_name(service.name, replica),
            command=(sys.executable, "-m", service.module),
            address=f"http://{LOOPBACK}:{port}",
            is_ready=partial(asyncio.to_thread, is_ready, port),
            environment=self._environment(service, replica),
            working_directory=_ROOT,
            stateless=True,
            stop_grace=_STOP_GRACE,
        )

    def demo_site(self) -> Program:
        port = self.ports[demo_site.NAME][0]
        return Program(
            name=demo_site.NAME,
            command=(sys.executable, "-m", demo_site.__name__, "--port", str(port)),
            address=f"http://{LOOPBACK}:{port}",
            is_ready=partial(asyncio.to_thread, is_ready, port),
            environment={name: self.environment[name] for name in ("PATH", "HOME") if name in self.environment},
            working_directory=_ROOT,
            stateless=True,
        )

    def _environment(self, service: Service, replica: int) -> dict[str, str]:
        variables = {name: self.environment[name] for name in _PASSED_ON if name in self.environment}
        reach = partial(self.reach, replica_name(service.name, replica))
        variables |= {
            "DELINKCIOUS_MODE": "local",
            "HOST": LOOPBACK,
            "PORT": str(self.ports[service.name][replica - 1]),
            "DELINKCIOUS_MUTUAL_AUTH_FILE": str(self.mutual_auth_files[service.name]),
        }
        for callee in SERVICES:
            if callee.name in service.needs:
                variables[f"{callee.variable}_SERVICE_HOST"] = LOOPBACK
                variables[f"{callee.variable}_SERVICE_PORT"] = str(reach(callee.name, self.ports[callee.name]))
                if callee.http_port is not None:
                    port = reach(callee.http_port_name, self.ports[callee.http_port_name])
                    variables[f"{callee.variable}_SERVICE_PORT_HTTP"] = str(port)
        if service.database:
            address = replace(self.postgres, port=reach("postgres", [self.postgres.port]))
            variables |= self._database(address, database_named(service.database))
        if service.events:
            nats = self.nats(service.name)
            variables |= _events(replace(nats, port=reach("nats", [nats.port])))
        if service.http_port is not None:
            variables["HTTP_PORT"] = str(self.ports[service.http_port_name][replica - 1])
        if service.valkey:
            valkey = self.valkey(service.name)
            variables |= _valkey(service.valkey, replace(valkey, port=reach("valkey", [valkey.port])))
        if service.identity:
            variables |= self.identity
        if service.looks_at_demo_site:
            # Whatever else somebody lets it look at stays.
            allowed = [self.environment.get(_ALLOWED, ""), f"{LOOPBACK}:{self.ports[demo_site.NAME][0]}"]
            variables[_ALLOWED] = ",".join(filter(None, allowed))
        return variables

    def _database(self, address: PostgresAddress, database: ServiceDatabase) -> dict[str, str]:
        return {
            f"{database.variable}_SERVICE_HOST": address.host,
            f"{database.variable}_SERVICE_PORT": str(address.port),
            f"{database.variable}_NAME": database.name,
            f"{database.variable}_USER": database.service,
            f"{database.variable}_PASSWORD_FILE": str(self.password_files[database.service]),
        }


def _events(login: Login) -> dict[str, str]:
    return {
        "NATS_CLUSTER_SERVICE_HOST": login.host,
        "NATS_CLUSTER_SERVICE_PORT": str(login.port),
        "NATS_USER": login.user,
        "NATS_PASSWORD_FILE": str(login.password_file),
        "NATS_TLS": str(login.tls).lower(),
    }


def _valkey(prefixes: tuple[str, str], login: Login) -> dict[str, str]:
    server, user = prefixes
    return {
        f"{server}_SERVICE_HOST": login.host,
        f"{server}_SERVICE_PORT": str(login.port),
        f"{user}_USER": login.user,
        f"{user}_PASSWORD_FILE": str(login.password_file),
        f"{user}_TLS": str(login.tls).lower(),
    }


def is_ready(port: int) -> bool:
    """Whether the service on this port says that it can do its work."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
