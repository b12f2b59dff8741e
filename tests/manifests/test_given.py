"""What each container is given is what its program reads: nothing is missing, and nothing is for nobody."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from fun.link_checker.batch import LinkCheckBatchSettings
from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.events.operator import read_nats_address
from pkg.local_stack.binaries import nats_binary
from pkg.provisioning.database_environment import Role, choose_databases, read_address, read_role_password
from pkg.provisioning.databases import database_named
from pkg.runtime.settings import ServiceSettings, read_settings
from pkg.runtime.start_error import StartError
from svc.api_gateway_service.settings import ApiGatewaySettings
from svc.link_checker_service.settings import LinkCheckerServiceSettings
from svc.link_service.settings import LinkServiceSettings, LinkSweepSettings
from svc.news_service.settings import NewsServiceSettings
from svc.social_graph_service.settings import SocialGraphServiceSettings
from svc.user_service.settings import UserServiceSettings, UserSweepSettings
from tests.manifests.environments import FAR_STORES
from tests.manifests.given import Given, Variables, lay_out, make_secrets
from tests.manifests.objects import ROOT, Change, Object, Workload, of_kind, workloads
from tests.manifests.renders import Renders, Variant
from tests.manifests.test_flows import read_flows

#: What each image of ours reads, for its own command and for those that the manifests give it.
SERVICES: Final[Mapping[str, type[ServiceSettings]]] = {
    "delinkcious-api-gateway": ApiGatewaySettings,
    "delinkcious-link": LinkServiceSettings,
    "delinkcious-user": UserServiceSettings,
    "delinkcious-social-graph": SocialGraphServiceSettings,
    "delinkcious-news": NewsServiceSettings,
    "delinkcious-link-checker": LinkCheckerServiceSettings,
    "delinkcious-link-check-function": LinkCheckFunctionSettings,
}
MODULES: Final[Mapping[str, type[ServiceSettings]]] = {
    "fun.link_checker.batch": LinkCheckBatchSettings,
    "svc.link_service.sweep": LinkSweepSettings,
    "svc.user_service.sweep": UserSweepSettings,
}


def read_for_schemas(variables: Variables) -> None:
    for database in choose_databases([], variables):
        read_address(database, Role.SUPERUSER, variables)
        read_role_password(database, Role.MIGRATOR, variables)
        read_role_password(database, Role.SERVICE, variables)


def read_for_migration(variables: Variables) -> None:
    for database in choose_databases([], variables):
        read_address(database, Role.MIGRATOR, variables)


def read_for_operator(variables: Variables) -> None:
    """Of the programs in cmd/ that work on a running system."""
    read_nats_address(variables)
    for name in ("link_manager", "social_graph_manager"):
        read_address(database_named(name), Role.SERVICE, variables)
    # cmd/smoke_test.py and cmd/users.py
    for name in ("DELINKCIOUS_URL", "USER_MANAGER_SERVICE_HOST", "USER_MANAGER_SERVICE_PORT"):
        if not variables.get(name):
            raise StartError(f"{name} is not set")


PROGRAMS: Final[Mapping[str, Callable[[Variables], object]]] = {
    "cmd/provision_databases.py": read_for_schemas,
    "cmd/migrate.py": read_for_migration,
    "cmd/backup.py": read_for_migration,
    "cmd/provision.py": read_nats_address,
    "infinity": read_for_operator,
}
#: Read by the images of others.
OTHERS: Final = {
    *("PGDATA", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"),
    *("POD_NAME", "VALKEY_SELF", "VALKEY_SERVERS", "SENTINEL_SELF", "SENTINELS"),
}


def given_faults(objects: list[Object], folder: Path) -> Iterator[str]:
    secrets = make_secrets()
    read_of_maps: dict[str, set[str]] = {}
    for workload in workloads(objects):
        for container in workload.containers:
            root = folder / workload.kind / workload.name / container["name"]
            given = lay_out(objects, workload, container, secrets, root)
            try:
                read = read_as_its_program_does(container, given)
            except StartError as error:
                yield from (f"{workload.place}: {fault}" for fault in error.faults)
                continue
            for variable in container.get("env", []):
                if variable["name"] not in read:
                    yield f"{workload.place}: nothing reads {variable['name']}"
            for source in container.get("envFrom", []):
                read_of_maps.setdefault(source["configMapRef"]["name"], set()).update(read)
    for thing in of_kind(objects, "ConfigMap"):
        for name in thing["data"].keys() - read_of_maps.get(thing["metadata"]["name"], thing["data"].keys()):
            yield f"ConfigMap/{thing['metadata']['name']}: nothing reads {name}"


def read_as_its_program_does(container: Object, given: Given) -> set[str]:
    """The variables that it reads.

    Raises:
        StartError: it would not start.
    """
    image = container["image"].rpartition("/")[2].partition(":")[0]
    words = [*container.get("command", []), *container.get("args", [])]
    if image == "delinkcious-operations":
        program = next(word for word in words if word in PROGRAMS)
        assert program == "infinity" or (ROOT / program).is_file(), program
        PROGRAMS[program](given.variables)
        return given.variables.read
    if not image.startswith("delinkcious-"):
        for name, value in given.variables.items():
            if name.endswith("_FILE") and not Path(value).is_file():
                raise StartError(f"{name}: there is no {value}")
        return OTHERS
    settings = SERVICES[image]
    if words:
        module = words[words.index("-m") + 1]
        assert find_spec(module), module
        settings = MODULES[module]
    usual = given.path("/etc/delinkcious/mutual-auth.yaml")
    read_settings(settings, {"DELINKCIOUS_MUTUAL_AUTH_FILE": str(usual), **given.variables})
    return {str(about.validation_alias) for about in settings.model_fields.values()}


def test_every_container_starts_with_what_it_is_given(objects: list[Object], tmp_path: Path) -> None:
    assert list(given_faults(objects, tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            Change("ConfigMap/api-gateway-config", "data.LINK_MANAGER_SERVICE_HOST"),
            "LINK_MANAGER_SERVICE_HOST is not set",
        ),
        (
            Change("ConfigMap/api-gateway-config", "data.LINK_MANAGR_SERVICE_PORT", "1"),
            "nothing reads LINK_MANAGR_SERVICE_PORT",
        ),
        (
            Change("ConfigMap/api-gateway-config", "data.GITHUB_CLIENT_ID_FILE", "/run/secrets/id"),
            "one has no file; mount both",
        ),
        (Change("ConfigMap/api-gateway-config", "data.DELINKCIOUS_PUBLIC_URL"), "DELINKCIOUS_PUBLIC_URL is not set"),
        (Change("ConfigMap/link-manager-config", "data.MAX_LINKS_PER_USER", "many"), "MAX_LINKS_PER_USER"),
        (
            Change("ConfigMap/user-manager-config", "data.USER_DB_PASSWORD_FILE", "/run/secrets/password"),
            "cannot read the secret file",
        ),
        (Change("ConfigMap/news-manager-config", "data.DELINKCIOUS_MUTUAL_AUTH", "false"), "for local mode only"),
        (
            Change("Deployment/link-manager", "spec.template.spec.volumes.1.secret.secretName", "nats-link-manager"),
            "mutual",
        ),
        (Change("StatefulSet/user-db", "spec.template.spec.containers.0.env.1.value", "/password"), "there is no"),
        (
            Change("Job/user-db-schema", "spec.template.spec.containers.0.env.2"),
            "USER_DB_MIGRATOR_PASSWORD_FILE is not set",
        ),
        (
            Change("Job/events-provisioning", "spec.template.spec.containers.0.env.0.name", "NATS_HOST"),
            "NATS_CLUSTER_SERVICE_HOST is not set",
        ),
        (
            Change("ConfigMap/operator-config", "data.NATS_ADMINISTRATOR_PASSWORD_FILE"),
            "NATS_ADMINISTRATOR_PASSWORD_FILE is not set",
        ),
        (
            Change("ConfigMap/operator-config", "data.USER_MANAGR_SERVICE_HOST", "x"),
            "nothing reads USER_MANAGR_SERVICE_HOST",
        ),
    ],
    ids=str,
)
def test_what_is_missing_or_too_much_is_seen(objects: list[Object], tmp_path: Path, change: Change, fault: str) -> None:
    assert any(fault in found for found in given_faults(change.applied(objects), tmp_path))


def variables_of(objects: list[Object], workload: Workload, folder: Path) -> Mapping[str, str]:
    return lay_out(objects, workload, workload.containers[0], make_secrets(), folder / workload.name).variables


def place_faults(objects: list[Object], folder: Path) -> Iterator[str]:
    """Of the hosts and ports of others, and one's own."""
    services = {service["metadata"]["name"]: service for service in of_kind(objects, "Service")}
    flows = {(source, target) for source, target, _ in read_flows()}
    for workload in workloads(objects):
        if workload.kind != "Deployment":
            continue
        variables = variables_of(objects, workload, folder)
        for name, host in variables.items():
            # One without a value is as if it were not there.
            if not name.endswith("_SERVICE_HOST") or not host:
                continue
            if name.endswith(FAR_STORES) and "." in host:
                # It is elsewhere; which way leads there is the flows' affair.
                continue
            if host not in services:
                yield f"{workload.place}: {name}: there is no Service {host}"
                continue
            if (workload.name, host) not in flows:
                yield f"{workload.place}: {name}: no flow from here to {host}"
            prefix = name.removesuffix("HOST") + "PORT"
            given = {int(value) for other, value in variables.items() if other.startswith(prefix)}
            if not given or not given <= {port["port"] for port in services[host]["spec"]["ports"]}:
                yield f"{workload.place}: {prefix}: {host} has other ports"
        own = {int(variables[name]) for name in ("PORT", "HTTP_PORT") if name in variables}
        if own != {number for number, _ in workload.ports.values()}:
            yield f"{workload.place}: it listens on {own}, and has {workload.ports}"


