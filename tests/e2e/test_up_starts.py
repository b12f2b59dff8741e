"""How `cmd/up.py` starts and ends, each time on a folder of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.e2e.client import api_client
from tests.e2e.processes import SERVICES, eventually, family, lives, up
from tests.e2e.stack import ROOT, START_DEADLINE, Stack, running_stack


async def test_nothing_is_left_running_by_ctrl_c_or_kill_9_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
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

    with running_stack(data, users=["carol"], ends_with=-signal.SIGKILL) as second:
        async with api_client(second.gateway, old_token) as carol:
            assert [link["Title"] for link in await carol.all_links()] == ["Kept"]
            twice = {"url": "https://kept.example/", "title": "Kept again"}
            assert (await carol.call("POST", "/v1/links", body=twice)).json["code"] == "link_exists"
        # Neither a user who exists nor a link that is saved already is anything to worry about.
        assert "ERROR" not in second.log.read_text()
        processes = family(second.process.pid) - {second.process.pid}
        second.process.kill()
        second.process.wait()

    # At once, while the old Postgres may still be at its last write.
    with running_stack(data) as third:
        assert not any(lives(pid) for pid in processes)
        async with api_client(third.gateway, old_token) as carol:
            assert [link["Title"] for link in await carol.all_links()] == ["Kept"]


def test_two_run_beside_each_other(tmp_path: Path) -> None:
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
        ready = [other.ready for other in others if other]
        addresses = [address for each in ready for address in each["services"].values()]
        ports = [each["postgres"]["port"] for each in ready]
        assert len(set(addresses)) == 2 * len(SERVICES)
        assert len(set(ports)) == 2
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
    assert ended.returncode == 2
    assert "--user: 'no spaces' is no user name" in ended.stderr
    assert not (tmp_path / "data").exists()


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
    # At once: to start it again would change nothing.
    assert re.search(r"link-manager .*exit code 78; its log ends:", ended.stdout)
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
