"""Custom resources are what those who made them have published, field by field."""

from pathlib import Path
from typing import Any

import pytest

from tests.manifests.objects import Change, Object
from tests.manifests.published_types import INSTALLED, custom_resources, type_faults
from tests.manifests.renders import Renders

pytestmark = pytest.mark.skipif(
    not INSTALLED.exists(), reason="the published types are not here; `make resource-types` installs them (needs npm)"
)

ROUTE: Object = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "route", "labels": {"a": "b"}},
    "spec": {"hostnames": ["a.example"], "rules": [{"backendRefs": [{"name": "api-gateway", "port": 80}]}]},
}
APPLICATION: Object = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Application",
    "metadata": {"name": "application"},
    "spec": {
        "project": "p",
        "destination": {"namespace": "n"},
        "source": {"repoURL": "https://a.example", "path": "k8s"},
    },
}
ROLLOUT: Object = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "rollout"},
    "spec": {"strategy": {"canary": {"steps": [{"setWeight": 10}]}}},
}


def test_every_custom_resource_is_known(renders: Renders, tmp_path: Path) -> None:
    objects = renders.all()
    assert custom_resources(objects)
    assert type_faults(objects, tmp_path) == []


def test_what_is_right_is_taken(objects: list[Object], tmp_path: Path) -> None:
    assert type_faults([*objects, ROUTE, APPLICATION, ROLLOUT], tmp_path) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (Change("HTTPRoute/route", "spec.rules.0.backendReffs", []), "'\"backendReffs\"' does not exist"),
        (Change("HTTPRoute/route", "spec.rules.0.backendRefs.0.prot", 80), "'\"prot\"' does not exist"),
        (Change("HTTPRoute/route", "spec.hostnames", "a.example"), "is not assignable to type"),
        (Change("HTTPRoute/route", "spec.rules.0.backendRefs.0.name"), "'\"name\"' is missing"),
        (Change("HTTPRoute/route", "hostnames", ["a.example"]), "'\"hostnames\"' does not exist"),
        (Change("HTTPRoute/route", "kind", "HTTPRoutes"), "nobody has published a HTTPRoutes"),
        (Change("Application/application", "spec.sorce", {}), "'\"sorce\"' does not exist"),
        (Change("Rollout/rollout", "spec.strategy.canary.steps.0.weight", 1), "'\"weight\"' does not exist"),
    ],
    ids=str,
)
def test_a_mistake_is_refused(tmp_path: Path, change: Change, fault: str) -> None:
    found = type_faults(change.applied([APPLICATION, ROUTE, ROLLOUT]), tmp_path)
    assert len(found) == 1
    assert fault in found[0]


def test_each_fault_is_said_of_its_own_object(tmp_path: Path) -> None:
    objects: list[Any] = [ROUTE, APPLICATION, ROLLOUT]
    for change in (
        Change("Application/application", "spec.path", "k8s"),
        Change("Rollout/rollout", "spec.replica", 1),
    ):
        objects = change.applied(objects)
    assert [fault.partition(":")[0] for fault in type_faults(objects, tmp_path)] == [
        "Application/application",
        "Rollout/rollout",
    ]
