"""What is made of the same manifests elsewhere: a production that knows what it runs, and the function in Nuclio."""

from pathlib import Path
from typing import Any

import pytest

from pkg.images.pins import read_pins
from pkg.images.releases import PRODUCTION, read_release, write_release
from pkg.images.running import differences
from tests.manifests.given import expected_secrets
from tests.manifests.objects import Object, find, of_kind, render, selects, workloads
from tests.manifests.relations import every_fault, image_faults
from tests.manifests.renders import copy_house
from tests.manifests.replicas import fewest
from tests.manifests.resolved import resolve_pins, resolve_release


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of all that is rendered, with images of others whose digests nobody has asked for."""
    copy_house(tmp_path)
    pins = tmp_path / "k8s" / "components" / "pins" / "kustomization.yaml"
    for pin in read_pins(pins).values():
        pins.write_text(pins.read_text().replace(f', digest: "{pin.digest}"', ""))
    return tmp_path


def resolve(house: Path) -> None:
    resolve_pins(house)
    resolve_release(house, "production")


@pytest.mark.parametrize(
    "resolved", [(), ("postgres", "nats"), ("valkey/valkey", "nats"), ("postgres", "valkey/valkey")]
)
def test_an_image_without_a_digest_is_refused(house: Path, resolved: tuple[str, ...]) -> None:
    resolve_release(house, "staging")
    if resolved:
        resolve_pins(house, *resolved)
    with pytest.raises(AssertionError, match=r"index 1 is out of bounds for value (postgres|valkey/valkey|nats):"):
        render(house / "k8s" / "overlays" / "staging")


def test_production_refuses_an_image_without_a_digest(house: Path) -> None:
    resolve_release(house, "production")
    with pytest.raises(AssertionError, match=r"index 1 is out of bounds for value nats:"):
        render(house / "k8s" / "overlays" / "production")


def test_production_has_more_than_one_of_each(house: Path) -> None:
    resolve(house)
    objects = render(house / "k8s" / "overlays" / "production")
    operator = find(objects, "Deployment/operator")
    assert operator["spec"]["replicas"] == 0, "who can do much is there when somebody needs it"
    for workload in workloads(objects):
        if workload.kind == "Deployment" and workload.name != "operator":
            assert fewest(workload, objects) >= 3


def test_production_refuses_an_image_of_ours_that_was_never_built(house: Path) -> None:
    resolve(house)
    file = house / PRODUCTION
    built = read_release(file)
    write_release(file, {name: image for name, image in built.items() if name != "news"})
    with pytest.raises(AssertionError, match=r"data\.news` is missing"):
        render(house / "k8s" / "overlays" / "production")


def test_a_release_runs_each_image_in_its_own_version(house: Path) -> None:
    resolve(house)
    built = read_release(house / PRODUCTION)
    objects = render(house / "k8s" / "overlays" / "production")
    seen = set()
    for workload in workloads(objects):
        ours = {container["image"] for container in workload.containers if "delinkcious" in container["image"]}
        for name in [name for name, version in built.items() if version.reference in ours]:
            seen.add(name)
            assert ours == {built[name].reference}
            assert workload.labels["app.kubernetes.io/version"] == built[name].tag
            assert workload.object["metadata"]["labels"]["app.kubernetes.io/version"] == built[name].tag
            if workload.kind == "Job":
                assert workload.name.endswith(f"-{built[name].tag}"), "a Job that is there cannot be changed"
    assert seen == built.keys() - {"troubleshooting"}, "nobody deploys it"
    assert list(image_faults(objects)) == []
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    pods = [
        {"metadata": {"name": workload.name}, "spec": workload.template["spec"], "status": ready}
        for workload in workloads(objects)
    ]
    assert differences(pods, built) == [], "what the cluster says of them is what was released"


def test_nobody_goes_without_a_budget_of_disruptions(objects: list[Object]) -> None:
    budgets = {budget["metadata"]["name"] for budget in of_kind(objects, "PodDisruptionBudget")}
    assert budgets == {thing["metadata"]["name"] for thing in of_kind(objects, "Deployment")} - {"operator"}


@pytest.fixture
def with_nuclio(house: Path) -> list[Object]:
    return render_with(house, "nuclio")


def render_with(house: Path, *components: str) -> list[Object]:
    overlay = house / "k8s" / "overlays" / "apart"
    overlay.mkdir()
    places = ", ".join(f"../../components/{name}" for name in components)
    (overlay / "kustomization.yaml").write_text(
        f"namespace: delinkcious\nresources: [../minikube]\ncomponents: [{places}]\n"
    )
    return render(overlay)


def test_the_function_in_nuclio_asks_the_sentinels_where_there_are_some(house: Path) -> None:
    function = find(render_with(house, "nuclio", "valkey-replicas"), "NuclioFunction/link-checker")
    given = {variable["name"]: variable["value"] for variable in function["spec"]["env"]}
    assert "LINK_CHECKER_REDIS_SERVICE_HOST" not in given
    assert given["LINK_CHECKER_REDIS_SENTINELS"].count(":26379") == 3
    assert given["LINK_CHECKER_REDIS_SENTINEL_NAME"] == "feeds"


def test_the_function_in_nuclio_takes_the_place_of_ours(with_nuclio: list[Object]) -> None:
    names = {thing["metadata"]["name"] for thing in with_nuclio if thing["kind"] != "NetworkPolicy"}
    assert not any(name.startswith("link-check-function") for name in names)
    assert set(every_fault(with_nuclio, expected_secrets(with_nuclio))) == {
        # Of the function, whose pods are Nuclio's to make.
        "NetworkPolicy/link-check-function: {'matchLabels': {'app': 'function', 'svc': 'link-checker'}} takes no pod",
        "NetworkPolicy/link-checker: {'matchLabels': {'app': 'function', 'svc': 'link-checker'}} takes no pod",
        "NetworkPolicy/news-manager-redis: {'matchLabels': {'app': 'function', 'svc': 'link-checker'}} takes no pod",
        "secret link-check-function-mutual-auth: nobody uses it",
        "secret news-manager-redis-link-check-function: nobody uses it",
    }
    function = find(with_nuclio, "NuclioFunction/link-checker")
    assert function["spec"]["volumes"][0]["volume"]["secret"]["secretName"] == "link-check-function-mutual-auth"
    assert "build" not in function["spec"]
    # Nuclio's Service of a function.
    assert find(with_nuclio, "ConfigMap/link-checker-config")["data"]["LINK_CHECK_FUNCTION_SERVICE_HOST"] == (
        f"nuclio-{function['metadata']['name']}"
    )


@pytest.mark.parametrize("policy", ["link-check-function", "dns", "default-deny"])
def test_nuclios_pods_are_held_by_the_same_policies(with_nuclio: list[Object], policy: str) -> None:
    labels: dict[str, Any] = find(with_nuclio, "NuclioFunction/link-checker")["metadata"]["labels"]
    assert selects(find(with_nuclio, f"NetworkPolicy/{policy}")["spec"]["podSelector"], labels)
