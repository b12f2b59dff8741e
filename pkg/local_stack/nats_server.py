"""A NATS server of our own: JetStream on files, and a user with rights of its own for each service."""

import asyncio
import json
import socket
from pathlib import Path

from pkg.events.settings import NatsAddress
from pkg.local_stack.binaries import nats_binary
from pkg.local_stack.ports import LOOPBACK
from pkg.local_stack.program import Program
from pkg.local_stack.secret_store import SecretStore, write_private
from pkg.provisioning.nats_users import render_authorization


class NatsServer:
    def __init__(self, folder: Path, port: int, store: SecretStore) -> None:
        self._folder = folder
        self._port = port
        self._store = store

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self._port}"

    def password_file(self, user: str) -> Path:
        return self._store.path(f"nats.{user}")

    def address(self, user: str) -> NatsAddress:
        return NatsAddress(LOOPBACK, self._port, user, self._store.get(f"nats.{user}"))

    def initialise(self) -> None:
        """Writes the server's configuration."""
        configuration = {
            "server_name": "local",
            "listen": f"{LOOPBACK}:{self._port}",
            "max_payload": 1024**2,
            "jetstream": {
                "store_dir": str(self._folder / "jetstream"),
                "max_file_store": 4 * 1024**3,
                "max_memory_store": 64 * 1024**2,
                # Every publish is in the outbox until it is old; what a power cut takes is published again.
                "sync_interval": "1s",
            },
            "authorization": render_authorization(lambda user: self._store.get(f"nats.{user}")),
        }
        write_private(self._folder / "nats.conf", json.dumps(configuration, indent=2))

    def program(self) -> Program:
        return Program(
            name="nats",
            command=(str(nats_binary()), "--config", str(self._folder / "nats.conf")),
            address=f"{LOOPBACK}:{self._port}",
            is_ready=self.is_ready,
        )

    async def is_ready(self) -> bool:
        return await asyncio.to_thread(self.greets)

    def greets(self) -> bool:
        return says(self._port, b"", b"INFO ")


def says(port: int, greeting: bytes, expected: bytes) -> bool:
    """Whether whoever listens on the port answers ``greeting`` with something that begins as expected."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(greeting)
            return connection.recv(len(expected)) == expected
    except OSError:
        return False
