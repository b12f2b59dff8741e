"""NATS as a cluster of three, by the configuration of its component: one is killed, and every stream goes on."""

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from pkg.events.messages import LINK_EVENTS, STREAM
from pkg.events.operator import ADMINISTRATOR
from pkg.events.provisioning import provision_at
from pkg.events.settings import NatsAddress
from pkg.local_stack.binaries import nats_binary
from pkg.local_stack.ports import LOOPBACK, PortChooser
from pkg.local_stack.program import tied_command
from pkg.provisioning.nats_users import render_routes
from tests.manifests.given import make_secrets
from tests.manifests.objects import ROOT

DEADLINE = 60.0
NAMES = tuple(f"nats-cluster-{number}" for number in range(3))
SUBJECT = f"{LINK_EVENTS}.test"


class Replica:
    """One of the three, with what its container has."""

    def __init__(self, name: str, folder: Path, routes: str, authorization: str, ports: tuple[int, int, int]) -> None:
        self.name = name
        self.port, cluster, monitoring = ports
        content = {
            "nats-config/nats.conf": ROOT / "k8s/stores/nats-cluster/nats.conf",
            "nats-config/cluster.conf": ROOT / "k8s/components/nats-replicas/cluster.conf",
        }
        moved = {
            "0.0.0.0:4222": f"{LOOPBACK}:{self.port}",
            "0.0.0.0:6222": f"{LOOPBACK}:{cluster}",
            "0.0.0.0:8222": f"{LOOPBACK}:{monitoring}",
            "/data": str(folder / "data"),
        }
        pattern = re.compile("|".join(map(re.escape, moved)))
        texts = {place: pattern.sub(lambda match: moved[match[0]], file.read_text()) for place, file in content.items()}
        texts |= {"nats-auth/authorization.conf": authorization, "nats-auth/routes.conf": routes}
        for place, text in texts.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(text)
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                tied_command((str(nats_binary()), "--config", str(folder / "nats-config/nats.conf"))),
                env={"POD_NAME": name},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)


@pytest.fixture
def password() -> str:
    return "0123456789abcdef"


@pytest.fixture
def replicas(tmp_path: Path, password: str) -> Iterator[list[Replica]]:
    choose = PortChooser().choose
    ports = [(choose(0), choose(0), choose(0)) for _ in NAMES]
    routes = render_routes("any-password", [f"{LOOPBACK}:{cluster}" for _, cluster, _ in ports])
    everything = {"user": ADMINISTRATOR, "password": password, "permissions": {"publish": ">", "subscribe": ">"}}
    authorization = f"authorization: {json.dumps({'users': [everything]})}\n"
    made = [Replica(name, tmp_path / name, routes, authorization, own) for name, own in zip(NAMES, ports, strict=True)]
    try:
        yield made
    finally:
        for replica in made:
            replica.end(signal.SIGKILL)


async def connect(replica: Replica, password: str) -> Client:
    return await nats.connect(
        f"nats://{LOOPBACK}:{replica.port}", user=ADMINISTRATOR, password=password, allow_reconnect=False
    )


async def look(replica: Replica, password: str) -> dict[str, Any]:
    """What this one says of the stream."""
    connection = await connect(replica, password)
    try:
        answer = await connection.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=5)
        found: dict[str, Any] = json.loads(answer.data)
        return found
    finally:
        await connection.close()


async def publish(replica: Replica, password: str) -> None:
    connection = await connect(replica, password)
    try:
        await connection.jetstream().publish(SUBJECT, b"{}", timeout=5)
    finally:
        await connection.close()


async def test_a_replica_that_dies_takes_nothing_with_it(replicas: list[Replica], password: str) -> None:
    first = NatsAddress(LOOPBACK, replicas[0].port, ADMINISTRATOR, password)
    await provision_at(first, replicas=3, max_bytes=64 * 1024**2, patience=DEADLINE)
    for replica in replicas:
        await publish(replica, password)
    before = await look(replicas[0], password)
    assert before["state"]["messages"] == 3
    assert {before["cluster"]["leader"], *(other["name"] for other in before["cluster"]["replicas"])} == set(NAMES)
    leader = next(replica for replica in replicas if replica.name == before["cluster"]["leader"])
    leader.end(signal.SIGKILL)
    left = [replica for replica in replicas if replica is not leader]
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            await publish(left[0], password)
            break
        except NatsError:
            assert time.monotonic() < deadline, "nobody took the place of who led"
            await asyncio.sleep(0.1)
    after = await look(left[1], password)
    assert after["state"]["messages"] >= 4
    assert after["cluster"]["leader"] in {replica.name for replica in left}


def test_the_secret_of_a_cluster_names_the_pods_of_its_replicas() -> None:
    routes = make_secrets()["nats-cluster-authorization"]["routes.conf"]
    found = re.findall(r'password: "(\S+)"|nats://routes:(\S+)@(\S+?)\.nats-cluster:6222', routes)
    assert [name for _, _, name in found[1:]] == list(NAMES)
    assert {password or route for password, route, _ in found} == {found[0][0]}
    assert len(found[0][0]) == 64
