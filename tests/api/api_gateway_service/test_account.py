"""One's own account: as a page in a browser, and as operations for programs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pkg.clients.user_client import UserClient
from pkg.object_model.types import Actor, AuditEventType, CreateTokenRequest, PageRequest, Scope
from svc.api_gateway_service.client_address import parse_networks
from tests.api.api_gateway_service.browser import Browser, hidden_fields, shown
from tests.api.api_gateway_service.conformance import versioned
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse, Person
from tests.asgi_client import AsgiResponse
from tests.fakes import away

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def browser(house: GatewayHouse) -> Browser:
    """Alice's, who is logged in."""
    opened = Browser(house.gateway.app)
    assert (await opened.post("/login", {"Username": "alice"}, **{"User-Agent": "Lynx/2.9"})).status == 303
    return opened


async def text_of(browser: Browser, url: str = "/account") -> str:
    page = await browser.get(url)
    assert page.status == 200, page.body
    return page.body.decode()


async def token_for(house: GatewayHouse, *scopes: Scope) -> Person:
    """Alice, by a token of these scopes."""
    request = CreateTokenRequest(name=",".join(scopes), scopes=scopes)
    made = await house.world.users.create_token(house.alice.actor, request)
    return replace(house.alice, token=made.token)


# --- the page -------------------------------------------------------------------------------------------------------


async def test_the_page_shows_who_you_are_and_what_can_act_as_you(browser: Browser) -> None:
    text = await text_of(browser)
    assert "You are <strong>alice</strong>" in text
    assert "You have no tokens." in text
    assert '<th scope="row">Lynx/2.9</th>' in text
    assert "this one" in text
    assert "alice@mail.example" in text


