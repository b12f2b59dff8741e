"""Every object is what Kubernetes takes, field by field, in its newest version and the two before."""

from pathlib import Path

import pytest

from tests.manifests.objects import OVERLAYS, Change, Object, label, manifest_files, render
from tests.manifests.schemas import newest_versions, schema_faults

VERSIONS = newest_versions(3)


def test_three_versions_that_follow_each_other() -> None:
    minors = [int(version.split(".")[1]) for version in VERSIONS]
    assert minors == [minors[0], minors[0] - 1, minors[0] - 2]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_known(objects: list[Object], version: str) -> None:
    assert len(objects) > 70
    assert schema_faults(objects, version) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "change",
    [
        # What a misspelt or misplaced field would do without a word.
        Change("Deployment/api-gateway", "spec.template.spec.containers.0.readynessProbe", {}),
        Change("Deployment/api-gateway", "spec.securityContext", {}),
        Change("NetworkPolicy/user-manager", "spec.ingress.0.ports.0.protocoll", "TCP"),
        Change("Service/api-gateway", "spec.ports.0.targetport", "http"),
        Change("StatefulSet/link-db", "spec.replicas", "one"),
        Change("CronJob/link-sweep", "spec.jobTemplate.spec.template.spec.containers", None),
        Change("Ingress/api-gateway", "spec.rules.0.http.paths.0.pathType"),
    ],
    ids=str,
)
def test_a_mistake_is_refused(objects: list[Object], change: Change, version: str) -> None:
    assert any(change.place in fault for fault in schema_faults(change.applied(objects), version))


def test_what_does_not_render_is_said(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [nothing.yaml]\n")
    with pytest.raises(AssertionError, match=r"nothing\.yaml"):
        render(tmp_path)


def test_a_namespace_is_named_by_overlays_alone(objects: list[Object]) -> None:
    assert {thing["metadata"].get("namespace") for thing in objects} == {"delinkcious", None}
    assert [label(thing) for thing in objects if "namespace" not in thing["metadata"]] == ["Namespace/delinkcious"]
    naming = [
        path
        for path in manifest_files()
        if any(line.strip().startswith("namespace:") for line in path.read_text().splitlines())
    ]
    assert naming
    # What Argo CD is told is for where Argo CD is.
    assert all(path.is_relative_to(OVERLAYS) or path.parent.name == "argocd" for path in naming)
