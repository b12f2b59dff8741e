#!/usr/bin/env python3
"""Brings the databases that the environment names to the newest schema; each in one transaction, or not at all.

For each database, with PREFIX being LINK_DB, USER_DB or SOCIAL_GRAPH_DB:

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
from collections.abc import Mapping
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import psycopg2  # noqa: E402  # after the line above, as the rest
from alembic.util import CommandError  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from pkg.provisioning.database_environment import (  # noqa: E402
    Role,
    add_database_option,
    choose_databases,
    read_address,
)
from pkg.provisioning.databases import ServiceDatabase, connect  # noqa: E402
from pkg.runtime.migrations import upgrade  # noqa: E402
from pkg.runtime.postgres import PostgresAddress  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_database_option(parser)
    parser.add_argument(
        "--revision", default="head", help="migrate up to this revision instead of the newest; takes one --database"
    )
    arguments = parser.parse_args()
    if arguments.revision != "head" and len(arguments.database or ()) != 1:
        parser.error("--revision belongs to one history: name it with one --database")
    return arguments


def choose(names: list[str] | None, environment: Mapping[str, str]) -> list[tuple[ServiceDatabase, PostgresAddress]]:
    addresses, faults = [], []
    for database in choose_databases(names or [], environment):
        try:
            addresses.append((database, read_address(database, Role.MIGRATOR, environment)))
        except StartError as error:
            faults += error.faults
    if faults:
        raise StartError(*faults)
    return addresses


def current_revision(address: PostgresAddress) -> str | None:
    """None if the database has never been migrated."""
    connection = connect(address)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
            if cursor.fetchone() != (True,):
                return None
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            return None if row is None else str(row[0])
    finally:
        connection.close()


def migrate(database: ServiceDatabase, address: PostgresAddress, revision: str) -> None:
    try:
        before = current_revision(address)
        upgrade(address, database.migrations, revision)
        after = current_revision(address)
    except (psycopg2.Error, SQLAlchemyError, CommandError) as error:
        # What was executed is not for the log; what the server said to it is.
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise StartError(f"{database.name}: {reason}") from None
    print(f"{database.name}: {before or 'empty'} -> {after}" + (" (nothing to do)" if before == after else ""))


def main() -> int:
    arguments = read_arguments()
    try:
        for database, address in choose(arguments.database, os.environ):
            migrate(database, address, arguments.revision)
    except StartError as error:
        for fault in error.faults:
            print(f"migrate: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
