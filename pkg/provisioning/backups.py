"""Backups of databases: made by pg_dump, kept in a folder as long as there are not enough newer ones, and put back.

::

    FOLDER/<database>/<time>.dump    in pg_dump's custom format
    FOLDER/<database>/<time>.json    what is in it; written last, so that what has none was never finished

A backup is of one moment of one database. Those of several are not of the same moment; what follows from that, and what
has to be done besides, is in docs/adr/048.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg2

from pkg.provisioning.databases import ServiceDatabase, connect
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.secret import passwords_of
from pkg.runtime.start_error import StartError

_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
#: Seconds that others may hold a lock which a dump or a restoration needs.
_LOCK_PATIENCE: Final = 60

#: The path of pg_dump, pg_restore and psql, by name.
type FindProgram = Callable[[str], Path]


@dataclass(frozen=True, kw_only=True)
class Backup:
    database: str
    #: When it was begun, in UTC; also its name.
    time: str
    #: Of the schema.
    revision: str
    #: Bytes of the file, and its digest.
    size: int
    sha256: str

    @property
    def taken_at(self) -> datetime:
        return datetime.strptime(self.time, _TIME).replace(tzinfo=UTC)


class BackupFolder:
    def __init__(self, folder: Path, find_program: FindProgram, *, patience: float) -> None:
        """``patience`` is in seconds, for one program that dumps or restores."""
        self._folder = folder
        self._find_program = find_program
        self._patience = patience

    def backups(self, database: str) -> list[Backup]:
        """Those that were finished, newest first."""
        found = []
        for manifest in (self._folder / database).glob("*.json"):
            try:
                found.append(Backup(**json.loads(manifest.read_text(encoding="utf-8"))))
            except (ValueError, TypeError):
                raise StartError(f"{manifest} describes no backup; move it away, with the file beside it") from None
        return sorted(found, key=lambda backup: backup.time, reverse=True)

    def dump(self, database: ServiceDatabase, address: PostgresAddress, now: datetime) -> Backup:
        """One more. Nothing that is there is touched.

        Raises:
            StartError: the database cannot be reached or read, or has no schema; or there is no room.
        """
        folder = self._folder / database.name
        time = now.astimezone(UTC).strftime(_TIME)
        partial = folder / f"{time}.partial"
        with self._let_in(database, address) as inside:
            revision = _read_revision(database, address)
            _made(folder)
            try:
                self._run(
                    database,
                    ["pg_dump", "--format=custom", f"--file={partial}", f"--lock-wait-timeout={_LOCK_PATIENCE}s"],
                    inside,
                )
                # That it can be read to its end is not known until somebody has.
                self._run(database, ["pg_restore", "--file=/dev/null", str(partial)], {})
                with partial.open("rb+") as written:
                    os.fsync(written.fileno())
                backup = Backup(
                    database=database.name,
                    time=time,
                    revision=revision,
                    size=partial.stat().st_size,
                    sha256=_digest(partial),
                )
                partial.replace(self._file(backup))
            finally:
                partial.unlink(missing_ok=True)
        manifest = self._file(backup).with_suffix(".json")
        unfinished = manifest.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(backup)) + "\n", encoding="utf-8")
        unfinished.replace(manifest)
        return backup

    def prune(self, database: str, keep: int) -> list[Backup]:
        """Removes all but the newest ``keep`` (at least 1) and what was never finished; gives those that went."""
        gone = self.backups(database)[max(keep, 1) :]
        for backup in gone:
            # The description first: without it there is no backup.
            self._file(backup).with_suffix(".json").unlink()
            self._file(backup).unlink(missing_ok=True)
        known = {self._file(backup) for backup in self.backups(database)}
        for orphan in [*(self._folder / database).glob("*.dump"), *(self._folder / database).glob("*.partial")]:
            if orphan not in known:
                orphan.unlink()
        return gone

    def restore(self, database: ServiceDatabase, address: PostgresAddress, backup: Backup, *, anyway: bool) -> None:
        """Has the database be as it was, in one transaction. Its roles must be there; its schema is that of the backup.

        ``anyway``: also if there is something in it, which is then lost.

        Raises:
            StartError: it is not empty, or the backup is damaged, or the server refuses; nothing is changed.
        """
        file = self._file(backup)
        if not file.exists() or _digest(file) != backup.sha256:
            raise StartError(f"{file}: damaged, or not there; choose another one: backup.py list")
        with self._let_in(database, address) as inside:
            if not anyway and (tables := _count_tables(address)):
                raise StartError(
                    f"{database.name}: has {tables} tables already; with --replace all that is in them is lost"
                )
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                script = Path(folder) / "restore.sql"
                self._run(database, ["pg_restore", "--no-owner", f"--file={script}", str(file)], {})
                self._run(
                    database,
                    [
                        *("psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
                        f"--command=SET lock_timeout = '{_LOCK_PATIENCE}s'",
                        "--command=DROP SCHEMA public CASCADE",
                        "--command=CREATE SCHEMA public",
                        f"--file={script}",
                    ],
                    inside,
                )

    def _file(self, backup: Backup) -> Path:
        return self._folder / backup.database / f"{backup.time}.dump"

    @contextmanager
    def _let_in(self, database: ServiceDatabase, address: PostgresAddress) -> Iterator[dict[str, str]]:
        """What libpq needs of its environment; the password is in a file."""
        password = _right_password(database, address)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "password"
            file.touch(0o600)
            file.write_text(f"*:*:*:*:{password.replace('\\', r'\\').replace(':', r'\:')}\n", encoding="utf-8")
            yield {
                "PGHOST": address.host,
                "PGPORT": str(address.port),
                "PGDATABASE": address.database,
                "PGUSER": address.user,
                "PGPASSFILE": str(file),
                "PGCONNECT_TIMEOUT": "10",
                # What is said first is then what is wrong.
                "PGOPTIONS": "-c client_min_messages=warning",
                **{f"PG{name.upper()}": value for name, value in address.libpq_tls.items()},
            }

    def _run(self, database: ServiceDatabase, command: Sequence[str], environment: dict[str, str]) -> None:
        program, *words = command
        try:
            done = subprocess.run(
                [str(self._find_program(program)), *words],
                env={"PATH": os.defpath, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=self._patience,
            )
        except subprocess.TimeoutExpired:
            raise StartError(f"{database.name}: {program} took more than {self._patience:g} seconds") from None
        except OSError as error:
            raise StartError(f"{database.name}: {program}: {error.strerror}") from None
        if done.returncode:
            # The first line says what is wrong; others may quote rows.
            said = done.stderr.strip().partition("\n")[0] or f"exit code {done.returncode}"
            raise StartError(f"{database.name}: {program}: {said}")


def _made(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot write to {folder}: {error.strerror}") from None


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _right_password(database: ServiceDatabase, address: PostgresAddress) -> str:
    """Of two while they are rotated, the one that the server takes."""
    reason = ""
    for password in passwords_of(address.password):
        try:
            connect(replace(address, password=password)).close()
        except psycopg2.OperationalError as error:
            reason = reason or " ".join(str(error).split())
        else:
            return password
    raise StartError(f"{database.name}: {reason}")


def _read_revision(database: ServiceDatabase, address: PostgresAddress) -> str:
    connection = connect(address)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
    except psycopg2.errors.UndefinedTable:
        row = None
    finally:
        connection.close()
    if row is None:
        raise StartError(f"{database.name}: has no schema; there is nothing to keep")
    return str(row[0])


def _count_tables(address: PostgresAddress) -> int:
    connection = connect(address)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            return int((cursor.fetchone() or (0,))[0])
    finally:
        connection.close()
