"""No service and no program starts outside local mode on a secret that is missing or known to everybody."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import fun
import svc
from pkg.runtime.mutual_auth import new_secret, render_edge
from pkg.runtime.settings import ServiceSettings, read_settings
from pkg.runtime.start_error import StartError
from tests.unit.programs.command import run_command

MUTUAL_AUTH_FILE = "DELINKCIOUS_MUTUAL_AUTH_FILE"
#: What a deployable may do without: it has one of several ways to let people in.
OF_PROVIDERS = {"GITHUB_CLIENT_ID_FILE", "GITHUB_CLIENT_SECRET_FILE", "OIDC_CLIENT_SECRET_FILE"}
STORES = ("NEWS_MANAGER_REDIS", "RATE_LIMIT_REDIS", "LINK_CHECKER_REDIS")
DEFAULTS = ["", "123", "postgres", "changeme000000", "delinkcious123456"]


def all_settings() -> Iterator[type[ServiceSettings]]:
    """Every class that a deployable reads its environment with."""
    for package in (svc, fun):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith(".settings"):
                continue
            module = importlib.import_module(found.name)
            yield from (
                value
                for value in vars(module).values()
                if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == found.name
            )


SETTINGS = list(all_settings())
#: Each secret of each class.
SECRETS = [
    (settings, str(field.validation_alias))
    for settings in SETTINGS
    for field in settings.model_fields.values()
    if str(field.validation_alias).endswith("_FILE") and field.validation_alias != MUTUAL_AUTH_FILE
]
IDS = [f"{settings.__name__}-{variable}" for settings, variable in SECRETS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    edge = render_edge([new_secret()], [new_secret()])
    (tmp_path / "mutual-auth.yaml").write_text(json.dumps({"accepts": {"somebody": edge}}))
    (tmp_path / "secret").write_text(new_secret())
    return tmp_path


def environment(settings: type[ServiceSettings], folder: Path) -> dict[str, str]:
    """All that must be set, and right."""
    needed = {
        MUTUAL_AUTH_FILE: str(folder / "mutual-auth.yaml"),
        "DELINKCIOUS_PUBLIC_URL": "https://links.example",
        # One server, or sentinels. A deployable may do without the store, but not with it and without the password.
        **dict.fromkeys((f"{store}_SERVICE_HOST" for store in STORES), "somewhere"),
    }
    for field in settings.model_fields.values():
        variable = str(field.validation_alias)
        if variable.endswith("_FILE"):
            needed.setdefault(variable, str(folder / "secret"))
        elif field.is_required():
            needed[variable] = "somewhere"
    return needed


def fault(settings: type[ServiceSettings], variables: dict[str, str]) -> str:
    """The one line that stops the start."""
    with pytest.raises(StartError) as refused:
        read_settings(settings, variables)
    (line,) = refused.value.faults
    assert "\n" not in line
    return line


def test_all_are_found() -> None:
    names = {settings.service_name for settings in SETTINGS}
    assert names >= {"link-manager", "user-manager", "social-graph-manager", "news-manager", "api-gateway"}
    assert len(SECRETS) > 8


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_start_with_secrets_of_its_own(settings: type[ServiceSettings], folder: Path) -> None:
    assert read_settings(settings, environment(settings, folder)).mode == "production"


@pytest.mark.parametrize("settings", SETTINGS)
def test_mutual_authentication_cannot_be_missing_or_off(settings: type[ServiceSettings], folder: Path) -> None:
    right = environment(settings, folder)
    assert "/nowhere" in fault(settings, right | {MUTUAL_AUTH_FILE: "/nowhere"})
    known = folder / "known.yaml"
    known.write_text("accepts: {somebody: {token: '123', statement_key: '123'}}")
    assert "is not a secret" in fault(settings, right | {MUTUAL_AUTH_FILE: str(known)})
    off = {"DELINKCIOUS_MUTUAL_AUTH": "false"}
    assert "is for local mode only" in fault(settings, right | off)
    assert not read_settings(settings, right | off | {"DELINKCIOUS_MODE": "local"}).mutual_auth


@pytest.mark.parametrize(("settings", "variable"), SECRETS, ids=IDS)
def test_a_secret_cannot_be_missing(settings: type[ServiceSettings], variable: str, folder: Path) -> None:
    right = environment(settings, folder)
    if variable in OF_PROVIDERS:
        # Of those one is enough, and whichever is named must be whole.
        assert "GITHUB_CLIENT_ID_FILE" in fault(settings, right | {"GITHUB_CLIENT_ID_FILE": "/nowhere"})
        return
    said = f"{variable}: cannot read the secret file /nowhere"
    assert fault(settings, right | {variable: "/nowhere"}).startswith(said)
    del right[variable]
    assert fault(settings, right).startswith(f"{variable} is not set; set it")


@pytest.mark.parametrize(("settings", "variable"), SECRETS, ids=IDS)
def test_a_secret_cannot_be_a_default(settings: type[ServiceSettings], variable: str, folder: Path) -> None:
    for default in DEFAULTS:
        known = folder / "known"
        known.write_text(default)
        line = fault(settings, environment(settings, folder) | {variable: str(known)})
        assert line.startswith(f"{variable}: ")
        assert "is empty" in line or "is a default or too short" in line


#: Name, arguments, prefix of the variables that say where, the variables of its secrets.
PROGRAMS = [
    ("migrate", [], "LINK_DB", ["LINK_DB_MIGRATOR_PASSWORD_FILE"]),
    (
        "provision_databases",
        ["--patience", "0"],
        "LINK_DB",
        ["LINK_DB_SUPERUSER_PASSWORD_FILE", "LINK_DB_MIGRATOR_PASSWORD_FILE", "LINK_DB_PASSWORD_FILE"],
    ),
    ("provision", ["--patience", "0"], "NATS_CLUSTER", ["NATS_ADMINISTRATOR_PASSWORD_FILE"]),
    ("events", ["list"], "NATS_CLUSTER", ["NATS_ADMINISTRATOR_PASSWORD_FILE"]),
]


def test_the_operators_program_takes_no_default(folder: Path) -> None:
    known = folder / "known.yaml"
    known.write_text("presents: {user-manager: {token: '123', statement_key: '123'}}")
    nowhere = {"USER_MANAGER_SERVICE_HOST": "127.0.0.1", "USER_MANAGER_SERVICE_PORT": "1"}
    code, out, said = run_command("users", "add", "alice", **nowhere, DELINKCIOUS_MUTUAL_AUTH_FILE=str(known))
    assert (code, out, said.count("\n")) == (1, "", 1), said
    assert "presents.user-manager.token is not a secret" in said


@pytest.mark.parametrize(("program", "arguments", "prefix", "variables"), PROGRAMS, ids=[row[0] for row in PROGRAMS])
def test_a_program_takes_no_default(
    program: str, arguments: list[str], prefix: str, variables: list[str], folder: Path
) -> None:
    nowhere = {f"{prefix}_SERVICE_HOST": "127.0.0.1", f"{prefix}_SERVICE_PORT": "1"}
    right = nowhere | dict.fromkeys(variables, str(folder / "secret"))
    known = folder / "known"
    known.write_text("postgres")
    for variable in variables:
        code, out, said = run_command(program, *arguments, **right | {variable: str(known)})
        assert (code, out, said.count("\n")) == (1, "", 1), said
        assert variable in said
        assert "is a default or too short" in said
