"""Where an operator's programs find a service's database, and as whom they get in: the environment says so.

For PREFIX being a database's ``variable``: PREFIX_SERVICE_HOST, PREFIX_SERVICE_PORT, PREFIX_NAME, PREFIX_CA (the
certificates by which the server is known), and for each role its name and the file with its password.
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from pkg.provisioning.databases import DATABASES, ServiceDatabase
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.secret import Password, Secret
from pkg.runtime.settings import is_local
from pkg.runtime.start_error import StartError

USUAL_PORT: Final = "5432"
SUPERUSER: Final = "postgres"


class Role(StrEnum):
    """By what stands in the variables between the prefix and USER or PASSWORD_FILE."""

    SUPERUSER = "_SUPERUSER"
    MIGRATOR = "_MIGRATOR"
    SERVICE = ""


def add_database_option(parser: ArgumentParser) -> None:
    """``--database NAME``, as often as wanted: what ``choose_databases`` takes for ``names``, or None."""
    parser.add_argument(
        "--database",
        metavar="NAME",
        action="append",
        choices=[database.name for database in DATABASES],
        help="this one alone, and it must be configured; may be repeated (%(choices)s)",
    )


def choose_databases(names: Sequence[str], environment: Mapping[str, str]) -> list[ServiceDatabase]:
    """Those with these names; without names those whose host the environment names.

    Raises:
        StartError: it names none.
    """
    if names:
        return [database for database in DATABASES if database.name in names]
    chosen = [database for database in DATABASES if environment.get(f"{database.variable}_SERVICE_HOST")]
    if not chosen:
        variables = ", ".join(f"{database.variable}_SERVICE_HOST" for database in DATABASES)
        raise StartError(f"the environment names no database; set one of {variables}")
    return chosen


def read_address(database: ServiceDatabase, role: Role, environment: Mapping[str, str]) -> PostgresAddress:
    """
    Raises:
        StartError: a variable is missing or wrong; one fault for each.
    """
    prefix = database.variable
    faults = []
    host = environment.get(f"{prefix}_SERVICE_HOST", "")
    if not host:
        faults.append(f"{prefix}_SERVICE_HOST is not set; set it to the host of its Postgres")
    port = environment.get(f"{prefix}_SERVICE_PORT") or USUAL_PORT
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        faults.append(f"{prefix}_SERVICE_PORT: {port!r} is not a port")
    password: Password = ""
    try:
        password = read_role_password(database, role, environment)
    except StartError as error:
        faults += error.faults
    if faults:
        raise StartError(*faults)
    name = environment.get(f"{prefix}_NAME") or database.name
    user = environment.get(f"{prefix}{role}_USER") or _usual_user(database, role)
    return PostgresAddress(host, int(port), name, user, password, environment.get(f"{prefix}_CA") or "")


def read_role_password(database: ServiceDatabase, role: Role, environment: Mapping[str, str]) -> Secret:
    """
    Raises:
        StartError: the variable is missing, or its file cannot be read or holds no secret.
    """
    variable = f"{database.variable}{role}_PASSWORD_FILE"
    path = environment.get(variable)
    if not path:
        raise StartError(f"{variable} is not set; set it to the file with the password")
    try:
        return Secret.in_file(Path(path), relaxed=is_local(environment))
    except StartError as error:
        raise StartError(*(f"{variable}: {fault}" for fault in error.faults)) from None


def _usual_user(database: ServiceDatabase, role: Role) -> str:
    return {Role.SUPERUSER: SUPERUSER, Role.MIGRATOR: database.migrator, Role.SERVICE: database.service}[role]
