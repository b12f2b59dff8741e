"""Schema migrations (Alembic): one history a database, run as a step of its own, never by a service.

A history is a package with a ``versions`` folder. What Alembic needs around it is the same for all of them and stands
here once.
"""

import ast
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pkg.object_model.errors import Unavailable
from pkg.runtime.postgres import PostgresAddress, database_errors
from pkg.runtime.secret import passwords_of

if TYPE_CHECKING:
    import asyncpg
    from alembic.config import Config
    from alembic.script import ScriptDirectory

#: Any number, the same for all who migrate a database: two runs at once wait for each other.
_LOCK: Final = 5_021_977


def upgrade(address: PostgresAddress, package: str, revision: str = "head") -> None:
    """Brings the database to ``revision``, in one transaction.

    One that is at a revision which this code does not know is ahead of it, as after a rollback, and stays as it is.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached, or refuses a statement; nothing is changed.
    """
    # Imported here, and below: a service only checks its schema, and should not load what changes one.
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from sqlalchemy import URL, create_engine, text  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    url = URL.create(
        "postgresql+psycopg2",
        username=address.user,
        # A migration is a step that can be repeated: of two passwords the other one has its turn then.
        password=passwords_of(address.password)[0],
        host=address.host,
        port=address.port,
        database=address.database,
    )
    config, script = _open_history(package)
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10, **address.libpq_tls})
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})

        def steps(current: tuple[str, ...], _context: object) -> object:
            if not {*current} <= {*_lineage(package)}:
                return []
            # As alembic.command.upgrade does; there is no public way that takes a connection and no ini file.
            return script._upgrade_revs(revision, current)  # type: ignore[arg-type]  # noqa: SLF001  # it takes both

        with EnvironmentContext(config, script, fn=steps) as environment:
            environment.configure(connection=connection, transactional_ddl=True)
            environment.run_migrations()


def head_revision(package: str) -> str:
    return _lineage(package)[-1]


async def check_schema(pool: "asyncpg.Pool", package: str) -> None:
    """Returns if the code can work on the database's schema.

    A revision that this code does not know is a newer one, which by expand/contract still serves it.

    Raises:
        Unavailable: the schema is behind (``schema_behind``), or the database cannot be reached.
    """
    import asyncpg  # noqa: PLC0415  # likewise, for the step that migrates

    with database_errors():
        try:
            current = await pool.fetchval("SELECT version_num FROM alembic_version")
        except asyncpg.UndefinedTableError:
            current = None
    if current is None or current in _lineage(package)[:-1]:
        raise Unavailable(
            f"the schema is at {current or 'nothing'}, the code needs {head_revision(package)}; run cmd/migrate.py",
            code="schema_behind",
        )


@cache
def _lineage(package: str) -> tuple[str, ...]:
    """The history's revisions, oldest first. Read, not loaded: that would take Alembic, which no service has.

    Raises:
        LookupError: there is none, or they are not one line.
    """
    scripts = [script for script in (files(package) / "versions").iterdir() if script.name[:1].isdigit()]
    children = {}
    for script in scripts:
        names = _constants(script.read_text(encoding="utf-8"))
        children[names["down_revision"]] = names["revision"]
    lineage: list[str] = []
    last = None
    while last in children:
        last = children.pop(last)
        lineage.append(last)
    if not lineage or len(lineage) < len(scripts):
        raise LookupError(f"the migrations of {package} are not one line from the first to the newest")
    return tuple(lineage)


def _constants(source: str) -> dict[str, Any]:
    constants = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Constant(value)):
                constants[name] = value
    return constants


def _open_history(package: str) -> "tuple[Config, ScriptDirectory]":
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(str(files(package)))))
    config.set_main_option("path_separator", "os")
    return config, ScriptDirectory.from_config(config)
