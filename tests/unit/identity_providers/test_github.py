"""A login at GitHub, and each way in which it fails."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from pkg.identity_providers.back_channel import BackChannel
from pkg.identity_providers.github import GitHubProvider
from pkg.identity_providers.provider import begin_attempt, realm_of
from pkg.object_model.errors import DelinkciousError
from pkg.object_model.types import ProviderProfile
from tests.fake_github import CLIENT_ID, CLIENT_SECRET, TOO_MUCH, FakeGitHub, fake_github
from tests.unit.identity_providers.conftest import CALLBACK, come_back, fetch_code, log_in

TOKEN_PATH, USER_PATH, EMAILS_PATH = "/login/oauth/access_token", "/api/v3/user", "/api/v3/user/emails"


@pytest.fixture
async def github() -> AsyncIterator[FakeGitHub]:
    async with fake_github() as fake:
        yield fake


def provider_at(
    github: FakeGitHub, session: aiohttp.ClientSession, *, secret: str = CLIENT_SECRET, deadline: float = 10
) -> GitHubProvider:
    channel = BackChannel(session, "GitHub", deadline)
    return GitHubProvider(channel, CLIENT_ID, lambda: secret, url=github.url, api_url=github.api_url)


async def refusal(session: aiohttp.ClientSession, provider: GitHubProvider) -> tuple[str, str]:
    """Kind and code."""
    with pytest.raises(DelinkciousError) as refused:
        await log_in(session, provider)
    assert "GitHub" in refused.value.message or refused.value.code == "login_expired"
    return refused.value.kind, refused.value.code


async def test_who_logs_in_is_known_by_number(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    profile = await log_in(session, provider_at(github, session))
    assert profile == ProviderProfile(
        provider=realm_of("github", github.url),
        subject="583231",
        login="octocat",
        display_name="The Octocat",
        email="octocat@mail.example",
    )
    github.user |= {"login": "renamed", "name": None}
    renamed = await log_in(session, provider_at(github, session))
    assert renamed == replace(profile, login="renamed", display_name="renamed")


async def test_the_one_github_has_a_short_name() -> None:
    provider = GitHubProvider(None, "id", lambda: "secret")  # type: ignore[arg-type]  # nothing is asked
    url = await provider.authorization_url(begin_attempt("github", "/"), CALLBACK)
    assert url.startswith("https://github.com/login/oauth/authorize?")
    assert provider._realm == "github"
    enterprises = {realm_of("github", f"https://github.{name}.example") for name in ("one", "two")}
    assert len({"github", *enterprises}) == 3
    assert all(re.fullmatch("[a-z0-9-]{1,32}", realm) for realm in enterprises)


async def test_what_the_browser_is_sent_with(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    provider = provider_at(github, session)
    attempt = begin_attempt(provider.name, "/")
    query = dict(parse_qsl(urlsplit(await provider.authorization_url(attempt, CALLBACK)).query))
    challenge = query.pop("code_challenge")
    assert query == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": "user:email",
        "state": attempt.state,
        "code_challenge_method": "S256",
    }
    assert len(challenge) == 43
    assert attempt.code_verifier not in query.values() and attempt.code_verifier != challenge


async def test_no_two_attempts_share_a_secret() -> None:
    attempts = [begin_attempt("github", "/") for _ in range(3)]
    secrets = {secret for attempt in attempts for secret in (attempt.state, attempt.code_verifier, attempt.nonce)}
    assert len(secrets) == 9
    assert min(map(len, secrets)) >= 43


async def test_a_code_is_good_for_the_attempt_that_asked_for_it(
    github: FakeGitHub, session: aiohttp.ClientSession
) -> None:
    provider = provider_at(github, session)
    mine, stolen_by = begin_attempt(provider.name, "/"), begin_attempt(provider.name, "/")
    code = await fetch_code(session, provider, mine)
    with pytest.raises(DelinkciousError) as refused:
        await provider.fetch_profile(stolen_by, code, CALLBACK)
    assert refused.value.code == "login_expired"
    assert (await provider.fetch_profile(mine, code, CALLBACK)).login == "octocat"
    with pytest.raises(DelinkciousError) as again:
        await provider.fetch_profile(mine, code, CALLBACK)
    assert (again.value.kind, again.value.code) == ("invalid_argument", "login_expired")


async def test_nobody_is_let_in_without_saying_so(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    github.authorize_error = "access_denied"
    provider = provider_at(github, session)
    answer = await come_back(session, await provider.authorization_url(begin_attempt("github", "/"), CALLBACK))
    assert "code" not in answer and answer["error"] == "access_denied"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("bad_verification_code", ("invalid_argument", "login_expired")),
        ("incorrect_client_credentials", ("unavailable", "identity_provider_refuses")),
        ("redirect_uri_mismatch", ("unavailable", "identity_provider_refuses")),
        ("application_suspended", ("unavailable", "identity_provider_refuses")),
        ("unverified_user_email", ("permission_denied", "no_verified_email")),
        ("something_new", ("permission_denied", "login_refused")),
    ],
)
async def test_refusals_of_a_code(
    github: FakeGitHub, session: aiohttp.ClientSession, error: str, expected: tuple[str, str]
) -> None:
    github.token_error = error
    assert await refusal(session, provider_at(github, session)) == expected


async def test_a_wrong_secret(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    provider = provider_at(github, session, secret="of somebody else")
    assert await refusal(session, provider) == ("unavailable", "identity_provider_refuses")


async def test_an_application_that_its_user_has_just_revoked(
    github: FakeGitHub, session: aiohttp.ClientSession
) -> None:
    github.revoked = True
    assert await refusal(session, provider_at(github, session)) == ("invalid_argument", "login_expired")


@pytest.mark.parametrize("path", [TOKEN_PATH, USER_PATH, EMAILS_PATH])
@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (500, ("unavailable", "identity_provider_unavailable")),
        (503, ("unavailable", "identity_provider_unavailable")),
        (429, ("unavailable", "identity_provider_unavailable")),
        (302, ("internal", "identity_provider_bad_reply")),
        (b"<html>", ("internal", "identity_provider_bad_reply")),
        (TOO_MUCH, ("internal", "identity_provider_bad_reply")),
    ],
)
async def test_trouble_at_github(
    github: FakeGitHub,
    session: aiohttp.ClientSession,
    path: str,
    broken: int | bytes,
    expected: tuple[str, str],
) -> None:
    github.broken[path] = broken
    assert await refusal(session, provider_at(github, session)) == expected


@pytest.mark.parametrize("path", [TOKEN_PATH, USER_PATH, EMAILS_PATH])
async def test_github_is_slow(github: FakeGitHub, session: aiohttp.ClientSession, path: str) -> None:
    github.slow.add(path)
    provider = provider_at(github, session, deadline=0.5)
    assert await refusal(session, provider) == ("deadline_exceeded", "identity_provider_too_slow")


async def test_github_is_away(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    provider = provider_at(github, session)
    attempt = begin_attempt(provider.name, "/")
    code = await fetch_code(session, provider, attempt)
    provider._url = "http://127.0.0.1:1"
    with pytest.raises(DelinkciousError) as refused:
        await provider.fetch_profile(attempt, code, CALLBACK)
    assert (refused.value.kind, refused.value.code) == ("unavailable", "identity_provider_unavailable")
    assert refused.value.retry_after


async def test_asking_too_often(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    github.broken[USER_PATH] = 403
    assert await refusal(session, provider_at(github, session)) == ("unavailable", "identity_provider_unavailable")


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [{"email": "cat@mail.example", "primary": True, "verified": False}],
        [{"email": None, "primary": True, "verified": True}, "cat@mail.example", {"verified": True}],
    ],
)
async def test_no_verified_address(
    github: FakeGitHub, session: aiohttp.ClientSession, addresses: list[dict[str, Any]]
) -> None:
    github.addresses = addresses
    assert await refusal(session, provider_at(github, session)) == ("permission_denied", "no_verified_email")


async def test_an_address_that_is_not_the_first_but_verified(
    github: FakeGitHub, session: aiohttp.ClientSession
) -> None:
    github.addresses[1]["verified"] = False
    assert (await log_in(session, provider_at(github, session))).email == "cat@old.example"


async def test_who_did_not_let_addresses_be_seen(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    """Users may take a scope out of what they allow."""
    github.broken[EMAILS_PATH] = 404
    assert await refusal(session, provider_at(github, session)) == ("permission_denied", "no_verified_email")


async def test_each_place_is_asked_once(github: FakeGitHub, session: aiohttp.ClientSession) -> None:
    await log_in(session, provider_at(github, session))
    assert sorted(github.asked) == [
        f"GET {USER_PATH}",
        f"GET {EMAILS_PATH}",
        "GET /login/oauth/authorize",
        f"POST {TOKEN_PATH}",
    ]
