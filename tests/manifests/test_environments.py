"""Environments in one cluster never touch each other, and each has what is its own and no more."""

from collections.abc import Iterable
from typing import Any, Final

import pytest

from pkg.provisioning.cluster_secrets import as_references
from tests.manifests.environments import far_hosts, shared
from tests.manifests.given import make_secrets
from tests.manifests.objects import Change, Object, label, of_kind, workloads
from tests.manifests.renders import NAMES, Renders, Variant, components_of, variants
from tests.manifests.resolved import DIGEST

SHARED: Final = ("staging", "production")


@pytest.fixture(scope="module")
def environments(renders: Renders) -> dict[str, list[Object]]:
    return {name: renders.of(Variant(name)) for name in NAMES}


def test_two_environments_share_nothing(environments: dict[str, list[Object]]) -> None:
    assert shared(environments) == []
    assert [fault for objects in environments.values() for fault in far_hosts(objects)] == []


@pytest.mark.parametrize("name", ["external-secrets", "gateway-api"])
def test_nor_with_a_component_that_names_things_outside(renders: Renders, name: str) -> None:
    made = {
        overlay: renders.of(Variant(overlay, () if name in components_of(overlay) else (name,))) for overlay in SHARED
    }
    assert shared(made) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            Change("Ingress/api-gateway", "spec.rules.0.host", "delinkcious.example"),
            "share the host delinkcious.example",
        ),
        (
            Change("Deployment/api-gateway", "metadata.namespace", "delinkcious-production"),
            "share the name apps Deployment delinkcious-production/api-gateway",
        ),
        (
            Change("Deployment/api-gateway", "metadata.namespace", "delinkcious-production"),
            "share the secret delinkcious-production/api-gateway-browser-key",
        ),
        (
            Change("StatefulSet/nats-cluster", "metadata.namespace", "delinkcious-production"),
            "share the database or stream delinkcious-production/nats-cluster",
        ),
    ],
    ids=str,
)
def test_what_is_shared_is_seen(environments: dict[str, list[Object]], change: Change, fault: str) -> None:
    staging = change.applied(environments["staging"])
    found = shared({"staging": staging, "production": environments["production"]})
    assert any(fault in line for line in found), found


def test_a_store_of_another_environment_is_seen(environments: dict[str, list[Object]]) -> None:
    host = "nats-cluster.delinkcious-production"
    change = Change("ConfigMap/link-manager-config", "data.NATS_CLUSTER_SERVICE_HOST", host)
    assert (
        far_hosts(change.applied(environments["staging"]))
        == [line for line in far_hosts(change.applied(environments["staging"])) if host in line]
        != []
    )


def wildcard_faults(objects: Iterable[Object]) -> list[str]:
    return [
        f"{label(thing)}: {field} of {rule}"
        for thing in of_kind(objects, "Role", "ClusterRole")
        for rule in thing.get("rules") or []
        for field in ("verbs", "resources", "apiGroups", "nonResourceURLs")
        if any("*" in value for value in rule.get(field, []))
    ]


def test_no_right_is_for_everything(renders: Renders) -> None:
    assert wildcard_faults(renders.all()) == []
    role: dict[str, Any] = {
        "kind": "Role",
        "metadata": {"name": "all"},
        "rules": [{"verbs": ["*"], "resources": ["pods"]}],
    }
    assert len(wildcard_faults([role])) == 1


def test_all_secrets_come_from_outside_and_no_others(renders: Renders) -> None:
    for overlay in SHARED:
        added = () if "external-secrets" in components_of(overlay) else ("external-secrets",)
        found = of_kind(renders.of(Variant(overlay, added)), "ExternalSecret")
        expected = as_references(make_secrets())
        assert [thing["metadata"]["name"] for thing in found] == [thing["metadata"]["name"] for thing in expected]
        for thing, wanted in zip(found, expected, strict=True):
            wanted["spec"]["dataFrom"] = [{"extract": {"key": f"{overlay}/{thing['metadata']['name']}"}}]
            assert thing["spec"] == wanted["spec"], "python cmd/make_secrets.py --references writes them"


def test_production_runs_nothing_by_a_tag_alone(environments: dict[str, list[Object]]) -> None:
    for name in SHARED:
        images = {container["image"] for workload in workloads(environments[name]) for container in workload.containers}
        assert len(images) > 5
        assert all(image.endswith(f"@{DIGEST}") for image in images)


#: By component, what it takes the place of.
TAKEN: Final = {"istio": {"Ingress/api-gateway"}}


def test_components_take_away_nothing_by_accident(renders: Renders) -> None:
    for variant in variants():
        base = {label(thing) for thing in renders.of(Variant(variant.overlay)) if thing["kind"] != "ConfigMap"}
        missing = base - {label(thing) for thing in renders.of(variant)}
        meant = {thing for name in variant.added for thing in TAKEN.get(name, ())}
        # All that is of the store, where it is elsewhere.
        store = "/news-manager-redis" if "managed-valkey" in variant.added else "nothing"
        assert {thing for thing in missing if store not in thing} == meant, variant
        assert any(store in thing for thing in missing) == ("managed-valkey" in variant.added)
