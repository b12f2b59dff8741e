"""GitHub, as far as a login sees it: a real HTTP server on loopback, with a switch for each way in which it fails."""

import asyncio
import base64
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.loopback_server import served_by_aiohttp

CLIENT_ID = "Iv1.0123456789abcdef"
CLIENT_SECRET = "0123456789abcdef0123456789abcdef01234567"
#: More than a reply may have.
TOO_MUCH = b"[" + b" " * 300_000 + b"]"

_CONSENT = """<!DOCTYPE html>
<html lang="en"><head><title>Authorize</title></head><body>
<h1>Authorize Delinkcious</h1>
<form method="get">
{fields}
<button name="decision" value="allow">Authorize</button>
<button name="decision" value="deny">Cancel</button>
</form></body></html>"""


@dataclass
class FakeGitHub:
    """``url`` is GitHub's, ``api_url`` its API's. Who asks is logged in as ``user``, who allows what they are asked."""

    url: str = ""
    #: As GET /user has it.
    user: dict[str, Any] = field(
        default_factory=lambda: {"id": 583231, "login": "octocat", "name": "The Octocat", "email": None}
    )
    addresses: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"email": "cat@old.example", "primary": False, "verified": True, "visibility": None},
            {"email": "octocat@mail.example", "primary": True, "verified": True, "visibility": "private"},
        ]
    )
    #: What the browser comes back with instead of a code.
    authorize_error: str = ""
    #: What a code is answered with instead of a token.
    token_error: str = ""
    #: By path: the status of an answer, or the whole of a body.
    broken: dict[str, int | bytes] = field(default_factory=dict)
    #: Paths that are answered when ``wake`` is set.
    slow: set[str] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    #: Tokens of the application that its user has taken back already.
    revoked: bool = False
    #: Shows a page with buttons, as to one who has not allowed it before.
    asks: bool = False
    #: Every request, in order: its method and path.
    asked: list[str] = field(default_factory=list)
    #: The tokens that were given.
    tokens: dict[str, str] = field(default_factory=dict)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/v3"

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        if query.get("client_id") != CLIENT_ID or "redirect_uri" not in query:
            return web.Response(status=404, text="This is not the web page you are looking for.")
        decision = query.pop("decision", "" if self.asks else "allow")
        if not decision:
            fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in query.items())
            return web.Response(text=_CONSENT.format(fields=fields), content_type="text/html")
        error = "access_denied" if decision == "deny" else self.authorize_error
        if error:
            answer = {"error": error, "error_description": "So it is.", "state": query.get("state", "")}
        else:
            code = secrets.token_hex(10)
            self._codes[code] = query
            answer = {"code": code, "state": query.get("state", "")}
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode(answer)}")

    async def exchange(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        error = self.token_error or self._fault_of(form)
        if error:
            # With a 200, as GitHub does.
            return web.json_response({"error": error, "error_description": "So it is.", "error_uri": self.url})
        token = f"gho_{secrets.token_hex(18)}"
        self.tokens[token] = self._codes.pop(form["code"])["scope"]
        return web.json_response({"access_token": token, "scope": self.tokens[token], "token_type": "bearer"})

    def _fault_of(self, form: dict[str, str]) -> str:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return "incorrect_client_credentials"
        asked = self._codes.get(form.get("code", ""))
        if asked is None or not proves(form.get("code_verifier", ""), asked):
            return "bad_verification_code"
        return "" if form.get("redirect_uri") == asked["redirect_uri"] else "redirect_uri_mismatch"

    async def get_user(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.user) if self._is_known(request) else _bad_credentials()

    async def get_addresses(self, request: web.Request) -> web.StreamResponse:
        if not self._is_known(request):
            return _bad_credentials()
        if "user:email" not in self.tokens[_bearer(request)]:
            return web.json_response({"message": "Not Found"}, status=404)
        return web.json_response(self.addresses)

    def _is_known(self, request: web.Request) -> bool:
        return not self.revoked and _bearer(request) in self.tokens and "User-Agent" in request.headers

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._interfere])
        app.router.add_get("/login/oauth/authorize", self.authorize)
        app.router.add_post("/login/oauth/access_token", self.exchange)
        app.router.add_get("/api/v3/user", self.get_user)
        app.router.add_get("/api/v3/user/emails", self.get_addresses)
        return app

    @web.middleware
    async def _interfere(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.path in self.slow:
            await self.wake.wait()
        broken = self.broken.get(request.path)
        if isinstance(broken, int) and 400 <= broken < 500:
            return web.json_response({"message": "Not now."}, status=broken)
        if isinstance(broken, int):
            return web.Response(status=broken, text="<html>It is us, not you.</html>", content_type="text/html")
        if broken is not None:
            return web.Response(body=broken, content_type="application/json")
        response: web.StreamResponse = await handler(request)
        return response


def proves(verifier: str, asked: dict[str, str]) -> bool:
    """Whether who has the code is who asked for it (RFC 7636, 4.6)."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return asked.get("code_challenge_method") == "S256" and asked.get("code_challenge") == challenge


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _bad_credentials() -> web.Response:
    return web.json_response({"message": "Bad credentials"}, status=401)


@contextlib.asynccontextmanager
async def fake_github() -> AsyncIterator[FakeGitHub]:
    github = FakeGitHub()
    async with served_by_aiohttp(github.application()) as github.url:
        yield github
        github.wake.set()
