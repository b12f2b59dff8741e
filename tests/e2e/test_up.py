"""`cmd/up.py` itself: what it says, what it leaves behind, how it takes a blow."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pkg.local_stack.postgres_server import connect
from pkg.runtime.postgres import PostgresAddress
from tests.conftest import running_postgres
from tests.e2e.client import api_client
from tests.e2e.stack import ROOT, START_DEADLINE, Stack, running_stack

SERVICES = {
    "link-manager",
    "user-manager",
    "social-graph-manager",
    "news-manager",
    "link-checker",
    "link-check-function",
    "api-gateway",
}
#: Nobody's service: a part of the stack alone.
OTHERS = {"demo-site"}
SERVERS = {"postgres", "nats", "valkey"}
END_DEADLINE = 30.0


def up(*options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs to its end, which must come by itself."""
    return subprocess.run(
        [sys.executable, "cmd/up.py", *options],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=START_DEADLINE,
        check=False,
    )


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(check: Callable[[], bool], what: str, seconds: float = END_DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def family(pid: int) -> set[int]:
    """A process with all that descend from it."""
    found = {pid}
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found |= family(int(child))
    return found


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


async def test_ctrl_c_leaves_nothing_running_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_stack(data, users=["carol"], options=["--quiet"]) as first:
        processes = family(first.process.pid)
        assert set(first.ready["pids"].values()) < processes
        old_token = first.token("carol")
        async with api_client(first.gateway, old_token) as carol:
            await carol.expect("POST", "/v1/links", body={"url": "https://kept.example/", "title": "Kept"})
    assert not any(lives(pid) for pid in processes)
    assert not (data / "ready.json").exists()
    said = first.log.read_text()
    assert " INFO " not in said
    assert "ready: http://127.0.0.1:" in said

    with running_stack(data, users=["carol"]) as second:
        async with api_client(second.gateway, old_token) as carol:
            assert [link["Title"] for link in await carol.all_links()] == ["Kept"]
            twice = {"url": "https://kept.example/", "title": "Kept again"}
            assert (await carol.call("POST", "/v1/links", body=twice)).json["code"] == "link_exists"
    # Neither a user who exists nor a link that is saved already is anything to worry about.
    assert "ERROR" not in second.log.read_text()


def test_kill_9_leaves_nothing_running_and_the_next_start_waits_for_that(tmp_path: Path) -> None:
    data = tmp_path / "data"
    processes = family_of_a_killed_stack(data)
    # At once, while the old Postgres may still be at its last write.
    with running_stack(data):
        assert processes
        assert not any(lives(pid) for pid in processes)


def family_of_a_killed_stack(data: Path) -> set[int]:
    processes: set[int] = set()

    def start_and_kill() -> None:
        with running_stack(data) as stack:
            processes.update(family(stack.process.pid) - {stack.process.pid})
            assert set(stack.ready["pids"].values()) <= processes
            stack.process.kill()
            stack.process.wait()

    with pytest.raises(AssertionError, match="stopped with -9"):
        start_and_kill()
    return processes


def test_two_run_beside_each_other(stack: Stack, tmp_path: Path) -> None:
    others: list[Stack | None] = [None, None]
    done = threading.Event()
    failures: list[BaseException] = []

    def run(index: int) -> None:
        try:
            with running_stack(tmp_path / f"data{index}") as other:
                others[index] = other
                done.wait(START_DEADLINE)
        except BaseException as error:  # noqa: BLE001  # told by the test, below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    try:
        for thread in threads:
            thread.start()
        eventually(lambda: bool(failures) or all(others), "both are ready", START_DEADLINE)
        assert not failures, failures
        ready = [stack.ready, *(other.ready for other in others if other)]
        addresses = [address for each in ready for address in each["services"].values()]
        ports = [each["postgres"]["port"] for each in ready]
        assert len(set(addresses)) == 3 * len(SERVICES)
        assert len(set(ports)) == 3
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def test_a_taken_gateway_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = up("--data", str(tmp_path / "data"), "--gateway-port", str(port))
    assert ended.returncode == 1
    assert f"--gateway-port {port}: the port is taken" in ended.stdout
    assert not (tmp_path / "data" / "ready.json").exists()


def test_a_user_name_that_is_none_stops_the_start(tmp_path: Path) -> None:
    ended = up("--data", str(tmp_path / "data"), "--gateway-port", "0", "--user", "no spaces")
    assert ended.returncode == 1
    assert "--user no spaces: " in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_python_that_was_not_prepared_is_told() -> None:
    ended = subprocess.run(
        [sys.executable, "-S", "cmd/up.py", "--help"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=START_DEADLINE,
        check=False,
    )
    assert ended.returncode == 1
    assert "run `make up`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_setting_that_a_service_refuses_is_shown(tmp_path: Path) -> None:
    ended = up("--data", str(tmp_path / "data"), "--gateway-port", "0", MAX_LINKS_PER_USER="many")
    assert ended.returncode == 1
    assert re.search(r"link-manager .*exit code 1, 3 times in a row", ended.stdout)
    assert "MAX_LINKS_PER_USER" in ended.stdout


@pytest.mark.parametrize(
    ("variable", "url", "message"),
    [
        ("DELINKCIOUS_POSTGRES_URL", "mysql://u:hidden@h/d", "must begin with postgresql"),
        ("DELINKCIOUS_POSTGRES_URL", "postgresql://u:hidden@127.0.0.1:1/d", "cannot connect"),
        ("DELINKCIOUS_NATS_URL", "http://127.0.0.1:4222", "must begin with nats"),
        ("DELINKCIOUS_NATS_URL", "nats://hidden@127.0.0.1:4222", "a user without a password"),
        ("DELINKCIOUS_REDIS_URL", "redis://", "name a host"),
    ],
)
def test_a_server_of_the_environment_that_cannot_be_used(tmp_path: Path, variable: str, url: str, message: str) -> None:
    ended = up("--data", str(tmp_path / "data"), "--gateway-port", "0", **{variable: url})
    assert ended.returncode == 1
    assert variable in ended.stdout
    assert message in ended.stdout
    assert "hidden" not in ended.stdout + ended.stderr


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
        for _ in range(2):
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
