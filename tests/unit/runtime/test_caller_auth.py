"""Who calls, and for whom: told apart by secrets of one edge, refused otherwise, and never written down."""

import hmac
import io
import itertools
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from pkg.object_model.errors import DelinkciousError, PermissionDenied, Unauthenticated
from pkg.object_model.types import Actor
from pkg.runtime.access import ALLOWED_CALLERS
from pkg.runtime.caller_auth import (
    ANYONE,
    CALLER_REFUSAL_CODES,
    CALLER_TOKEN_HEADER,
    STATEMENT_LIFETIME,
    USER_STATEMENT_HEADER,
    Call,
    CallerAuth,
    EdgeCredentials,
    sign_statement,
)
from pkg.runtime.logs import logs_written_to
from pkg.runtime.metrics import render_metrics
from pkg.runtime.mutual_auth import NO_SECRET, EdgeSecret, new_secret
from tests.fakes import FakeClock

CALLEE = "user-manager"
GATEWAY = EdgeSecret(new_secret(), new_secret())
LINKS = EdgeSecret(new_secret(), new_secret())
ACCEPTS = {"api-gateway": GATEWAY, "link-manager": LINKS}
ALICE = Actor(2**63 - 1, "alicé")
OPERATION = "users.find"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def auth(clock: FakeClock) -> CallerAuth:
    return CallerAuth(CALLEE, ACCEPTS, clock)


def headers(
    clock: FakeClock,
    actor: Actor | None = ALICE,
    *,
    caller: str = "api-gateway",
    audience: str = CALLEE,
    secret: EdgeSecret = GATEWAY,
) -> dict[str, str]:
    return EdgeCredentials(caller, audience, secret, clock).headers(actor)


def refused(auth: CallerAuth, sent: Mapping[str, str], operation: str = OPERATION) -> tuple[type[Exception], str]:
    with pytest.raises(DelinkciousError) as raised:
        auth.authorize(sent, operation)
    return type(raised.value), raised.value.code


def signed(key: str, payload: object) -> str:
    text = urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")
    mac = urlsafe_b64encode(hmac.digest(key.encode(), text, "sha256")).rstrip(b"=")
    return f"{text.decode()}.{mac.decode()}"


# --- who ------------------------------------------------------------------------------------------------------------


def test_a_caller_and_its_user(auth: CallerAuth, clock: FakeClock) -> None:
    assert auth.authorize(headers(clock), OPERATION) == Call("api-gateway", ALICE)
    assert auth.authorize(headers(clock, None, secret=LINKS), OPERATION) == Call("link-manager", None)


@pytest.mark.parametrize(
    "token",
    [None, "", "123", new_secret(), "x" * 513, "é" * 43, GATEWAY.token[:-1]],
    ids=["none", "empty", "well-known", "random", "long", "not ASCII", "cut"],
)
def test_a_stranger(auth: CallerAuth, token: str | None) -> None:
    assert refused(auth, {} if token is None else {CALLER_TOKEN_HEADER: token}) == (Unauthenticated, "caller_unknown")


def test_either_of_two_values_while_they_are_rotated(clock: FakeClock) -> None:
    old, new = (EdgeSecret(new_secret(), new_secret()) for _ in range(2))
    both = EdgeSecret(new.token, new.statement_key, old.token, old.statement_key)
    auth = CallerAuth(CALLEE, {"api-gateway": both, "link-manager": LINKS}, clock)
    for secret in (old, new, both):
        assert auth.authorize(headers(clock, secret=secret), OPERATION) == Call("api-gateway", ALICE)
    assert headers(clock, None, secret=both) == {CALLER_TOKEN_HEADER: new.token}
    for key in (old.token, LINKS.statement_key, new_secret()):
        assert refused(auth, headers(clock, secret=EdgeSecret(new.token, key)))[1] == "user_statement_invalid"


def test_the_key_is_no_token(auth: CallerAuth) -> None:
    assert refused(auth, {CALLER_TOKEN_HEADER: GATEWAY.statement_key})[1] == "caller_unknown"


def test_the_table_says_who_may_what(clock: FakeClock) -> None:
    for service, operations in ALLOWED_CALLERS.items():
        everybody = frozenset().union(*operations.values()) | {"stranger"}
        secrets = {caller: EdgeSecret(new_secret(), new_secret()) for caller in everybody}
        auth = CallerAuth(service, secrets, clock)
        for (operation, allowed), (caller, secret) in itertools.product(operations.items(), secrets.items()):
            sent = headers(clock, None, caller=caller, audience=service, secret=secret)
            if caller in allowed:
                assert auth.authorize(sent, operation).caller == caller
            else:
                assert refused(auth, sent, operation) == (PermissionDenied, "caller_not_allowed")
        for secret in secrets.values():
            assert refused(auth, {CALLER_TOKEN_HEADER: secret.token}, "no.such")[1] == "caller_not_allowed"


