"""The gateway as its own ``app.py`` puts it together."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pkg.events.nats_bus import open_bus
from pkg.identity_providers.back_channel import open_session
from pkg.object_model.types import CreateTokenRequest, Scope
from pkg.runtime.access import LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.settings import read_settings
from pkg.runtime.start_error import StartError
from svc.api_gateway_service.app import create_app
from svc.api_gateway_service.providers import build_providers
from svc.api_gateway_service.settings import ApiGatewaySettings
from svc.user_service.events import announce_revocations
from tests.api.api_gateway_service.conftest import GatewayHouse, InternalServices
from tests.asgi_client import AsgiClient
from tests.conftest import TestNats, TestValkey
from tests.fakes import FakeClock
from tests.internal_service import API_GATEWAY, edge_secret
from tests.memory_world import build_world

#: Seconds; a test that waits longer has found a fault.
DEADLINE = 20.0
CALLEES = (LINK_MANAGER, USER_MANAGER, SOCIAL_GRAPH_MANAGER, NEWS_MANAGER)


def secrets_file(folder: Path, *callees: str) -> Path:
    presents = {}
    for callee in callees:
        secret = edge_secret(API_GATEWAY, callee)
        presents[callee] = {"token": secret.token, "statement_key": secret.statement_key}
    path = folder / "mutual-auth.yaml"
    # JSON is YAML.
    path.write_text(json.dumps({"presents": presents}))
    path.chmod(0o600)
    return path


def secret_file(folder: Path, name: str, content: str = "a secret that nobody guesses") -> str:
    path = folder / name
    path.write_text(content)
    return str(path)


def identity(folder: Path) -> dict[str, str]:
    return {
        "DELINKCIOUS_PUBLIC_URL": "https://delinkcious.example",
        "BROWSER_KEY_FILE": secret_file(folder, "browser-key"),
        "GITHUB_CLIENT_ID_FILE": secret_file(folder, "github-client-id"),
        "GITHUB_CLIENT_SECRET_FILE": secret_file(folder, "github-client-secret"),
    }


def limit_store(
    folder: Path, host: str = "127.0.0.1", port: int = 9, password: str = "a long password"
) -> dict[str, str]:
    return {
        "RATE_LIMIT_REDIS_SERVICE_HOST": host,
        "RATE_LIMIT_REDIS_SERVICE_PORT": str(port),
        "RATE_LIMIT_REDIS_PASSWORD_FILE": secret_file(folder, "limit-store-password", password),
    }


def nats_place(
    folder: Path, host: str = "127.0.0.1", port: int = 9, password: str = "a long password"
) -> dict[str, str]:
    return {
        "NATS_CLUSTER_SERVICE_HOST": host,
        "NATS_CLUSTER_SERVICE_PORT": str(port),
        "NATS_PASSWORD_FILE": secret_file(folder, "nats-password", password),
    }


def environment(file: Path, base_urls: Mapping[str, str]) -> dict[str, str]:
    variables = {"DELINKCIOUS_MUTUAL_AUTH_FILE": str(file)} | identity(file.parent)
    variables |= limit_store(file.parent) | nats_place(file.parent)
    for callee, base_url in base_urls.items():
        prefix = callee.replace("-", "_").upper()
        address = urlsplit(base_url)
        variables[f"{prefix}_SERVICE_HOST"] = str(address.hostname)
        variables[f"{prefix}_SERVICE_PORT"] = str(address.port)
    return variables


async def test_the_gateway_of_the_environment(house: GatewayHouse, services: InternalServices, tmp_path: Path) -> None:
    variables = environment(secrets_file(tmp_path, *CALLEES), services.base_urls)
    async with create_app(read_settings(ApiGatewaySettings, variables)) as app, AsgiClient(app) as client:
        assert (await client.request("GET", "/readyz")).status == 200
        headers = {"Access-Token": house.alice.token}
        saved = await client.request(
            "POST", "/v1/links", query={"url": "https://a.example/", "title": "A"}, headers=headers
        )
        assert saved.status == 200
        me = await client.request("GET", "/v1/me", headers=headers)
        assert (me.json()["user"]["Name"], me.json()["user"]["LinkCount"]) == ("alice", 1)


async def test_a_gateway_that_cannot_reach_the_user_service_is_not_ready(
    services: InternalServices, tmp_path: Path
) -> None:
    elsewhere = {**services.base_urls, USER_MANAGER: "http://127.0.0.1:9"}
    settings = read_settings(ApiGatewaySettings, environment(secrets_file(tmp_path, *CALLEES), elsewhere))
    async with create_app(settings) as app, AsgiClient(app) as client:
        response = await client.request("GET", "/readyz")
        assert (response.status, response.json()["dependencies"]) == (503, {"user-manager": "user_manager_unavailable"})
        answer = await client.request("GET", "/v1/links", headers={"Access-Token": "any"})
        assert (answer.status, answer.json()["code"]) == (503, "user_manager_unavailable")
        assert (await client.request("GET", "/docs")).status == 200


async def test_two_gateways_keep_one_limit_and_none_while_its_store_is_away(
    house: GatewayHouse, services: InternalServices, tmp_path: Path, valkey: TestValkey
) -> None:
    store = valkey.address(API_GATEWAY)
    variables = environment(secrets_file(tmp_path, *CALLEES), services.base_urls)
    variables |= limit_store(tmp_path, store.host, store.port, valkey.server.password(API_GATEWAY))
    variables |= {"RATE_LIMIT_USER_READS": "6", "RATE_LIMIT_USER_WRITES": "5", "RATE_LIMIT_TIMEOUT": "5"}
    settings = read_settings(ApiGatewaySettings, variables)
    headers = {"Access-Token": house.alice.token}
    async with (
        create_app(settings) as first,
        create_app(settings) as second,
        AsgiClient(first, headers=headers) as one,
        AsgiClient(second, headers=headers) as other,
    ):
        answers = [await client.request("GET", "/v1/links") for client in (one, other) * 5]
        assert [answer.status for answer in answers] == [200] * 6 + [429] * 4
        assert answers[0].headers["ratelimit"] == '"reads";r=5;t=10'
        assert answers[-1].headers["ratelimit"].startswith('"reads";r=0;t=')
        valkey.stop()
        try:
            # Another limit, of which nobody is known to be at its end.
            gone = {"url": "https://gone.example/"}
            answers = [await one.request("DELETE", "/v1/links", query=gone) for _ in range(10)]
            assert {answer.status for answer in answers} == {200}
        finally:
            valkey.start()


async def test_a_revocation_reaches_every_gateway_within_a_second(
    house: GatewayHouse, services: InternalServices, tmp_path: Path, nats: TestNats
) -> None:
    address = nats.server.address(API_GATEWAY)
    variables = environment(secrets_file(tmp_path, *CALLEES), services.base_urls)
    variables |= nats_place(tmp_path, address.host, address.port, nats.server.password_file(API_GATEWAY).read_text())
    # Without being told, they would take it for a minute.
    variables |= {"DELINKCIOUS_TOKEN_CACHE_SECONDS": "60", "RATE_LIMIT_FACTOR": "0"}
    settings = read_settings(ApiGatewaySettings, variables)
    async with (
        open_bus(nats.server.address(USER_MANAGER), "tests") as bus,
        create_app(settings) as first,
        create_app(settings) as second,
        AsgiClient(first) as one,
        AsgiClient(second) as other,
    ):
        world = services.world.current = build_world(on_revoked=announce_revocations(bus))
        alice, _ = [await world.person(name) for name in ("alice", "bob")]
        token = (await world.users.create_token(alice, CreateTokenRequest(name="a", scopes=(Scope.NEWS,)))).token
        session, bobs = [(await world.users.login(name, "any")).token for name in ("alice", "bob")]

        async def statuses(given: str) -> set[int]:
            headers = {"Access-Token": given}
            return {(await gateway.request("GET", "/v1/me", headers=headers)).status for gateway in (one, other)}

        async def refused_after(given: str) -> float:
            began = time.monotonic()
            while await statuses(given) != {401}:
                assert time.monotonic() - began < DEADLINE, "a token that was revoked is still taken"
                await asyncio.sleep(0.005)
            return time.monotonic() - began

        assert [await statuses(given) for given in (token, session, bobs)] == [{200}] * 3
        (record,) = await world.users.list_tokens(alice)
        await world.users.revoke_token(alice, record.id)
        took = await refused_after(token)
        print(f"a token was refused by both after {took:.3f} s")
        assert took < 1
        await world.users.end_sessions(alice)
        assert await refused_after(session) < 1
        assert await statuses(bobs) == {200}


@pytest.mark.parametrize("missing", [SOCIAL_GRAPH_MANAGER, NEWS_MANAGER])
async def test_without_a_secret_for_each_service_there_is_no_gateway(
    services: InternalServices, tmp_path: Path, missing: str
) -> None:
    file = secrets_file(tmp_path, *(callee for callee in CALLEES if callee != missing))
    settings = read_settings(ApiGatewaySettings, environment(file, services.base_urls))
    with pytest.raises(StartError, match=missing):
        async with create_app(settings):
            pass


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """All that has to be said outside local mode."""
    hosts = {f"{callee.replace('-', '_').upper()}_SERVICE_HOST": "host" for callee in CALLEES}
    mutual_auth = {"DELINKCIOUS_MUTUAL_AUTH_FILE": str(secrets_file(tmp_path, *CALLEES))}
    return hosts | mutual_auth | identity(tmp_path) | limit_store(tmp_path) | nats_place(tmp_path)


def faults(variables: Mapping[str, str]) -> list[str]:
    with pytest.raises(StartError) as refusal:
        read_settings(ApiGatewaySettings, variables)
    return list(refusal.value.faults)


def test_settings(variables: dict[str, str]) -> None:
    settings = read_settings(ApiGatewaySettings, variables)
    assert (settings.port, settings.token_cache_seconds) == (5000, 5.0)
    assert settings.link_manager.base_url == "http://host:8080"
    assert settings.user_manager.base_url == "http://host:7070"
    assert settings.social_graph_manager.base_url == "http://host:9090"
    assert (settings.news_manager.host, settings.news_manager.port) == ("host", 6061)
    assert (settings.github_url, settings.github_api_url) == ("https://github.com", "https://api.github.com")
    assert (settings.reached_at, settings.is_behind_tls) == ("https://delinkcious.example", True)
    assert settings.browser_keys() == ["a secret that nobody guesses"]
    assert [fault.split()[0].rstrip(":") for fault in faults({"DELINKCIOUS_TOKEN_CACHE_SECONDS": "3600"})] == [
        "NATS_CLUSTER_SERVICE_HOST",
        "NATS_PASSWORD_FILE",
        "DELINKCIOUS_TOKEN_CACHE_SECONDS",
        "LINK_MANAGER_SERVICE_HOST",
        "USER_MANAGER_SERVICE_HOST",
        "SOCIAL_GRAPH_MANAGER_SERVICE_HOST",
        "NEWS_MANAGER_SERVICE_HOST",
        "RATE_LIMIT_REDIS_SERVICE_HOST",
        "RATE_LIMIT_REDIS_PASSWORD_FILE",
    ]


def test_an_enterprise_has_an_api_of_its_own(variables: dict[str, str]) -> None:
    own = read_settings(ApiGatewaySettings, variables | {"GITHUB_URL": "https://github.corp.example/"})
    assert (own.github_url, own.github_api_url) == (
        "https://github.corp.example",
        "https://github.corp.example/api/v3",
    )


def test_a_start_without_what_logins_need(variables: dict[str, str], tmp_path: Path) -> None:
    """Each in one line that names it."""
    without = {name: value for name, value in variables.items() if not name.startswith("GITHUB")}
    for changed, told in (
        ({"DELINKCIOUS_PUBLIC_URL": ""}, "DELINKCIOUS_PUBLIC_URL is not set"),
        ({"DELINKCIOUS_PUBLIC_URL": "delinkcious.example"}, "DELINKCIOUS_PUBLIC_URL: must be a URL"),
        ({"DELINKCIOUS_PUBLIC_URL": "https://delinkcious.example/app"}, "DELINKCIOUS_PUBLIC_URL: must be a URL"),
        ({"BROWSER_KEY_FILE": ""}, "BROWSER_KEY_FILE is not set"),
        ({"BROWSER_KEY_FILE": str(tmp_path / "nowhere")}, "cannot read the secret file"),
        ({"BROWSER_KEY_FILE": secret_file(tmp_path, "weak", "changeme")}, "default or too short"),
        ({"GITHUB_CLIENT_SECRET_FILE": str(tmp_path / "nowhere")}, "one has no file; mount both"),
        ({"GITHUB_CLIENT_SECRET_FILE": secret_file(tmp_path, "short", "123")}, "default or too short"),
        ({"OIDC_ISSUER": "https://issuer.example"}, "OIDC_ISSUER needs OIDC_CLIENT_ID"),
    ):
        (fault,) = faults(variables | changed)
        assert told in fault, fault
    (fault,) = faults(without)
    assert "nobody can log in" in fault and "LOGIN_WITHOUT_PROVIDER" in fault
    assert read_settings(ApiGatewaySettings, without | {"LOGIN_WITHOUT_PROVIDER": "true"}).github_client_id is None
    oidc = {
        "OIDC_ISSUER": "http://issuer.example",
        "OIDC_CLIENT_ID": "us",
        "OIDC_CLIENT_SECRET_FILE": variables["BROWSER_KEY_FILE"],
    }
    (fault,) = faults(without | oidc)
    assert "OIDC_ISSUER must begin with https://" in fault
    read_settings(ApiGatewaySettings, without | oidc | {"OIDC_ISSUER": "https://issuer.example"})


def test_local_mode_needs_none_of_it(variables: dict[str, str]) -> None:
    identity_alone = ("DELINKCIOUS_PUBLIC", "BROWSER", "GITHUB")
    without = {name: value for name, value in variables.items() if not name.startswith(identity_alone)}
    settings = read_settings(ApiGatewaySettings, without | {"DELINKCIOUS_MODE": "local"})
    assert (settings.reached_at, settings.is_behind_tls) == ("http://127.0.0.1:5000", False)
    assert settings.browser_keys() == settings.browser_keys()


async def test_providers_are_those_of_the_settings(variables: dict[str, str]) -> None:
    oidc = {
        "OIDC_ISSUER": "https://issuer.example/",
        "OIDC_CLIENT_ID": "us",
        "OIDC_CLIENT_SECRET_FILE": variables["BROWSER_KEY_FILE"],
    }
    async with open_session() as session:
        for given, names in ((variables, ["GitHub"]), (variables | oidc, ["GitHub", "issuer.example"])):
            providers = build_providers(read_settings(ApiGatewaySettings, given), session, FakeClock())
            assert [provider.title for provider in providers] == names
