"""``cmd/migrate.py`` as an operator runs it: the environment says where, the output what was done."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pkg.local_stack.secret_store import SecretStore
from pkg.provisioning.databases import database_named, provision
from pkg.runtime.migrations import head_revision
from tests.conftest import TestPostgres, running_postgres
from tests.unit.programs.command import run_command

DATABASE = database_named("user_manager")
NOWHERE = {"USER_DB_SERVICE_HOST": "127.0.0.1", "USER_DB_SERVICE_PORT": "1"}
migrate = partial(run_command, "migrate")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with running_postgres(tmp_path_factory.mktemp("migrated")) as server:
        yield prepared(server)


def prepared(server: TestPostgres) -> dict[str, str]:
    provision(server.superuser, DATABASE, server.secrets.get)
    return {
        "USER_DB_SERVICE_HOST": server.superuser.host,
        "USER_DB_SERVICE_PORT": str(server.superuser.port),
        "USER_DB_MIGRATOR_PASSWORD_FILE": str(server.secrets.path(DATABASE.migrator)),
    }


def test_to_the_newest_and_again(environment: dict[str, str]) -> None:
    newest = head_revision(DATABASE.migrations)
    assert migrate(**environment) == (0, f"user_manager: empty -> {newest}\n", "")
    assert migrate(**environment) == (0, f"user_manager: {newest} -> {newest} (nothing to do)\n", "")
    code, _, said = migrate("--database", "user_manager", "--revision", "nonsense", **environment)
    assert (code, said.count("\n")) == (1, 1)
    assert "nonsense" in said


def test_a_wrong_password_is_told_in_a_line(environment: dict[str, str], tmp_path: Path) -> None:
    wrong = SecretStore(tmp_path).path("wrong")
    code, out, said = migrate(**environment | {"USER_DB_MIGRATOR_PASSWORD_FILE": str(wrong)})
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert said.startswith("migrate: user_manager: ")
    assert "password authentication failed" in said
    assert wrong.read_text() not in said


def test_a_server_that_is_away_is_told_in_a_line(environment: dict[str, str]) -> None:
    code, out, said = migrate(**environment | NOWHERE)
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert said.startswith("migrate: user_manager: connection to server")


@pytest.mark.parametrize("local", [False, True])
def test_a_default_password_is_for_local_mode_alone(environment: dict[str, str], tmp_path: Path, local: bool) -> None:
    default = tmp_path / "password"
    default.write_text("postgres")
    mode = {"DELINKCIOUS_MODE": "local"} if local else {}
    code, out, said = migrate(**environment | mode | {"USER_DB_MIGRATOR_PASSWORD_FILE": str(default)})
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert ("password authentication failed" if local else "is a default or too short") in said


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        ([], {}, 1, ["names no database; set one of LINK_DB_SERVICE_HOST"]),
        (["--database", "link_manager"], {}, 1, ["LINK_DB_SERVICE_HOST is not set", "LINK_DB_MIGRATOR_PASSWORD_FILE"]),
        (
            [],
            {"LINK_DB_SERVICE_HOST": "db", "USER_DB_SERVICE_HOST": "db", "USER_DB_SERVICE_PORT": "x"},
            1,
            [
                "LINK_DB_MIGRATOR_PASSWORD_FILE is not set",
                "USER_DB_SERVICE_PORT: 'x' is not a port",
                "USER_DB_MIGRATOR",
            ],
        ),
        ([], NOWHERE | {"USER_DB_MIGRATOR_PASSWORD_FILE": "/nowhere"}, 1, ["the secret file /nowhere: No such file"]),
        ([], NOWHERE | {"USER_DB_MIGRATOR_PASSWORD_FILE": "/dev/null"}, 1, ["/dev/null is empty"]),
        (["--database", "news"], {}, 2, ["invalid choice: 'news'"]),
        (["--revision", "0001"], {}, 2, ["name it with one --database"]),
    ],
    ids=["nothing", "one", "several", "no secret", "empty", "unknown", "revision"],
)
def test_what_is_wrong_is_told(arguments: list[str], environment: dict[str, str], code: int, said: list[str]) -> None:
    found, out, lines = migrate(*arguments, **environment)
    assert (found, out) == (code, "")
    if code == 1:
        assert len(lines.splitlines()) == len(said)
    for words in said:
        assert words in lines


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("migrate", ["PREFIX_MIGRATOR_PASSWORD_FILE", "--revision"]),
        ("up", ["DELINKCIOUS_POSTGRES_URL", "--data"]),
    ],
)
def test_help_says_what_is_read(program: str, words: list[str]) -> None:
    code, out, said = run_command(program, "--help")
    assert (code, said) == (0, "")
    assert all(word in out for word in words)
