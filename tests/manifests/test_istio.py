"""The mesh agrees with the tables of who may do what and with our clients' deadlines, and has what our pods need."""

import math
import re
from typing import Any, Final

import pytest

from pkg.clients import erasure, link_client
from pkg.runtime.access import ALLOWED_CALLERS, API_GATEWAY, LINK_MANAGER, OPERATOR, USER_MANAGER
from pkg.runtime.http_client import DEFAULT_TIMEOUT
from pkg.runtime.server import KEEP_ALIVE
from pkg.runtime.settings import ServiceSettings
from svc.api_gateway_service.routes import FILE_PATHS, STREAM_PATHS
from svc.link_checker_service.app import FUNCTION_TIMEOUT
from tests.manifests.mesh import FILE, VARIANT, calls_of, render_policies
from tests.manifests.objects import Object, find, of_kind, selects, workloads
from tests.manifests.renders import Renders, Variant

INTERNAL: Final = tuple(sorted(ALLOWED_CALLERS.keys() - {API_GATEWAY}))
PARTIES: Final = tuple(sorted({*ALLOWED_CALLERS, "link-checker", OPERATOR, "nats-cluster", "link-db-schema"}))
#: Seconds from which a wait of the mesh is surely the longer one.
MARGIN: Final = 1.0


@pytest.fixture(scope="module")
def meshed(renders: Renders) -> list[Object]:
    return renders.of(Variant("production", ("istio",)))


# --- who may call what ------------------------------------------------------------------------------------------------


def test_the_policies_are_those_of_the_tables(renders: Renders) -> None:
    assert FILE.read_text() == render_policies(renders.of(VARIANT)), (
        "write them anew: .venv/bin/python -m tests.manifests.mesh"
    )


def may(objects: list[Object], callee: str, account: str, method: str, path: str) -> bool:
    """What a proxy in front of the callee decides (AuthorizationPolicy, https://istio.io)."""
    [labels] = [workload.labels for workload in workloads(objects) if workload.name == callee]
    policies = [policy["spec"] for policy in of_kind(objects, "AuthorizationPolicy")]
    own = [spec for spec in policies if selects(spec.get("selector"), labels)]
    assert own, "without a policy everything is allowed"
    return any(
        _is_from(rule, account) and any(_is_to(place["operation"], method, path) for place in rule.get("to", [ANY]))
        for spec in own
        for rule in spec.get("rules", [])
    )


ANY: Final[dict[str, Any]] = {"operation": {}}


def _is_from(rule: Object, account: str) -> bool:
    return any(account in place["source"].get("serviceAccounts", []) for place in rule["from"])


def _is_to(operation: Object, method: str, path: str) -> bool:
    patterns = [re.escape(known).replace(re.escape("{*}"), "[^/]+") for known in operation.get("paths", [path])]
    return method in operation.get("methods", [method]) and any(re.fullmatch(known, path) for known in patterns)


@pytest.mark.parametrize("service", INTERNAL)
def test_each_call_is_its_callers_alone(meshed: list[Object], service: str) -> None:
    calls = calls_of(service)
    assert {call.caller for call in calls} == {who for callers in ALLOWED_CALLERS[service].values() for who in callers}
    for method, path in {(call.method, call.path) for call in calls}:
        callers = {call.caller for call in calls if (call.method, call.path) == (method, path)}
        real = path.replace("{*}", "7")
        assert {who for who in PARTIES if may(meshed, service, who, method, real)} == callers, f"{method} {path}"


@pytest.mark.parametrize(
    ("service", "account", "method", "path"),
    [
        (LINK_MANAGER, API_GATEWAY, "DELETE", "/users/7"),
        (LINK_MANAGER, USER_MANAGER, "DELETE", "/users/7/links"),
        (LINK_MANAGER, USER_MANAGER, "GET", "/users/7"),
        (LINK_MANAGER, API_GATEWAY, "GET", "/metrics"),
        (USER_MANAGER, API_GATEWAY, "POST", "/tickets"),
        (API_GATEWAY, LINK_MANAGER, "GET", "/v1/links"),
    ],
)
def test_nothing_else_is_anybodys(meshed: list[Object], service: str, account: str, method: str, path: str) -> None:
    assert not may(meshed, service, account, method, path)


def test_what_no_policy_allows_is_refused(meshed: list[Object]) -> None:
    assert find(meshed, "AuthorizationPolicy/nothing")["spec"] == {}
    assert find(meshed, "PeerAuthentication/default")["spec"] == {"mtls": {"mode": "STRICT"}}


# --- how long, and how often ------------------------------------------------------------------------------------------


def routes(objects: list[Object]) -> list[tuple[str, set[str], float, Object]]:
    """Host, the paths that it is for, seconds, and the route itself."""
    return [
        (
            route["route"][0]["destination"]["host"],
            {match["uri"]["exact"] for match in route.get("match", []) if "uri" in match},
            # 0 is without end (https://istio.io/latest/docs/reference/config/networking/virtual-service/).
            float(route["timeout"].removesuffix("s")) or math.inf,
            route,
        )
        for service in of_kind(objects, "VirtualService")
        for route in service["spec"]["http"]
    ]


