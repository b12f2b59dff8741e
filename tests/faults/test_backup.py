"""The disk with all databases is lost, and what was backed up comes back: people, tokens, links, who follows whom."""

import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from pkg.local_stack.data_folder import DataFolder
from pkg.local_stack.ports import PortChooser
from pkg.local_stack.postgres_server import PostgresServer, can_connect
from pkg.local_stack.program import launch_command
from pkg.local_stack.secret_store import SecretStore
from pkg.provisioning.databases import DATABASES, provision
from tests.conftest import START_DEADLINE
from tests.e2e.client import api_client
from tests.e2e.stack import running_stack
from tests.unit.programs.command import run_command


def environment_of(folder: DataFolder, port: int) -> dict[str, str]:
    """What an operator's programs are told of the databases of a stack."""
    secrets = SecretStore(folder.secrets)
    return {
        f"{database.variable}_{name}": value
        for database in DATABASES
        for name, value in {
            "SERVICE_HOST": "127.0.0.1",
            "SERVICE_PORT": str(port),
            "MIGRATOR_PASSWORD_FILE": str(secrets.path(database.migrator)),
        }.items()
    }


def start_empty(folder: DataFolder) -> tuple["subprocess.Popen[bytes]", int]:
    """A new server with databases and roles and nothing in them."""
    secrets = SecretStore(folder.secrets)
    port = PortChooser().choose(0)
    server = PostgresServer(folder.postgres, port, secrets.path("postgres"))
    server.initialise()
    process = subprocess.Popen(launch_command(server.program()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + START_DEADLINE
    while not can_connect(server.superuser):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for database in DATABASES:
        provision(server.superuser, database, secrets.get)
    return process, port


async def test_dump_lose_restore_and_use(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    backup = partial(run_command, "backup", "--folder", str(tmp_path / "backups"))
    with running_stack(folder.path, users=["ada", "abe"]) as stack:
        tokens = {name: stack.token(name) for name in ("ada", "abe")}
        port = int(stack.ready["postgres"]["port"])
        async with api_client(stack.gateway, tokens["ada"]) as ada, api_client(stack.gateway, tokens["abe"]) as abe:
            await abe.expect("POST", "/v1/following", body={"followed": "ada"})
            for number in range(5):
                await ada.expect("POST", "/v1/links", body={"url": f"https://ada.example/{number}", "title": "kept"})
            code, out, said = backup("dump", **environment_of(folder, port))
            assert (code, said) == (0, "")
            assert len(out.splitlines()) == len(DATABASES)
            await ada.expect("POST", "/v1/links", body={"url": "https://ada.example/late", "title": "too late"})
    shutil.rmtree(folder.postgres)
    process, port = start_empty(folder)
    try:
        given = environment_of(folder, port)
        assert backup("restore", **given)[::2] == (0, "")
        assert run_command("migrate", **given)[::2] == (0, "")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    with running_stack(folder.path) as stack:
        async with api_client(stack.gateway, tokens["ada"]) as ada:
            urls = {link["Url"] for link in await ada.all_links()}
            assert urls == {f"https://ada.example/{number}" for number in range(5)}
            assert (await ada.expect("GET", "/v1/followers"))["followers"] == {"abe": True}
        code, out, said = run_command("smoke_test", "--data", str(folder.path), DELINKCIOUS_TOKEN=tokens["ada"])
        assert code == 0, out + said


def test_nothing_comes_back_of_what_was_never_backed_up(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    process, port = start_empty(folder)
    try:
        given = environment_of(folder, port)
        code, _, said = run_command("backup", "--folder", str(tmp_path), "dump", **given)
        assert code == 1
        assert said.count("has no schema; there is nothing to keep") == len(DATABASES)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
