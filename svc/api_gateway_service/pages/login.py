"""In and out: by a provider, or by a ticket. A browser's session is kept in a cookie."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pkg.identity_providers.provider import (
    IdentityProvider,
    LoginAttempt,
    begin_attempt,
    explain_refusal,
    not_proven,
    provider_too_slow,
)
from pkg.object_model.clock import Clock
from pkg.object_model.errors import DelinkciousError, InvalidArgument, NotFound
from pkg.object_model.interfaces import UserManager
from pkg.object_model.types import Session
from svc.api_gateway_service.browser_keys import ATTEMPT_LIFETIME, BrowserKeys
from svc.api_gateway_service.cookies import LOGIN_ATTEMPT, SESSION, Cookies
from svc.api_gateway_service.door import Door
from svc.api_gateway_service.pages.page import LOGIN, Pages, field, local_target, page_route, read_fields, see_other
from svc.api_gateway_service.readers import JSON, media_type
from svc.api_gateway_service.request_head import RequestHead, read_head
from svc.api_gateway_service.sessions import Sessions, client_of

CALLBACK: Final = "/login/authorized"
LOGOUT: Final = "/logout"
#: Seconds for all that a provider is asked at the end of a login, well within the time of a request.
PROVIDER_DEADLINE: Final = 8.0
#: In local mode any proof will do.
_NO_PROOF: Final = "local"


class LoginPages:
    def __init__(
        self,
        pages: Pages,
        door: Door,
        users: UserManager,
        sessions: Sessions,
        providers: Sequence[IdentityProvider],
        cookies: Cookies,
        keys: BrowserKeys,
        clock: Clock,
        *,
        public_url: str,
        local_users: bool,
    ) -> None:
        """``local_users``: a name alone is enough, as in local mode."""
        self._pages = pages
        self._door = door
        self._users = users
        self._sessions = sessions
        self._providers = {provider.name: provider for provider in providers}
        self._cookies = cookies
        self._keys = keys
        self._clock = clock
        self._callback = public_url + CALLBACK
        self._local_users = local_users

    def routes(self) -> list[Route]:
        return [
            page_route(LOGIN, GET=self._pages.guard(self.offer), POST=self.log_in),
            page_route(CALLBACK, GET=self._pages.guard(self.come_back)),
            page_route(LOGOUT, GET=self._pages.guard(self.ask_to_log_out), POST=self.log_out),
        ]

    # --- in -----------------------------------------------------------------------------------------------------------

    async def offer(self, http: Request) -> Response:
        """Sends the browser to the provider that it names, or to the only one; otherwise lets people choose."""
        target = local_target(http.query_params.get("next", ""))
        name = http.query_params.get("provider", "")
        if not name and len(self._providers) == 1:
            (name,) = self._providers
        if name:
            return await self._send_to(self._provider(name), target)
        return self._pages.show(
            "login", providers=list(self._providers.values()), target=target, local_users=self._local_users
        )

    async def come_back(self, http: Request) -> Response:
        """The provider's answer, which is good once, in the browser that asked for it."""
        attempt = self._attempt(http)
        provider = self._provider(attempt.provider)
        query = http.query_params
        if provider.issuer and query.get("iss", provider.issuer) != provider.issuer:
            raise not_proven(provider.title)
        if "error" in query:
            raise explain_refusal(provider.title, query["error"])
        async with within(PROVIDER_DEADLINE, provider.title):
            profile = await provider.fetch_profile(attempt, query.get("code", ""), self._callback)
        ticket = await self._users.admit(profile)
        session = await self._users.login(ticket.user.name, ticket.ticket, client_of(http))
        return await self._let_in(http, session, attempt.next_path)

    async def log_in(self, http: Request) -> Response:
        if media_type(http.headers.get("content-type", "")) == JSON:
            return await self._sessions.log_in(http)
        return await self._pages.guard(self._log_in_by_form)(http)

    async def _log_in_by_form(self, http: Request) -> Response:
        # There is no session yet that a token could be bound to, so that whose page it is has to do.
        self._door.check_site(_head(http), required=True)
        fields = await read_fields(http)
        proof = field(fields, "AuthToken").strip() or _NO_PROOF
        session = await self._users.login(field(fields, "Username").strip(), proof, client_of(http))
        return await self._let_in(http, session, local_target(field(fields, "next")))

    async def _send_to(self, provider: IdentityProvider, target: str) -> Response:
        attempt = begin_attempt(provider.name, target)
        async with within(PROVIDER_DEADLINE, provider.title):
            response = see_other(await provider.authorization_url(attempt, self._callback))
        sealed = self._keys.seal_attempt(attempt)
        response.headers.append("Set-Cookie", self._cookies.keep(LOGIN_ATTEMPT, sealed, ATTEMPT_LIFETIME))
        return response

    async def _let_in(self, http: Request, session: Session, target: str) -> Response:
        await self._end_former_session(_head(http))
        seconds = int((session.expires_at - self._clock.now()).total_seconds())
        response = see_other(target)
        response.headers.append("Set-Cookie", self._cookies.keep(SESSION, session.token, seconds))
        response.headers.append("Set-Cookie", self._cookies.drop(LOGIN_ATTEMPT))
        return response

    async def _end_former_session(self, head: RequestHead) -> None:
        """Of this browser. One that cannot be ended ends by itself."""
        with contextlib.suppress(DelinkciousError):
            former = await self._door.recognise(head)
            if former is not None:
                await self._users.logout(former.identity.actor.name, former.session)

    def _attempt(self, http: Request) -> LoginAttempt:
        attempt = self._keys.open_attempt(self._cookies.read(_head(http).cookie, LOGIN_ATTEMPT))
        given = http.query_params.get("state", "").encode()
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), given):
            raise InvalidArgument(
                "this login was not begun in this browser, or longer ago than ten minutes, or another one was begun "
                "since; start it again",
                code="login_state_mismatch",
            )
        return attempt

    def _provider(self, name: str) -> IdentityProvider:
        provider = self._providers.get(name)
        if provider is None:
            raise NotFound("nobody can log in that way here; choose one of those at /login", code="no_such_provider")
        return provider

    # --- out ----------------------------------------------------------------------------------------------------------

    async def ask_to_log_out(self, http: Request) -> Response:
        visitor = await self._door.recognise(_head(http))
        if visitor is None:
            return self._pages.show("logged_out")
        csrf_token = self._keys.csrf_token(visitor.session)
        return self._pages.show("logout", user_name=visitor.identity.actor.name, csrf_token=csrf_token)

    async def log_out(self, http: Request) -> Response:
        if _head(http).token():
            return await self._sessions.log_out(http)
        return await self._pages.guard(self._log_out_by_form)(http)

    async def _log_out_by_form(self, http: Request) -> Response:
        head = _head(http)
        visitor = await self._door.welcome(head)
        self._door.check_intent(head, visitor.session, field(await read_fields(http), "csrf_token"))
        await self._users.logout(visitor.identity.actor.name, visitor.session)
        response = see_other(LOGOUT)
        response.headers.append("Set-Cookie", self._cookies.drop(SESSION))
        return response


def _head(http: Request) -> RequestHead:
    return read_head(http.scope["headers"])


@asynccontextmanager
async def within(seconds: float, title: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise provider_too_slow(title) from None
