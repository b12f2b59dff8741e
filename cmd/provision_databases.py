#!/usr/bin/env python3
"""Makes the databases that the environment names, and their roles, and sets the roles' passwords. Repeatable.

A step of its own, before the migrations, with credentials that no service has. For each database, with PREFIX being
LINK_DB, USER_DB or SOCIAL_GRAPH_DB:

  PREFIX_SERVICE_HOST             where its Postgres is; without it the database is left out
  PREFIX_SERVICE_PORT             5432, unless set
  PREFIX_SUPERUSER_USER           who may make roles and databases; postgres, unless set
  PREFIX_SUPERUSER_PASSWORD_FILE  the file with that user's password
  PREFIX_MIGRATOR_PASSWORD_FILE   the file with the password that the role that owns the database is to have
  PREFIX_PASSWORD_FILE            likewise, of the service's role
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import psycopg2  # noqa: E402  # after the line above, as the rest

from pkg.provisioning.database_environment import (  # noqa: E402
    Role,
    add_database_option,
    choose_databases,
    read_address,
    read_role_password,
)
from pkg.provisioning.databases import ServiceDatabase, close_to_others, connect, provision  # noqa: E402
from pkg.runtime.postgres import PostgresAddress  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402

#: Where one connects to make other databases.
MAINTENANCE_DATABASE = "postgres"
#: Seconds between two attempts to reach a server.
PAUSE = 0.5


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_database_option(parser)
    parser.add_argument(
        "--own-server",
        action="store_true",
        help="the server has nothing else in it: close the databases that it brings to everybody but superusers",
    )
    parser.add_argument(
        "--patience", type=float, default=20.0, help="seconds for Postgres to come up (%(default)s)", metavar="SECONDS"
    )
    return parser.parse_args(words)


def wait_for(server: PostgresAddress, name: str, patience: float) -> None:
    """
    Raises:
        StartError: we are not let in in time; the first reason that is given is shown at once.
    """
    until = time.monotonic() + patience
    told = False
    while True:
        try:
            connect(server).close()
        except psycopg2.OperationalError as error:
            reason = " ".join(str(error).split())
            if time.monotonic() > until:
                raise StartError(f"{name}: {reason}") from None
            if not told:
                told = True
                print(f"{name}: waiting for Postgres: {reason}", file=sys.stderr)
        else:
            return
        time.sleep(PAUSE)


def make(database: ServiceDatabase, environment: Mapping[str, str], patience: float, *, own_server: bool) -> None:
    superuser = replace(read_address(database, Role.SUPERUSER, environment), database=MAINTENANCE_DATABASE)
    passwords = {
        database.migrator: read_role_password(database, Role.MIGRATOR, environment).get_secret_value(),
        database.service: read_role_password(database, Role.SERVICE, environment).get_secret_value(),
    }
    wait_for(superuser, database.name, patience)
    try:
        provision(superuser, database, passwords.__getitem__)
        if own_server:
            close_to_others(superuser)
    except psycopg2.Error as error:
        raise StartError(f"{database.name}: {' '.join(str(error).split())}") from None
    print(f"{database.name}: the database and its roles are there")


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    arguments = read_arguments(words)
    try:
        for database in choose_databases(arguments.database or [], environment):
            make(database, environment, arguments.patience, own_server=arguments.own_server)
    except StartError as error:
        for fault in error.faults:
            print(f"provision_databases: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
