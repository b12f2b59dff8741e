"""The user service from afar."""

from collections.abc import Collection
from dataclasses import asdict
from itertools import batched
from typing import Final
from urllib.parse import quote

from pkg.clients.reply import read_reply
from pkg.object_model import interfaces
from pkg.object_model.types import (
    Actor,
    AuditEventType,
    AuditPage,
    CreateTokenRequest,
    DirectoryEntry,
    Identity,
    NewApiToken,
    PageRequest,
    ProviderProfile,
    RegisterRequest,
    Session,
    Ticket,
    TokenRecord,
    UpdateUserRequest,
    User,
    WireRequest,
)
from pkg.object_model.wire import (
    audit_page_from_wire,
    entry_from_wire,
    identity_from_wire,
    new_api_token_from_wire,
    session_from_wire,
    ticket_from_wire,
    token_records_from_wire,
    user_from_wire,
)
from pkg.object_model.wire_requests import (
    AUDIT_QUERY,
    MAX_LOOKUP,
    AdmitRequest,
    AuthenticateRequest,
    FindNamesRequest,
    FindUsersRequest,
    LoginRequest,
    LogoutRequest,
    RecordAuditEventRequest,
    UserNameRequest,
    to_query,
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

    async def admit(self, profile: ProviderProfile) -> Ticket:
        # A repeat costs a ticket that nobody uses.
        body = await self._post("/admit", AdmitRequest(**asdict(profile)), repeatable=True)
        return read_reply(_SERVICE, body, ticket_from_wire)

    async def issue_ticket(self, username: str) -> Ticket:
        body = await self._post("/tickets", UserNameRequest(username=username))
        return read_reply(_SERVICE, body, ticket_from_wire)

    async def login(self, username: str, auth_token: str, client: str = "") -> Session:
        body = await self._post("/login", LoginRequest(username=username, auth_token=auth_token, client=client))
        return read_reply(_SERVICE, body, session_from_wire)

    async def logout(self, username: str, session: str) -> None:
        await self._post("/logout", LogoutRequest(username=username, session=session))

    async def authenticate(self, token: str) -> Identity:
        body = await self._post("/authenticate", AuthenticateRequest(token=token), repeatable=True)
        return read_reply(_SERVICE, body, identity_from_wire)

    async def get_user(self, actor: Actor | None, name: str) -> User:
        body = await self._http.request("GET", f"/users/{quote(name, safe='')}", actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: user_from_wire(wire["user"]))

    async def update_user(self, actor: Actor | None, request: UpdateUserRequest) -> User:
        body = await self._http.request(
            "PUT", "/account", actor=actor, body=encode(request.to_wire()), repeatable=False
        )
        return read_reply(_SERVICE, body, lambda wire: user_from_wire(wire["user"]))

    async def list_sessions(self, actor: Actor | None) -> list[TokenRecord]:
        body = await self._http.request("GET", "/sessions", actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: token_records_from_wire("sessions", wire))

    async def end_session(self, actor: Actor | None, session_id: int) -> bool:
        """False as well if a first attempt ended it and only its answer was lost; likewise below."""
        body = await self._http.request("DELETE", f"/sessions/{session_id}", actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: bool(wire["ended"]))

    async def end_sessions(self, actor: Actor | None, except_id: int | None = None) -> int:
        query = {} if except_id is None else {"except": str(except_id)}
        body = await self._http.request("DELETE", "/sessions", actor=actor, params=query, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: int(wire["ended"]))

    async def create_token(self, actor: Actor | None, request: CreateTokenRequest) -> NewApiToken:
        body = await self._post("/tokens", request, actor=actor)
        return read_reply(_SERVICE, body, new_api_token_from_wire)

    async def list_tokens(self, actor: Actor | None) -> list[TokenRecord]:
        body = await self._http.request("GET", "/tokens", actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: token_records_from_wire("tokens", wire))

    async def revoke_token(self, actor: Actor | None, token_id: int) -> bool:
        body = await self._http.request("DELETE", f"/tokens/{token_id}", actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: bool(wire["revoked"]))

    async def get_audit_events(self, actor: Actor | None, request: PageRequest) -> AuditPage:
        query = to_query(request, AUDIT_QUERY)
        body = await self._http.request("GET", "/audit", actor=actor, params=query, repeatable=True)
        return read_reply(_SERVICE, body, audit_page_from_wire)

    async def delete_account(self, actor: Actor | None, confirm: str) -> None:
        await self._http.request("DELETE", "/account", actor=actor, params={"confirm": confirm}, repeatable=True)

    async def record_audit_event(
        self, actor: Actor | None, event_type: AuditEventType, detail: str, client: str = ""
    ) -> None:
        event = RecordAuditEventRequest(type=event_type, detail=detail, client=client)
        await self._post("/audit", event, actor=actor)

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