def default(setting: str) -> float:
    return float(ServiceSettings.model_fields[setting].default)


def test_the_mesh_waits_longer_than_clients_and_services(meshed: list[Object]) -> None:
    longest = max(DEFAULT_TIMEOUT, erasure._TIMEOUT, default("request_timeout"))  # as it is
    files = max(link_client._FILE_TIMEOUT, default("stream_timeout"))  # as it is
    for host, paths, seconds, _ in routes(meshed):
        needed = files if paths else FUNCTION_TIMEOUT if host == "link-check-function" else longest
        assert seconds > needed + MARGIN, f"{host} {paths}"


def test_what_takes_long_has_the_time(meshed: list[Object]) -> None:
    found = {(host, seconds == math.inf): paths for host, paths, seconds, _ in routes(meshed) if paths}
    assert found == {
        (API_GATEWAY, False): set(FILE_PATHS),
        (API_GATEWAY, True): set(STREAM_PATHS),
        (LINK_MANAGER, False): {"/import", "/export"},
    }


def test_nothing_is_tried_twice_but_by_our_clients(meshed: list[Object]) -> None:
    assert routes(meshed)
    assert all(route["retries"] == {"attempts": 0} for _, _, _, route in routes(meshed))


def test_a_port_leads_to_itself(meshed: list[Object]) -> None:
    for host, _, _, route in routes(meshed):
        ports = {port["port"] for port in find(meshed, f"Service/{host}")["spec"]["ports"]}
        port = route["route"][0]["destination"]["port"]["number"]
        assert port in ports
        assert len(ports) == 1 or [match["port"] for match in route["match"]] == [port]


def test_every_service_has_rules_of_its_own(meshed: list[Object]) -> None:
    called = set(ALLOWED_CALLERS)
    assert {host for host, _, _, _ in routes(meshed)} == called
    rules = {rule["spec"]["host"]: rule["spec"]["trafficPolicy"] for rule in of_kind(meshed, "DestinationRule")}
    assert rules.keys() == called
    for policy in rules.values():
        assert policy["tls"]["mode"] == "ISTIO_MUTUAL"
        assert float(policy["connectionPool"]["http"]["idleTimeout"].removesuffix("s")) < KEEP_ALIVE


# --- what pods need ---------------------------------------------------------------------------------------------------


def test_every_pod_has_a_proxy_that_lets_it_end(meshed: list[Object]) -> None:
    assert find(meshed, "Namespace/delinkcious-production")["metadata"]["labels"]["istio-injection"] == "enabled"
    for workload in workloads(meshed):
        annotations = workload.template["metadata"].get("annotations", {})
        assert annotations.get("sidecar.istio.io/nativeSidecar") == "true", workload.place


def test_servers_that_speak_first_are_waited_for(meshed: list[Object]) -> None:
    for service in of_kind(meshed, "Service"):
        for port in service["spec"]["ports"]:
            assert port.get("appProtocol") in {"http", "grpc", "tcp"}, service["metadata"]["name"]


def test_the_gateway_knows_a_client_behind_its_own_proxy(meshed: list[Object]) -> None:
    trusted = find(meshed, "ConfigMap/api-gateway-config")["data"]["TRUSTED_PROXIES"].split(",")
    assert trusted[0] == "127.0.0.6/32"


def test_the_public_comes_under_the_name_of_the_site(meshed: list[Object]) -> None:
    host = find(meshed, "ConfigMap/api-gateway-config")["data"]["DELINKCIOUS_PUBLIC_URL"].removeprefix("https://")
    assert find(meshed, "VirtualService/public")["spec"]["hosts"] == [host]
    servers = find(meshed, "Gateway/public")["spec"]["servers"]
    assert [server["hosts"] for server in servers] == [[host]] * 2
    assert [server["tls"].get("httpsRedirect", False) for server in servers] == [True, False]


def test_who_may_leave_the_mesh(meshed: list[Object], renders: Renders) -> None:
    modes = {
        sidecar["metadata"]["name"]: sidecar["spec"]["outboundTrafficPolicy"]["mode"]
        for sidecar in of_kind(meshed, "Sidecar")
    }
    assert modes == {"default": "REGISTRY_ONLY", "link-check-function": "ALLOW_ANY"}
    # Where NetworkPolicies let pods reach stores elsewhere, the mesh does.
    elsewhere = renders.of(Variant("production", ("istio", "managed-valkey")))
    for entry, caller in (("databases", "link-manager"), ("valkey", "news-manager")):
        [network] = find(elsewhere, f"ServiceEntry/{entry}")["spec"]["addresses"]
        assert network in str(find(elsewhere, f"NetworkPolicy/{caller}")["spec"]["egress"]), entry
    assert find(meshed, "ServiceEntry/github")["spec"]["hosts"] == ["github.com", "api.github.com"]
