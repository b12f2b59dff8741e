"""Databases and roles, as an operator would make them: repeatable, with rights no wider than needed.

A database has a *migrator*, who owns it and everything in it, and a *service* role, which reads and writes rows and can
do nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import psycopg2
from psycopg2 import sql

from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.secret import passwords_of


@dataclass(frozen=True)
class ServiceDatabase:
    name: str
    #: The package with its migrations.
    migrations: str
    #: Prefix of the environment variables that tell a service where it is.
    variable: str

    @property
    def migrator(self) -> str:
        return f"{self.name}_migrator"

    @property
    def service(self) -> str:
        return f"{self.name}_service"


DATABASES: Final[Sequence[ServiceDatabase]] = (
    ServiceDatabase("link_manager", "pkg.link_manager.migrations", "LINK_DB"),
    ServiceDatabase("user_manager", "pkg.user_manager.migrations", "USER_DB"),
    ServiceDatabase("social_graph_manager", "pkg.social_graph_manager.migrations", "SOCIAL_GRAPH_DB"),
)


#: Databases that a server brings.
_SERVERS_OWN: Final = ("postgres", "template1")


def database_named(name: str) -> ServiceDatabase:
    """Raises LookupError if none of ours has this name."""
    for database in DATABASES:
        if database.name == name:
            return database
    raise LookupError(name)


def connect(address: PostgresAddress) -> "psycopg2.extensions.connection":
    """A connection for administration, each statement its own transaction. Raises psycopg2.OperationalError."""
    first, *others = passwords_of(address.password)
    try:
        connection = _connect(address, first)
    except psycopg2.OperationalError:
        # It does not tell a wrong password from a server that is away.
        if not others:
            raise
        connection = _connect(address, others[0])
    connection.autocommit = True
    return connection


def _connect(address: PostgresAddress, password: str) -> "psycopg2.extensions.connection":
    made: psycopg2.extensions.connection = psycopg2.connect(
        host=address.host,
        port=address.port,
        dbname=address.database,
        user=address.user,
        password=password,
        connect_timeout=5,
        **address.libpq_tls,
    )
    return made


def provision(superuser: PostgresAddress, database: ServiceDatabase, password_of: Callable[[str], str]) -> None:
    """Makes what is missing and sets the roles' passwords.

    A role that may create roles and databases does as well as a superuser.

    Raises:
        psycopg2.Error: the server cannot be reached, or the role may not do this.
    """
    migrator, service, name = (sql.Identifier(part) for part in (database.migrator, database.service, database.name))
    connection = connect(superuser)
    try:
        with connection.cursor() as cursor:
            for role in (database.migrator, database.service):
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
                verb = "ALTER" if cursor.fetchone() else "CREATE"
                # A new role may log in and nothing more. That need not be said, and whoever is no superuser may not.
                cursor.execute(
                    sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                        sql.SQL(verb), sql.Identifier(role), sql.Literal(password_of(role))
                    )
                )
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            if cursor.fetchone() != (True,):
                # To give something to a role one has to be a member of it.
                cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(migrator))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database.name])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, migrator))
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, service))
    finally:
        connection.close()
    inside = connect(replace(superuser, database=database.name))
    try:
        with inside.cursor() as cursor:
            for statement in (
                "REVOKE ALL ON SCHEMA public FROM PUBLIC",
                "ALTER SCHEMA public OWNER TO {migrator}",
                "GRANT USAGE ON SCHEMA public TO {service}",
                (
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA public"
                    " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {service}"
                ),
                "ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA public GRANT USAGE ON SEQUENCES TO {service}",
            ):
                cursor.execute(sql.SQL(statement).format(migrator=migrator, service=service))
    finally:
        inside.close()


def close_to_others(superuser: PostgresAddress) -> None:
    """Keeps out of the server's other databases who is not invited: whoever may log in may enter them otherwise, and
    make temporary tables there. For a server that has nothing but ours.

    Raises:
        psycopg2.Error: the server cannot be reached, or the role does not own those databases.
    """
    connection = connect(superuser)
    try:
        with connection.cursor() as cursor:
            for name in _SERVERS_OWN:
                cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    finally:
        connection.close()


def address_of(
    server: PostgresAddress, database: ServiceDatabase, role: str, password_of: Callable[[str], str]
) -> PostgresAddress:
    return replace(server, database=database.name, user=role, password=password_of(role))
