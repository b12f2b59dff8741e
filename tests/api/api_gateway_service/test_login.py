"""Logins in a browser, through a provider that is a real server, and every way in which they end badly."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.identity_providers.back_channel import BackChannel, open_session
from pkg.identity_providers.github import GitHubProvider
from pkg.identity_providers.oidc import OidcProvider
from pkg.identity_providers.provider import IdentityProvider, begin_attempt
from pkg.object_model.errors import DeadlineExceeded
from pkg.object_model.types import CreateTokenRequest, Scope, TokenRecord
from pkg.runtime.json import encode
from pkg.runtime.secret import Secret
from pkg.runtime.settings import Mode
from svc.api_gateway_service.browser_keys import ATTEMPT_LIFETIME, BrowserKeys
from svc.api_gateway_service.pages import login
from svc.api_gateway_service.pages.page import HOME, local_target
from svc.api_gateway_service.settings import ApiGatewaySettings
from tests.api.api_gateway_service.browser import Browser, hidden_fields, shown
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse
from tests.asgi_client import AsgiClient, AsgiResponse
from tests.fake_github import CLIENT_ID, CLIENT_SECRET, FakeGitHub, fake_github
from tests.fake_oidc import CLIENT_ID as OIDC_CLIENT_ID
from tests.fake_oidc import CLIENT_SECRET as OIDC_CLIENT_SECRET
from tests.fake_oidc import fake_oidc

PUBLIC_URL = "https://delinkcious.example"
SESSION, ATTEMPT = "__Host-delinkcious", "__Host-delinkcious-login"
PUBLIC = SETTINGS.model_copy(
    update={
        "mode": Mode.PRODUCTION,
        "public_url": PUBLIC_URL,
        "browser_key": Secret.of("a key that seals what browsers keep"),
    }
)


@dataclass(frozen=True)
class Street:
    """A gateway with people at its door, and GitHub round the corner."""

    house: GatewayHouse
    github: FakeGitHub
    abroad: aiohttp.ClientSession
    settings: ApiGatewaySettings = PUBLIC

    def browser(self, **settings: Any) -> Browser:
        changed = self.settings.model_copy(update=settings)
        return Browser(self.house.with_peers(changed, providers=[self.provider()]).gateway.app)

    def provider(self, deadline: float = 10) -> GitHubProvider:
        channel = BackChannel(self.abroad, "GitHub", deadline)
        return GitHubProvider(
            channel, CLIENT_ID, lambda: CLIENT_SECRET, url=self.github.url, api_url=self.github.api_url
        )

    async def log_in(self, browser: Browser, target: str = "") -> AsgiResponse:
        """The answer to the provider's."""
        sent = await browser.get(f"/login?next={target}")
        assert sent.status == 303, sent.body
        return await browser.follow(sent, self.abroad)

    async def sessions(self, name: str) -> list[TokenRecord]:
        users = self.house.world.users
        user = await users.get_user(None, name)
        return await users.list_sessions(user.ref)


@pytest.fixture
async def street(house: GatewayHouse) -> AsyncIterator[Street]:
    async with fake_github() as github, open_session() as abroad:
        yield Street(house, github, abroad)


# --- the way in -----------------------------------------------------------------------------------------------------


async def test_who_logs_in_at_github_is_logged_in_here(street: Street) -> None:
    browser = street.browser()
    back = await street.log_in(browser, "/docs")
    assert (back.status, back.headers["location"]) == (303, "/docs")
    assert browser.cookies.keys() == {SESSION}
    page = await browser.get("/account")
    assert page.status == 200
    assert "You are <strong>octocat</strong>" in page.body.decode()
    user = await street.house.world.users.get_user(None, "octocat")
    assert (user.display_name, user.email) == ("The Octocat", "octocat@mail.example")


async def test_the_second_time_it_is_the_same_user_whatever_github_calls_them(street: Street) -> None:
    await street.log_in(street.browser())
    street.github.user["login"] = "renamed"
    browser = street.browser()
    await street.log_in(browser)
    assert "You are <strong>octocat</strong>" in (await browser.get("/account")).body.decode()
    assert len(await street.sessions("octocat")) == 2


