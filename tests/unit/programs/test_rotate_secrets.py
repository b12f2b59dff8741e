"""``cmd/rotate_secrets.py``: what it waits for, and what it says when it cannot go on."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pkg.local_stack.data_folder import DataFolder
from pkg.local_stack.mutual_auth import write_mutual_auth
from pkg.local_stack.secret_store import SecretStore
from pkg.runtime.mutual_auth import load_mutual_auth
from tests.unit.programs.command import run_command

rotate = partial(run_command, "rotate_secrets")


class Service(HTTPServer):
    """Says, as every service does, which version of a file it works with; always the newest unless it is ``stuck``."""

    def __init__(self, file: Path) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.file = file
        self.stuck = False
        self._used = file.stat().st_mtime

    def metrics(self) -> str:
        if not self.stuck:
            self._used = self.file.stat().st_mtime
        name = "delinkcious_secret_file_modified_timestamp_seconds"
        return f'# TYPE {name} gauge\n{name}{{file="/nowhere"}} 1.0\n{name}{{file="{self.file}"}} {self._used!r}\n'


class Page(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        body = self.server.metrics().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # http.server's name
        """Nothing: the test's output is not for it."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    write_mutual_auth(folder.config, SecretStore(folder.secrets))
    return folder.path


@pytest.fixture
def service(data: Path) -> Iterator[Service]:
    """The only one of a stack whose servers somebody else runs."""
    with Service(data / "config" / "user-manager" / "mutual-auth.yaml") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        given = {"url": "nats://127.0.0.1:4222"}
        ready = {
            "services": {"user-manager": f"http://127.0.0.1:{server.server_port}"},
            "nats": given,
            "redis": given,
            "postgres": {"password_file": str(data / "secrets" / "given-postgres")},
        }
        (data / "ready.json").write_text(json.dumps(ready))
        yield server
        server.shutdown()


def test_edges_get_new_secrets(data: Path, service: Service) -> None:
    before = load_mutual_auth(service.file).accepts["api-gateway"]
    code, out, said = rotate("edges", "--data", str(data))
    assert (code, said) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [f"edges, step {n} of 3" for n in (1, 2, 3)] + ["edges"]
    after = load_mutual_auth(service.file).accepts["api-gateway"]
    assert not {*after.tokens, *after.statement_keys} & {*before.tokens, *before.statement_keys}
    assert len(after.tokens) == len(after.statement_keys) == 1
    caller = load_mutual_auth(data / "config" / "api-gateway" / "mutual-auth.yaml")
    assert caller.presents["user-manager"] == after


def test_nobody_goes_on_without_a_service_that_stays_behind(data: Path, service: Service) -> None:
    before = load_mutual_auth(service.file).accepts["api-gateway"]
    service.stuck = True
    code, out, said = rotate("edges", "--data", str(data), "--patience", "0.5")
    assert code == 1
    assert out.splitlines() == ["edges, step 1 of 3: a second value is made known"]
    assert said.startswith(f"rotate_secrets: user-manager does not work with {service.file} as it is now")
    half = load_mutual_auth(service.file).accepts["api-gateway"]
    assert half.token == before.token
    service.stuck = False
    assert rotate("--data", str(data), "edges")[0] == 0
    # It was gone on with, not begun again.
    assert load_mutual_auth(service.file).accepts["api-gateway"].tokens == [half.second_token]


def test_a_service_that_is_away_is_waited_for(data: Path, service: Service) -> None:
    ready = json.loads((data / "ready.json").read_text())
    ready["services"]["news-manager"] = "http://127.0.0.1:1"
    (data / "ready.json").write_text(json.dumps(ready))
    code, _, said = rotate("edges", "--data", str(data), "--patience", "0.1")
    assert (code, said.count("\n")) == (1, 1)
    assert "news-manager does not work with anything: it does not answer" in said


@pytest.mark.parametrize("kind", ["nats", "valkey"])
def test_servers_of_somebody_else_are_left_alone(data: Path, service: Service, kind: str) -> None:
    code, out, said = rotate("--data", str(data), kind)
    assert (code, out) == (1, "")
    assert said == f"rotate_secrets: {kind}: somebody else runs that server; its passwords are changed there\n"


def test_what_is_wrong_is_told(data: Path) -> None:
    code, _, said = rotate("--data", str(data))
    assert (code, said.count("\n")) == (1, 1)
    assert f"no system runs on {data}" in said
    code, _, said = rotate("--data", str(data), "everything")
    assert code == 2
    assert "unknown: everything; choose from edges, browser, postgres, nats, valkey" in said
