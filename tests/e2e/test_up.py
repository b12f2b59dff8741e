"""`cmd/up.py` itself: what it says, what it leaves behind, how it takes a blow."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pkg.provisioning.databases import connect
from pkg.runtime.postgres import PostgresAddress
from tests.conftest import running_postgres
from tests.e2e.client import api_client
from tests.e2e.processes import OTHERS, SERVERS, SERVICES, eventually, family, lives, up
from tests.e2e.stack import ROOT, Stack, running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("up") / "data", users=["alice"]) as stack:
        yield stack


def test_ready_json_says_what_runs_and_where(stack: Stack) -> None:
    ready = stack.ready
    assert set(ready) == {
        "gateway",
        "services",
        "demo_site",
        "tokens",
        "pids",
        "postgres",
        "nats",
        "redis",
    }
    assert set(ready["services"]) == SERVICES
    assert set(ready["pids"]) == SERVICES | OTHERS | SERVERS
    assert ready["gateway"] == ready["services"]["api-gateway"]
    assert all(lives(pid) for pid in ready["pids"].values())
    assert set(ready["tokens"]) == {"alice"}
    postgres = ready["postgres"]
    password = Path(postgres["password_file"]).read_text().strip()
    connect(PostgresAddress(postgres["host"], postgres["port"], "link_manager", postgres["user"], password)).close()
    for server in ("nats", "redis"):
        assert Path(ready[server]["password_files"]["administrator"]).stat().st_size > 30


async def test_a_printed_token_opens_the_gateway(stack: Stack) -> None:
    async with api_client(stack.gateway, stack.token("alice")) as alice:
        assert (await alice.expect("GET", "/v1/me"))["user"]["Name"] == "alice"
    assert f"token of alice: {stack.token('alice')}" in stack.log.read_text()


def test_a_table_is_printed_and_then_the_ready_line(stack: Stack) -> None:
    eventually(lambda: f"ready: {stack.gateway}" in stack.log.read_text().splitlines(), "the ready line")
    before = stack.log.read_text().split("\nready: ")[0]
    for name, address in stack.ready["services"].items():
        assert re.search(rf"^{name} +{re.escape(address)} +\d+$", before, re.MULTILINE)
    for name in SERVERS:
        assert re.search(rf"^{name} +127\.0\.0\.1:\d+ +\d+$", before, re.MULTILINE)
    assert "\x1b" not in before


def test_what_is_written_is_its_owners_alone(stack: Stack) -> None:
    assert stack.data.stat().st_mode & 0o777 == 0o700
    assert (stack.data / "ready.json").stat().st_mode & 0o777 == 0o600
    loose = [
        path
        for folder in ("secrets", "config", "logs")
        for path in (stack.data / folder).rglob("*")
        if path.stat().st_mode & 0o077
    ]
    assert loose == []


def test_everybody_listens_on_loopback_alone(stack: Stack) -> None:
    inodes = {
        str(descriptor.readlink())
        for pid in family(stack.process.pid)
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if descriptor.is_symlink()
    }
    listening = [
        line.split()[1].split(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in inodes
    ]
    assert len(listening) >= len(SERVICES | OTHERS | SERVERS)
    # gRPC listens with a socket of both families, on the loopback address of the older one.
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_second_one_on_the_same_data_is_refused(stack: Stack) -> None:
    before = stack.ready
    second = up("--data", str(stack.data), "--gateway-port", "0")
    assert second.returncode == 1
    assert f"already running (pid {stack.process.pid})" in second.stderr
    assert stack.ready == before


def test_a_killed_service_comes_back_and_is_named(stack: Stack) -> None:
    before = stack.ready["pids"]["user-manager"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: stack.ready["pids"].get("user-manager") not in (None, before), "a new pid in ready.json")
    eventually(lambda: "serves again" in stack.log.read_text(), "it is said that it serves again")
    assert f"user-manager (pid {before}) was killed by SIGKILL" in stack.log.read_text()
    assert lives(stack.ready["pids"]["user-manager"])


def test_servers_of_the_environment_are_used_and_not_started(stack: Stack, tmp_path: Path) -> None:
    urls = {}
    for name in ("nats", "redis"):
        there = stack.ready[name]
        password = Path(there["password_files"]["administrator"]).read_text().strip()
        urls[name] = there["url"].replace("://", f"://administrator:{password}@")
    with running_postgres(tmp_path / "server") as server:
        connection = connect(server.superuser)
        with connection.cursor() as cursor:
            # No more rights than it takes.
            cursor.execute("CREATE ROLE maker LOGIN CREATEDB CREATEROLE PASSWORD 'p@ss/word'")
        connection.close()
        place = f"{server.superuser.host}:{server.superuser.port}"
        given = {
            "DELINKCIOUS_POSTGRES_URL": f"postgresql://maker:{quote('p@ss/word', safe='')}@{place}/postgres",
            "DELINKCIOUS_NATS_URL": urls["nats"],
            "DELINKCIOUS_REDIS_URL": urls["redis"],
        }
        with running_stack(tmp_path / "data", environment=given, users=["dave"]) as other:
            assert set(other.ready["pids"]) == SERVICES | OTHERS
            assert other.ready["postgres"]["port"] == server.superuser.port
            for name, url in urls.items():
                assert (other.ready[name]["url"], other.ready[name]["user"]) == (
                    stack.ready[name]["url"],
                    "administrator",
                )
                assert Path(other.ready[name]["password_file"]).read_text() in url
        assert not (tmp_path / "data" / "postgres").exists()


def test_migrate_tells_from_where_to_where(stack: Stack) -> None:
    postgres = stack.ready["postgres"]
    environment = {
        "LINK_DB_SERVICE_HOST": postgres["host"],
        "LINK_DB_SERVICE_PORT": str(postgres["port"]),
        "LINK_DB_MIGRATOR_PASSWORD_FILE": str(stack.data / "secrets" / "link_manager_migrator"),
    }
    done = migrate(environment)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"link_manager: (\S+) -> \1 \(nothing to do\)\n", done.stdout)
    del environment["LINK_DB_MIGRATOR_PASSWORD_FILE"]
    refused = migrate(environment)
    assert refused.returncode == 1
    assert refused.stderr.startswith("migrate: LINK_DB_MIGRATOR_PASSWORD_FILE is not set")


def migrate(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "cmd/migrate.py"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