async def test_what_browsers_are_told_to_keep(street: Street) -> None:
    browser = street.browser()
    await street.log_in(browser)
    kept = {cookie.partition("=")[0]: cookie.split("; ")[1:] for cookie in browser.told if "Max-Age=0" not in cookie}
    rules = ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"]
    assert kept[ATTEMPT] == [f"Max-Age={ATTEMPT_LIFETIME}", *rules]
    assert kept[SESSION][1:] == rules
    assert 13 * 86_400 < int(kept[SESSION][0].removeprefix("Max-Age=")) <= 14 * 86_400
    assert not any("Domain" in cookie for cookie in browser.told)


async def test_without_tls_names_are_plain(street: Street) -> None:
    browser = street.browser(public_url="http://127.0.0.1:5000")
    await street.log_in(browser)
    assert browser.cookies.keys() == {"delinkcious"}
    assert not any("Secure" in cookie for cookie in browser.told)


async def test_the_session_before_is_ended(street: Street) -> None:
    browser = street.browser()
    await street.log_in(browser)
    former = browser.cookies[SESSION]
    await street.log_in(browser)
    assert browser.cookies[SESSION] != former
    assert len(await street.sessions("octocat")) == 1


async def test_tokens_of_github_are_forgotten(street: Street, capfd: pytest.CaptureFixture[str]) -> None:
    browser = street.browser()
    await street.log_in(browser)
    pages = [await browser.get("/account"), await browser.get("/v1/me")]
    (token,) = street.github.tokens
    assert not any(token.encode() in page.body for page in pages)
    assert token not in repr(vars(street.house.world.users))
    told = capfd.readouterr()
    assert not {token, CLIENT_SECRET} & set((told.out + told.err).replace('"', " ").split())


async def test_github_is_told_where_to_come_back(street: Street) -> None:
    sent = await street.browser().get("/login")
    query = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
    assert query["redirect_uri"] == f"{PUBLIC_URL}/login/authorized"
    assert sent.headers["location"].startswith(f"{street.github.url}/login/oauth/authorize?")


# --- the ways out of it ---------------------------------------------------------------------------------------------


async def test_who_says_no(street: Street) -> None:
    street.github.authorize_error = "access_denied"
    browser = street.browser()
    page = await street.log_in(browser)
    assert shown(page) == (403, "login_denied")
    assert SESSION not in browser.cookies
    assert "POST /login/oauth/access_token" not in street.github.asked


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("application_suspended", (503, "identity_provider_refuses")),
        ("redirect_uri_mismatch", (503, "identity_provider_refuses")),
        ("temporarily_unavailable", (503, "identity_provider_unavailable")),
        ("<script>alert(1)</script>", (403, "login_refused")),
    ],
)
async def test_what_github_says_instead_of_a_code(street: Street, error: str, expected: tuple[int, str]) -> None:
    street.github.authorize_error = error
    page = await street.log_in(street.browser())
    assert shown(page) == expected
    assert b"<script" not in page.body


async def test_a_code_that_is_too_old(street: Street) -> None:
    street.github.token_error = "bad_verification_code"
    assert shown(await street.log_in(street.browser())) == (400, "login_expired")


async def test_no_code_at_all(street: Street) -> None:
    browser = street.browser()
    sent = await browser.get("/login")
    state = dict(parse_qsl(urlsplit(sent.headers["location"]).query))["state"]
    assert shown(await browser.get(f"/login/authorized?state={state}")) == (400, "login_expired")


async def test_an_application_that_is_gone(street: Street) -> None:
    street.github.token_error = "incorrect_client_credentials"
    assert shown(await street.log_in(street.browser())) == (503, "identity_provider_refuses")


async def test_an_application_that_its_user_revokes(street: Street) -> None:
    street.github.revoked = True
    assert shown(await street.log_in(street.browser())) == (400, "login_expired")


async def test_no_verified_address(street: Street) -> None:
    street.github.addresses = []
    browser = street.browser()
    assert shown(await street.log_in(browser)) == (403, "no_verified_email")
    assert SESSION not in browser.cookies


async def test_who_is_leaving_is_not_let_in_again(street: Street) -> None:
    browser = street.browser()
    await street.log_in(browser)
    await browser.submit(await browser.get("/account"), "/account/delete", confirm="octocat")
    assert shown(await street.log_in(browser)) == (403, "account_deleting")


async def test_github_is_down(street: Street) -> None:
    street.github.broken["/login/oauth/access_token"] = 503
    page = await street.log_in(street.browser())
    assert shown(page) == (503, "identity_provider_unavailable")
    assert int(page.headers["retry-after"]) > 0


