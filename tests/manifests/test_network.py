"""The evaluator of NetworkPolicies: each rule of Kubernetes' own description, one by one."""

from typing import Any

import pytest

from tests.manifests.network import Network, Outside, Pod

NAMESPACES = {"here": {"kind": "ours"}, "there": {"kind": "theirs"}}
CLIENT = Pod("client", "here", {"app": "client"})
SERVER = Pod("server", "here", {"app": "server"}, {"http": (8080, "TCP"), "dns": (53, "UDP")})
STRANGER = Pod("stranger", "there", {"app": "client"})
WEB = Outside("192.0.2.7")


def policy(app: str | None = None, namespace: str = "here", **spec: Any) -> dict[str, Any]:
    selector = {} if app is None else {"matchLabels": {"app": app}}
    return {"metadata": {"name": "it", "namespace": namespace}, "spec": {"podSelector": selector, **spec}}


def allows(
    *policies: dict[str, Any],
    source: Pod | Outside = CLIENT,
    target: Pod | Outside = SERVER,
    port: int = 8080,
    protocol: str = "TCP",
) -> bool:
    return Network(policies, NAMESPACES).allows(source, target, port, protocol)


CLIENTS: dict[str, Any] = {"podSelector": {"matchLabels": {"app": "client"}}}
SERVERS: dict[str, Any] = {"podSelector": {"matchLabels": {"app": "server"}}}
DENY = policy(policyTypes=["Ingress", "Egress"])


def test_without_a_policy_everything_is_allowed() -> None:
    assert allows()
    assert allows(source=STRANGER)
    assert allows(source=WEB)
    assert allows(target=WEB)


def test_a_pod_that_is_selected_gets_only_what_is_allowed() -> None:
    assert not allows(DENY)
    assert not allows(policy("server", ingress=[]))
    assert allows(policy("client", ingress=[])), "it says nothing of what a client calls"


def test_a_connection_needs_the_leave_of_both_ends() -> None:
    into = policy("server", ingress=[{"from": [CLIENTS]}])
    out = policy("client", policyTypes=["Egress"], egress=[{"to": [SERVERS]}])
    assert not allows(DENY, into)
    assert not allows(DENY, out)
    assert allows(DENY, into, out)


def test_a_policy_without_types_is_of_ingress_and_of_what_else_it_lists() -> None:
    assert not allows(policy("server"))
    assert allows(policy("client"))
    assert not allows(policy("client", egress=[{"to": [CLIENTS]}]))
    assert not allows(policy("server", policyTypes=["Ingress"], egress=[{"to": [CLIENTS]}]))


def test_policies_add_up() -> None:
    assert allows(policy("server", ingress=[]), policy("server", ingress=[{"from": [CLIENTS]}]))


def test_a_rule_without_peers_or_ports_means_any() -> None:
    assert allows(policy("server", ingress=[{}]), source=STRANGER)
    assert allows(policy("server", ingress=[{"ports": [{"port": 8080}]}]), source=WEB)
    assert not allows(policy("server", ingress=[{"ports": [{"port": 80}]}]), source=WEB)


def test_a_policy_is_of_its_own_namespace() -> None:
    assert allows(policy("server", namespace="there", ingress=[]))
    assert not allows(policy("server", ingress=[{"from": [CLIENTS]}]), source=STRANGER)


@pytest.mark.parametrize(
    ("peer", "source", "allowed"),
    [
        ({"namespaceSelector": {"matchLabels": {"kind": "theirs"}}}, STRANGER, True),
        ({"namespaceSelector": {"matchLabels": {"kind": "theirs"}}}, CLIENT, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}}}, STRANGER, True),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "client"}}}, STRANGER, True),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "other"}}}, STRANGER, False),
        ({"namespaceSelector": {}}, WEB, False),
        ({"podSelector": {}}, CLIENT, True),
        ({"podSelector": {}}, WEB, False),
        ({"ipBlock": {"cidr": "192.0.2.0/24"}}, WEB, True),
        ({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/29"]}}, WEB, False),
        ({"ipBlock": {"cidr": "2001:db8::/32"}}, WEB, False),
        ({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}, CLIENT, False),
    ],
)
def test_peers(peer: dict[str, Any], source: Pod | Outside, *, allowed: bool) -> None:
    assert allows(policy("server", ingress=[{"from": [peer]}]), source=source) is allowed


@pytest.mark.parametrize(
    ("ports", "port", "protocol", "allowed"),
    [
        ([{"port": 8080}], 8080, "TCP", True),
        ([{"port": 8080}], 8080, "UDP", False),
        ([{"port": 8080}], 8081, "TCP", False),
        ([{"port": 8000, "endPort": 8100}], 8080, "TCP", True),
        ([{"port": 8000, "endPort": 8100}], 8101, "TCP", False),
        ([{"port": "http"}], 8080, "TCP", True),
        ([{"port": "http"}], 8081, "TCP", False),
        ([{"port": "dns", "protocol": "UDP"}], 53, "UDP", True),
        ([{"port": "nothing"}], 8080, "TCP", False),
        ([{"protocol": "UDP"}], 9999, "UDP", True),
        ([{"port": 1}, {"port": 2}], 2, "TCP", True),
    ],
)
def test_ports(ports: list[dict[str, Any]], port: int, protocol: str, *, allowed: bool) -> None:
    into = policy("server", ingress=[{"ports": ports}])
    out = policy("client", policyTypes=["Egress"], egress=[{"ports": ports}])
    assert allows(into, port=port, protocol=protocol) is allowed
    assert allows(out, port=port, protocol=protocol) is allowed


@pytest.mark.parametrize(
    ("operator", "values", "allowed"),
    [
        ("In", ["client", "x"], True),
        ("In", ["x"], False),
        ("NotIn", ["x"], True),
        ("NotIn", ["client"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_expressions(operator: str, values: list[str], *, allowed: bool) -> None:
    peer = {"podSelector": {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}}
    assert allows(policy("server", ingress=[{"from": [peer]}])) is allowed


def test_to_oneself_a_pod_needs_leave_too() -> None:
    assert not allows(DENY, source=SERVER, target=SERVER)
