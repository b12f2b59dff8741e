"""Whom a token stands for: the user service's word, remembered for a few seconds.

Verdicts are kept by the token's SHA-256, so that a dump of this process holds no credential that anybody sent. Those of
a user are forgotten as soon as the user service says that a session or token of theirs has ended; while it cannot be
heard, the lifetime of a verdict bounds how long such a one still opens the door.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Final, NamedTuple, Protocol

from pkg.object_model.clock import Clock
from pkg.object_model.errors import Unauthenticated
from pkg.object_model.types import Identity
from pkg.runtime.context import CURRENT_CONTEXT

MAX_KNOWN: Final = 10_000
#: Of tokens that stand for nobody, in a place of their own: whoever tries many must not push out those who are known.
MAX_REFUSED: Final = 1_000
#: Seconds. Longer would spare little, and a token that just came into being might have been asked for too early.
REFUSED_LIFETIME: Final = 1.0
MAX_TOKEN_LENGTH: Final = 512


class Authenticator(Protocol):
    """The part of the user service that is needed here."""

    async def authenticate(self, token: str) -> Identity: ...


class _Known(NamedTuple):
    identity: Identity
    #: On the scale of ``now``.
    expires: float


class _Refused(NamedTuple):
    message: str
    code: str
    expires: float


class TokenVerdicts:
    def __init__(
        self,
        users: Authenticator,
        clock: Clock,
        *,
        lifetime: float,
        now: Callable[[], float] = time.monotonic,
        max_known: int = MAX_KNOWN,
        max_refused: int = MAX_REFUSED,
    ) -> None:
        """``lifetime`` is in seconds, counted from when the user service was asked."""
        self._users = users
        self._clock = clock
        self._lifetime = lifetime
        self._now = now
        self._max_known = max_known
        self._max_refused = max_refused
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        #: Of those who are known: their digests by user id.
        self._by_user: dict[int, set[bytes]] = {}
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Identity]] = {}
        #: How often somebody was forgotten: what was asked before may not be remembered after.
        self._forgotten = 0

    def forget(self, user_id: int) -> None:
        """Has the user service asked again about every token of this user."""
        self._forgotten += 1
        for digest in self._by_user.pop(user_id, ()):
            del self._known[digest]

    def forget_all(self) -> None:
        self._forgotten += 1
        self._by_user.clear()
        self._known.clear()

    async def identify(self, token: str) -> Identity:
        """
        Raises:
            Unauthenticated: the token is not, or no longer, anybody's (``invalid_token``).
            Unavailable, DeadlineExceeded: the user service cannot tell now, and nothing is remembered.
        """
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii() or not token.isprintable():
            raise Unauthenticated("this is no token of ours; log in to get one", code="invalid_token")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None and self._now() < known.expires:
            self._known.move_to_end(digest)
            return known.identity
        refused = self._refused.get(digest)
        if refused is not None and self._now() < refused.expires:
            raise Unauthenticated(refused.message, code=refused.code)
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.create_task(self._ask(digest, token), context=_without_deadline())
            asking.add_done_callback(_take_note)
            self._asking[digest] = asking
        # Shielded: one who gives up must not take the answer from the others who wait for it.
        return await asyncio.shield(asking)

    async def _ask(self, digest: bytes, token: str) -> Identity:
        asked, forgotten = self._now(), self._forgotten
        try:
            identity = await self._users.authenticate(token)
        except Unauthenticated as refusal:
            self._drop(digest)
            expires = asked + min(self._lifetime, REFUSED_LIFETIME)
            self._refused[digest] = _Refused(refusal.message, refusal.code, expires)
            self._refused.move_to_end(digest)
            if len(self._refused) > self._max_refused:
                self._refused.popitem(last=False)
            raise
        finally:
            del self._asking[digest]
        remaining = (identity.token.expires_at - self._clock.now()).total_seconds()
        if self._forgotten == forgotten:
            self._remember(digest, _Known(identity, asked + min(self._lifetime, remaining)))
        return identity

    def _remember(self, digest: bytes, known: _Known) -> None:
        self._drop(digest)
        self._known[digest] = known
        self._by_user.setdefault(known.identity.actor.user_id, set()).add(digest)
        if len(self._known) > self._max_known:
            self._drop(next(iter(self._known)))

    def _drop(self, digest: bytes) -> None:
        known = self._known.pop(digest, None)
        if known is None:
            return
        user_id = known.identity.actor.user_id
        digests = self._by_user[user_id]
        digests.discard(digest)
        if not digests:
            del self._by_user[user_id]


def _without_deadline() -> Context:
    """This request's context but for its deadline, which is no measure for the others who wait for the answer."""
    context = copy_context()
    current = CURRENT_CONTEXT.get()
    if current is not None:
        context.run(CURRENT_CONTEXT.set, current._replace(deadline=None))
    return context


def _take_note(asked: asyncio.Task[Identity]) -> None:
    """All who waited may have left; asyncio would report a failure that nobody looked at."""
    if not asked.cancelled():
        asked.exception()