async def test_github_is_slow(street: Street) -> None:
    street.github.slow.add("/api/v3/user")
    slow = street.house.with_peers(PUBLIC, providers=[street.provider(deadline=0.5)])
    assert shown(await street.log_in(Browser(slow.gateway.app))) == (504, "identity_provider_too_slow")


async def test_all_that_a_provider_is_asked_has_one_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match="GitHub took too long"):
        async with login.within(0.01, "GitHub"):
            await asyncio.Event().wait()


# --- state ----------------------------------------------------------------------------------------------------------


async def come_back_with(street: Street, browser: Browser, mine: Browser) -> AsgiResponse:
    """To ``browser``, from a login that ``mine`` began."""
    sent = await mine.get("/login")
    async with street.abroad.get(sent.headers["location"], allow_redirects=False) as answer:
        return await browser.get(answer.headers["Location"])


async def test_a_login_that_another_browser_began(street: Street) -> None:
    """Or an attacker's browser, whose link somebody else was made to follow."""
    mallory, alice = street.browser(), street.browser()
    page = await come_back_with(street, alice, mallory)
    assert shown(page) == (400, "login_state_mismatch")
    await alice.get("/login")
    assert shown(await come_back_with(street, alice, mallory)) == (400, "login_state_mismatch")
    assert SESSION not in alice.cookies
    assert "POST /login/oauth/access_token" not in street.github.asked


async def test_a_login_is_finished_once(street: Street) -> None:
    browser = street.browser()
    sent = await browser.get("/login")
    async with street.abroad.get(sent.headers["location"], allow_redirects=False) as answer:
        location = answer.headers["Location"]
    assert (await browser.get(location)).status == 303
    assert shown(await browser.get(location)) == (400, "login_state_mismatch")


async def test_the_last_of_two_logins_in_one_browser_counts(street: Street) -> None:
    browser = street.browser()
    first = await browser.get("/login")
    second = await browser.get("/login")
    assert shown(await browser.follow(first, street.abroad)) == (400, "login_state_mismatch")
    assert (await browser.follow(second, street.abroad)).status == 303


def test_an_attempt_has_its_time() -> None:
    keys, now = keys_of(["a"]), int(time.time())
    attempt = begin_attempt("github", "/account")
    for age, opened in ((ATTEMPT_LIFETIME - 60, attempt), (ATTEMPT_LIFETIME + 60, None)):
        sealed = keys._fernet().encrypt_at_time(encode(asdict(attempt)), now - age).decode()
        assert keys.open_attempt(sealed) == opened


def test_an_attempt_that_another_version_sealed() -> None:
    keys = keys_of(["a"])
    other = keys._fernet().encrypt(b'{"provider": "github", "colour": "blue"}').decode()
    assert keys.open_attempt(other) is None


@pytest.mark.parametrize("forged", ["", "x", "gAAAAA", "\u00e9"])
async def test_an_attempt_that_we_did_not_seal(street: Street, forged: str) -> None:
    browser = street.browser()
    browser.cookies[ATTEMPT] = forged
    assert shown(await browser.get("/login/authorized?code=a&state=b")) == (400, "login_state_mismatch")


def keys_of(values: list[str]) -> BrowserKeys:
    return BrowserKeys(lambda: values)


def test_what_is_sealed_is_opened_by_either_key_and_by_no_other() -> None:
    attempt = begin_attempt("github", "/account")
    old, both, new, other = map(keys_of, (["a"], ["b", "a"], ["b"], ["c"]))
    assert attempt.state not in old.seal_attempt(attempt)
    assert both.open_attempt(old.seal_attempt(attempt)) == attempt
    assert new.open_attempt(both.seal_attempt(attempt)) == attempt
    assert other.open_attempt(both.seal_attempt(attempt)) is None
    token = old.csrf_token("session")
    assert both.is_csrf_token("session", token)
    assert not both.is_csrf_token("another", token)
    assert not new.is_csrf_token("session", token)
    assert not both.is_csrf_token("session", "\u00e9")
    assert both.csrf_token("session") == new.csrf_token("session")


# --- where to -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/%0d%0aSet-Cookie:a=b".replace("%0d%0a", "\r\n"),
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/" + "a" * 3_000,
        "/caf\u00e9",
        "",
    ],
)
def test_nobody_is_led_elsewhere(target: str) -> None:
    assert local_target(target) == HOME


