"""Which service is calling, and for which end user.

Every internal call carries two things, under secrets that belong to one edge (caller -> callee) alone (see
``mutual_auth``) and may change at any time:

- ``Delinkcious-Caller-Token``: says who calls; looked up by digest, so that time tells nothing about it.
- ``Delinkcious-User-Statement``, where there is an end user: base64url(payload) "." base64url(HMAC-SHA256 of
  that text). The payload is a JSON object: ``sub`` user id, ``name``, ``aud`` the callee, ``iat`` and ``exp``
  in seconds. It is good for a minute and for one callee, so that a service can act for a user only where the
  edge was set up to.

With mutual authentication off (local mode alone) tokens are not asked for. Statements are verified all the
same, under any key of the file; without a file there are none, and nobody acts for a user. Off means that the
*caller* may be anyone, never the user.
"""

import base64
import binascii
import hashlib
import hmac
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pkg.object_model.clock import Clock
from pkg.object_model.errors import DelinkciousError, InvalidArgument, PermissionDenied, Unauthenticated
from pkg.object_model.types import Actor
from pkg.runtime.access import ALLOWED_CALLERS
from pkg.runtime.json import decode, encode
from pkg.runtime.logs import get_logger
from pkg.runtime.metrics import CALLER_REFUSALS, prepare_outcomes
from pkg.runtime.mutual_auth import MAX_SECRET_LENGTH, EdgeSecret

CALLER_TOKEN_HEADER: Final = "Delinkcious-Caller-Token"  # noqa: S105  # a header's name
USER_STATEMENT_HEADER: Final = "Delinkcious-User-Statement"
#: Who a call comes from when mutual authentication is off.
ANYONE: Final = "anyone"

#: Codes of a refusal that is about the caller, not about the end user.
CALLER_UNKNOWN: Final = "caller_unknown"
CALLER_NOT_ALLOWED: Final = "caller_not_allowed"
USER_STATEMENT_INVALID: Final = "user_statement_invalid"
CALLER_REFUSAL_CODES: Final = frozenset({CALLER_UNKNOWN, CALLER_NOT_ALLOWED, USER_STATEMENT_INVALID})

STATEMENT_LIFETIME: Final = 60  # seconds
#: A statement is signed anew when this many seconds old, long before it ends.
_RESIGN_AFTER: Final = 20
#: Clocks of two machines may differ by this many seconds.
_CLOCK_SKEW: Final = 5
_MAX_STATEMENT_LENGTH: Final = 2_048
_MAX_NAME_LENGTH: Final = 255
_CACHED_STATEMENTS: Final = 4_096
_USER_IDS: Final = range(1, 2**63)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    caller: str
    actor: Actor | None


class EdgeCredentials:
    """What one caller sends to one callee. ``NO_SECRET`` sends nothing."""

    def __init__(self, caller: str, callee: str, secret: EdgeSecret, clock: Clock) -> None:
        self.caller = caller
        self.callee = callee
        self._clock = clock
        #: Actor -> (when signed, statement); signing costs more than looking up.
        self._signed: OrderedDict[Actor, tuple[float, str]] = OrderedDict()
        self.present(secret)

    def present(self, secret: EdgeSecret) -> None:
        """From now on this one."""
        self._token_headers = {CALLER_TOKEN_HEADER: secret.token} if secret.token else {}
        self._key = secret.statement_key.encode()
        self._signed.clear()

    def headers(self, actor: Actor | None) -> dict[str, str]:
        headers = self._token_headers.copy()
        if actor is not None and self._key:
            headers[USER_STATEMENT_HEADER] = self._statement(self._key, actor)
        return headers

    def _statement(self, key: bytes, actor: Actor) -> str:
        now = self._clock.now().timestamp()
        signed = self._signed.get(actor)
        if signed is not None and 0 <= now - signed[0] < _RESIGN_AFTER:
            return signed[1]
        statement = sign_statement(key, actor, self.callee, int(now))
        self._signed[actor] = now, statement
        self._signed.move_to_end(actor)
        if len(self._signed) > _CACHED_STATEMENTS:
            self._signed.popitem(last=False)
        return statement


def sign_statement(key: bytes, actor: Actor, audience: str, now: int) -> str:
    payload = encode(
        {
            "sub": str(actor.user_id),
            "name": actor.name,
            "aud": audience,
            "iat": now,
            "exp": now + STATEMENT_LIFETIME,
        }
    )
    text = _base64url(payload)
    return (text + b"." + _base64url(hmac.digest(key, text, "sha256"))).decode()


