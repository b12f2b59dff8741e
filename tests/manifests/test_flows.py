"""NetworkPolicies allow the flows of ``k8s/flows.yaml`` and nothing else, whoever asks and whatever the port."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import pytest
import yaml

from pkg.provisioning.mutual_auth import edges
from pkg.runtime.access import ALLOWED_CALLERS
from tests.manifests.network import End, Network, Outside, Pod
from tests.manifests.objects import ROOT, Change, Object, manifest_files, of_kind, workloads

NAMESPACE: Final = "delinkcious"
FLOWS: Final = ROOT / "k8s" / "flows.yaml"
INGRESS_CONTROLLER: Final = Pod(
    "ingress-controller", "ingress-nginx", {"app.kubernetes.io/component": "controller"}, {}, "10.244.2.1"
)
#: Of components.
PROMETHEUS: Final = Pod("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}, {}, "10.244.2.2")
GATEWAY_PROXY: Final = Pod(
    "gateway-proxy", "envoy-gateway-system", {"app.kubernetes.io/component": "proxy"}, {}, "10.244.2.3"
)
INGRESS_GATEWAY: Final = Pod("ingress-gateway", "istio-ingress", {"istio": "ingress"}, {}, "10.244.2.4")
ISTIOD: Final = Pod("istiod", "istio-system", {"app": "istiod"}, {"xds": (15012, "TCP")}, "10.244.2.5")
#: Pods of other people, whom some of ours let in or call.
CONTROLLERS: Final = (INGRESS_CONTROLLER, PROMETHEUS, GATEWAY_PROXY, INGRESS_GATEWAY, ISTIOD)
DNS_PORTS: Final = {"dns": (53, "UDP"), "dns-tcp": (53, "TCP")}
DNS: Final = Pod("dns", "kube-system", {"k8s-app": "kube-dns"}, DNS_PORTS, "10.96.0.10")
WEB: Final = tuple(Outside(address) for address in ("198.51.100.7", "2600:1f18::7"))
#: The cluster's own, a cloud's metadata, the network around, ourselves.
PRIVATE: Final = tuple(
    Outside(address)
    for address in (
        "10.96.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.49.1",
        "127.0.0.1",
        "fd00::1",
        "fe80::1",
        "::1",
    )
)
#: Stores that may be elsewhere: where that would be, by which port.
_DATABASES: Final = (Outside("10.200.0.10"), 5432)
ELSEWHERE: Final = {
    "link-db": _DATABASES,
    "user-db": _DATABASES,
    "social-graph-db": _DATABASES,
    "news-manager-redis": (Outside("10.200.1.10"), 6379),
}
WEB_PORTS: Final = (80, 443)
OTHER_PORTS: Final = (22, 25, 5432, 6379, 6443)


@dataclass(frozen=True)
class Flow:
    source: str
    target: str
    port: int
    protocol: str = "TCP"

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} {self.port}/{self.protocol}"


def pods(objects: Iterable[Object]) -> dict[str, Pod]:
    """One of each workload, by its name without the version of a release, and one that no policy knows of."""
    objects = list(objects)
    namespace = next((thing["metadata"]["name"] for thing in of_kind(objects, "Namespace")), NAMESPACE)
    found = {"newcomer": Pod("newcomer", namespace)}
    for number, workload in enumerate(workloads(objects)):
        version = workload.object["metadata"].get("labels", {}).get("app.kubernetes.io/version", "")
        name = workload.name.removesuffix(f"-{version}")
        found[name] = Pod(name, namespace, workload.labels, workload.ports, f"10.244.1.{number}")
    return found


def read_flows(components: Collection[str] = ()) -> list[tuple[str, str, list[Any]]]:
    """Who, to whom, by which ports; with those that these components bring."""
    found = []
    for flow in yaml.safe_load(FLOWS.read_text()):
        if not set(as_list(flow.get("with", []))) <= set(components) or flow.get("without") in components:
            continue
        found += [(source, flow["to"], flow["ports"]) for source in as_list(flow["from"])]
    return found


def as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def listed(inside: dict[str, Pod], components: Collection[str] = ()) -> Iterator[Flow]:
    for source, target, ports in read_flows(components):
        if source in ELSEWHERE.keys() - inside.keys():
            continue
        if target in ELSEWHERE.keys() - inside.keys():
            end, port = ELSEWHERE[target]
            yield Flow(source, end.address, port)
        elif target == "web":
            yield from (Flow(source, end.address, port) for port in ports for end in WEB)
        else:
            outside = {end.name: end for end in (DNS, *CONTROLLERS)}
            known = (outside.get(target) or inside[target]).ports
            yield from (Flow(source, target, *known[port]) for port in ports)


def allowed(objects: list[Object], inside: dict[str, Pod]) -> set[Flow]:
    """Everything that anybody may do here, and to anybody outside."""
    network = Network(of_kind(objects, "NetworkPolicy"), {})
    # Somebody else's pods, whatever they call themselves.
    twins = [
        Pod(f"a stranger like {pod.name}", "elsewhere", pod.labels, pod.ports, "10.244.9.9") for pod in inside.values()
    ]
    ends: list[End] = [
        *inside.values(),
        *twins,
        *CONTROLLERS,
        DNS,
        *WEB,
        *PRIVATE,
        *{end for end, _ in ELSEWHERE.values()},
    ]
    return {
        Flow(source.name, target.name, port, protocol)
        for source, target in product(ends, ends)
        if source.name in inside or target.name in inside
        for port, protocol in probes(target)
        if network.allows(source, target, port, protocol)
    }


def probes(target: End) -> set[tuple[int, str]]:
    own = set(target.ports.values()) if isinstance(target, Pod) else set()
    return own | {(port, "TCP") for port in (*WEB_PORTS, *OTHER_PORTS)} | {(53, "UDP"), (4789, "UDP")}


def test_the_flows_of_the_list_are_allowed_and_no_others(objects: list[Object]) -> None:
    inside = pods(objects)
    expected = set(listed(inside))
    assert len(expected) > 50
    found = allowed(objects, inside)
    assert sorted(map(str, expected - found)) == []
    assert sorted(map(str, found - expected)) == []


@pytest.mark.parametrize(
    ("change", "flow"),
    [
        # The original's own mistakes: a rule that names a label which no pod has, and a flow that was forgotten.
        (
            Change("NetworkPolicy/user-manager", "spec.ingress.0.from.0.podSelector.matchLabels.app", "manger"),
            "api-gateway -> user-manager 7070/TCP",
        ),
        (Change("NetworkPolicy/link-manager", "spec.egress", []), "link-manager -> link-db 5432/TCP"),
        (Change("NetworkPolicy/dns", "spec.egress.0.ports.0"), "operator -> dns 53/UDP"),
        (
            Change("NetworkPolicy/link-check-function", "spec.egress.0.to.1"),
            "link-check-function -> 2600:1f18::7 443/TCP",
        ),
        (
            Change("NetworkPolicy/news-manager-redis", "spec.ingress.0.ports.0.port", 6380),
            "news-manager -> news-manager-redis 6379/TCP",
        ),
    ],
    ids=str,
)
def test_a_flow_that_is_missing_is_seen(objects: list[Object], change: Change, flow: str) -> None:
    inside = pods(objects)
    found = allowed(change.applied(objects), inside)
    assert flow in map(str, set(listed(inside)) - found)


@pytest.mark.parametrize(
    ("change", "flow"),
    [
        (Change("NetworkPolicy/default-deny", "spec.policyTypes", ["Ingress"]), "newcomer -> 198.51.100.7 80/TCP"),
        (Change("NetworkPolicy/default-deny", "spec.policyTypes", ["Egress"]), "ingress-controller -> newcomer 22/TCP"),
        (Change("NetworkPolicy/user-db", "spec.ingress.2", {}), "a stranger like operator -> user-db 5432/TCP"),
        (Change("NetworkPolicy/operator", "spec.egress.0", {}), "operator -> 10.96.0.1 443/TCP"),
        (
            Change("NetworkPolicy/api-gateway", "spec.ingress.0.from.0", {"namespaceSelector": {}}),
            "a stranger like operator -> api-gateway 5000/TCP",
        ),
        (
            Change("NetworkPolicy/link-check-function", "spec.egress.0.to.0.ipBlock.except"),
            "link-check-function -> 169.254.169.254 80/TCP",
        ),
    ],
    ids=str,
)
def test_a_flow_too_many_is_seen(objects: list[Object], change: Change, flow: str) -> None:
    inside = pods(objects)
    assert flow in map(str, allowed(change.applied(objects), inside) - set(listed(inside)))


def test_who_may_reach_a_service_may_call_something_there(objects: list[Object]) -> None:
    """The network's list of flows and the services' own table of callers know of each other."""
    reached = {(source, target) for source, target, _ in read_flows() if target in ALLOWED_CALLERS}
    #: The public API has no callers of ours; who sweeps for a service speaks in its name.
    spoken_for = {
        (source.replace("-sweep", "-manager"), target) for source, target in reached if target != "api-gateway"
    }
    assert spoken_for == set(edges())


COMMENTED = re.compile(r"^ *# (?:\S.*) -> (?:\S.*): \S.*\n(?: *#.*\n)* *- (?:from|to):", re.MULTILINE)


def test_every_rule_says_what_it_is_for() -> None:
    for path in manifest_files():
        if "kind: NetworkPolicy" not in (text := path.read_text()):
            continue
        rules = len(re.findall(r"^ *- (?:from|to):", text, re.MULTILINE))
        assert len(COMMENTED.findall(text)) == rules, f"{path}: say above each rule `# who -> whom: what for`"
