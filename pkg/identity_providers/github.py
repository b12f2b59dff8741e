"""GitHub, and GitHub Enterprise: an OAuth app that asks who somebody is
(https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps)."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from authlib.oauth2.rfc6749.parameters import prepare_token_request

from pkg.identity_providers.back_channel import BackChannel, Reply
from pkg.identity_providers.provider import (
    IdentityProvider,
    LoginAttempt,
    authorization_request,
    explain_refusal,
    no_verified_email,
    provider_away,
    realm_of,
    unreadable_reply,
)
from pkg.object_model.types import ProviderProfile

GITHUB_URL: Final = "https://github.com"
GITHUB_API_URL: Final = "https://api.github.com"

_SCOPE: Final = "user:email"
_MEDIA_TYPE: Final = "application/vnd.github+json"


class GitHubProvider(IdentityProvider):
    name = "github"
    title = "GitHub"
    issuer = ""

    def __init__(
        self,
        channel: BackChannel,
        client_id: str,
        client_secret: Callable[[], str],
        *,
        url: str = GITHUB_URL,
        api_url: str = GITHUB_API_URL,
    ) -> None:
        """``client_secret`` is asked at each login. ``url`` and ``api_url`` without a slash at the end."""
        self._channel = channel
        self._client_id = client_id
        self._client_secret = client_secret
        self._url = url
        self._api_url = api_url
        self._realm = self.name if url == GITHUB_URL else realm_of(self.name, url)

    async def authorization_url(self, attempt: LoginAttempt, redirect_uri: str) -> str:
        return authorization_request(
            f"{self._url}/login/oauth/authorize", self._client_id, attempt, redirect_uri, _SCOPE
        )

    async def fetch_profile(self, attempt: LoginAttempt, code: str, redirect_uri: str) -> ProviderProfile:
        token = await self._exchange(attempt, code, redirect_uri)
        user, addresses = await asyncio.gather(self._ask("/user", token), self._ask("/user/emails", token))
        return self._profile(user, addresses)

    async def _exchange(self, attempt: LoginAttempt, code: str, redirect_uri: str) -> str:
        form = prepare_token_request(
            "authorization_code",
            redirect_uri=redirect_uri,
            code=code,
            code_verifier=attempt.code_verifier,
            client_id=self._client_id,
            client_secret=self._client_secret(),
        )
        reply = await self._channel.post(f"{self._url}/login/oauth/access_token", form, {})
        # GitHub refuses with a 200.
        match reply.content:
            case {"error": str(error)}:
                raise explain_refusal(self.title, error)
            case {"access_token": str(token)} if token:
                return token
        raise unreadable_reply(self.title)

    async def _ask(self, path: str, token: str) -> Reply:
        return await self._channel.get(self._api_url + path, bearer=token, accept=_MEDIA_TYPE)

    def _profile(self, user: Reply, addresses: Reply) -> ProviderProfile:
        if user.status == 401:
            # Between the two calls the user took back what they had allowed.
            raise explain_refusal(self.title, "invalid_grant")
        if user.status == 403:
            # So it answers who asks too often.
            raise provider_away(self.title)
        match user.content:
            # The name is null where there is none.
            case {"id": int(number), "login": str(login), **about} if user.status == 200:
                return ProviderProfile(
                    provider=self._realm,
                    subject=str(number),
                    login=login,
                    display_name=str(about.get("name") or login),
                    email=self._verified_address(addresses),
                )
        raise unreadable_reply(self.title)

    def _verified_address(self, addresses: Reply) -> str:
        """The primary one, or any."""
        listed: Any = addresses.content if addresses.status == 200 else []
        if not isinstance(listed, list):
            raise unreadable_reply(self.title)
        verified = [
            (address.get("primary") is not True, address["email"]) for address in listed if _is_verified(address)
        ]
        if not verified:
            raise no_verified_email(self.title)
        return str(min(verified, key=lambda found: found[0])[1])


def _is_verified(address: object) -> bool:
    match address:
        case {"email": str(), "verified": True}:
            return True
    return False
