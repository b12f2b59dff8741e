"""Who is let in, by what: a token in a header, or the cookie of a session.

A browser sends a cookie with whatever any page has it ask, so that it proves who asks but not that they meant to. What
changes anything needs more (https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html):
the browser must not say that another site's page asks, and the request must show a token that only pages of ours know.
Nothing but a page of ours can set a header, so that one with a token needs neither.
"""

import contextlib
from typing import Final, NamedTuple

from pkg.object_model.errors import PermissionDenied, Unauthenticated
from pkg.object_model.types import Identity, Scope
from svc.api_gateway_service.browser_keys import BrowserKeys
from svc.api_gateway_service.cookies import SESSION, Cookies
from svc.api_gateway_service.limits import Limits, Pace
from svc.api_gateway_service.request_head import RequestHead
from svc.api_gateway_service.tokens import TokenVerdicts

_CHANGES_NOTHING: Final = frozenset({"GET", "HEAD"})


class Visitor(NamedTuple):
    """Somebody with a session in their browser."""

    identity: Identity
    #: The session's token.
    session: str


class Door:
    def __init__(
        self, verdicts: TokenVerdicts, limits: Limits, cookies: Cookies, keys: BrowserKeys, public_url: str
    ) -> None:
        self._verdicts = verdicts
        self._limits = limits
        self._cookies = cookies
        self._keys = keys
        self._origin = public_url

    async def admit(self, method: str, head: RequestHead, pace: Pace, scope: Scope | None) -> Identity:
        """Whoever asks for an operation that needs ``scope``; None: that any token is good for.

        Raises:
            Unauthenticated: nobody whom we know (``missing_token``, ``invalid_token``).
            InvalidArgument: there are two tokens, and they differ.
            PermissionDenied: the token is not good for this (``insufficient_scope``), or another site may have asked
                (``cross_site_request``, ``csrf_token_mismatch``).
            RateLimited: they ask too often.
            Unavailable, DeadlineExceeded: nobody can tell now.
        """
        identity = await self._limits.admit(self._identify(method, head), pace)
        _check_scope(identity, scope)
        return identity

    async def confirm(self, head: RequestHead, scope: Scope | None) -> Identity:
        """Whoever was admitted and still reads: whether they may go on. Raises as ``admit``, and counts as nothing."""
        identity = await self._verdicts.identify(head.token() or self._session(head))
        _check_scope(identity, scope)
        return identity

    async def _identify(self, method: str, head: RequestHead) -> Identity:
        token = head.token()
        if not token:
            token = self._session(head)
            if method not in _CHANGES_NOTHING:
                self.check_intent(head, token, head.csrf_token)
        return await self._verdicts.identify(token)

    async def welcome(self, head: RequestHead) -> Visitor:
        """Whoever looks at a page. Raises Unauthenticated, Unavailable and DeadlineExceeded, as ``admit`` does."""
        session = self._session(head)
        return Visitor(await self._verdicts.identify(session), session)

    async def recognise(self, head: RequestHead) -> Visitor | None:
        """The same, but for None where ``welcome`` knows nobody."""
        with contextlib.suppress(Unauthenticated):
            return await self.welcome(head)
        return None

    def check_intent(self, head: RequestHead, session: str, csrf_token: str) -> None:
        """Raises PermissionDenied as ``admit`` does."""
        self.check_site(head)
        if not self._keys.is_csrf_token(session, csrf_token):
            raise PermissionDenied(
                "a request with a cookie must show the session's CSRF token, in X-CSRF-Token or in its form; load the "
                "page again, and send it from there",
                code="csrf_token_mismatch",
            )

    def check_site(self, head: RequestHead, *, required: bool = False) -> None:
        """``required``: the browser has to say where the request comes from, as all of today do with forms."""
        if head.sec_fetch_site:
            ours = head.sec_fetch_site == "same-origin"
        elif head.origin:
            ours = head.origin == self._origin
        else:
            ours = not required
        if not ours:
            raise PermissionDenied(
                "another site asked your browser to do this, so it is not done", code="cross_site_request"
            )

    def _session(self, head: RequestHead) -> str:
        session = self._cookies.read(head.cookie, SESSION) if head.cookie else ""
        if not session:
            raise Unauthenticated(
                "send your token in the header Access-Token, or as Authorization: Bearer", code="missing_token"
            )
        return session


def _check_scope(identity: Identity, scope: Scope | None) -> None:
    if scope is not None and scope not in identity.token.scopes:
        raise PermissionDenied(
            f"this token is not good for {scope.value}; make one that is, at /account", code="insufficient_scope"
        )