def test_everybody_is_where_they_are_looked_for(objects: list[Object], tmp_path: Path) -> None:
    assert list(place_faults(objects, tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            Change("ConfigMap/api-gateway-config", "data.LINK_MANAGER_SERVICE_HOST", "links"),
            "there is no Service links",
        ),
        (
            Change("ConfigMap/api-gateway-config", "data.LINK_MANAGER_SERVICE_HOST", "link-db"),
            "no flow from here to link-db",
        ),
        (
            Change("ConfigMap/api-gateway-config", "data.LINK_MANAGER_SERVICE_PORT", "80"),
            "link-manager has other ports",
        ),
        (Change("ConfigMap/api-gateway-config", "data.PORT", "5001"), "it listens on {5001}"),
        (Change("Service/nats-cluster", "spec.ports.0.port", 4223), "nats-cluster has other ports"),
    ],
    ids=str,
)
def test_a_wrong_place_is_seen(objects: list[Object], tmp_path: Path, change: Change, fault: str) -> None:
    assert any(fault in found for found in place_faults(change.applied(objects), tmp_path))


#: Seconds from the last request to the end of the process.
MARGIN: Final = 5.0


def grace_faults(objects: list[Object], folder: Path) -> Iterator[str]:
    for workload in workloads(objects):
        if "PORT" not in (variables := variables_of(objects, workload, folder)) or workload.kind != "Deployment":
            continue
        wait = workload.containers[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        needed = wait + float(variables["DRAIN_DELAY"]) + float(variables["SHUTDOWN_GRACE"]) + MARGIN
        if workload.spec["terminationGracePeriodSeconds"] < needed:
            yield f"{workload.place}: needs {needed} seconds to end"


def test_everybody_has_the_time_to_end(objects: list[Object], tmp_path: Path) -> None:
    assert list(grace_faults(objects, tmp_path)) == []


def test_too_little_time_is_seen(objects: list[Object], tmp_path: Path) -> None:
    change = Change("Deployment/link-manager", "spec.template.spec.terminationGracePeriodSeconds", 30)
    assert list(grace_faults(change.applied(objects), tmp_path)) == [
        "Deployment/link-manager: needs 140.0 seconds to end"
    ]


def check_nats(objects: list[Object], folder: Path) -> "subprocess.CompletedProcess[str]":
    """NATS itself reads the configuration that its container would have."""
    workload = next(workload for workload in workloads(objects) if workload.name == "nats-cluster")
    container: dict[str, Any] = workload.containers[0]
    given = lay_out(objects, workload, container, make_secrets(), folder)
    configuration = given.path(container["args"][container["args"].index("--config") + 1])
    command = [str(nats_binary()), "--config", str(configuration), "-t"]
    return subprocess.run(command, env=dict(given.variables), capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("overlay", ["minikube", "production"])
def test_nats_understands_its_configuration(renders: Renders, overlay: str, tmp_path: Path) -> None:
    done = check_nats(renders.of(Variant(overlay)), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_configuration_that_nats_does_not_understand_is_seen(objects: list[Object], tmp_path: Path) -> None:
    change = Change("StatefulSet/nats-cluster", "spec.template.spec.volumes.1.secret.secretName", "nats-administrator")
    assert "authorization.conf" in check_nats(change.applied(objects), tmp_path).stderr
