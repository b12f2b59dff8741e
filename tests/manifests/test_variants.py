"""Every overlay with every component is held to all that the base is held to."""

from pathlib import Path

import pytest

from tests.manifests.given import expected_secrets
from tests.manifests.objects import Change, Object, of_kind
from tests.manifests.pod_security import house_faults, restricted_faults
from tests.manifests.relations import every_fault
from tests.manifests.renders import NAMES, NOT_TOGETHER, PARTS, Renders, Variant, components_of, switched_on, variants
from tests.manifests.schemas import newest_versions, schema_faults
from tests.manifests.test_flows import allowed, listed, pods
from tests.manifests.test_given import given_faults, grace_faults, place_faults


def namespace_faults(objects: list[Object]) -> list[str]:
    """Of an object that would be in another namespace than the rest."""
    [home] = (thing["metadata"]["name"] for thing in of_kind(objects, "Namespace"))
    return [
        f"{thing['kind']}/{thing['metadata']['name']} is not in {home}"
        for thing in objects
        if thing["kind"] != "Namespace" and thing["metadata"].get("namespace") != home
    ]


@pytest.mark.parametrize("variant", variants(), ids=str)
def test_it_is_held_to_all_of_it(renders: Renders, variant: Variant, tmp_path: Path) -> None:
    objects = renders.of(variant)
    assert schema_faults(objects, newest_versions(1)[0]) == []
    assert every_fault(objects, expected_secrets(objects)) == []
    assert restricted_faults(objects) == house_faults(objects) == []
    assert namespace_faults(objects) == []
    assert list(given_faults(objects, tmp_path / "given")) == []
    assert list(place_faults(objects, tmp_path / "places")) == []
    assert list(grace_faults(objects, tmp_path / "grace")) == []


@pytest.mark.parametrize("variant", variants(), ids=str)
def test_its_flows_are_those_of_the_list(renders: Renders, variant: Variant) -> None:
    objects = renders.of(variant)
    inside = pods(objects)
    expected = set(listed(inside, variant.components))
    found = allowed(objects, inside)
    assert sorted(map(str, expected - found)) == []
    assert sorted(map(str, found - expected)) == []


def test_a_volume_that_is_not_there_is_seen(renders: Renders) -> None:
    place = "spec.jobTemplate.spec.template.spec.volumes.1.persistentVolumeClaim.claimName"
    change = Change("CronJob/link-db-restore", place, "db-backups")
    fault = "CronJob/link-db-restore: there is no PersistentVolumeClaim db-backups"
    objects = change.applied(renders.of(Variant("staging")))
    assert fault in every_fault(objects, expected_secrets(objects))


def test_there_is_something_to_switch_on() -> None:
    assert {"minikube", "staging", "production"} <= set(NAMES)
    switched = {variant.added[0] for variant in variants() if variant.added}
    assert {"autoscaling", "gateway-api", "monitoring"} <= switched | components_of("production")
    assert all(len(why) > 10 for why in NOT_TOGETHER.values())
    assert all(PARTS & components_of(name) for name in NAMES)


def test_a_component_is_switched_on_before_the_others() -> None:
    assert (
        switched_on("a: b\ncomponents:\n  - ../x\n", ["new"])
        == "a: b\ncomponents:\n  - ../../components/new\n  - ../x\n"
    )
    with pytest.raises(AssertionError, match="a list of components"):
        switched_on("a: b\n", ["new"])
