"""A service as a process: it starts with one clear line or not at all, and ends in good order when told to."""

import asyncio
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DEADLINE = 20.0

SERVICE = """
import asyncio, os, signal, sys
from contextlib import asynccontextmanager
from typing import ClassVar
from pydantic import Field
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from pkg.runtime.http_service import build_http_service
from pkg.runtime.logs import get_logger
from pkg.runtime.server import run_service
from pkg.runtime.settings import ServiceSettings
from pkg.runtime.start_error import StartError

class Settings(ServiceSettings):
    service_name: ClassVar[str] = "small"
    behaviour: str = Field(validation_alias="BEHAVIOUR")

log = get_logger("test")

async def quick(request):
    return JSONResponse({"pid": os.getpid()})

async def slow(request):
    log.info("slow began")
    try:
        await asyncio.sleep(float(request.query_params["seconds"]))
    finally:
        log.info("slow ended")
    return JSONResponse({"slow": True})

@asynccontextmanager
async def create_app(settings):
    match settings.behaviour:
        case "refuse":
            raise StartError("no planet to stand on", "nor a lever")
        case "break":
            raise RuntimeError("the secret is hunter2")
        case "hang":
            log.info("hanging")
            await asyncio.Event().wait()
        case "stopped early":
            os.kill(os.getpid(), signal.SIGTERM)
    app = Starlette(routes=[Route("/quick", quick), Route("/slow", slow)])
    try:
        yield build_http_service(settings, app, readiness={})
    finally:
        log.info("closed")

run_service(Settings, create_app)
"""


class Process:
    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVICE],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[str] = []
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))

    def wait_for(self, event: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while event not in self.seen:
            try:
                found = self._events.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event} within {DEADLINE} s, only {self.seen}") from None
            self.seen.append(found["event"])
            self.port = found.get("port", self.port)

    def signal(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, str]:
        """Exit code and standard error, when it has ended."""
        code = self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        while not self._events.empty():
            self.seen.append(self._events.get()["event"])
        assert self._process.stderr is not None
        return code, self._process.stderr.read()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(DEADLINE)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def get(self, path: str) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, json.loads(response.read())
        finally:
            connection.close()


type Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    edge = {"token": os.urandom(24).hex(), "statement_key": os.urandom(24).hex()}
    file = tmp_path / "mutual-auth.yaml"
    file.write_text(json.dumps({"accepts": {"api-gateway": edge}}))
    file.chmod(0o600)
    started: list[Process] = []

    def start(**environment: str) -> Process:
        usual = {
            "DELINKCIOUS_MODE": "local",
            "PORT": "0",
            "BEHAVIOUR": "serve",
            "DELINKCIOUS_MUTUAL_AUTH_FILE": str(file),
        }
        process = Process(**{name: value for name, value in (usual | environment).items() if value})
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


async def test_a_request_in_flight_is_finished(start: Start) -> None:
    process = start()
    process.wait_for("listening")
    answer = asyncio.create_task(asyncio.to_thread(process.get, "/slow?seconds=1"))
    await asyncio.to_thread(process.wait_for, "slow began")
    process.signal()
    await asyncio.to_thread(process.wait_for, "draining")
    await refused(process.port)
    status, headers, body = await answer
    assert (status, body) == (200, {"slow": True})
    assert headers["connection"] == "close"
    code, errors = await asyncio.to_thread(process.end)
    assert (code, errors) == (0, "")
    assert [event for event in process.seen if event in {"slow ended", "closed", "stopped"}] == [
        "slow ended",
        "closed",
        "stopped",
    ]


async def test_a_service_looks_at_its_files_while_it_serves(start: Start, tmp_path: Path) -> None:
    process = start()
    process.wait_for("listening")
    edge = {"token": os.urandom(24).hex(), "statement_key": os.urandom(24).hex()}
    (tmp_path / "mutual-auth.yaml").write_text(json.dumps({"accepts": {"api-gateway": edge}}))
    await asyncio.to_thread(process.wait_for, "a file has changed and is used")
    (tmp_path / "mutual-auth.yaml").write_text("accepts: 123")
    await asyncio.to_thread(process.wait_for, "a file has changed and cannot be used; what it held stays")
    assert process.get("/quick")[0] == 200
    process.signal()
    assert (await asyncio.to_thread(process.end))[0] == 0


async def refused(port: int) -> None:
    """Returns when nobody listens there any more."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.01)


async def test_readiness_fails_before_connections_are_refused(start: Start) -> None:
    process = start(DRAIN_DELAY="30")
    process.wait_for("listening")
    assert (await asyncio.to_thread(process.get, "/readyz"))[0] == 200
    process.signal()
    process.wait_for("draining")
    status, headers, _ = await asyncio.to_thread(process.get, "/readyz")
    assert (status, headers["connection"]) == (503, "close")
    assert (await asyncio.to_thread(process.get, "/quick"))[0] == 200
    process.signal()
    assert process.end()[0] == 0


async def test_a_second_signal_waits_for_nobody(start: Start) -> None:
    process = start(REQUEST_TIMEOUT="600")
    process.wait_for("listening")
    answer = asyncio.create_task(asyncio.to_thread(process.get, "/slow?seconds=600"))
    await asyncio.to_thread(process.wait_for, "slow began")
    process.signal()
    await asyncio.to_thread(process.wait_for, "draining")
    process.signal()
    await asyncio.to_thread(process.end)
    status, _, body = await answer
    assert (status, body["code"]) == (503, "shutting_down")
    assert process.seen[-2:] == ["closed", "stopped"]


async def test_who_outlives_the_grace_is_told(start: Start) -> None:
    process = start(REQUEST_TIMEOUT="600", SHUTDOWN_GRACE="1")
    process.wait_for("listening")
    answer = asyncio.create_task(asyncio.to_thread(process.get, "/slow?seconds=600"))
    await asyncio.to_thread(process.wait_for, "slow began")
    process.signal()
    status, _, body = await answer
    assert (status, body["code"]) == (503, "shutting_down")
    assert (await asyncio.to_thread(process.end))[0] == 0


@pytest.mark.parametrize("behaviour", ["hang", "stopped early"])
def test_a_signal_during_the_start_ends_it_in_good_order(start: Start, behaviour: str) -> None:
    process = start(BEHAVIOUR=behaviour)
    if behaviour == "hang":
        process.wait_for("hanging")
        process.signal()
    code, errors = process.end()
    assert (code, errors) == (0, "")
    assert process.seen[-1] == "stopped"


def test_a_port_that_is_taken(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, errors = start(PORT=str(port)).end()
    assert code == 1
    assert errors == (
        f"small: cannot listen on 127.0.0.1 port {port}: Address already in use; free it, or set PORT to another\n"
    )


def test_an_application_that_cannot_start(start: Start) -> None:
    refuses, breaks = start(BEHAVIOUR="refuse"), start(BEHAVIOUR="break")
    assert refuses.end() == (1, "small: no planet to stand on\nsmall: nor a lever\n")
    assert breaks.end() == (1, "small: failed: RuntimeError; the log has more\n")
    assert breaks.seen[-1] == "the service failed"