async def test_the_page_is_whole_and_has_nothing_that_its_policy_forbids(browser: Browser) -> None:
    page = await browser.get("/account")
    text = page.body.decode()
    for forbidden in ("<script", "<style", " style=", " onclick", "javascript:", "http://", "https://"):
        assert forbidden not in text, forbidden
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy and "unsafe" not in policy
    labelled = {part.split('"')[0] for part in text.split('<label for="')[1:]}
    fields = {part.split('"')[0] for part in text.replace("<select id=", "<input id=").split('<input id="')[1:]}
    assert fields <= labelled, "every field has a label"
    style = await browser.get("/pages/style.css")
    assert (style.status, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert style.headers["cache-control"] == "public, max-age=300"


async def test_what_people_write_is_shown_as_they_wrote_it(browser: Browser, house: GatewayHouse) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&"
    page = await browser.get("/account")
    await browser.submit(page, "/account/profile", display_name=evil, email="alice@mail.example")
    await browser.submit(page, "/account/tokens", name=evil, scope="news", expires_in_days="7")
    await browser.post("/login", {"Username": "alice"}, **{"User-Agent": evil})
    text = await text_of(browser)
    assert "<img" not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;") >= 3


async def test_a_profile_is_changed(browser: Browser, house: GatewayHouse) -> None:
    page = await browser.get("/account")
    fields = {"display_name": "Alice Liddell", "email": "al@mail.example", "private": "yes"}
    back = await browser.submit(page, "/account/profile", **fields)
    assert (back.status, back.headers["location"]) == (303, "/account?done=profile")
    text = await text_of(browser, back.headers["location"])
    assert "Your account is changed." in text
    user = await house.world.users.get_user(None, "alice")
    assert (user.display_name, user.email, user.private) == ("Alice Liddell", "al@mail.example", True)
    await browser.submit(page, "/account/profile", display_name="Alice", email="al@mail.example")
    assert not (await house.world.users.get_user(None, "alice")).private
    assert shown(await browser.submit(page, "/account/profile", email="nonsense")) == (400, "invalid_email")
    assert "<h1>Alice</h1>" in await text_of(browser, "/account?done=nonsense")


async def test_a_token_is_made_shown_once_used_and_revoked(browser: Browser, house: GatewayHouse) -> None:
    page = await browser.get("/account")
    pairs = [*hidden_fields(page, "/account/tokens").items(), ("name", "laptop"), ("scope", "links:read")]
    made = await browser.post("/account/tokens", [*pairs, ("scope", "account"), ("expires_in_days", "30")])
    assert made.status == 200
    assert made.headers["cache-control"] == "no-store"
    token = made.body.decode().split('id="token"')[1].split('value="')[1].split('"')[0]
    assert token.startswith("dlt_")
    mine = await house.gateway.call("GET", "/v1/me", token=token)
    assert mine.json()["token"]["Scopes"] == ["links:read", "account"]
    page = await browser.get("/account")
    text = page.body.decode()
    assert '<th scope="row">laptop</th>' in text and "links:read, account" in text
    assert token not in text
    back = await browser.submit(page, "/account/tokens/revoke")
    assert "The token is revoked." in await text_of(browser, back.headers["location"])
    assert "You have no tokens." in await text_of(browser)
    assert (await house.with_peers().gateway.call("GET", "/v1/me", token=token)).status == 401


async def test_what_is_wrong_with_a_form_is_said(browser: Browser) -> None:
    page = await browser.get("/account")
    for fields, expected in (
        ({"name": "a", "scope": "everything", "expires_in_days": "7"}, (400, "invalid_argument")),
        ({"name": "a", "scope": "news", "expires_in_days": "soon"}, (400, "invalid_argument")),
        ({"name": "a", "scope": "news", "expires_in_days": "9999"}, (400, "invalid_expiry")),
        ({"name": "", "scope": "news", "expires_in_days": "7"}, (400, "invalid_token_name")),
        ({"name": "a", "expires_in_days": "7"}, (400, "invalid_scopes")),
    ):
        assert shown(await browser.submit(page, "/account/tokens", **fields)) == expected


async def test_sessions_are_ended_one_by_one_or_all_the_others(browser: Browser, house: GatewayHouse) -> None:
    for _ in range(3):
        await house.world.users.login("alice", "any")
    page = await browser.get("/account")
    assert page.body.decode().count("End the session of") == 4
    back = await browser.submit(page, "/account/sessions/end")
    page = await browser.get(back.headers["location"])
    assert "The session is ended." in page.body.decode()
    assert page.body.decode().count("End the session of") == 3
    await browser.submit(page, "/account/sessions/end-others")
    text = await text_of(browser)
    assert "End the session of" not in text and "this one" in text


async def test_an_account_is_deleted_by_who_is_sure(browser: Browser, house: GatewayHouse) -> None:
    page = await browser.get("/account")
    assert shown(await browser.submit(page, "/account/delete", confirm="alise")) == (400, "not_confirmed")
    gone = await browser.submit(page, "/account/delete", confirm="alice")
    assert (gone.status, browser.cookies) == (200, {})
    assert "Your account is being deleted" in gone.body.decode()
    assert (await house.with_peers().gateway.call("GET", "/v1/me", token=house.alice.token)).status == 401


async def test_events_are_shown(browser: Browser, house: GatewayHouse) -> None:
    await house.bob.ok("POST", "/v1/following", json={"followed": "alice"})
    await house.alice.ok("POST", "/v1/blocks", json={"blocked": "bob"})
    text = await text_of(browser)
    assert "<td>user blocked</td><td>bob</td>" in text
    assert "<td>login</td>" in text


# --- a cookie and what it needs -------------------------------------------------------------------------------------

FORMS = ("profile", "tokens", "tokens/revoke", "sessions/end", "sessions/end-others", "delete")


@pytest.mark.parametrize("form", FORMS)
async def test_no_form_of_another_site_does_anything(browser: Browser, house: GatewayHouse, form: str) -> None:
    page = await browser.get("/account")
    proof = hidden_fields(page, "/account/profile")
    fields = {
        "name": "a",
        "scope": "news",
        "expires_in_days": "7",
        "id": "1",
        "display_name": "Mallory",
        "confirm": "alice",
    }
    path = f"/account/{form}"
    events = await house.world.users.get_audit_events(house.alice.actor, PageRequest())
    assert shown(await browser.post(path, fields)) == (403, "csrf_token_mismatch")
    assert shown(await browser.post(path, fields | {"csrf_token": "x"})) == (403, "csrf_token_mismatch")
    assert shown(await browser.post(path, fields | proof, site="cross-site")) == (403, "cross_site_request")
    evil = {"Origin": "https://evil.example"}
    assert shown(await browser.post(path, fields | proof, site="", **evil)) == (403, "cross_site_request")
    assert await house.world.users.get_audit_events(house.alice.actor, PageRequest()) == events


async def test_a_token_of_another_session_proves_nothing(browser: Browser, house: GatewayHouse) -> None:
    mallory = Browser(house.gateway.app)
    await mallory.post("/login", {"Username": "bob"})
    proof = hidden_fields(await mallory.get("/account"), "/account/profile")
    assert shown(await browser.post("/account/profile", proof)) == (403, "csrf_token_mismatch")


async def call(browser: Browser, method: str, path: str, **headers: str) -> AsgiResponse:
    return await browser._send(method, path, headers)


async def test_a_cookie_is_good_for_the_api_too(browser: Browser, house: GatewayHouse) -> None:
    me = await call(browser, "GET", "/v1/me")
    assert me.json()["user"]["Name"] == "alice"
    proof = hidden_fields(await browser.get("/account"), "/account/profile")["csrf_token"]
    query = "/v1/links?url=https://a.example/&title=A"
    for headers, expected in (
        ({}, "csrf_token_mismatch"),
        ({"X-CSRF-Token": "x"}, "csrf_token_mismatch"),
        ({"X-CSRF-Token": proof, "Sec-Fetch-Site": "same-site"}, "cross_site_request"),
        ({"X-CSRF-Token": proof, "Origin": "https://evil.example"}, "cross_site_request"),
    ):
        refused = await call(browser, "POST", query, **headers)
        assert (refused.status, refused.json()["code"]) == (403, expected)
        house.gateway.conformance.check("POST", "/v1/links", refused)
    assert (await call(browser, "POST", query, **{"X-CSRF-Token": proof})).status == 200


async def test_a_token_in_a_header_goes_before_the_cookie(browser: Browser, house: GatewayHouse) -> None:
    sent = {"Access-Token": house.bob.token}
    assert (await call(browser, "GET", "/v1/me", **sent)).json()["user"]["Name"] == "bob"
    saved = await call(browser, "POST", "/v1/links?url=https://a.example/&title=A", **sent)
    assert saved.status == 200
    assert (await call(browser, "GET", "/v1/me", **{"Access-Token": "wrong"})).status == 401


async def test_a_cookie_that_is_nobodys(house: GatewayHouse) -> None:
    stranger = Browser(house.gateway.app)
    stranger.cookies["delinkcious"] = "dls_nobody"
    assert (await call(stranger, "GET", "/v1/me")).status == 401
    assert (await stranger.get("/account")).headers["location"] == "/login?next=%2Faccount"
    assert "You are logged out" in (await stranger.get("/logout")).body.decode()
    stranger.cookies = {"xdelinkcious": house.alice.token, "delinkciousx": house.alice.token}
    assert (await call(stranger, "GET", "/v1/me")).json()["code"] == "missing_token"


# --- operations -----------------------------------------------------------------------------------------------------


async def test_an_account_is_changed_by_a_program(house: GatewayHouse) -> None:
    changed = await house.alice.ok("PUT", "/v1/me", json={"display_name": "Alice L.", "private": True})
    assert (changed["user"]["DisplayName"], changed["user"]["Private"]) == ("Alice L.", True)
    emptied = await house.alice.ok("PUT", "/v1/me", query={"email": "", "display_name": "", "private": "false"})
    assert emptied["user"] | {"DisplayName": "alice", "Email": "", "Private": False} == emptied["user"]
    assert await house.alice.refused("PUT", "/v1/me") == (400, "nothing_to_change")
    assert await house.alice.refused("PUT", "/v1/me", json={"email": "@"}) == (400, "invalid_email")
    assert await house.alice.refused("PUT", "/v1/me", json={"display_name": "a\u202eb"}) == (
        400,
        "invalid_display_name",
    )
    assert await house.alice.refused("PUT", "/v1/me", json={"name": "bob"}) == (400, "unknown_argument")


async def test_tokens_are_made_listed_and_revoked(house: GatewayHouse) -> None:
    wanted = {"name": "laptop", "scopes": ["news", "links:read"], "expires_in_days": 7}
    made = await house.alice.ok("POST", "/v1/me/tokens", json=wanted)
    assert made["record"]["Scopes"] == ["links:read", "news"]
    assert (await house.alice.ok("GET", "/v1/me/tokens"))["tokens"] == [made["record"]]
    laptop = replace(house.alice, token=made["token"])
    assert (await laptop.ok("GET", "/v1/me"))["token"]["Name"] == "laptop"
    assert await house.alice.refused("POST", "/v1/me/tokens", json=wanted) == (409, "token_name_taken")
    path = f"/v1/me/tokens/{made['record']['Id']}"
    assert await house.bob.refused("DELETE", path) == (404, "token_not_found")
    await house.alice.ok("DELETE", path)
    assert await house.alice.refused("DELETE", path) == (404, "token_not_found")
    assert (await house.with_peers().gateway.call("GET", "/v1/me", token=made["token"])).status == 401
    assert (await house.alice.ok("GET", "/v1/me/tokens"))["tokens"] == []


@pytest.mark.parametrize("record_id", ["0", "-1", "abc", "9" * 30, "%20", "\u0661"])
async def test_ids_that_nobody_has(house: GatewayHouse, record_id: str) -> None:
    assert await house.alice.refused("DELETE", f"/v1/me/tokens/{record_id}") == (404, "token_not_found")
    assert await house.alice.refused("DELETE", f"/v1/me/sessions/{record_id}") == (404, "session_not_found")


async def test_a_text_of_scopes_is_a_list(house: GatewayHouse) -> None:
    made = await house.alice.ok("POST", "/v1/me/tokens", query={"name": "a", "scopes": "social, news,news"})
    assert made["record"]["Scopes"] == ["social", "news"]
    for scopes in ("everything", ["news", 7], {"news": True}, 7):
        given = {"name": "b", "scopes": scopes}
        assert await house.alice.refused("POST", "/v1/me/tokens", json=given) == (400, "invalid_argument")
    assert await house.alice.refused("POST", "/v1/me/tokens", json={"name": "b"}) == (400, "missing_argument")


async def test_no_token_makes_one_that_is_better_than_itself(house: GatewayHouse) -> None:
    keeper = await token_for(house, Scope.ACCOUNT, Scope.NEWS)
    assert await keeper.refused("POST", "/v1/me/tokens", json={"name": "a", "scopes": ["links:read"]}) == (
        403,
        "insufficient_scope",
    )
    await keeper.ok("POST", "/v1/me/tokens", json={"name": "a", "scopes": ["news"]})


async def test_sessions_are_listed_and_ended(house: GatewayHouse) -> None:
    other = await house.world.users.login("alice", "any", "Lynx/2.9")
    (newest, own) = (await house.alice.ok("GET", "/v1/me/sessions"))["sessions"]
    assert (newest["Client"], newest["Current"], own["Current"]) == ("Lynx/2.9", False, True)
    path = f"/v1/me/sessions/{newest['Id']}"
    assert await house.bob.refused("DELETE", path) == (404, "session_not_found")
    await house.alice.ok("DELETE", path)
    later = house.with_peers()
    assert (await later.gateway.call("GET", "/v1/me", token=other.token)).status == 401
    await house.world.users.login("alice", "any")
    assert (await house.alice.ok("DELETE", "/v1/me/sessions"))["ended"] == 1
    keeper = await token_for(house, Scope.ACCOUNT)
    assert (await keeper.ok("DELETE", "/v1/me/sessions"))["ended"] == 1
    assert (await later.gateway.call("GET", "/v1/me", token=house.alice.token)).status == 401


async def test_events_are_read_page_by_page(house: GatewayHouse) -> None:
    for name in ("a", "b", "c"):
        await house.alice.ok("POST", "/v1/me/tokens", json={"name": name, "scopes": ["news"]})
    first = await house.alice.ok("GET", "/v1/me/audit", query={"limit": "2"})
    assert [(event["Type"], event["Detail"]) for event in first["events"]] == [
        (AuditEventType.TOKEN_MADE, "c"),
        (AuditEventType.TOKEN_MADE, "b"),
    ]
    second = await house.alice.ok("GET", "/v1/me/audit", query={"start_token": first["NextPageToken"]})
    assert [event["Type"] for event in second["events"]] == ["token_made", "login"]
    assert await house.bob.refused("GET", "/v1/me/audit", query={"start_token": first["NextPageToken"]}) == (
        400,
        "invalid_start_token",
    )


async def events_of(person: Person) -> list[tuple[str, str]]:
    """The newest first, but for logins."""
    events = (await person.ok("GET", "/v1/me/audit"))["events"]
    return [(event["Type"], event["Detail"]) for event in events if event["Type"] != AuditEventType.LOGIN]


async def test_what_people_do_to_each_other_is_in_the_log_of_who_did_it(house: GatewayHouse) -> None:
    await house.alice.ok("PUT", "/v1/me", json={"private": True})
    following, follower = {"followed": "alice"}, {"follower": "bob"}
    for answer in ("DELETE", "POST"):
        await house.bob.ok("POST", "/v1/following", json=following)
        await house.alice.ok(answer, "/v1/follow-requests", json=follower)
    await house.alice.ok("DELETE", "/v1/followers", json=follower)
    await house.alice.ok("POST", "/v1/blocks", json={"blocked": "bob"})
    await house.alice.ok("DELETE", "/v1/blocks", json={"blocked": "bob"})
    assert await events_of(house.alice) == [
        ("user_unblocked", "bob"),
        ("user_blocked", "bob"),
        ("follower_removed", "bob"),
        ("follow_approved", "bob"),
        ("follow_rejected", "bob"),
        ("account_changed", "private"),
    ]
    assert await events_of(house.bob) == [("follow_requested", "alice")] * 2


async def test_what_is_refused_did_not_happen(house: GatewayHouse) -> None:
    assert (await house.alice.refused("POST", "/v1/blocks", json={"blocked": "nobody"}))[0] == 404
    assert await events_of(house.alice) == []


async def test_what_was_done_stays_done_when_it_cannot_be_written_down(house: GatewayHouse) -> None:
    class Forgetful(UserClient):
        async def record_audit_event(
            self, actor: Actor | None, event_type: AuditEventType, detail: str, client: str = ""
        ) -> None:
            raise away("user-manager")

    assert isinstance(house.peers.users, UserClient)
    forgetful = house.with_peers(users=Forgetful(house.peers.users._http))
    await forgetful.alice.ok("POST", "/v1/blocks", json={"blocked": "bob"})
    assert (await house.alice.ok("GET", "/v1/blocks"))["blocked"] == {"bob": True}


# --- scopes ---------------------------------------------------------------------------------------------------------


async def test_each_operation_takes_a_token_of_its_scope_and_no_other(house: GatewayHouse) -> None:
    people = {scope: await token_for(house, scope) for scope in Scope}
    document = house.gateway.conformance.document
    checked = 0
    for path, methods in versioned(document).items():
        for method, described in methods.items():
            ((needed,), *_) = [scheme["AccessToken"] or (None,) for scheme in described["security"][:1]]
            for scope, person in people.items():
                answer = await person.call(method.upper(), "/v1" + path.replace("{", "").replace("}", ""))
                refused = answer.status == 403 and answer.json()["code"] == "insufficient_scope"
                assert refused == (needed not in (None, scope)), (method, path, scope, answer.body)
                if refused:
                    assert needed in answer.json()["err"]
                checked += 1
                # Whatever the last call was let to do, the next one has a token to do it with.
                people[scope] = await _fresh(house, scope)
    assert checked > 100


@pytest.mark.parametrize(
    ("came_from", "kept"),
    [("198.51.100.9, 203.0.113.7", "203.0.113.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("nobody", "127.0.0.1")],
)
async def test_the_log_says_from_where_as_limits_count_it(house: GatewayHouse, came_from: str, kept: str) -> None:
    settings = SETTINGS.model_copy(update={"trusted_proxies": parse_networks("127.0.0.1")})
    alice = house.with_peers(settings).alice
    told = {"X-Forwarded-For": came_from, "Delinkcious-Client-Address": "192.0.2.99"}
    wanted = {"name": "laptop", "scopes": ["news"]}
    assert (await alice.call("POST", "/v1/me/tokens", json=wanted, headers=told)).status == 200
    newest = (await alice.ok("GET", "/v1/me/audit"))["events"][0]
    assert (newest["Type"], newest["Address"]) == ("token_made", kept)


async def test_an_address_is_for_tokens_of_the_account(house: GatewayHouse) -> None:
    assert (await house.alice.ok("GET", "/v1/me"))["user"]["Email"] == "alice@mail.example"
    reader = await token_for(house, Scope.LINKS_READ)
    assert (await reader.ok("GET", "/v1/me"))["user"]["Email"] == ""


async def _fresh(house: GatewayHouse, scope: Scope) -> Person:
    for record in await house.world.users.list_tokens(house.alice.actor):
        if record.name == scope:
            await house.world.users.revoke_token(house.alice.actor, record.id)
    return await token_for(house, scope)


async def test_a_token_is_no_good_after_its_time(house: GatewayHouse) -> None:
    made = await house.world.users.create_token(
        house.alice.actor, CreateTokenRequest(name="a", scopes=(Scope.NEWS,), expires_in_days=1)
    )
    assert made.record.expires_at - made.record.created_at == timedelta(days=1)
