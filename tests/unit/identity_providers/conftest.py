"""Logins as a browser would make them: to the provider, and back with what it says."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from pkg.identity_providers.back_channel import open_session
from pkg.identity_providers.provider import IdentityProvider, LoginAttempt, begin_attempt
from pkg.object_model.types import ProviderProfile

CALLBACK = "https://delinkcious.example/login/authorized"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


async def come_back(session: aiohttp.ClientSession, url: str) -> dict[str, str]:
    """What the provider has the browser say to us."""
    async with session.get(url, allow_redirects=False) as response:
        assert response.status == 302, await response.text()
        location = urlsplit(response.headers["Location"])
    assert location._replace(query="").geturl() == CALLBACK
    return dict(parse_qsl(location.query))


async def log_in(session: aiohttp.ClientSession, provider: IdentityProvider) -> ProviderProfile:
    attempt = begin_attempt(provider.name, "/account")
    return await provider.fetch_profile(attempt, await fetch_code(session, provider, attempt), CALLBACK)


async def fetch_code(session: aiohttp.ClientSession, provider: IdentityProvider, attempt: LoginAttempt) -> str:
    answer = await come_back(session, await provider.authorization_url(attempt, CALLBACK))
    assert answer["state"] == attempt.state
    return answer["code"]
