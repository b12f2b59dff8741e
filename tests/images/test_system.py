"""The system in its images, as the Minikube overlay has it, on real Postgres, NATS and Valkey."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pkg.images.pins import read_pins
from pkg.object_model.clock import SystemClock
from pkg.object_model.types import Actor
from pkg.runtime.access import (
    API_GATEWAY,
    LINK_CHECK_FUNCTION,
    LINK_CHECKER,
    LINK_MANAGER,
    NEWS_MANAGER,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
)
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.mutual_auth import load_mutual_auth
from tests.images.cluster import Cluster, render
from tests.images.conftest import ROOT
from tests.images.load import Load
from tests.images.network import apart
from tests.images.podman import Podman
from tests.images.stand_ins import build_stand_ins

GATEWAY_PORT: Final = 5000
#: In a network where nobody else is.
SITE: Final = "127.0.0.1:8099"
#: Seconds.
DEADLINE: Final = 60.0
POLL: Final = 0.2
CONFINEMENT: Final = """
import json, os, pathlib
status = dict(line.split(":\\t") for line in pathlib.Path("/proc/1/status").read_text().splitlines() if ":\\t" in line)
try:
    pathlib.Path("/app/written").touch()
except OSError as fault:
    written = fault.strerror
print(json.dumps([status["Uid"].split()[1], status["CapEff"], status["NoNewPrivs"], written]))
"""


@dataclass(frozen=True)
class System:
    podman: Podman
    cluster: Cluster
    tokens: dict[str, str]

    def operate(self, *words: str, **environment: str) -> str:
        """A program of operators, from their pod."""
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        return self.podman("exec", *variables, "operator-operator", "python", *words)

    def call(self, user: str, method: str, path: str, **query: str) -> Any:
        url = f"http://{self.cluster.addresses[API_GATEWAY]}:{GATEWAY_PORT}/v1{path}"
        data = json.dumps(query).encode() if method != "GET" else None
        headers = {"Access-Token": self.tokens[user], "Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=DEADLINE) as answer:
            return json.loads(answer.read())


@contextmanager
def demo_site() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pkg.local_stack.demo_site", "--port", SITE.split(":")[1]], cwd=ROOT
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE)


@pytest.fixture(scope="module")
def system(podman: Podman, materials: Path, base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    assert materials.is_dir()
    folder = tmp_path_factory.mktemp("cluster")
    build_stand_ins(podman, folder / "stand-ins", base, read_pins())
    documents = render(
        [str(Path(sys.executable).parent / "kubectl"), "kustomize", str(ROOT / "k8s" / "overlays" / "minikube")],
        [sys.executable, str(ROOT / "cmd" / "make_secrets.py"), "--namespace", "delinkcious"],
    )
    settings = {
        "api-gateway-config": {"RATE_LIMIT_FACTOR": "1000"},
        "link-checker-config": {"LINK_CHECKER_CANARIES": f"http://{SITE}/ok"},
        "link-check-function-config": {"LINK_CHECKER_ALLOWED": SITE, "LINK_CHECKER_CONFINED": "true"},
    }
    with apart(), demo_site():
        cluster = Cluster(podman, folder, documents, settings)
        cluster.start_all()
        system = System(podman, cluster, {})
        for user in ("alice", "bob"):
            system.tokens[user] = system.operate("cmd/users.py", "add", user).strip()
        yield system


def poll(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(POLL)


def test_a_link_is_saved_looked_at_changed_found_and_deleted(system: System) -> None:
    said = system.operate(
        "cmd/smoke_test.py",
        DELINKCIOUS_URL=f"http://api-gateway:{GATEWAY_PORT}",
        DELINKCIOUS_TOKEN=system.tokens["alice"],
        DELINKCIOUS_DEMO_SITE=f"http://{SITE}",
    )
    assert said.endswith("smoke test: passed\n")


def test_who_follows_reads_the_news(system: System) -> None:
    system.call("bob", "POST", "/following", followed="alice")
    system.call("alice", "POST", "/links", url=f"http://{SITE}/ok?news", title="News")
    poll(lambda: any(event["Title"] == "News" for event in system.call("bob", "GET", "/news")["events"]))


def test_every_container_of_ours_is_confined(system: System) -> None:
    names = [name for name in system.cluster.of_kind("Deployment") if name != "operator"]
    assert len(names) == 7
    for name in names:
        (container,) = system.cluster.container_names(name)
        found = json.loads(system.podman("exec", container, "python", "-c", CONFINEMENT))
        assert found == ["65532", "0000000000000000", "1", "Read-only file system"], name


# --- told to stop, under load. Those who call others before those who are called. -------------------------------------


def test_events_outlive_the_one_who_works_on_them(system: System) -> None:
    pages = [f"http://{SITE}/ok?event={number}" for number in range(20)]
    for page in pages:
        system.call("alice", "POST", "/links", url=page, title="Waits")
    code, seconds = system.cluster.stop(LINK_CHECKER)
    assert code == 0
    assert seconds < system.cluster.grace(LINK_CHECKER)
    system.cluster.start_again(LINK_CHECKER)

    def all_valid() -> bool:
        links = system.call("alice", "GET", "/links?limit=100")["links"]
        return {link["Url"] for link in links if link["Status"] == "valid"} >= set(pages)

    poll(all_valid)


def asked(system: System, name: str) -> Load:
    """What the one before it asks of a service all the time."""
    address = system.cluster.addresses[name]
    if name == API_GATEWAY:
        return Load(address, GATEWAY_PORT, "GET", "/v1/links", {"Access-Token": system.tokens["alice"]})
    caller = LINK_CHECKER if name == LINK_CHECK_FUNCTION else API_GATEWAY
    secret = load_mutual_auth(system.cluster.secrets(caller, "mutual-auth") / "mutual-auth.yaml").presents[name]
    headers = EdgeCredentials(caller, name, secret, SystemClock()).headers(Actor(user_id=1, name="alice"))
    body = None
    match name:
        case "link-check-function":
            port, method, path = 8080, "POST", "/"
            body = json.dumps({"Username": "alice", "Url": f"http://{SITE}/ok"})
        case "news-manager":
            port, method, path = 6061, "GET", "/news?username=alice"
        case "link-manager":
            port, method, path = 8080, "GET", "/links?username=alice"
        case "social-graph-manager":
            port, method, path = 9090, "GET", "/counts/1"
        case _:
            port, method, path = 7070, "GET", "/users/alice"
    return Load(address, port, method, path, headers, body)


@pytest.mark.parametrize(
    "name", [API_GATEWAY, NEWS_MANAGER, LINK_CHECK_FUNCTION, LINK_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER]
)
def test_no_request_fails_when_a_service_is_stopped(system: System, name: str) -> None:
    load = asked(system, name)
    load.start()
    poll(lambda: load.answered >= 20 or bool(load.failures))
    before = load.answered
    code, seconds = system.cluster.stop(name)
    load.wait_until_refused()
    assert load.failures == []
    assert load.answered > before
    assert code == 0
    assert seconds < system.cluster.grace(name)


@pytest.mark.parametrize("name", ["link-db", "user-db", "social-graph-db", "nats-cluster", "news-manager-redis"])
def test_a_store_ends_in_good_order(system: System, name: str) -> None:
    code, seconds = system.cluster.stop(name)
    assert code == 0, system.cluster.log(name)
    assert seconds < system.cluster.grace(name)
