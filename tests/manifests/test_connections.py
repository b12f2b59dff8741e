"""The NetworkPolicies at work: as rules of nftables, in network namespaces, with real connections.

Each pod has a namespace with its own rules and somebody who listens on every port that anybody tries, so that nothing
but a rule refuses. The evaluator of ``test_flows`` says what should be; the kernel says what is.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Final

import pytest

from tests.manifests.namespaces import Namespace, Wire, laid_wire
from tests.manifests.network import End, Network, Pod
from tests.manifests.nftables import write_ruleset
from tests.manifests.objects import Change, Object, of_kind
from tests.manifests.renders import Renders, Variant, components_of
from tests.manifests.test_flows import CONTROLLERS, DNS, ELSEWHERE, PRIVATE, WEB, Flow, listed, pods, probes

#: To these nothing is sent: they are everybody's own.
OWN: Final = frozenset(["127.0.0.1", "::1", "fe80::1"])


def missing() -> str:
    """What is lacking for namespaces of our own; empty if nothing is."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    absent = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if absent:
        return f"{' and '.join(absent)} not installed (packages iproute2, nftables)"
    try:
        namespace = Namespace()
        namespace.run("nft", "-f", "-", given="flush ruleset\n")
        namespace.close()
    except (OSError, AssertionError) as error:
        return f"no network namespaces with nftables here: {error}"
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is here")


@dataclass
class Cluster:
    wire: Wire
    inside: dict[str, Pod]
    outside: list[End]

    @property
    def everybody(self) -> list[End]:
        return [*self.inside.values(), *self.outside]

    def obey(self, objects: list[Object], *names: str) -> None:
        """The pods of these names (all without any) get the rules of these objects."""
        network = Network(of_kind(objects, "NetworkPolicy"), {})
        for name in names or self.inside:
            rules = write_ruleset(network, self.inside[name], self.everybody)
            self.wire.places[name].namespace.run("nft", "-f", "-", given=rules)

    def flows(self) -> set[Flow]:
        """Everything that anybody can do here, and to anybody outside. A pod is never apart from itself."""
        return {
            Flow(source.name, target.name, port, protocol)
            for source, target in product(self.everybody, self.everybody)
            if source is not target and (source.name in self.inside or target.name in self.inside)
            for port, protocol in probes(target)
            if self.wire.connects(source, target, port, protocol)
        }

    def connects(self, source: str, target: str, port: int) -> bool:
        ends = {end.name: end for end in self.everybody}
        return self.wire.connects(ends[source], ends[target], port, "TCP")


@pytest.fixture(scope="module")
def cluster(objects: list[Object]) -> Iterator[Cluster]:
    with running_cluster(objects) as cluster:
        yield cluster


@contextmanager
def running_cluster(objects: list[Object]) -> Iterator[Cluster]:
    inside = pods(objects)
    # Somebody else's pods, whatever they call themselves.
    twins = [
        Pod(f"a stranger like {pod.name}", "elsewhere", pod.labels, pod.ports, f"10.244.9.{number}")
        for number, pod in enumerate(inside.values(), 1)
    ]
    outside: list[End] = [*twins, *CONTROLLERS, DNS, *WEB]
    outside += [end for end in PRIVATE if end.address not in OWN]
    outside += {end for end, _ in ELSEWHERE.values()}
    homes: dict[str, list[End]] = {pod.name: [pod] for pod in inside.values()}
    with laid_wire({**homes, "elsewhere": outside}) as wire:
        for place in {id(place): place for place in wire.places.values()}.values():
            place.listen({probe for end in place.ends for probe in probes(end)})
        cluster = Cluster(wire, inside, outside)
        cluster.obey(objects)
        yield cluster


def test_needed_connections_come_about_and_no_others(cluster: Cluster) -> None:
    expected = set(listed(cluster.inside))
    found = cluster.flows()
    assert sorted(map(str, expected - found)) == []
    assert sorted(map(str, found - expected)) == []


def test_production_is_as_closed(renders: Renders) -> None:
    objects = renders.of(Variant("production"))
    with running_cluster(objects) as cluster:
        expected = set(listed(cluster.inside, components_of("production")))
        # What replicas of one tell each other: there is one of each here.
        assert cluster.flows() == {flow for flow in expected if flow.source != flow.target}


def test_without_policies_everybody_reaches_everybody(cluster: Cluster, objects: list[Object]) -> None:
    """Otherwise what is refused might be refused by the wire."""
    others = [thing for thing in objects if thing["kind"] != "NetworkPolicy"]
    try:
        cluster.obey(others)
        assert all(
            cluster.wire.connects(source, target, port, protocol)
            for source, target in product(cluster.everybody, cluster.everybody)
            if source is not target and (source.name in cluster.inside or target.name in cluster.inside)
            for port, protocol in sorted(probes(target))[:1]
        )
    finally:
        cluster.obey(objects)


@pytest.mark.parametrize(
    ("change", "flow"),
    [
        (
            Change("NetworkPolicy/user-manager", "spec.ingress.0.from.0.podSelector.matchLabels.app", "manger"),
            ("api-gateway", "user-manager", 7070),
        ),
        (Change("NetworkPolicy/link-manager", "spec.egress", []), ("link-manager", "link-db", 5432)),
        (
            Change("NetworkPolicy/news-manager-redis", "spec.ingress.0.ports.0.port", 6380),
            ("news-manager", "news-manager-redis", 6379),
        ),
    ],
    ids=str,
)
def test_what_a_policy_forgets_is_refused(
    cluster: Cluster, objects: list[Object], change: Change, flow: tuple[str, str, int]
) -> None:
    source, target, _ = flow
    assert cluster.connects(*flow)
    cluster.obey(change.applied(objects), source, target)
    try:
        assert not cluster.connects(*flow)
    finally:
        cluster.obey(objects, source, target)


@pytest.mark.parametrize(
    ("change", "flow"),
    [
        (
            Change("NetworkPolicy/default-deny", "spec.policyTypes", ["Ingress"]),
            ("newcomer", "198.51.100.7", 80),
        ),
        (Change("NetworkPolicy/user-db", "spec.ingress.2", {}), ("a stranger like operator", "user-db", 5432)),
        (
            Change("NetworkPolicy/link-check-function", "spec.egress.0.to.0.ipBlock.except"),
            ("link-check-function", "169.254.169.254", 80),
        ),
    ],
    ids=str,
)
def test_what_a_policy_lets_through_comes_through(
    cluster: Cluster, objects: list[Object], change: Change, flow: tuple[str, str, int]
) -> None:
    concerned = [name for name in flow[:2] if name in cluster.inside]
    assert not cluster.connects(*flow)
    cluster.obey(change.applied(objects), *concerned)
    try:
        assert cluster.connects(*flow)
    finally:
        cluster.obey(objects, *concerned)