@given(st.text(st.sampled_from("/\\.:@ht ps#?%a\t\n"), max_size=12).map(lambda text: "/" + text))
def test_what_is_ours_leads_to_us(target: str) -> None:
    assert urlsplit(urljoin(PUBLIC_URL + "/login", local_target(target)))[:2] == urlsplit(PUBLIC_URL)[:2]


async def test_a_login_leads_to_what_was_asked_for(street: Street) -> None:
    browser = street.browser()
    asked = await browser.get("/account")
    assert (asked.status, asked.headers["location"]) == (303, "/login?next=%2Faccount")
    elsewhere = await street.log_in(browser, "https://evil.example/")
    assert elsewhere.headers["location"] == "/account"


# --- several providers, or none -------------------------------------------------------------------------------------


async def test_with_several_providers_people_choose(street: Street) -> None:
    async with fake_oidc(street.house.clock) as idp:
        channel = BackChannel(street.abroad, "it", 10)
        oidc = OidcProvider(channel, street.house.clock, idp.url, OIDC_CLIENT_ID, lambda: OIDC_CLIENT_SECRET)
        providers: list[IdentityProvider] = [street.provider(), oidc]
        browser = Browser(street.house.with_peers(PUBLIC, providers=providers).gateway.app)
        page = (await browser.get("/login?next=/docs")).body.decode()
        assert 'href="/login?provider=github&amp;next=%2Fdocs">Log in with GitHub' in page
        assert 'href="/login?provider=oidc&amp;next=%2Fdocs">Log in with 127.0.0.1' in page
        back = await browser.follow(await browser.get("/login?provider=oidc&next=/docs"), street.abroad)
        assert (back.status, back.headers["location"]) == (303, "/docs")
        assert "You are <strong>ada</strong>" in (await browser.get("/account")).body.decode()
        for issuer, status in ((idp.url, 303), ("https://elsewhere.example", 403)):
            idp.answers_as = issuer
            back = await browser.follow(await browser.get("/login?provider=oidc"), street.abroad)
            assert back.status == status
        assert shown(back) == (403, "identity_not_proven")
        assert shown(await browser.get("/login?provider=elsewhere")) == (404, "no_such_provider")


async def test_without_a_provider_a_ticket_opens_the_door(house: GatewayHouse) -> None:
    browser = Browser(house.with_peers(PUBLIC).gateway.app)
    page = await browser.get("/login?next=/docs")
    assert 'name="AuthToken"' in page.body.decode()
    ticket = await house.world.users.issue_ticket("alice")
    back = await browser.submit(page, "/login", Username="alice", AuthToken=ticket.ticket)
    assert (back.status, back.headers["location"]) == (303, "/docs")
    assert "You are <strong>alice</strong>" in (await browser.get("/account")).body.decode()
    again = await browser.submit(page, "/login", Username="nobody", AuthToken=ticket.ticket)
    assert shown(again) == (401, "invalid_ticket")


async def test_in_local_mode_a_name_is_enough(house: GatewayHouse) -> None:
    browser = Browser(house.gateway.app)
    page = await browser.get("/login")
    assert 'name="AuthToken"' not in page.body.decode()
    back = await browser.submit(page, "/login", Username="alice")
    assert (back.status, back.headers["location"]) == (303, "/account")
    assert browser.cookies.keys() == {"delinkcious"}


async def test_no_other_site_logs_anybody_in(house: GatewayHouse) -> None:
    """As somebody whose saves the attacker would read."""
    browser = Browser(house.gateway.app)
    form = {"Username": "alice"}
    for site, headers in (
        ("cross-site", {}),
        ("same-site", {}),
        ("none", {}),
        ("", {}),
        ("", {"Origin": "https://evil.example"}),
        ("", {"Origin": "null"}),
    ):
        assert shown(await browser.post("/login", form, site=site, **headers)) == (403, "cross_site_request")
    assert browser.cookies == {}
    ours = {"Origin": SETTINGS.reached_at}
    assert (await browser.post("/login", form, site="", **ours)).status == 303


async def test_a_form_of_another_kind(house: GatewayHouse) -> None:
    page = await Browser(house.gateway.app).post("/login", {"Username": "alice"}, **{"Content-Type": "text/plain"})
    assert shown(page) == (400, "invalid_argument")


