"""A registry of images on loopback, as much of it as is needed to push and to pull
(https://github.com/opencontainers/distribution-spec): everything is kept in memory, nobody has to log in.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

_PATH: Final = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|blobs/uploads)/(?P<what>[^/]*)")


@dataclass
class Registry:
    address: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    #: By name, then by tag and by digest: type and content.
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)

    def tags(self, name: str) -> dict[str, str]:
        """Digests by tag."""
        return {
            tag: f"sha256:{hashlib.sha256(content).hexdigest()}"
            for tag, (_, content) in self.manifests.get(name, {}).items()
            if ":" not in tag
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def do_GET(self) -> None:
        if self.path == "/v2/":
            return self._answer(HTTPStatus.OK)
        name, kind, what = self._place()
        if kind == "blobs" and what in self.registry.blobs:
            return self._answer(HTTPStatus.OK, self.registry.blobs[what], "application/octet-stream", what)
        if kind == "manifests" and what in self.registry.manifests.get(name, {}):
            content_type, content = self.registry.manifests[name][what]
            return self._answer(HTTPStatus.OK, content, content_type, _digest(content))
        code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
        content = json.dumps({"errors": [{"code": code, "message": f"{kind} unknown"}]}).encode()
        return self._answer(HTTPStatus.NOT_FOUND, content, "application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._body()
        upload = uuid4().hex
        self.registry.uploads[upload] = b""
        self._accept(HTTPStatus.ACCEPTED, upload)

    def do_PATCH(self) -> None:
        upload = self._place()[2]
        self.registry.uploads[upload] += self._body()
        self._accept(HTTPStatus.ACCEPTED, upload)

    def do_PUT(self) -> None:
        name, kind, what = self._place()
        body = self._body()
        if kind == "manifests":
            kept = (self.headers["Content-Type"], body)
            self.registry.manifests.setdefault(name, {}).update({what: kept, _digest(body): kept})
            return self._answer(HTTPStatus.CREATED, digest=_digest(body))
        content = self.registry.uploads.pop(what) + body
        (digest,) = parse_qs(urlsplit(self.path).query)["digest"]
        assert digest == _digest(content)
        self.registry.blobs[digest] = content
        return self._answer(HTTPStatus.CREATED, digest=digest)

    def _place(self) -> tuple[str, str, str]:
        match = _PATH.fullmatch(urlsplit(self.path).path)
        assert match, self.path
        return match["name"], match["kind"], match["what"]

    def _accept(self, status: HTTPStatus, upload: str) -> None:
        name = self._place()[0]
        self.send_response(status)
        self.send_header("Location", f"/v2/{name}/blobs/uploads/{upload}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, status: HTTPStatus, content: bytes = b"", content_type: str = "", digest: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if content_type:
            self.send_header("Content-Type", content_type)
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def registry() -> Iterator[Registry]:
    class Handler(_Handler):
        """Of this registry alone."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.registry = there = Registry(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
