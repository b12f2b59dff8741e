"""The user service's REST interface: what each operation is called, reads and answers."""

from typing import Any

from fastapi import FastAPI

from pkg.object_model.interfaces import UserManager
from pkg.object_model.types import (
    MAX_BODY_BYTES,
    CreateTokenRequest,
    PageRequest,
    ProviderProfile,
    RegisterRequest,
    UpdateUserRequest,
)
from pkg.object_model.wire import (
    audit_page_to_wire,
    entry_to_wire,
    identity_to_wire,
    new_api_token_to_wire,
    session_to_wire,
    ticket_to_wire,
    token_records_to_wire,
    user_to_wire,
)
from pkg.object_model.wire_requests import (
    AUDIT_QUERY,
    AdmitRequest,
    AuthenticateRequest,
    DeleteAccountRequest,
    EndSessionsRequest,
    FindNamesRequest,
    FindUsersRequest,
    GetUserRequest,
    LoginRequest,
    LogoutRequest,
    NoArguments,
    RecordAuditEventRequest,
    TokenIdRequest,
    UserNameRequest,
)
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.client_address import ToldClientAddress
from pkg.runtime.endpoint import Answer, Body, Endpoint, Query, build_endpoints


def build_app(manager: UserManager, caller_auth: CallerAuth, *, docs: bool = False) -> FastAPI:
    app = build_endpoints("user-manager", caller_auth, user_endpoints(manager), docs=docs)
    app.add_middleware(ToldClientAddress)
    return app


def body_limit(path: str) -> int:
    return MAX_BODY_BYTES


def user_endpoints(manager: UserManager) -> list[Endpoint[Any]]:
    handlers = _Handlers(manager)
    return [*_directory(handlers), *_logins(handlers), *_own_account(handlers)]


def _directory(handlers: "_Handlers") -> list[Endpoint[Any]]:
    return [
        Endpoint(
            method="POST",
            path="/register",
            operation="users.register",
            reads=Body(RegisterRequest),
            handle=handlers.register,
        ),
        Endpoint(
            method="GET",
            # A name with a slash in it is nobody's, which is for the manager to say.
            path="/users/{name:text}",
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


def _logins(handlers: "_Handlers") -> list[Endpoint[Any]]:
    return [
        Endpoint(
            method="POST",
            path="/admit",
            operation="users.admit",
            reads=Body(AdmitRequest),
            handle=handlers.admit,
        ),
        Endpoint(
            method="POST",
            path="/tickets",
            operation="users.tickets",
            reads=Body(UserNameRequest),
            handle=handlers.issue_ticket,
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
    ]


def _own_account(handlers: "_Handlers") -> list[Endpoint[Any]]:
    """About the end user of the call, whom nothing else names."""
    return [
        Endpoint(
            method="PUT",
            path="/account",
            operation="users.account",
            reads=Body(UpdateUserRequest),
            handle=handlers.update_user,
        ),
        Endpoint(
            method="DELETE",
            path="/account",
            operation="users.account",
            reads=Query(DeleteAccountRequest, {"confirm": "confirm"}),
            handle=handlers.delete_account,
        ),
        Endpoint(
            method="GET",
            path="/sessions",
            operation="users.tokens",
            reads=Query(NoArguments, {}),
            handle=handlers.list_sessions,
        ),
        Endpoint(
            method="DELETE",
            path="/sessions",
            operation="users.tokens",
            reads=Query(EndSessionsRequest, {"except_id": "except"}),
            handle=handlers.end_sessions,
        ),
        Endpoint(
            method="DELETE",
            path="/sessions/{token_id}",
            operation="users.tokens",
            reads=Query(TokenIdRequest, {"token_id": "token_id"}),
            handle=handlers.end_session,
        ),
        Endpoint(
            method="GET",
            path="/tokens",
            operation="users.tokens",
            reads=Query(NoArguments, {}),
            handle=handlers.list_tokens,
        ),
        Endpoint(
            method="POST",
            path="/tokens",
            operation="users.tokens",
            reads=Body(CreateTokenRequest),
            handle=handlers.create_token,
        ),
        Endpoint(
            method="DELETE",
            path="/tokens/{token_id}",
            operation="users.tokens",
            reads=Query(TokenIdRequest, {"token_id": "token_id"}),
            handle=handlers.revoke_token,
        ),
        Endpoint(
            method="GET",
            path="/audit",
            operation="users.audit",
            reads=Query(PageRequest, AUDIT_QUERY),
            handle=handlers.get_audit_events,
        ),
        Endpoint(
            method="POST",
            path="/audit",
            operation="users.audit",
            reads=Body(RecordAuditEventRequest),
            handle=handlers.record_audit_event,
        ),
    ]


class _Handlers:
    def __init__(self, manager: UserManager) -> None:
        self._manager = manager

    async def register(self, call: Call, request: RegisterRequest) -> Answer:
        return {"user": user_to_wire(await self._manager.register(call.actor, request)), "err": ""}

    async def admit(self, call: Call, request: AdmitRequest) -> Answer:
        """A ticket for the user whom a provider vouched for, who is made if there is none yet."""
        return ticket_to_wire(await self._manager.admit(ProviderProfile(**request.model_dump())))

    async def issue_ticket(self, call: Call, request: UserNameRequest) -> Answer:
        return ticket_to_wire(await self._manager.issue_ticket(request.username))

    async def login(self, call: Call, request: LoginRequest) -> Answer:
        return session_to_wire(await self._manager.login(request.username, request.auth_token, request.client))

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

    async def update_user(self, call: Call, request: UpdateUserRequest) -> Answer:
        return {"user": user_to_wire(await self._manager.update_user(call.actor, request)), "err": ""}

    async def list_sessions(self, call: Call, request: NoArguments) -> Answer:
        return token_records_to_wire("sessions", await self._manager.list_sessions(call.actor))

    async def end_session(self, call: Call, request: TokenIdRequest) -> Answer:
        return {"ended": await self._manager.end_session(call.actor, request.token_id), "err": ""}

    async def end_sessions(self, call: Call, request: EndSessionsRequest) -> Answer:
        """Of the user, all but the one that is excepted."""
        return {"ended": await self._manager.end_sessions(call.actor, request.except_id), "err": ""}

    async def create_token(self, call: Call, request: CreateTokenRequest) -> Answer:
        """The only answer that has the token in it."""
        return new_api_token_to_wire(await self._manager.create_token(call.actor, request))

    async def list_tokens(self, call: Call, request: NoArguments) -> Answer:
        return token_records_to_wire("tokens", await self._manager.list_tokens(call.actor))

    async def revoke_token(self, call: Call, request: TokenIdRequest) -> Answer:
        return {"revoked": await self._manager.revoke_token(call.actor, request.token_id), "err": ""}

    async def get_audit_events(self, call: Call, request: PageRequest) -> Answer:
        return audit_page_to_wire(await self._manager.get_audit_events(call.actor, request))

    async def record_audit_event(self, call: Call, request: RecordAuditEventRequest) -> Answer:
        await self._manager.record_audit_event(call.actor, request.type, request.detail, request.client)
        return {"err": ""}

    async def delete_account(self, call: Call, request: DeleteAccountRequest) -> Answer:
        """Closed at once; what the services hold of the user is erased soon."""
        await self._manager.delete_account(call.actor, request.confirm)
        return {"err": ""}