def test_a_service_that_the_table_lacks_lets_nobody_in(clock: FakeClock) -> None:
    auth = CallerAuth("unknown-manager", ACCEPTS, clock)
    assert refused(auth, headers(clock, audience="unknown-manager"))[1] == "caller_not_allowed"


# --- for whom -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "holds"), [(0, True), (STATEMENT_LIFETIME + 4, True), (STATEMENT_LIFETIME + 5, False), (3_600, False)]
)
def test_a_statement_is_good_for_a_minute(auth: CallerAuth, clock: FakeClock, seconds: int, holds: bool) -> None:
    sent = headers(clock)
    auth.authorize(sent, OPERATION)
    clock.advance(seconds)
    if holds:
        assert auth.authorize(sent, OPERATION).actor == ALICE
    else:
        assert refused(auth, sent) == (Unauthenticated, "user_statement_invalid")


@pytest.mark.parametrize(("seconds", "holds"), [(5, True), (7, False)])
def test_clocks_may_differ_a_little(auth: CallerAuth, clock: FakeClock, seconds: int, holds: bool) -> None:
    sent = headers(clock)
    clock.advance(-seconds)
    if holds:
        assert auth.authorize(sent, OPERATION).actor == ALICE
    else:
        assert refused(auth, sent)[1] == "user_statement_invalid"


def test_a_statement_is_for_one_callee_and_from_one_caller(auth: CallerAuth, clock: FakeClock) -> None:
    for sent in (
        headers(clock, audience="link-manager"),
        headers(clock) | headers(clock, None, secret=LINKS),
        headers(clock, secret=LINKS) | headers(clock, None),
        headers(clock, secret=EdgeSecret(GATEWAY.token, new_secret())),
    ):
        assert refused(auth, sent) == (Unauthenticated, "user_statement_invalid")


def test_a_statement_that_was_touched(auth: CallerAuth, clock: FakeClock) -> None:
    good = headers(clock)
    statement = good[USER_STATEMENT_HEADER]
    payload, _, mac = statement.partition(".")
    other = sign_statement(b"x" * 43, Actor(8, "bob"), CALLEE, int(clock.now().timestamp())).partition(".")
    for bad in (
        "",
        ".",
        payload,
        f"{payload}.",
        f".{mac}",
        f"{payload}.{mac[:-1]}",
        f"{payload}.{mac}.x",
        f"{other[0]}.{mac}",
        f"{payload}.{other[2]}",
        f"{payload}.é",
        f"{payload}!.{mac}",
        "x" * 3_000,
        *(statement[:at] + ("A" if statement[at] != "A" else "B") + statement[at + 1 :] for at in range(0, 60, 7)),
    ):
        assert refused(auth, good | {USER_STATEMENT_HEADER: bad})[1] == "user_statement_invalid", bad
    assert auth.authorize(good, OPERATION).actor == ALICE


@pytest.mark.parametrize(
    "change",
    [
        {"sub": ""},
        {"sub": "0"},
        {"sub": "-1"},
        {"sub": "1.0"},
        {"sub": str(2**63)},
        {"sub": "٣"},
        {"sub": 7},
        {"sub": None},
        {"name": ""},
        {"name": 7},
        {"name": "x" * 256},
        {"aud": None},
        {"aud": [CALLEE]},
        {"iat": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 0},
        {"exp": 9e18},
    ],
    ids=str,
)
def test_what_is_signed_must_make_sense(auth: CallerAuth, clock: FakeClock, change: dict[str, Any]) -> None:
    now = int(clock.now().timestamp())
    payload = {"sub": "7", "name": "alice", "aud": CALLEE, "iat": now, "exp": now + 60}
    sent = headers(clock, None)
    good = sent | {USER_STATEMENT_HEADER: signed(GATEWAY.statement_key, payload)}
    assert auth.authorize(good, OPERATION).actor == Actor(7, "alice")
    bad = sent | {USER_STATEMENT_HEADER: signed(GATEWAY.statement_key, payload | change)}
    assert refused(auth, bad)[1] == "user_statement_invalid"


@pytest.mark.parametrize("payload", [[], "x", None, 3])
def test_only_an_object_is_a_statement(auth: CallerAuth, clock: FakeClock, payload: object) -> None:
    sent = headers(clock, None) | {USER_STATEMENT_HEADER: signed(GATEWAY.statement_key, payload)}
    assert refused(auth, sent)[1] == "user_statement_invalid"


