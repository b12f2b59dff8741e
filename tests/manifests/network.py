"""NetworkPolicies, evaluated: may this pod open a connection to that one?

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/. Policies only allow, what one of them
allows is allowed, and a connection needs the leave of both ends. A pod that no policy selects for a
direction is not isolated in it. An ``ipBlock`` is taken to match pods by their address as well.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from tests.manifests.objects import Object, selects


@dataclass(frozen=True)
class Pod:
    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    #: By name, number and protocol.
    ports: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    address: str = "10.244.0.1"


@dataclass(frozen=True)
class Outside:
    """Whatever is no pod."""

    address: str

    @property
    def name(self) -> str:
        return self.address


type End = Pod | Outside


class Network:
    def __init__(self, policies: Iterable[Object], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """``namespaces``: the labels of each. Policies must say in which namespace they are."""
        self._policies = list(policies)
        self._namespaces = namespaces
        #: The policies of each pod, by direction, namespace and name.
        self._found: dict[tuple[str, str, str], list[Object]] = {}

    def allows(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        return self._lets("Egress", source, target, target, port, protocol) and self._lets(
            "Ingress", target, source, target, port, protocol
        )

    def _lets(self, direction: str, pod: End, peer: End, target: End, port: int, protocol: str) -> bool:
        if isinstance(pod, Outside):
            return True
        concerned = self.concerned(direction, pod)
        if not concerned:
            return True
        ends, rules = ("to", "egress") if direction == "Egress" else ("from", "ingress")
        return any(
            self._is_among(rule.get(ends), peer, pod.namespace) and _has_port(rule.get("ports"), target, port, protocol)
            for policy in concerned
            for rule in policy["spec"].get(rules) or []
        )

    def concerned(self, direction: str, pod: Pod) -> list[Object]:
        """The policies that isolate the pod in a direction: ``Ingress`` or ``Egress``."""
        place = direction, pod.namespace, pod.name
        if place not in self._found:
            self._found[place] = [policy for policy in self._policies if _concerns(policy, direction, pod)]
        return self._found[place]

    def _is_among(self, peers: list[Object] | None, peer: End, namespace: str) -> bool:
        # None said: anybody.
        return not peers or any(self.is_described(description, peer, namespace) for description in peers)

    def is_described(self, description: Object, peer: End, namespace: str) -> bool:
        """Whether a peer in a rule means this one. ``namespace``: the policy's own."""
        if block := description.get("ipBlock"):
            return _is_in(block["cidr"], peer) and not any(_is_in(cidr, peer) for cidr in block.get("except", []))
        if isinstance(peer, Outside):
            return False
        if "namespaceSelector" in description:
            labels = {"kubernetes.io/metadata.name": peer.namespace, **self._namespaces.get(peer.namespace, {})}
            if not selects(description["namespaceSelector"], labels):
                return False
        elif peer.namespace != namespace:
            return False
        return selects(description.get("podSelector"), dict(peer.labels))


def _concerns(policy: Object, direction: str, pod: Pod) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        direction in types
        and policy["metadata"]["namespace"] == pod.namespace
        and selects(spec.get("podSelector"), dict(pod.labels))
    )


def _is_in(cidr: str, end: End) -> bool:
    address, network = ip_address(end.address), ip_network(cidr)
    return address.version == network.version and address in network


def _has_port(ports: list[Object] | None, target: End, port: int, protocol: str) -> bool:
    return not ports or any(_is_port(description, target, port, protocol) for description in ports)


def _is_port(description: Object, target: End, port: int, protocol: str) -> bool:
    if description.get("protocol", "TCP") != protocol:
        return False
    match description.get("port"):
        case None:
            return True
        case int(first):
            return port in range(first, description.get("endPort", first) + 1)
        case name:
            # Whichever number the pod that is called has under it.
            return isinstance(target, Pod) and target.ports.get(name) == (port, protocol)
