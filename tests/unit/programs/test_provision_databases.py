"""``cmd/provision_databases.py`` as a cluster's Job runs it: before anything else, and again with each release."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from pkg.local_stack.secret_store import SecretStore
from pkg.provisioning.databases import address_of, connect, database_named
from pkg.runtime.postgres import PostgresAddress
from tests.conftest import TestPostgres, running_postgres
from tests.unit.programs.command import run_command

DATABASE = database_named("link_manager")
provision = partial(run_command, "provision_databases")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestPostgres]:
    with running_postgres(tmp_path_factory.mktemp("provisioned")) as server:
        yield server


def environment_of(server: TestPostgres, secrets: SecretStore) -> dict[str, str]:
    return {
        "LINK_DB_SERVICE_HOST": server.superuser.host,
        "LINK_DB_SERVICE_PORT": str(server.superuser.port),
        "LINK_DB_SUPERUSER_PASSWORD_FILE": str(server.secrets.path("postgres")),
        "LINK_DB_MIGRATOR_PASSWORD_FILE": str(secrets.path(DATABASE.migrator)),
        "LINK_DB_PASSWORD_FILE": str(secrets.path(DATABASE.service)),
    }


def may_connect(server: TestPostgres, secrets: SecretStore) -> bool:
    roles = (DATABASE.migrator, DATABASE.service)
    for address in [address_of(server.superuser, DATABASE, role, secrets.get) for role in roles]:
        connect(address).close()
    return True


def test_databases_and_roles_are_there_and_again_with_new_passwords(server: TestPostgres, tmp_path: Path) -> None:
    said = "link_manager: the database and its roles are there\n"
    first, second = SecretStore(tmp_path / "first"), SecretStore(tmp_path / "second")
    assert provision(**environment_of(server, first)) == (0, said, "")
    assert may_connect(server, first)
    assert provision(**environment_of(server, second)) == (0, said, "")
    assert may_connect(server, second)


def test_a_server_of_our_own_lets_nobody_into_what_it_brought(tmp_path: Path) -> None:
    with running_postgres(tmp_path) as server:
        secrets = SecretStore(tmp_path / "secrets")
        environment = environment_of(server, secrets)
        assert provision(**environment)[0] == 0
        connect(service_in(server, secrets, "postgres")).close()
        assert provision("--own-server", **environment)[0] == 0
        for name in ("postgres", "template1"):
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                connect(service_in(server, secrets, name))
        assert may_connect(server, secrets)


def service_in(server: TestPostgres, secrets: SecretStore, name: str) -> PostgresAddress:
    return replace(address_of(server.superuser, DATABASE, DATABASE.service, secrets.get), database=name)


def test_a_server_that_does_not_come_is_told_in_a_line(server: TestPostgres, tmp_path: Path) -> None:
    nowhere = environment_of(server, SecretStore(tmp_path)) | {"LINK_DB_SERVICE_PORT": "1"}
    code, out, said = provision("--patience", "0.1", **nowhere)
    assert (code, out) == (1, "")
    waiting, gave_up = said.splitlines()
    assert waiting.startswith("link_manager: waiting for Postgres: ")
    assert gave_up.startswith("provision_databases: link_manager: connection to server")


def test_what_is_missing_is_told(server: TestPostgres, tmp_path: Path) -> None:
    environment = environment_of(server, SecretStore(tmp_path))
    del environment["LINK_DB_SUPERUSER_PASSWORD_FILE"]
    code, out, said = provision(**environment)
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert "LINK_DB_SUPERUSER_PASSWORD_FILE is not set" in said
