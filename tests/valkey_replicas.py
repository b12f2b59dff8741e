"""Three Valkeys and their sentinels, as the component valkey-replicas has them: its configuration and its scripts, run
as they are, but for places and ports."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import batched
from pathlib import Path
from typing import Final

from redis import Redis

from pkg.local_stack.binaries import valkey_binary
from pkg.local_stack.ports import LOOPBACK, PortChooser
from pkg.local_stack.program import tied_command
from pkg.provisioning.valkey_users import (
    ADMINISTRATOR,
    OWN_RULES,
    REPLICA,
    RULES,
    SENTINEL,
    SENTINEL_RULES,
    render_access_list,
)
from pkg.runtime.access import NEWS_MANAGER
from pkg.runtime.mutual_auth import new_secret
from pkg.runtime.redis_sentinels import Place, RedisSentinels

ROOT: Final = Path(__file__).parents[1]
STORE: Final = ROOT / "k8s/stores/news-manager-redis"
COMPONENT: Final = ROOT / "k8s/components/valkey-replicas"
#: By name, as pods are called.
HOST: Final = "localhost"
#: What the sentinels call the servers.
NAME: Final = "feeds"
COUNT: Final = 3
DEADLINE: Final = 30.0


class Passwords(dict[str, str]):
    def __missing__(self, user: str) -> str:
        return self.setdefault(user, new_secret())


class Replica:
    """One pod: a server and a sentinel, which are ended and started each by itself."""

    def __init__(self, folder: Path, port: int, sentinel_port: int) -> None:
        self.folder = folder
        self.place = Place(HOST, port)
        self.sentinel_place = Place(HOST, sentinel_port)
        self._environment: dict[str, str] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._sentinel: subprocess.Popen[bytes] | None = None

    def lay_out(self, passwords: Mapping[str, str], variables: Mapping[str, str]) -> None:
        moved = {
            "/etc/valkey-acl": str(self.folder / "acl"),
            "/etc/valkey": str(self.folder / "config"),
            "/run/secrets": str(self.folder / "secrets"),
            "/data": str(self.folder / "data"),
            "bind * -::*": f"bind {LOOPBACK}",
            "port 6379": f"port {self.place.port}",
            "port 26379": f"port {self.sentinel_place.port}",
        }
        pattern = re.compile("|".join(f"{re.escape(text)}(?![0-9a-z-])" for text in moved))
        for file in (STORE / "valkey.conf", *COMPONENT.glob("*.sh"), *COMPONENT.glob("*.conf")):
            self._write(f"config/{file.name}", pattern.sub(lambda match: moved[match[0]], file.read_text()))
        self._write("acl/users.acl", render_access_list(lambda user: (passwords[user],), {**RULES, **OWN_RULES}))
        self._write("acl/sentinel.acl", render_access_list(lambda user: (passwords[user],), SENTINEL_RULES))
        for user in (REPLICA, SENTINEL):
            self._write(f"secrets/{user}/password", f"{passwords[user]}\n")
        (self.folder / "data").mkdir()
        self._write("bin/valkey-server", f'#!/bin/sh\nexec {shlex.quote(str(valkey_binary()))} "$@"\n', 0o700)
        cli = shlex.join([sys.executable, "-ISs", str(Path(__file__).with_name("valkey_cli.py"))])
        self._write("bin/valkey-cli", f'#!/bin/sh\nexec {cli} --password "${{VALKEYCLI_AUTH-}}" "$@"\n', 0o700)
        self._environment = {
            **variables,
            "VALKEY_SELF": _written(self.place),
            "SENTINEL_SELF": _written(self.sentinel_place),
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        }

    def _write(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    # --- what its container would do ----------------------------------------------------------------------------------

    def start(self) -> None:
        self._server = self._run("start_valkey.sh")

    def start_sentinel(self) -> None:
        self._sentinel = self._run("start_sentinel.sh")

    def is_ready(self) -> bool:
        return self.run("is_ready.sh") == 0

    def run(self, script: str) -> int:
        """To its end."""
        process = self._run(script)
        return process.wait(DEADLINE)

    def _run(self, script: str) -> "subprocess.Popen[bytes]":
        command = ("/bin/sh", str(self.folder / "config" / script))
        with (self.folder / f"{Path(script).stem}.log").open("ab") as log:
            return subprocess.Popen(
                tied_command(command), env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def log(self, script: str = "start_valkey") -> str:
        file = self.folder / f"{script}.log"
        return file.read_text() if file.exists() else ""

    # --- what may happen to it ----------------------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        """To the server."""
        assert self._server is not None
        self._server.send_signal(number)

    def send_sentinel(self, number: signal.Signals) -> None:
        assert self._sentinel is not None
        self._sentinel.send_signal(number)

    def kill(self) -> None:
        self._end(self._server, signal.SIGKILL)

    def kill_sentinel(self) -> None:
        self._end(self._sentinel, signal.SIGKILL)

    def forget(self) -> None:
        """Its volume is a new one."""
        shutil.rmtree(self.folder / "data")
        (self.folder / "data").mkdir()

    def restart(self) -> None:
        """As a pod that is replaced in good order."""
        self.run("hand_over.sh")
        self._end(self._sentinel, signal.SIGTERM)
        self._end(self._server, signal.SIGTERM)
        self.start_sentinel()
        self.start()

    def end(self) -> None:
        for process in (self._server, self._sentinel):
            self._end(process, signal.SIGKILL)

    @staticmethod
    def _end(process: "subprocess.Popen[bytes] | None", number: signal.Signals) -> None:
        if process is not None:
            process.send_signal(number)
            process.wait(DEADLINE)


class ValkeyReplicas:
    def __init__(self, folder: Path) -> None:
        choose = PortChooser().choose
        self.passwords = Passwords()
        self.all = [Replica(folder / f"valkey-{number}", choose(0), choose(0)) for number in range(COUNT)]
        variables = {
            "VALKEY_SERVERS": " ".join(_written(replica.place) for replica in self.all),
            "SENTINELS": " ".join(_written(replica.sentinel_place) for replica in self.all),
        }
        for replica in self.all:
            replica.lay_out(self.passwords, variables)

    def sentinels(self, user: str = NEWS_MANAGER) -> RedisSentinels:
        places = tuple(replica.sentinel_place for replica in self.all)
        return RedisSentinels(places, NAME, user, self.passwords[user])

    def administrator(self, replica: Replica) -> Redis:
        place = replica.place
        return Redis(place.host, place.port, username=ADMINISTRATOR, password=self.passwords[ADMINISTRATOR])

    def at(self, place: Place) -> Replica:
        return next(replica for replica in self.all if replica.place == place)

    def start(self) -> None:
        for replica in self.all:
            replica.start_sentinel()
            replica.start()
        self.until(lambda: all(replica.is_ready() for replica in self.all), "all serve")
        self.until(lambda: all(self._knows_all(replica) for replica in self.all), "the sentinels know all")

    def _knows_all(self, replica: Replica) -> bool:
        """They look for replicas every ten seconds."""
        place = replica.sentinel_place
        with Redis(host=place.host, port=place.port, username=SENTINEL, password=self.passwords[SENTINEL]) as sentinel:
            reply = sentinel.execute_command("SENTINEL", "MASTER", NAME)
        about = {name.decode(): value.decode() for name, value in batched(reply, 2)}
        return bool(about["num-slaves"] == about["num-other-sentinels"] == str(COUNT - 1))

    def until(self, holds: Callable[[], bool], what: str, deadline: float = DEADLINE) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > deadline:
                logs = "\n".join(f"--- {one.folder.name}\n{one.log()[-3000:]}" for one in self.all)
                raise AssertionError(f"not in time: {what}\n{logs}")
            time.sleep(0.05)
        return time.monotonic() - began


@contextmanager
def running_replicas(folder: Path) -> Iterator[ValkeyReplicas]:
    replicas = ValkeyReplicas(folder)
    try:
        replicas.start()
        yield replicas
    finally:
        for replica in replicas.all:
            with suppress(ProcessLookupError):
                replica.end()


def _written(place: Place) -> str:
    return f"{place.host}:{place.port}"
