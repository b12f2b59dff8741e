"""The user service from afar."""

from collections.abc import Collection
from itertools import batched
from typing import Final
from urllib.parse import quote

from pkg.clients.reply import read_reply
from pkg.object_model import interfaces
from pkg.object_model.types import Actor, DirectoryEntry, Identity, RegisterRequest, Session, User, WireRequest
from pkg.object_model.wire import entry_from_wire, identity_from_wire, session_from_wire, user_from_wire
from pkg.object_model.wire_requests import (
    MAX_LOOKUP,
    AuthenticateRequest,
    FindNamesRequest,
    FindUsersRequest,
    LoginRequest,
    LogoutRequest,
)
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.json import encode

_SERVICE: Final = "user-manager"


class UserClient(interfaces.UserManager):
    def __init__(self, http: ServiceHttpClient) -> None:
        self._http = http

    async def register(self, actor: Actor | None, request: RegisterRequest) -> User:
        body = await self._post("/register", request, actor=actor)
        return read_reply(_SERVICE, body, lambda wire: user_from_wire(wire["user"]))

    async def login(self, username: str, auth_token: str) -> Session:
        body = await self._post("/login", LoginRequest(username=username, auth_token=auth_token))
        return read_reply(_SERVICE, body, session_from_wire)

    async def logout(self, username: str, session: str) -> None:
        await self._post("/logout", LogoutRequest(username=username, session=session))

    async def authenticate(self, token: str) -> Identity:
        body = await self._post("/authenticate", AuthenticateRequest(token=token), repeatable=True)
        return read_reply(_SERVICE, body, identity_from_wire)

    async def get_user(self, actor: Actor | None, name: str) -> User:
        body = await self._http.request("GET", f"/users/{quote(name, safe='')}", actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: user_from_wire(wire["user"]))

    async def find_users(self, names: Collection[str]) -> dict[str, DirectoryEntry]:
        found: dict[str, DirectoryEntry] = {}
        for some in batched(names, MAX_LOOKUP):
            body = await self._post("/users/find", FindUsersRequest(names=some), repeatable=True)
            found |= read_reply(
                _SERVICE,
                body,
                lambda wire: {name: entry_from_wire(user) for name, user in wire["users"].items()},
            )
        return found

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        for some in batched(user_ids, MAX_LOOKUP):
            ids = FindNamesRequest(ids=tuple(str(user_id) for user_id in some))
            body = await self._post("/users/names", ids, repeatable=True)
            found |= read_reply(
                _SERVICE,
                body,
                lambda wire: {int(user_id): str(name) for user_id, name in wire["names"].items()},
            )
        return found

    async def _post(
        self, path: str, request: WireRequest, *, actor: Actor | None = None, repeatable: bool = False
    ) -> bytes:
        return await self._http.request(
            "POST", path, actor=actor, body=encode(request.to_wire()), repeatable=repeatable
        )
