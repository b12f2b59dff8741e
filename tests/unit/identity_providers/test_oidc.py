"""A login at an OpenID provider, and what must not pass for one."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from pkg.identity_providers.back_channel import BackChannel
from pkg.identity_providers.oidc import METADATA_LIFETIME, OidcProvider
from pkg.identity_providers.provider import begin_attempt, realm_of
from pkg.object_model.errors import DelinkciousError
from pkg.object_model.types import ProviderProfile
from tests.fake_oidc import CLIENT_ID, CLIENT_SECRET, FakeOidc, fake_oidc, make_key
from tests.fakes import FakeClock
from tests.unit.identity_providers.conftest import CALLBACK, fetch_code, log_in

DISCOVERY, KEYS = "GET /.well-known/openid-configuration", "GET /keys"
NOT_PROVEN = ("permission_denied", "identity_not_proven")
UNREADABLE = ("internal", "identity_provider_bad_reply")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def idp(clock: FakeClock) -> AsyncIterator[FakeOidc]:
    async with fake_oidc(clock) as fake:
        yield fake


@pytest.fixture
def provider(idp: FakeOidc, session: aiohttp.ClientSession, clock: FakeClock) -> OidcProvider:
    return OidcProvider(BackChannel(session, "the provider", 10), clock, idp.url, CLIENT_ID, lambda: CLIENT_SECRET)


async def refusal(session: aiohttp.ClientSession, provider: OidcProvider) -> tuple[str, str]:
    with pytest.raises(DelinkciousError) as refused:
        await log_in(session, provider)
    return refused.value.kind, refused.value.code


async def test_who_logs_in_is_known_by_issuer_and_subject(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    assert await log_in(session, provider) == ProviderProfile(
        provider=realm_of("oidc", idp.url),
        subject="248289761001",
        login="ada",
        display_name="Ada Lovelace",
        email="ada@mail.example",
    )
    assert provider.title == "127.0.0.1"


async def test_names_may_be_missing(idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession) -> None:
    idp.about = {"email": "ada@mail.example", "email_verified": "true"}
    profile = await log_in(session, provider)
    assert (profile.login, profile.display_name) == ("ada", "ada")


async def test_what_the_token_leaves_out_is_asked_for(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    idp.userinfo = idp.about
    assert (await log_in(session, provider)).email == "ada@mail.example"
    idp.userinfo = {**idp.about, "sub": "somebody else"}
    assert await refusal(session, provider) == NOT_PROVEN


async def test_a_secret_may_have_to_be_in_the_form(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    idp.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert (await log_in(session, provider)).login == "ada"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_usual_signatures(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession, algorithm: str
) -> None:
    idp.key, idp.algorithm = make_key("usual", algorithm), algorithm
    assert (await log_in(session, provider)).login == "ada"


# --- what must not pass ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another login"},
        {"nonce": None},
        {"iss": "https://elsewhere.example"},
        {"aud": "another client"},
        {"aud": [CLIENT_ID, "another client"]},
        {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"exp": None},
        {"exp": 1},
        {"iat": None},
        {"iat": 99_999_999_999},
        {"nbf": 99_999_999_999},
        {"at_hash": "of another token"},
    ],
)
async def test_claims_that_do_not_hold(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession, claims: dict[str, Any]
) -> None:
    idp.claims = claims
    assert await refusal(session, provider) == NOT_PROVEN


async def test_several_audiences_with_us_as_the_party(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    idp.claims = {"aud": [CLIENT_ID, "another client"], "azp": CLIENT_ID}
    assert (await log_in(session, provider)).login == "ada"


async def test_a_signature_of_somebody_else(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    idp.published = [make_key("one")]
    assert await refusal(session, provider) == NOT_PROVEN


async def test_a_signature_that_our_own_secret_could_make(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    idp.key, idp.algorithm = make_key("shared", "HS256"), "HS256"
    assert await refusal(session, provider) == NOT_PROVEN


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_no_signature(idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession) -> None:
    idp.algorithm = "none"
    assert await refusal(session, provider) == NOT_PROVEN


async def test_an_address_that_nobody_verified(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    for about in ({"email": "ada@mail.example"}, {"email": "ada@mail.example", "email_verified": False}):
        idp.about = about
        assert await refusal(session, provider) == ("permission_denied", "no_verified_email")


async def test_a_code_that_is_used_or_a_client_that_is_unknown(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    attempt = begin_attempt(provider.name, "/")
    code = await fetch_code(session, provider, attempt)
    await provider.fetch_profile(attempt, code, CALLBACK)
    with pytest.raises(DelinkciousError) as refused:
        await provider.fetch_profile(attempt, code, CALLBACK)
    assert (refused.value.kind, refused.value.code) == ("invalid_argument", "login_expired")
    provider._client_secret = lambda: "wrong"
    assert await refusal(session, provider) == ("unavailable", "identity_provider_refuses")


# --- discovery and keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": 7},
    ],
)
async def test_a_description_that_cannot_be_used(
    idp: FakeOidc, provider: OidcProvider, metadata: dict[str, Any]
) -> None:
    idp.metadata = metadata
    with pytest.raises(DelinkciousError) as refused:
        await provider.authorization_url(begin_attempt("oidc", "/"), CALLBACK)
    assert (refused.value.kind, refused.value.code) == UNREADABLE


async def test_an_issuer_on_tls_has_all_on_tls(session: aiohttp.ClientSession, clock: FakeClock) -> None:
    provider = OidcProvider(
        BackChannel(session, "it", 10), clock, "https://issuer.example", CLIENT_ID, lambda: CLIENT_SECRET
    )
    told = {"token_endpoint": "https://issuer.example/token", "jwks_uri": "http://issuer.example/keys"}
    assert provider._endpoint(told, "token_endpoint") == "https://issuer.example/token"
    with pytest.raises(DelinkciousError) as refused:
        provider._endpoint(told, "jwks_uri")
    assert (refused.value.kind, refused.value.code) == UNREADABLE


async def test_discovery_is_remembered_for_a_while(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession, clock: FakeClock
) -> None:
    await log_in(session, provider)
    await log_in(session, provider)
    assert (idp.asked.count(DISCOVERY), idp.asked.count(KEYS)) == (1, 1)
    clock.time += timedelta(seconds=METADATA_LIFETIME)
    await log_in(session, provider)
    assert (idp.asked.count(DISCOVERY), idp.asked.count(KEYS)) == (2, 1)


async def test_keys_that_have_changed_are_asked_for_once(
    idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession
) -> None:
    await log_in(session, provider)
    idp.key = make_key("two")
    assert (await log_in(session, provider)).login == "ada"
    assert idp.asked.count(KEYS) == 2
    idp.key, idp.published = make_key("three"), [idp.key]
    assert await refusal(session, provider) == NOT_PROVEN
    assert idp.asked.count(KEYS) == 3


async def test_keys_that_cannot_be_read(idp: FakeOidc, provider: OidcProvider, session: aiohttp.ClientSession) -> None:
    idp.metadata = {"jwks_uri": f"{idp.url}/userinfo"}
    assert await refusal(session, provider) == UNREADABLE
