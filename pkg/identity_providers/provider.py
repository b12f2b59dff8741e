"""What every provider does, and what may go wrong with any of them.

A login is OAuth's authorization code flow (RFC 6749, RFC 9700) with PKCE (RFC 7636): the browser is sent to the
provider and comes back with a code, which is exchanged for what the provider vouches for.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final, Protocol

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from pkg.object_model.errors import (
    DeadlineExceeded,
    DelinkciousError,
    Internal,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)
from pkg.object_model.types import ProviderProfile

#: Bytes; 43 characters, the least that a PKCE verifier may have.
_RANDOM_BYTES: Final = 32
_RETRY_AFTER: Final = 30
#: Answers of an authorization or token endpoint that tell of the application, not of the user.
_ABOUT_US: Final = frozenset(
    {
        "application_suspended",
        "incorrect_client_credentials",
        "invalid_client",
        "invalid_scope",
        "redirect_uri_mismatch",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
_ABOUT_THE_CODE: Final = frozenset({"bad_verification_code", "invalid_grant"})
_ABOUT_THEM: Final = frozenset({"server_error", "temporarily_unavailable"})


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """One attempt to log in, which only the browser that began it can finish."""

    provider: str
    state: str
    code_verifier: str
    nonce: str
    #: Where the browser goes in the end: a path of ours.
    next_path: str


def begin_attempt(provider: str, next_path: str) -> LoginAttempt:
    state, code_verifier, nonce = (secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(3))
    return LoginAttempt(provider, state, code_verifier, nonce, next_path)


def realm_of(name: str, address: str) -> str:
    """What users of this provider at this address are keyed on: ids of another may be somebody else's."""
    return f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:24]}"


def authorization_request(
    endpoint: str, client_id: str, attempt: LoginAttempt, redirect_uri: str, scope: str, **more: str
) -> str:
    """The URL that asks for a code (RFC 6749, 4.1.1), which none but ``attempt`` can use (RFC 7636, 4.3)."""
    challenge = create_s256_code_challenge(attempt.code_verifier)  # type: ignore[no-untyped-call]  # stubs leave it out
    return str(
        prepare_grant_uri(
            endpoint,
            client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=scope,
            state=attempt.state,
            code_challenge=challenge,
            code_challenge_method="S256",
            **more,
        )
    )


class IdentityProvider(Protocol):
    #: As requests and cookies have it.
    name: str
    #: As people call it.
    title: str
    #: As the provider itself says with its answers (RFC 9207), so that nobody takes another's for its own; empty if it
    #: does not.
    issuer: str

    async def authorization_url(self, attempt: LoginAttempt, redirect_uri: str) -> str:
        """Where the browser is sent.

        Raises:
            Unavailable, DeadlineExceeded: the provider is away or too slow.
        """

    async def fetch_profile(self, attempt: LoginAttempt, code: str, redirect_uri: str) -> ProviderProfile:
        """What the provider vouches for. Its tokens are used for this, and forgotten.

        Raises:
            InvalidArgument: the code was used, or is too old (``login_expired``).
            PermissionDenied: there is no verified e-mail address (``no_verified_email``), or what the provider says
                does not hold (``identity_not_proven``).
            Unavailable, DeadlineExceeded: the provider is away or too slow, or does not let this application in
                (``identity_provider_refuses``).
            Internal: it answers what nobody can read.
        """


def explain_refusal(title: str, error: str) -> DelinkciousError:
    """What the ``error`` of an authorization or token endpoint says (RFC 6749, 4.1.2.1 and 5.2; GitHub has more)."""
    if error == "access_denied":
        return PermissionDenied(f"{title} was not allowed to say who you are; to log in, allow it", code="login_denied")
    if error in _ABOUT_THE_CODE:
        return InvalidArgument("this login was used already, or is too old; start it again", code="login_expired")
    if error in _ABOUT_US:
        return Unavailable(
            f"{title} does not let this site in; whoever runs it must look at the client's id, secret and callback",
            code="identity_provider_refuses",
        )
    if error == "unverified_user_email":
        return no_verified_email(title)
    if error in _ABOUT_THEM:
        return provider_away(title)
    return PermissionDenied(f"{title} refused this login; start it again", code="login_refused")


def no_verified_email(title: str) -> PermissionDenied:
    return PermissionDenied(
        f"your account at {title} has no verified e-mail address that we may see; verify one there, and log in again",
        code="no_verified_email",
    )


def not_proven(title: str) -> PermissionDenied:
    return PermissionDenied(
        f"what {title} says of you does not hold; start the login again", code="identity_not_proven"
    )


def provider_away(title: str) -> Unavailable:
    return Unavailable(
        f"{title} cannot be reached; try again shortly",
        code="identity_provider_unavailable",
        retry_after=_RETRY_AFTER,
    )


def provider_too_slow(title: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"{title} took too long to answer; try again", code="identity_provider_too_slow")


def unreadable_reply(title: str) -> Internal:
    return Internal(f"{title} gave an answer that cannot be read; try again later", code="identity_provider_bad_reply")