class CallerAuth:
    """Checks the calls that one service gets. Refusals are counted and logged, tokens never."""

    def __init__(
        self, service_name: str, accepts: Mapping[str, EdgeSecret], clock: Clock, enabled: bool = True
    ) -> None:
        self._service = service_name
        self._enabled = enabled
        self._clock = clock
        self._allowed = ALLOWED_CALLERS.get(service_name, {})
        #: (Caller, statement) -> (actor, valid from, valid until), of those that verified.
        self._verified: OrderedDict[tuple[str, str], tuple[Actor, float, float]] = OrderedDict()
        self.accept(accepts)
        prepare_outcomes(service_name, self._allowed, sorted(CALLER_REFUSAL_CODES))

    def accept(self, accepts: Mapping[str, EdgeSecret]) -> None:
        """From now on these, and nobody else."""
        self._callers = {_digest(token): caller for caller, secret in accepts.items() for token in secret.tokens}
        self._keys: dict[str, Sequence[bytes]] = {
            caller: [key.encode() for key in secret.statement_keys] for caller, secret in accepts.items()
        }
        # What a key signed that is gone does not hold any more.
        self._verified.clear()

    def authorize(self, headers: Mapping[str, str], operation: str) -> Call:
        """
        Raises:
            Unauthenticated: the caller is not known (``caller_unknown``), or its statement about the user does not
                hold (``user_statement_invalid``).
            PermissionDenied: the caller may not call this operation (``caller_not_allowed``).
        """
        caller = self._identify(headers.get(CALLER_TOKEN_HEADER), operation)
        if self._enabled and caller not in self._allowed.get(operation, ()):
            raise self._refused(
                PermissionDenied(
                    f"{caller} may not call {operation} of {self._service}; see pkg/runtime/access.py",
                    code=CALLER_NOT_ALLOWED,
                ),
                operation,
                caller,
            )
        statement = headers.get(USER_STATEMENT_HEADER)
        if statement is None:
            return Call(caller, None)
        return Call(caller, self._verify(statement, caller, operation))

    def _identify(self, token: str | None, operation: str) -> str:
        # Digests are compared: how long that takes says nothing of how much of a token was right.
        known = None
        if token and len(token) <= MAX_SECRET_LENGTH and token.isascii():
            known = self._callers.get(_digest(token))
        if known is not None:
            return known
        if not self._enabled:
            return ANYONE
        message = (
            f"a call of {self._service} must carry the caller's token in {CALLER_TOKEN_HEADER}"
            if not token
            else f"{CALLER_TOKEN_HEADER} is not the token of any caller of {self._service}"
        )
        raise self._refused(Unauthenticated(message, code=CALLER_UNKNOWN), operation, None)

    def _verify(self, statement: str, caller: str, operation: str) -> Actor:
        now = self._clock.now().timestamp()
        verified = self._verified.get((caller, statement))
        if verified is None:
            keys = self._keys.get(caller) or itertools.chain.from_iterable(self._keys.values())
            try:
                verified = _open_statement(statement, keys, self._service)
            except _BadStatement as bad:
                raise self._refused_statement(str(bad), operation, caller) from None
            self._verified[caller, statement] = verified
            if len(self._verified) > _CACHED_STATEMENTS:
                self._verified.popitem(last=False)
        actor, valid_from, valid_until = verified
        if not valid_from - _CLOCK_SKEW <= now < valid_until + _CLOCK_SKEW:
            raise self._refused_statement(
                "it has expired" if now >= valid_until else "it is from the future", operation, caller
            )
        return actor

    def _refused_statement(self, why: str, operation: str, caller: str) -> DelinkciousError:
        return self._refused(
            Unauthenticated(f"{USER_STATEMENT_HEADER} does not hold: {why}", code=USER_STATEMENT_INVALID),
            operation,
            caller,
        )

    def _refused(self, error: DelinkciousError, operation: str, caller: str | None) -> DelinkciousError:
        CALLER_REFUSALS.labels(self._service, operation, error.code).inc()
        _log.warning("caller refused", operation=operation, reason=error.code, caller=caller)
        return error


class _BadStatement(Exception):
    pass


def _open_statement(statement: str, keys: Iterable[bytes], audience: str) -> tuple[Actor, float, float]:
    """The actor, and from when until when (seconds since 1970) the statement is meant to be used."""
    if len(statement) > _MAX_STATEMENT_LENGTH:
        raise _BadStatement("it is too long")
    if not statement.isascii():
        raise _BadStatement("it is malformed")
    text, _, mac = statement.encode().partition(b".")
    given = _from_base64url(mac)
    # Nothing in it is looked at before its origin is proven.
    if not any(hmac.compare_digest(hmac.digest(key, text, "sha256"), given) for key in keys):
        raise _BadStatement("its signature is not the caller's")
    try:
        payload = decode(_from_base64url(text))
    except InvalidArgument:
        raise _BadStatement("it is malformed") from None
    if not isinstance(payload, dict):
        raise _BadStatement("it is malformed")
    if payload.get("aud") != audience:
        raise _BadStatement(f"it is not meant for {audience}")
    subject, name = payload.get("sub"), payload.get("name")
    issued, expires = payload.get("iat"), payload.get("exp")
    if type(issued) is not int or type(expires) is not int or not 0 < expires - issued <= STATEMENT_LIFETIME:
        raise _BadStatement("its times are not those of a statement")
    if not isinstance(subject, str) or not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME_LENGTH:
        raise _BadStatement("it does not say who the user is")
    if not subject.isascii() or not subject.isdigit() or len(subject) > 19 or int(subject) not in _USER_IDS:
        raise _BadStatement("it does not say who the user is")
    return Actor(int(subject), name), issued, expires


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _from_base64url(text: bytes) -> bytes:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _BadStatement("it is malformed") from None
