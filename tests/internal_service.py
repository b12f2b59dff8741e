"""A service on a manager in memory, called as its peers call it."""

from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette

from pkg.object_model.clock import Clock, SystemClock
from pkg.object_model.types import MAX_BODY_BYTES, Actor
from pkg.runtime.access import ALLOWED_CALLERS
from pkg.runtime.caller_auth import CallerAuth, EdgeCredentials
from pkg.runtime.http_service import HttpService, build_http_service
from pkg.runtime.mutual_auth import EdgeSecret
from pkg.runtime.settings import Mode, ServiceSettings
from tests.asgi_client import AsgiClient, AsgiResponse

API_GATEWAY: Final = "api-gateway"
#: Everybody who calls anybody, and one whom no table knows.
CALLERS: Final = frozenset(
    {"stranger"}.union(*(callers for operations in ALLOWED_CALLERS.values() for callers in operations.values()))
)

type BuildApp = Callable[[CallerAuth], Starlette]


def edge_secret(caller: str, callee: str) -> EdgeSecret:
    return EdgeSecret(
        token=f"token-of-{caller}-at-{callee}".ljust(40, "0"),
        statement_key=f"key-of-{caller}-{callee}".ljust(40, "0"),
    )


@dataclass(frozen=True)
class InternalService:
    name: str
    app: HttpService

    async def call(
        self,
        method: str,
        path: str,
        *,
        caller: str | None = API_GATEWAY,
        actor: Actor | None = None,
        query: dict[str, str] | str = "",
        json: object = None,
        body: bytes | AsyncIterable[bytes] = b"",
        headers: dict[str, str] | None = None,
        clock: Clock | None = None,
        audience: str | None = None,
    ) -> AsgiResponse:
        """``caller`` None sends no token. ``clock`` and ``audience``: the caller's idea of now and of whom it calls."""
        sent = dict(headers or {})
        if caller is not None:
            sent |= EdgeCredentials(
                caller, audience or self.name, edge_secret(caller, self.name), clock or SystemClock()
            ).headers(actor)
        async with AsgiClient(self.app) as client:
            return await client.request(method, path, query=query, headers=sent, body=body, json=json)

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        """The body of a success, which is exactly 200."""
        response = await self.call(method, path, **options)
        assert response.status == 200, (response.status, response.body)
        assert response.headers["content-type"] == "application/json"
        body = response.json()
        assert body["err"] == ""
        return body

    async def refused(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Status and code of a failure in the contract's form."""
        response = await self.call(method, path, **options)
        body = response.json()
        assert body.keys() == {"err", "code", "request_id"}, body
        assert body["err"], "a failure says what is wrong"
        assert body["request_id"] == response.headers["x-request-id"]
        return response.status, body["code"]


def serve(
    name: str, build_app: BuildApp, body_limit: Callable[[str], int] = lambda _path: MAX_BODY_BYTES
) -> InternalService:
    """The service ``name`` as its own ``app.py`` puts it together, but for the database."""

    class Settings(ServiceSettings):
        service_name = name

    accepts = {caller: edge_secret(caller, name) for caller in CALLERS}
    app = build_app(CallerAuth(name, accepts, SystemClock()))
    return InternalService(
        name, build_http_service(Settings(mode=Mode.LOCAL), app, readiness={}, body_limit=body_limit)
    )
