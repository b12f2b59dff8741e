"""The stand-in for the web: each page answers as it says."""

import http.client
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkg.local_stack.demo_site import PAGES, DemoSite

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with DemoSite(0) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site.server_port
        site.shutdown()
        thread.join()


def ask(port: int, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/ok", 200),
        ("/ok/anything/at?all=1", 200),
        ("/missing", 404),
        ("/gone", 410),
        ("/error", 500),
        ("/head-refused", 200),
        ("/readyz", 200),
        ("/nothing-of-the-kind", 404),
    ],
)
def test_pages(port: int, path: str, status: int) -> None:
    found, headers, body = ask(port, "GET", path)
    assert (found, headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")
    assert len(body) == int(headers["Content-Length"])


def test_heads(port: int) -> None:
    assert ask(port, "HEAD", "/ok")[::2] == (200, b"")
    status, headers, body = ask(port, "HEAD", "/head-refused")
    assert (status, headers["Allow"], body) == (405, "GET", b"")


@pytest.mark.parametrize(("path", "location", "status"), [("/moved", "/ok", 301), ("/loop", "/loop", 302)])
def test_redirects(port: int, path: str, location: str, status: int) -> None:
    found, headers, _ = ask(port, "GET", path)
    assert (found, headers["Location"]) == (status, location)


def test_the_index_lists_what_there_is(port: int) -> None:
    body = ask(port, "GET", "/")[2].decode()
    assert [path for path in PAGES if f'href="{path}"' not in body] == []


def test_it_ends_in_good_order_even_while_it_is_slow() -> None:
    command = [sys.executable, "-m", "pkg.local_stack.demo_site", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/slow")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        connection.close()
    assert time.monotonic() - began < 5


def test_a_port_that_is_taken_is_told(port: int) -> None:
    command = [sys.executable, "-m", "pkg.local_stack.demo_site", "--port", str(port)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo-site: cannot listen on 127.0.0.1 port {port}")
    assert len(done.stderr.splitlines()) == 1
