"""``cmd/backup.py`` on a real database: what is lost comes back, and nothing is lost by it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from pkg.local_stack.binaries import postgres_binary
from pkg.provisioning.databases import connect, database_named
from tests.conftest import TestPostgres, running_postgres
from tests.unit.programs.command import run_command

DATABASE = database_named("social_graph_manager")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestPostgres]:
    with running_postgres(tmp_path_factory.mktemp("backed-up")) as server:
        server.make(DATABASE)
        yield server


class Program:
    def __init__(self, server: TestPostgres, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.environment = {
            "SOCIAL_GRAPH_DB_SERVICE_HOST": server.superuser.host,
            "SOCIAL_GRAPH_DB_SERVICE_PORT": str(server.superuser.port),
            "SOCIAL_GRAPH_DB_MIGRATOR_PASSWORD_FILE": str(server.secrets.path(DATABASE.migrator)),
        }
        self.run = partial(run_command, "backup", "--folder", str(folder))

    def __call__(self, *words: str, **environment: str) -> tuple[int, str, str]:
        return self.run(*words, **{**self.environment, **environment})

    @property
    def files(self) -> list[str]:
        return sorted(path.suffix for path in (self.folder / DATABASE.name).iterdir())

    def execute(self, statement: str, *values: object, role: str = DATABASE.service) -> list[tuple[object, ...]]:
        connection = connect(self.server.address(DATABASE, role))
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def kept(self) -> str:
        """The time of the newest."""
        code, out, said = self("list")
        assert (code, said) == (0, "")
        return out.split()[1].rstrip(":")


@pytest.fixture
def program(server: TestPostgres, tmp_path: Path) -> Program:
    program = Program(server, tmp_path / "backups")
    program.execute("DELETE FROM blocks")
    return program


BLOCK = "INSERT INTO blocks (user_id, blocked_id, created_at) VALUES (1, %s, now())"


def blocked(program: Program) -> list[object]:
    return [row[0] for row in program.execute("SELECT blocked_id FROM blocks ORDER BY 1")]


def test_what_is_lost_comes_back_and_with_it_the_rights_of_the_service(program: Program) -> None:
    program.execute(BLOCK, 2)
    assert program("dump")[0] == 0
    program.execute("DELETE FROM blocks")
    program.execute(BLOCK, 3)
    # As a newer version's migration may have made it.
    program.execute("CREATE TABLE newer (id int)", role=DATABASE.migrator)
    code, out, said = program("restore", "--replace")
    assert (code, said) == (0, "")
    assert "is back; now run cmd/migrate.py" in out
    assert blocked(program) == [2]
    with pytest.raises(psycopg2.errors.UndefinedTable):
        program.execute("SELECT * FROM newer", role=DATABASE.migrator)
    program.execute(BLOCK, 4)
    # Tables that a migration makes from now on are the service's to use as well.
    program.execute("CREATE TABLE later (id int)", role=DATABASE.migrator)
    assert program.execute("SELECT * FROM later") == []
    program.execute("DROP TABLE later", role=DATABASE.migrator)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        program.execute("DROP TABLE blocks")


def test_what_is_there_is_not_lost_without_a_word(program: Program) -> None:
    program.execute(BLOCK, 5)
    assert program("dump")[0] == 0
    program.execute(BLOCK, 6)
    code, out, said = program("restore")
    assert (code, out) == (1, "")
    assert "tables already; with --replace" in said
    assert blocked(program) == [5, 6]


def test_a_damaged_backup_is_refused_and_nothing_changes(program: Program) -> None:
    program.execute(BLOCK, 7)
    assert program("dump")[0] == 0
    program.execute(BLOCK, 8)
    [file] = (program.folder / DATABASE.name).glob("*.dump")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    code, _, said = program("restore", "--replace")
    assert (code, "damaged, or not there" in said) == (1, True)
    file.unlink()
    assert "damaged, or not there" in program("restore", "--replace")[2]
    assert blocked(program) == [7, 8]


def test_a_restoration_that_fails_half_way_changes_nothing(program: Program, tmp_path: Path) -> None:
    program.execute(BLOCK, 9)
    assert program("dump")[0] == 0
    program.execute(BLOCK, 10)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "psql").symlink_to(postgres_binary("psql"))
    # The last statement of what is restored fails.
    (programs / "pg_restore").write_text(
        f'#!/bin/sh\n{postgres_binary("pg_restore")} "$@" || exit 1\n'
        'for word; do case "$word" in --file=*) echo "SELECT 1 / 0;" >> "${word#--file=}";; esac; done\n'
    )
    (programs / "pg_restore").chmod(0o755)
    code, _, said = program.run("--programs", str(programs), "restore", "--replace", **program.environment)
    assert code == 1
    assert "division by zero" in said
    assert blocked(program) == [9, 10]


def test_the_newest_are_kept_and_one_of_them_chosen(program: Program) -> None:
    times = []
    for number in (11, 12, 13):
        program.execute(BLOCK, number)
        code, out, said = program("dump", "--keep", "2")
        assert (code, said) == (0, "")
        times.append(program.kept())
    assert f"{times[0]}: removed, there are 2 newer ones" in out
    assert program.files == [".dump", ".dump", ".json", ".json"]
    assert [line.split()[1].rstrip(":") for line in program("list")[1].splitlines()] == [times[2], times[1]]
    assert program("restore", "--replace", "--backup", times[1])[0] == 0
    assert blocked(program) == [11, 12]
    assert (
        f"there is no backup {times[0]}; there are: {times[2]}, {times[1]}"
        in (program("restore", "--replace", "--backup", times[0])[2])
    )


def test_what_was_never_finished_is_no_backup_and_goes(program: Program) -> None:
    folder = program.folder / DATABASE.name
    folder.mkdir(parents=True)
    for name in ("20200101T000000.000000Z.dump", "20200101T000000.000000Z.partial"):
        (folder / name).write_text("half")
    assert program("list")[1] == "social_graph_manager: none\n"
    assert "there is no backup latest; there are: none" in program("restore")[2]
    assert program("dump")[0] == 0
    assert program.files == [".dump", ".json"]


def test_a_dump_that_fails_leaves_those_that_are_there(program: Program, tmp_path: Path) -> None:
    assert program("dump")[0] == 0
    before = program.files
    failing = tmp_path / "programs"
    failing.mkdir()
    (failing / "pg_dump").write_text("#!/bin/sh\necho 'no space left' >&2; exit 3\n")
    (failing / "pg_dump").chmod(0o755)
    code, _, said = program.run("--programs", str(failing), "dump", "--keep", "1", **program.environment)
    assert (code, said) == (1, "backup: social_graph_manager: pg_dump: no space left\n")
    assert program.files == before
    away = {"SOCIAL_GRAPH_DB_SERVICE_PORT": "1"}
    assert program("dump", "--keep", "1", **away)[0] == 1
    assert program.files == before


def test_a_manifest_that_somebody_wrote_is_told(program: Program) -> None:
    folder = program.folder / DATABASE.name
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"time": "x"}))
    assert "describes no backup" in program("list")[2]
    assert program("dump", "--keep", "0")[0] == 2


def test_the_password_is_told_to_nobody(program: Program, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_dump").write_text(f'#!/bin/sh\necho "$@" > {shown}; env >> {shown}; exit 1\n')
    (programs / "pg_dump").chmod(0o755)
    assert program.run("--programs", str(programs), "dump", **program.environment)[0] == 1
    assert "PGPASSFILE" in shown.read_text()
    assert program.server.secrets.get(DATABASE.migrator) not in shown.read_text()
