"""What browsers are told: to trust nothing that we did not say, and which other sites' scripts may ask."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from svc.api_gateway_service.cross_origin import parse_origins
from svc.api_gateway_service.settings import ApiGatewaySettings
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse
from tests.asgi_client import AsgiClient, AsgiResponse

FRIEND, STRANGER = "https://app.example", "https://evil.example"


def settings(**changed: Any) -> ApiGatewaySettings:
    return SETTINGS.model_copy(update=changed)


async def ask(
    house: GatewayHouse, method: str, path: str, headers: Mapping[str, str], chosen: ApiGatewaySettings
) -> AsgiResponse:
    async with AsgiClient(house.with_peers(chosen).gateway.app) as client:
        return await client.request(method, path, headers=headers)


# --- headers of every answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/docs", 200),
        ("GET", "/livez", 200),
        ("GET", "/v1/links", 401),
        ("GET", "/nothing", 404),
        ("POST", "/docs", 405),
        ("GET", "/v1/links?" + "a" * 20_000, 414),
    ],
)
async def test_every_answer_has_them(house: GatewayHouse, method: str, path: str, status: int) -> None:
    bare, _, query = path.partition("?")
    async with AsgiClient(house.gateway.app) as client:
        answer = await client.request(method, bare, query=query)
    assert answer.status == status
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize(
    ("public_url", "told"), [(None, False), ("http://a.example", False), ("https://a.example", True)]
)
async def test_browsers_keep_to_tls_where_there_is_tls(house: GatewayHouse, public_url: str | None, told: bool) -> None:
    for path in ("/", "/v1/links", "/nothing", "/livez"):
        answer = await ask(house, "GET", path, {}, settings(public_url=public_url))
        strict = answer.headers.get("strict-transport-security")
        assert strict == ("max-age=31536000; includeSubDomains" if told else None)


# --- scripts of other sites -----------------------------------------------------------------------------------------


def preflight(origin: str, method: str = "POST", headers: str = "access-token") -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}


def allowances(response: AsgiResponse) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-allow-origin")}


async def test_nobody_may_unless_they_are_named(house: GatewayHouse) -> None:
    for origin in (FRIEND, "null", "http://localhost:5000"):
        asked = await ask(house, "OPTIONS", "/v1/links", preflight(origin), settings())
        assert (asked.status, allowances(asked)) == (405, set())
        answered = await ask(house, "GET", "/docs", {"Origin": origin}, settings())
        assert (answered.status, allowances(answered)) == (200, set())


async def test_those_who_are_named_may(house: GatewayHouse) -> None:
    chosen = settings(cors_origins=frozenset({FRIEND, "http://localhost:3000"}))
    asked = await ask(house, "OPTIONS", "/v1/links", preflight(FRIEND, "DELETE", "access-token, if-match"), chosen)
    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == FRIEND
    assert "DELETE" in asked.headers["access-control-allow-methods"]
    assert "Access-Token" in asked.headers["access-control-allow-headers"]
    assert "Origin" in asked.headers["vary"]
    token = {"Origin": FRIEND, "Access-Token": house.alice.token}
    for headers, status in ((token, 200), ({"Origin": FRIEND}, 401)):
        answered = await ask(house, "GET", "/v1/links", headers, chosen)
        assert answered.status == status
        assert answered.headers["access-control-allow-origin"] == FRIEND
        assert answered.headers["vary"] == "Origin"
        assert "RateLimit" in answered.headers["access-control-expose-headers"]
        assert answered.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-credentials" not in answered.headers


@pytest.mark.parametrize(
    "origin",
    [STRANGER, "null", "", "https://app.example.evil.example", "http://app.example", "https://app.example:444", "*"],
)
async def test_those_who_are_not_named_may_not(house: GatewayHouse, origin: str) -> None:
    chosen = settings(cors_origins=frozenset({FRIEND}))
    asked = await ask(house, "OPTIONS", "/v1/links", preflight(origin), chosen)
    assert (asked.status, allowances(asked)) == (400, set())
    answered = await ask(house, "GET", "/docs", {"Origin": origin}, chosen)
    assert (answered.status, allowances(answered)) == (200, set())
    # No cache may give this answer to somebody who is named.
    assert answered.headers["vary"] == "Origin"


async def test_any_site_may_where_that_is_wished_but_without_cookies(house: GatewayHouse) -> None:
    chosen = settings(cors_origins=frozenset({"*"}))
    asked = await ask(house, "OPTIONS", "/v1/links", preflight(STRANGER), chosen)
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (200, "*")
    answered = await ask(house, "GET", "/v1/links", {"Origin": STRANGER, "Cookie": "delinkcious=x"}, chosen)
    assert answered.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in {**asked.headers, **answered.headers}


async def test_a_method_and_a_header_that_nobody_needs(house: GatewayHouse) -> None:
    chosen = settings(cors_origins=frozenset({FRIEND}))
    assert (await ask(house, "OPTIONS", "/v1/links", preflight(FRIEND, "PATCH"), chosen)).status == 400
    assert (await ask(house, "OPTIONS", "/v1/links", preflight(FRIEND, "GET", "x-forwarded-for"), chosen)).status == 400


def test_origins_as_settings_have_them() -> None:
    assert parse_origins(" https://app.example ,http://localhost:3000,") == {FRIEND, "http://localhost:3000"}
    assert parse_origins("") == frozenset()
    for nonsense in ("app.example", "https://app.example/", "https://App.example", "ftp://a.example", "https://u@a.ex"):
        with pytest.raises(ValidationError):
            ApiGatewaySettings(**{**SETTINGS.model_dump(), "cors_origins": nonsense})
