"""A Postgres of our own: TCP on loopback with passwords (SCRAM), its socket in its own folder."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from pkg.local_stack.binaries import postgres_binary
from pkg.local_stack.ports import LOOPBACK
from pkg.local_stack.program import Program, tied_command
from pkg.provisioning.databases import connect
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.secret import Secret

SUPERUSER = "postgres"
USUAL_PORT = 5432
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    # Details of an error quote rows, which may be private, and the statement fills the terminal.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class PostgresServer:
    def __init__(self, folder: Path, port: int, password_file: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._port = port
        self._password_file = password_file
        self._settings = {**_SETTINGS, **(settings or {})}

    @property
    def superuser(self) -> PostgresAddress:
        return PostgresAddress(LOOPBACK, self._port, "postgres", SUPERUSER, Secret.in_file(self._password_file))

    def initialise(self) -> None:
        """Makes the database cluster, unless it is there.

        Raises:
            RuntimeError: initdb failed; with what it said.
        """
        if (self._folder / "PG_VERSION").exists():
            return
        partial = self._folder.with_name(f"{self._folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            tied_command(
                (
                    str(postgres_binary("initdb")),
                    f"--pgdata={partial}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={self._password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--locale=C.UTF-8",
                    "--no-instructions",
                ),
                unprivileged=True,
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr.strip() or done.stdout.strip()}")
        partial.rename(self._folder)

    def program(self) -> Program:
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            command=(
                str(postgres_binary("postgres")),
                "-D",
                str(self._folder),
                "-p",
                str(self._port),
                # A socket's path may be 107 bytes long at most, and a data folder's is anybody's guess.
                "-c",
                "unix_socket_directories=",
                *options,
            ),
            address=f"{LOOPBACK}:{self._port}",
            is_ready=self.is_ready,
            # Fast shutdown: it does not wait for those who are still connected.
            stop_signal=signal.SIGINT,
            unprivileged=True,
        )

    async def is_ready(self) -> bool:
        return await asyncio.to_thread(can_connect, self.superuser)


def can_connect(address: PostgresAddress) -> bool:
    try:
        connect(address).close()
    except psycopg2.OperationalError:
        return False
    return True