def test_a_statement_cannot_be_made_to_last(auth: CallerAuth, clock: FakeClock) -> None:
    now = int(clock.now().timestamp())
    for issued, expires in ((now, now + 61), (now - 1_000, now + 60), (now + 60, now)):
        payload = {"sub": "7", "name": "alice", "aud": CALLEE, "iat": issued, "exp": expires}
        sent = headers(clock, None) | {USER_STATEMENT_HEADER: signed(GATEWAY.statement_key, payload)}
        assert refused(auth, sent)[1] == "user_statement_invalid"


def test_a_statement_is_signed_anew_long_before_it_ends(clock: FakeClock) -> None:
    credentials = EdgeCredentials("api-gateway", CALLEE, GATEWAY, clock)
    auth = CallerAuth(CALLEE, ACCEPTS, clock)
    first = credentials.headers(ALICE)
    clock.advance(19)
    assert credentials.headers(ALICE) == first
    clock.advance(1)
    second = credentials.headers(ALICE)
    assert second != first
    clock.advance(-30)
    # A clock that was set back.
    assert credentials.headers(ALICE) not in (first, second)
    clock.advance(60)
    assert auth.authorize(credentials.headers(ALICE), OPERATION).actor == ALICE


# --- mutual authentication off --------------------------------------------------------------------------------------


def test_off_lets_anyone_call_but_nobody_act_for_a_user(clock: FakeClock) -> None:
    auth = CallerAuth(CALLEE, ACCEPTS, clock, enabled=False)
    assert auth.authorize({}, "users.authenticate") == Call(ANYONE, None)
    assert auth.authorize({CALLER_TOKEN_HEADER: "123"}, "users.authenticate") == Call(ANYONE, None)
    assert auth.authorize(headers(clock), "users.authenticate") == Call("api-gateway", ALICE)
    without_token = {USER_STATEMENT_HEADER: headers(clock)[USER_STATEMENT_HEADER]}
    assert auth.authorize(without_token, "users.authenticate") == Call(ANYONE, ALICE)
    forged = sign_statement(b"", ALICE, CALLEE, int(clock.now().timestamp()))
    for keys in (ACCEPTS, {}):
        off = CallerAuth(CALLEE, keys, clock, enabled=False)
        assert refused(off, {USER_STATEMENT_HEADER: forged})[1] == "user_statement_invalid"


def test_without_a_secret_nothing_is_sent(clock: FakeClock) -> None:
    assert headers(clock, secret=NO_SECRET) == {}


# --- bounds and silence ---------------------------------------------------------------------------------------------


def test_caches_are_bounded(auth: CallerAuth, clock: FakeClock) -> None:
    credentials = EdgeCredentials("api-gateway", CALLEE, GATEWAY, clock)
    for user_id in range(1, 5_000):
        auth.authorize(credentials.headers(Actor(user_id, "x")), OPERATION)
    assert len(credentials._signed) <= 4_096
    assert len(auth._verified) <= 4_096


def test_tokens_are_kept_as_digests(auth: CallerAuth) -> None:
    assert GATEWAY.token not in str(vars(auth))
    assert GATEWAY.token not in repr(GATEWAY)
    assert GATEWAY.statement_key not in repr(GATEWAY)


def test_refusals_are_counted_and_logged_without_what_was_sent(auth: CallerAuth, clock: FakeClock) -> None:
    written = io.BytesIO()
    statement = headers(clock, audience="elsewhere")[USER_STATEMENT_HEADER]
    with logs_written_to(written):
        refused(auth, {CALLER_TOKEN_HEADER: "hunter2"})
        refused(auth, headers(clock, None, secret=LINKS), "users.authenticate")
        refused(auth, headers(clock, None) | {USER_STATEMENT_HEADER: statement})
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {line["reason"] for line in lines} == CALLER_REFUSAL_CODES
    assert [line["caller"] for line in lines] == [None, "link-manager", "api-gateway"]
    for secret in ("hunter2", LINKS.token, GATEWAY.token, statement, ALICE.name):
        assert secret.encode() not in written.getvalue()
    page = render_metrics().decode()
    for code in CALLER_REFUSAL_CODES:
        assert f'operation="users.find",reason="{code}",service="user-manager"' in page


def test_the_form_of_a_statement_is_written_down(clock: FakeClock) -> None:
    clock.time = datetime(2026, 1, 1, tzinfo=UTC)
    statement = sign_statement(b"key", Actor(7, "alice"), CALLEE, int(clock.now().timestamp()))
    payload = {"sub": "7", "name": "alice", "aud": CALLEE, "iat": 1_767_225_600, "exp": 1_767_225_660}
    text = urlsafe_b64encode(json.dumps(payload, separators=(",", ":")).encode()).rstrip(b"=")
    mac = urlsafe_b64encode(hmac.digest(b"key", text, "sha256")).rstrip(b"=")
    assert statement == f"{text.decode()}.{mac.decode()}"
