"""Any provider that speaks OpenID Connect, found by its issuer alone (https://openid.net/specs/openid-connect-core-1_0.html
and https://openid.net/specs/openid-connect-discovery-1_0.html)."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_token_request
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jws, jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from pkg.identity_providers.back_channel import BackChannel
from pkg.identity_providers.provider import (
    IdentityProvider,
    LoginAttempt,
    authorization_request,
    explain_refusal,
    no_verified_email,
    not_proven,
    realm_of,
    unreadable_reply,
)
from pkg.object_model.clock import Clock
from pkg.object_model.types import ProviderProfile
from pkg.runtime.logs import get_logger

#: Signatures that are taken. Never ``none``, and none that our own client secret could make.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
#: Seconds for which what was discovered is taken for true.
METADATA_LIFETIME: Final = 3_600

_SCOPE: Final = "openid email profile"
#: Seconds by which two clocks may differ.
_CLOCK_SKEW: Final = 60

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    #: Empty if there is none.
    userinfo_endpoint: str
    #: Whether the client's secret is shown in the form and not in a header.
    secret_in_form: bool


class OidcProvider(IdentityProvider):
    name = "oidc"

    def __init__(
        self, channel: BackChannel, clock: Clock, issuer: str, client_id: str, client_secret: Callable[[], str]
    ) -> None:
        """``issuer`` exactly as the provider writes it. ``client_secret`` is asked at each login."""
        self.title = provider_title(issuer)
        self._channel = channel
        self._clock = clock
        self._realm = realm_of(self.name, issuer)
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._metadata: _Metadata | None = None
        self._metadata_until = 0.0
        self._keys: KeySet | None = None

    async def authorization_url(self, attempt: LoginAttempt, redirect_uri: str) -> str:
        metadata = await self._discover()
        return authorization_request(
            metadata.authorization_endpoint, self._client_id, attempt, redirect_uri, _SCOPE, nonce=attempt.nonce
        )

    async def fetch_profile(self, attempt: LoginAttempt, code: str, redirect_uri: str) -> ProviderProfile:
        metadata = await self._discover()
        tokens = await self._exchange(metadata, attempt, code, redirect_uri)
        claims = await self._verify(metadata, tokens, attempt.nonce)
        if "email" not in claims and metadata.userinfo_endpoint:
            claims |= await self._ask_userinfo(metadata.userinfo_endpoint, tokens, claims["sub"])
        return self._profile(claims)

    async def _discover(self) -> _Metadata:
        now = self._clock.now().timestamp()
        if self._metadata is None or now >= self._metadata_until:
            self._metadata = await self._fetch_metadata()
            self._metadata_until = now + METADATA_LIFETIME
        return self._metadata

    async def _fetch_metadata(self) -> _Metadata:
        reply = await self._channel.get(get_well_known_url(self.issuer, external=True))
        told = reply.content
        # Another's description, wherever it came from, would send our secrets to that other (OpenID Discovery, 4.3).
        if reply.status != 200 or not isinstance(told, dict) or told.get("issuer") != self.issuer:
            raise unreadable_reply(self.title)
        methods = told.get("token_endpoint_auth_methods_supported")
        return _Metadata(
            authorization_endpoint=self._endpoint(told, "authorization_endpoint"),
            token_endpoint=self._endpoint(told, "token_endpoint"),
            jwks_uri=self._endpoint(told, "jwks_uri"),
            userinfo_endpoint=self._endpoint(told, "userinfo_endpoint") if "userinfo_endpoint" in told else "",
            # To say nothing is to say: in a header.
            secret_in_form=isinstance(methods, list) and "client_secret_basic" not in methods,
        )

    def _endpoint(self, told: Mapping[str, object], name: str) -> str:
        url = told.get(name)
        # An issuer on TLS has all it has on TLS.
        if isinstance(url, str) and urlsplit(url).scheme in ("https", urlsplit(self.issuer).scheme):
            return url
        raise unreadable_reply(self.title)

    async def _exchange(
        self, metadata: _Metadata, attempt: LoginAttempt, code: str, redirect_uri: str
    ) -> Mapping[str, str]:
        credentials = {"client_id": self._client_id, "client_secret": self._client_secret()}
        form = prepare_token_request(
            "authorization_code",
            redirect_uri=redirect_uri,
            code=code,
            code_verifier=attempt.code_verifier,
            **(credentials if metadata.secret_in_form else {}),
        )
        headers = {} if metadata.secret_in_form else {"Authorization": _basic(self._client_id, self._client_secret())}
        reply = await self._channel.post(metadata.token_endpoint, form, headers)
        match reply.content:
            case {"error": str(error)}:
                raise explain_refusal(self.title, error)
            case {"id_token": str(id_token), "access_token": str(access_token)} if reply.status == 200:
                return {"id_token": id_token, "access_token": access_token}
        raise unreadable_reply(self.title)

    async def _verify(self, metadata: _Metadata, tokens: Mapping[str, str], nonce: str) -> dict[str, Any]:
        """The claims of the ID token (OpenID Connect Core, 3.1.3.7)."""
        try:
            try:
                token = self._decode(tokens["id_token"], await self._signing_keys(metadata))
            except InvalidKeyIdError:
                # The provider has changed its keys since we asked.
                self._keys = None
                token = self._decode(tokens["id_token"], await self._signing_keys(metadata))
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self._client_id},
                    "sub": {"essential": True},
                },
                params={"nonce": nonce, "client_id": self._client_id, "access_token": tokens["access_token"]},
            )
            claims.validate(int(self._clock.now().timestamp()), _CLOCK_SKEW)
        except (JoseError, ValueError) as fault:
            _log.warning("an ID token does not hold", provider=self.title, fault=type(fault).__name__)
            raise not_proven(self.title) from None
        return dict(claims)

    def _decode(self, id_token: str, keys: KeySet) -> jwt.Token:
        return jwt.decode(id_token, keys, algorithms=ALGORITHMS, registry=jws.JWSRegistry(algorithms=ALGORITHMS))

    async def _signing_keys(self, metadata: _Metadata) -> KeySet:
        if self._keys is None:
            reply = await self._channel.get(metadata.jwks_uri)
            try:
                self._keys = KeySet.import_key_set(reply.content)
            except (JoseError, KeyError, TypeError, ValueError):
                raise unreadable_reply(self.title) from None
        return self._keys

    async def _ask_userinfo(self, url: str, tokens: Mapping[str, str], subject: str) -> dict[str, Any]:
        reply = await self._channel.get(url, bearer=tokens["access_token"])
        match reply.content:
            # Of somebody else it must not be used (OpenID Connect Core, 5.3.2).
            case {"sub": str(about)} if reply.status == 200 and about == subject:
                return dict(reply.content)
        raise not_proven(self.title)

    def _profile(self, claims: Mapping[str, Any]) -> ProviderProfile:
        email = claims.get("email")
        # Some write the boolean as text.
        if not isinstance(email, str) or claims.get("email_verified") not in (True, "true"):
            raise no_verified_email(self.title)
        login = str(claims.get("preferred_username") or claims.get("nickname") or email.partition("@")[0])
        return ProviderProfile(
            provider=self._realm,
            subject=claims["sub"],
            login=login,
            display_name=str(claims.get("name") or login),
            email=email,
        )


def provider_title(issuer: str) -> str:
    return urlsplit(issuer).hostname or issuer


def _basic(client_id: str, client_secret: str) -> str:
    """Both are form-encoded first (RFC 6749, 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
