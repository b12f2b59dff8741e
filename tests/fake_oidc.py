"""An OpenID provider: a real HTTP server on loopback, with a switch for each thing that may be wrong with it."""

import base64
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OctKey, RSAKey

from pkg.object_model.clock import Clock
from tests.fake_github import proves
from tests.loopback_server import served_by_aiohttp

CLIENT_ID = "delinkcious@example"
CLIENT_SECRET = "a secret: of the client"


@dataclass
class FakeOidc:
    clock: Clock
    url: str = ""
    key: Key = field(default_factory=lambda: make_key("one"))
    algorithm: str = "ES256"
    #: What its keys are said to be, if not ``key``.
    published: list[Key] | None = None
    #: Of the ID token, over what it would say; None leaves one out.
    claims: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(
        default_factory=lambda: {
            "email": "ada@mail.example",
            "email_verified": True,
            "preferred_username": "ada",
            "name": "Ada Lovelace",
        }
    )
    #: What userinfo says; the ID token then says nothing of ``about``.
    userinfo: dict[str, Any] | None = None
    #: Over its own description.
    metadata: dict[str, Any] = field(default_factory=dict)
    token_error: str = ""
    #: Who it says it is when the browser comes back, if anybody.
    answers_as: str = ""
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    async def describe(self, request: web.Request) -> web.StreamResponse:
        described = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
        }
        return web.json_response(described | self.metadata)

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        code = secrets.token_hex(10)
        self._codes[code] = dict(request.query)
        answer = {"code": code, "state": request.query["state"]}
        if self.answers_as:
            answer["iss"] = self.answers_as
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{urlencode(answer)}")

    async def exchange(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        asked = self._codes.pop(form.get("code", ""), None)
        if self._client(request, form) != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        if self.token_error or asked is None or not proves(form.get("code_verifier", ""), asked):
            return web.json_response({"error": self.token_error or "invalid_grant"}, status=400)
        return web.json_response(
            {"access_token": "of-ada", "token_type": "Bearer", "id_token": self._id_token(asked["nonce"])}
        )

    def _client(self, request: web.Request, form: dict[str, str]) -> tuple[str, ...]:
        if "client_secret_post" in self.metadata.get("token_endpoint_auth_methods_supported", ()):
            return form.get("client_id", ""), form.get("client_secret", "")
        header = request.headers.get("Authorization", "").removeprefix("Basic ")
        return tuple(map(unquote_plus, base64.b64decode(header).decode().split(":")))

    def _id_token(self, nonce: str) -> str:
        now = int(self.clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": "248289761001",
            "aud": CLIENT_ID,
            "exp": now + int(timedelta(minutes=5).total_seconds()),
            "iat": now,
            "nonce": nonce,
            **({} if self.userinfo is not None else self.about),
            **self.claims,
        }
        said = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, said, self.key, algorithms=[self.algorithm])

    async def publish_keys(self, request: web.Request) -> web.StreamResponse:
        keys = [self.key] if self.published is None else self.published
        return web.json_response(KeySet(keys).as_dict(private=False))

    async def tell_userinfo(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"sub": "248289761001", **(self.userinfo or {})})

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        response: web.StreamResponse = await handler(request)
        return response

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/.well-known/openid-configuration", self.describe)
        app.router.add_get("/authorize", self.authorize)
        app.router.add_post("/token", self.exchange)
        app.router.add_get("/keys", self.publish_keys)
        app.router.add_get("/userinfo", self.tell_userinfo)
        return app


def make_key(kid: str, algorithm: str = "ES256") -> Key:
    if algorithm.startswith("HS"):
        return OctKey.import_key(CLIENT_SECRET.ljust(64, "."), {"kid": kid})
    if algorithm.startswith("RS"):
        return RSAKey.generate_key(2048, {"kid": kid})
    return ECKey.generate_key("P-256", {"kid": kid})


@contextlib.asynccontextmanager
async def fake_oidc(clock: Clock) -> AsyncIterator[FakeOidc]:
    provider = FakeOidc(clock)
    async with served_by_aiohttp(provider.application()) as provider.url:
        yield provider
