"""One's own account: who you are, the sessions and tokens that can act as you, and what happened."""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.interfaces import UserManager
from pkg.object_model.types import CreateTokenRequest, PageRequest, Scope, UpdateUserRequest
from svc.api_gateway_service.browser_keys import BrowserKeys
from svc.api_gateway_service.cookies import SESSION, Cookies
from svc.api_gateway_service.door import Door, Visitor
from svc.api_gateway_service.pages.page import HOME, Fields, Handler, Pages, field, page_route, read_fields, see_other
from svc.api_gateway_service.peers import ask_together
from svc.api_gateway_service.request_head import read_head

PROFILE: Final = HOME + "/profile"
TOKENS: Final = HOME + "/tokens"
REVOKE: Final = HOME + "/tokens/revoke"
END_SESSION: Final = HOME + "/sessions/end"
END_OTHERS: Final = HOME + "/sessions/end-others"
DELETE: Final = HOME + "/delete"

#: Days for which a token may be made.
LIFETIMES: Final = (7, 30, 90, 366)
_USUAL_LIFETIME: Final = 90
_EVENTS_SHOWN: Final = 20
SCOPE_MEANINGS: Final = {
    Scope.LINKS_READ: "read links and tags, and export them",
    Scope.LINKS_WRITE: "save, change, delete and import links",
    Scope.SOCIAL: "see people, follow them, answer their requests, block",
    Scope.NEWS: "read your news",
    Scope.ACCOUNT: "change your account, make and revoke tokens, end sessions",
}
#: What the page says when something was done, by what the URL calls it.
_DONE: Final = {
    "profile": "Your account is changed.",
    "token": "The token is revoked.",
    "session": "The session is ended.",
    "sessions": "All other sessions are ended.",
}

type Change = Callable[[Visitor, Fields], Awaitable[Response]]


class AccountPages:
    def __init__(self, pages: Pages, door: Door, users: UserManager, cookies: Cookies, keys: BrowserKeys) -> None:
        self._pages = pages
        self._door = door
        self._users = users
        self._cookies = cookies
        self._keys = keys

    def routes(self) -> list[Route]:
        changes: dict[str, Change] = {
            PROFILE: self._change_profile,
            TOKENS: self._make_token,
            REVOKE: self._revoke_token,
            END_SESSION: self._end_session,
            END_OTHERS: self._end_other_sessions,
            DELETE: self._delete,
        }
        return [
            page_route(HOME, GET=self._pages.guard(self._show)),
            *(page_route(path, POST=self._pages.guard(self._intended(change))) for path, change in changes.items()),
        ]

    async def _show(self, http: Request) -> Response:
        visitor = await self._door.welcome(read_head(http.scope["headers"]))
        actor = visitor.identity.actor
        user, sessions, tokens, audit = await ask_together(
            self._users.get_user(actor, actor.name),
            self._users.list_sessions(actor),
            self._users.list_tokens(actor),
            self._users.get_audit_events(actor, PageRequest(limit=_EVENTS_SHOWN)),
        )
        return self._pages.show(
            "account",
            user=user,
            session_id=visitor.identity.token.id,
            sessions=sessions,
            tokens=tokens,
            events=audit.events,
            scopes=SCOPE_MEANINGS,
            lifetimes=LIFETIMES,
            usual_lifetime=_USUAL_LIFETIME,
            done=_DONE.get(http.query_params.get("done", "")),
            csrf_token=self._keys.csrf_token(visitor.session),
        )

    def _intended(self, change: Change) -> Handler:
        """Does it for whoever sent the form from a page of ours."""

        async def serve(http: Request) -> Response:
            head = read_head(http.scope["headers"])
            visitor = await self._door.welcome(head)
            fields = await read_fields(http)
            self._door.check_intent(head, visitor.session, field(fields, "csrf_token"))
            return await change(visitor, fields)

        return serve

    async def _change_profile(self, visitor: Visitor, fields: Fields) -> Response:
        request = UpdateUserRequest(
            display_name=field(fields, "display_name"),
            email=field(fields, "email"),
            # A box that is not ticked is not sent.
            private=field(fields, "private") == "yes",
        )
        await self._users.update_user(visitor.identity.actor, request)
        return _done("profile")

    async def _make_token(self, visitor: Visitor, fields: Fields) -> Response:
        request = CreateTokenRequest(
            name=field(fields, "name"),
            scopes=tuple(_scope(value) for name, value in fields if name == "scope"),
            expires_in_days=_number(fields, "expires_in_days"),
        )
        made = await self._users.create_token(visitor.identity.actor, request)
        # The answer itself, since the token must not be in a URL, and nobody can be shown it again.
        return self._pages.show("token_made", token=made.token, record=made.record)

    async def _revoke_token(self, visitor: Visitor, fields: Fields) -> Response:
        await self._users.revoke_token(visitor.identity.actor, _number(fields, "id"))
        return _done("token")

    async def _end_session(self, visitor: Visitor, fields: Fields) -> Response:
        await self._users.end_session(visitor.identity.actor, _number(fields, "id"))
        return _done("session")

    async def _end_other_sessions(self, visitor: Visitor, fields: Fields) -> Response:
        await self._users.end_sessions(visitor.identity.actor, except_id=visitor.identity.token.id)
        return _done("sessions")

    async def _delete(self, visitor: Visitor, fields: Fields) -> Response:
        actor = visitor.identity.actor
        await self._users.delete_account(actor, field(fields, "confirm").strip())
        response = self._pages.show("deleted", user_name=actor.name)
        response.headers.append("Set-Cookie", self._cookies.drop(SESSION))
        return response


def _done(what: str) -> Response:
    return see_other(f"{HOME}?done={what}")


def _scope(text: str) -> Scope:
    if text not in Scope:
        raise InvalidArgument("there is no such scope; send the form as it is shown")
    return Scope(text)


def _number(fields: Fields, name: str) -> int:
    text = field(fields, name)
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise InvalidArgument(f"{name} must be a whole number; send the form as it is shown")
    return int(text)
