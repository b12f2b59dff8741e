"""A small site that stands in for the web where there is none: ``python -m pkg.local_stack.demo_site --port N``.

Each page answers in one of the ways in which the pages of the web do, so that every status of a link can be seen. It
listens on loopback alone.
"""

import argparse
import html
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType, MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from pkg.local_stack.ports import LOOPBACK

NAME: Final = "demo-site"
USUAL_PORT: Final = 8091
#: Seconds; longer than a link checker waits.
SLOW: Final = 30.0
#: Seconds for a client to send its request.
_PATIENCE: Final = 10.0


@dataclass(frozen=True)
class Page:
    title: str
    text: str
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Answers 405 to a HEAD.
    head_refused: bool = False
    #: Seconds before the answer.
    delay: float = 0.0


PAGES: Final[Mapping[str, Page]] = MappingProxyType(
    {
        "/ok": Page("A page", "It is there. So is every page below /ok/, whatever its name."),
        "/missing": Page("Not found", "There never was anything here.", HTTPStatus.NOT_FOUND),
        "/gone": Page("Gone", "There was something here once.", HTTPStatus.GONE),
        "/moved": Page("Moved", "Now at /ok.", HTTPStatus.MOVED_PERMANENTLY, {"Location": "/ok"}),
        "/head-refused": Page("No HEAD", "Answers GET, and refuses HEAD.", head_refused=True),
        "/slow": Page("Slow", "Answers after half a minute.", delay=SLOW),
        "/error": Page("Error", "Something is broken.", HTTPStatus.INTERNAL_SERVER_ERROR),
        "/loop": Page("Loop", "Leads to itself.", HTTPStatus.FOUND, {"Location": "/loop"}),
        # For whoever starts the site and waits for it.
        "/readyz": Page("Ready", "The site serves."),
    }
)
_UNKNOWN: Final = Page("Not found", "The site has no such page; / lists those that it has.", HTTPStatus.NOT_FOUND)


def find_page(path: str) -> Page:
    if path == "/":
        return _index()
    if path.startswith("/ok/"):
        return PAGES["/ok"]
    return PAGES.get(path, _UNKNOWN)


def _index() -> Page:
    rows = "".join(f'<li><a href="{path}">{path}</a>: {html.escape(page.text)}</li>\n' for path, page in PAGES.items())
    return Page("Demo site", f"Pages to save, and to see what becomes of them:</p>\n<ul>\n{rows}</ul>\n<p>That is all.")


def render(page: Page) -> bytes:
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{page.title}</title></head>\n'
        f'<body>\n<h1>{page.title}</h1>\n<p>{page.text}</p>\n<p><a href="/">All pages</a></p>\n</body>\n</html>\n'
    ).encode()


class DemoSite(ThreadingHTTPServer):
    """Serves until ``shutdown``; ``server_port`` is where."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.stopping = threading.Event()
        super().__init__((LOOPBACK, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves before its answer is there is none of our errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on as it came

    def shutdown(self) -> None:
        self.stopping.set()
        super().shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: DemoSite
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Says nothing of requests."""

    def _answer(self, *, with_body: bool) -> None:
        page = find_page(urlsplit(self.path).path)
        self.server.stopping.wait(page.delay)
        refused = page.head_refused and not with_body
        body = render(page)
        self.send_response(HTTPStatus.METHOD_NOT_ALLOWED if refused else page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if refused:
            self.send_header("Allow", "GET")
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def main() -> int:
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=USUAL_PORT, help="0 takes a free one (%(default)s)")
    port = parser.parse_args().port
    try:
        site = DemoSite(port)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"{NAME}: cannot listen on {LOOPBACK} port {port}: {error}\n")
        return 1

    def stop(number: int, frame: FrameType | None) -> None:
        # Waits for the loop to end, which this very thread runs.
        threading.Thread(target=site.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sys.stdout.write(f"{NAME}: serves http://{LOOPBACK}:{site.server_port}/\n")
    sys.stdout.flush()
    with site:
        site.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
