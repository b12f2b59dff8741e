"""The user service's REST interface: what each operation is called, reads and answers."""

from typing import Any

from fastapi import FastAPI

from pkg.object_model.interfaces import UserManager
from pkg.object_model.types import MAX_BODY_BYTES, RegisterRequest
from pkg.object_model.wire import entry_to_wire, identity_to_wire, session_to_wire, user_to_wire
from pkg.object_model.wire_requests import (
    AuthenticateRequest,
    FindNamesRequest,
    FindUsersRequest,
    GetUserRequest,
    LoginRequest,
    LogoutRequest,
)
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.endpoint import Answer, Body, Endpoint, Query, build_endpoints


def build_app(manager: UserManager, caller_auth: CallerAuth, *, docs: bool = False) -> FastAPI:
    return build_endpoints("user-manager", caller_auth, user_endpoints(manager), docs=docs)


def body_limit(path: str) -> int:
    return MAX_BODY_BYTES


def user_endpoints(manager: UserManager) -> list[Endpoint[Any]]:
    handlers = _Handlers(manager)
    return [
        Endpoint(
            method="POST",
            path="/register",
            operation="users.register",
            reads=Body(RegisterRequest),
            handle=handlers.register,
        ),
        Endpoint(
            method="POST",
            path="/login",
            operation="users.login",
            reads=Body(LoginRequest),
            handle=handlers.login,
        ),
        Endpoint(
            method="POST",
            path="/logout",
            operation="users.logout",
            reads=Body(LogoutRequest),
            handle=handlers.logout,
        ),
        Endpoint(
            method="POST",
            path="/authenticate",
            operation="users.authenticate",
            reads=Body(AuthenticateRequest),
            handle=handlers.authenticate,
            hot=True,
        ),
        Endpoint(
            method="GET",
            # A name with a slash in it is nobody's, which is for the manager to say.
            path="/users/{name:path}",
            operation="users.read",
            reads=Query(GetUserRequest, {"name": "name"}),
            handle=handlers.get_user,
        ),
        Endpoint(
            method="POST",
            path="/users/find",
            operation="users.find",
            reads=Body(FindUsersRequest),
            handle=handlers.find_users,
            hot=True,
        ),
        Endpoint(
            method="POST",
            path="/users/names",
            operation="users.find",
            reads=Body(FindNamesRequest),
            handle=handlers.find_names,
            hot=True,
        ),
    ]


class _Handlers:
    def __init__(self, manager: UserManager) -> None:
        self._manager = manager

    async def register(self, call: Call, request: RegisterRequest) -> Answer:
        return {"user": user_to_wire(await self._manager.register(call.actor, request)), "err": ""}

    async def login(self, call: Call, request: LoginRequest) -> Answer:
        return session_to_wire(await self._manager.login(request.username, request.auth_token))

    async def logout(self, call: Call, request: LogoutRequest) -> Answer:
        """Ends the session, and nothing else."""
        await self._manager.logout(request.username, request.session)
        return {"err": ""}

    async def authenticate(self, call: Call, request: AuthenticateRequest) -> Answer:
        """Whom a session's or an API token stands for."""
        return identity_to_wire(await self._manager.authenticate(request.token))

    async def get_user(self, call: Call, request: GetUserRequest) -> Answer:
        return {"user": user_to_wire(await self._manager.get_user(call.actor, request.name)), "err": ""}

    async def find_users(self, call: Call, request: FindUsersRequest) -> Answer:
        """By the name as asked; unknown ones are left out."""
        found = await self._manager.find_users(request.names)
        return {"users": {name: entry_to_wire(user) for name, user in found.items()}, "err": ""}

    async def find_names(self, call: Call, request: FindNamesRequest) -> Answer:
        found = await self._manager.find_names(request.user_ids())
        return {"names": {str(user_id): name for user_id, name in found.items()}, "err": ""}