# --- out ------------------------------------------------------------------------------------------------------------


async def test_logging_out_asks_first_and_ends_the_session(house: GatewayHouse) -> None:
    browser = Browser(house.gateway.app)
    await browser.post("/login", {"Username": "alice"})
    session = browser.cookies["delinkcious"]
    page = await browser.get("/logout")
    assert "alice" in page.body.decode()
    assert (await browser.get("/account")).status == 200
    out = await browser.submit(page, "/logout")
    assert (out.status, out.headers["location"]) == (303, "/logout")
    assert browser.cookies == {}
    assert "You are logged out" in (await browser.get("/logout")).body.decode()
    later = house.with_peers()
    assert (await later.gateway.call("GET", "/v1/me", token=session)).status == 401


async def test_nobody_is_logged_out_by_another_site(house: GatewayHouse) -> None:
    browser = Browser(house.gateway.app)
    await browser.post("/login", {"Username": "alice"})
    page = await browser.get("/logout")
    assert shown(await browser.post("/logout", {"csrf_token": "guessed"})) == (403, "csrf_token_mismatch")
    assert shown(await browser.post("/logout", {})) == (403, "csrf_token_mismatch")
    proof = hidden_fields(page, "/logout")
    assert shown(await browser.post("/logout", proof, site="cross-site")) == (403, "cross_site_request")
    assert (await browser.get("/account")).status == 200


# --- programs -------------------------------------------------------------------------------------------------------


async def post_json(house: GatewayHouse, path: str, body: object = None, **headers: str) -> AsgiResponse:
    sent = {"User-Agent": "a program/1.0", **({"Content-Type": "application/json"} if body is not None else {})}
    async with AsgiClient(house.gateway.app) as client:
        answer = await client.request("POST", path, headers=sent | headers, json=body)
    house.gateway.conformance.check("POST", path, answer)
    return answer


async def test_a_program_logs_in_and_out_with_json(house: GatewayHouse) -> None:
    answer = await post_json(house, "/login", {"Username": "alice", "AuthToken": "any"})
    assert (answer.status, answer.json()["err"], answer.set_cookies) == (200, "", [])
    token = answer.json()["session"]
    assert (await house.gateway.call("GET", "/v1/me", token=token)).json()["user"]["Name"] == "alice"
    records = await house.world.users.list_sessions(house.alice.actor)
    assert "a program/1.0" in {record.client for record in records}
    assert (await post_json(house, "/logout", **{"Access-Token": token})).json() == {"err": ""}
    later = house.with_peers()
    assert (await later.gateway.call("GET", "/v1/me", token=token)).status == 401


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"Username": "nobody", "AuthToken": "any"}, (401, "invalid_ticket")),
        ({"Username": "alice"}, (400, "missing_argument")),
        ({"Username": "alice", "AuthToken": "a", "Admin": True}, (400, "unknown_argument")),
        ({"Username": 7, "AuthToken": "a"}, (400, "invalid_argument")),
        ([], (400, "malformed_json")),
    ],
)
async def test_a_program_that_is_not_let_in(house: GatewayHouse, body: object, expected: tuple[int, str]) -> None:
    answer = await post_json(house, "/login", body)
    assert (answer.status, answer.json()["code"]) == expected


async def test_no_ticket_is_taken_from_a_url(house: GatewayHouse) -> None:
    async with AsgiClient(house.gateway.app, headers={"Content-Type": "application/json"}) as client:
        answer = await client.request("POST", "/login", query={"Username": "alice", "AuthToken": "any"})
    assert (answer.status, answer.json()["code"]) == (400, "invalid_argument")


async def test_an_api_token_is_not_logged_out(house: GatewayHouse) -> None:
    request = CreateTokenRequest(name="laptop", scopes=(Scope.ACCOUNT,))
    made = await house.world.users.create_token(house.alice.actor, request)
    answer = await post_json(house, "/logout", **{"Access-Token": made.token})
    assert (answer.status, answer.json()["code"]) == (400, "not_a_session")
    assert (await house.gateway.call("GET", "/v1/me", token=made.token)).status == 200


async def test_a_logout_without_a_session(house: GatewayHouse) -> None:
    assert (await post_json(house, "/logout", **{"Access-Token": "dls_unknown"})).status == 401
