"""A Valkey of our own: an access list with a user for each service, nobody by default, and an append-only file."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pkg.local_stack.binaries import valkey_binary
from pkg.local_stack.nats_server import says
from pkg.local_stack.ports import LOOPBACK
from pkg.local_stack.program import Program
from pkg.local_stack.secret_store import SecretStore, write_private
from pkg.provisioning.valkey_users import render_access_list

USUAL_PORT: Final = 6379


class ValkeyServer:
    def __init__(
        self, folder: Path, port: int, store: SecretStore, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._folder = folder
        self._port = port
        self._store = store
        self._settings = settings

    @property
    def port(self) -> int:
        return self._port

    def password(self, user: str) -> str:
        return self._store.get(f"valkey.{user}")

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self._port}"

    def password_file(self, user: str) -> Path:
        return self._store.path(f"valkey.{user}")

    def initialise(self) -> None:
        """Writes the server's configuration and its access list."""
        self.write_access_list()
        settings = {
            "bind": LOOPBACK,
            "port": str(self._port),
            "protected-mode": "yes",
            "dir": f'"{self._folder}"',
            "aclfile": f'"{self._folder / "users.acl"}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory": "512mb",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            **self._settings,
        }
        lines = [f"{name} {value}" for name, value in settings.items()]
        write_private(self._folder / "valkey.conf", "\n".join(lines) + "\n")

    def write_access_list(self) -> None:
        """With digests of the passwords only."""
        access_list = render_access_list(lambda user: self._store.values(f"valkey.{user}"))
        write_private(self._folder / "users.acl", access_list)

    def program(self) -> Program:
        return Program(
            name="valkey",
            command=(str(valkey_binary()), str(self._folder / "valkey.conf")),
            address=f"{LOOPBACK}:{self._port}",
            is_ready=self.is_ready,
        )

    async def is_ready(self) -> bool:
        return await asyncio.to_thread(self.answers)

    def answers(self) -> bool:
        return says(self._port, b"PING\r\n", b"+PONG")
