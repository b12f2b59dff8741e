"""How many pods there are, when there are more, when some may go, and how much of a cluster that is at most."""

import re
from collections.abc import Iterator
from typing import Final

import pytest
from prometheus_client import REGISTRY

import svc.link_checker_service.app
import svc.news_service.app  # noqa: F401  # importing them registers what they count
from pkg.runtime.metrics import RequestMetrics
from tests.manifests.objects import Change, Object, label, of_kind, selects, workloads
from tests.manifests.renders import Renders, Variant, components_of
from tests.manifests.replicas import fewest, most


def scaling_faults(objects: list[Object]) -> Iterator[str]:
    known = {(thing["apiVersion"], thing["kind"], thing["metadata"]["name"]): thing for thing in objects}
    counted = {f"{family.name}{suffix}" for family in REGISTRY.collect() for suffix in ("", "_total")}
    for thing in of_kind(objects, "HorizontalPodAutoscaler", "VerticalPodAutoscaler"):
        spec = thing["spec"]
        reference = spec.get("scaleTargetRef") or spec["targetRef"]
        target = known.get((reference["apiVersion"], reference["kind"], reference["name"]))
        if target is None:
            yield f"{label(thing)}: there is no {reference['kind']} {reference['name']}"
            continue
        if thing["kind"] == "VerticalPodAutoscaler":
            if spec["updatePolicy"]["updateMode"] != "Off":
                yield f"{label(thing)}: it changes pods by itself"
            continue
        if "replicas" in target["spec"] and "minikube" not in str(target["metadata"].get("namespace")):
            yield f"{label(thing)}: its target says how many there are, which each release would undo"
        if not 2 <= spec["minReplicas"] < spec["maxReplicas"]:
            yield f"{label(thing)}: no room between {spec['minReplicas']} and {spec['maxReplicas']}"
        if not {"scaleUp", "scaleDown"} <= spec.get("behavior", {}).keys():
            yield f"{label(thing)}: says not how fast"
        names = {metric["pods"]["metric"]["name"] for metric in spec["metrics"] if metric["type"] == "Pods"}
        if not names or not names <= counted:
            yield f"{label(thing)}: nobody tells {names or 'a metric of ours'}"


def drain_faults(objects: list[Object]) -> Iterator[str]:
    """Of budgets that keep a node from being emptied, and of what has none."""
    for budget in of_kind(objects, "PodDisruptionBudget"):
        spec = budget["spec"]
        for workload in workloads(objects):
            if selects(spec["selector"], workload.labels):
                there = fewest(workload, objects)
                free = spec["maxUnavailable"] if "maxUnavailable" in spec else there - spec["minAvailable"]
                if free < 1:
                    yield f"{label(budget)}: {there} pods, and none may go"
                elif there - free < 1:
                    yield f"{label(budget)}: {there} pods, and none has to stay"


@pytest.fixture(params=["staging", "production"])
def scaled(renders: Renders, request: pytest.FixtureRequest) -> list[Object]:
    added = {"autoscaling", "quotas"} - components_of(request.param)
    return renders.of(Variant(request.param, tuple(sorted(added))))


def test_what_is_scaled_is_there_and_tells_how_busy_it_is(scaled: list[Object]) -> None:
    RequestMetrics.of("any")
    assert len(of_kind(scaled, "HorizontalPodAutoscaler")) == 7
    assert list(scaling_faults(scaled)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            Change("HorizontalPodAutoscaler/link-manager", "spec.scaleTargetRef.name", "link"),
            "there is no Deployment link",
        ),
        (Change("HorizontalPodAutoscaler/link-manager", "spec.metrics.1.pods.metric.name", "busy"), "nobody tells"),
        (Change("HorizontalPodAutoscaler/link-manager", "spec.maxReplicas", 2), "no room between"),
        (Change("HorizontalPodAutoscaler/link-manager", "spec.behavior"), "says not how fast"),
        (Change("Deployment/link-manager", "spec.replicas", 2), "which each release would undo"),
        (Change("VerticalPodAutoscaler/link-manager", "spec.updatePolicy.updateMode", "Auto"), "by itself"),
    ],
    ids=str,
)
def test_a_mistake_in_scaling_is_seen(scaled: list[Object], change: Change, fault: str) -> None:
    assert any(fault in line for line in scaling_faults(change.applied(scaled)))


def test_every_node_can_be_emptied_and_nothing_goes_away_with_it(scaled: list[Object]) -> None:
    assert len(of_kind(scaled, "PodDisruptionBudget")) >= 7
    assert list(drain_faults(scaled)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (Change("PodDisruptionBudget/link-manager", "spec.maxUnavailable", 0), "none may go"),
        (Change("PodDisruptionBudget/link-manager", "spec.maxUnavailable", 3), "none has to stay"),
        (Change("HorizontalPodAutoscaler/link-manager", "spec.minReplicas", 1), "none has to stay"),
    ],
    ids=str,
)
def test_a_budget_that_is_none_is_seen(scaled: list[Object], change: Change, fault: str) -> None:
    assert any(fault in line for line in drain_faults(change.applied(scaled)))


_UNITS: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 0.001, "k": 1000, "": 1}


def amount(text: str | int) -> float:
    """A quantity of Kubernetes."""
    match = re.fullmatch(r"([\d.]+)(Ki|Mi|Gi|m|k|)", str(text))
    assert match, text
    return float(match[1]) * _UNITS[match[2]]


def needed(objects: list[Object]) -> dict[str, float]:
    """What a quota counts, with all pods that there may ever be at one time."""
    total = dict.fromkeys(("pods", "requests.cpu", "requests.memory", "limits.memory", "requests.storage"), 0.0)
    for workload in workloads(objects):
        count = most(workload, objects) if workload.kind in {"Deployment", "StatefulSet"} else 1
        # One more while a release rolls out; the operator's, which somebody starts.
        count += workload.kind == "Deployment"
        total["pods"] += count
        steps = [*workload.spec.get("initContainers", [])]
        for name in ("requests.cpu", "requests.memory", "limits.memory"):
            kind, resource = name.split(".")
            own = [sum(amount(c["resources"][kind].get(resource, 0)) for c in workload.spec["containers"])]
            total[name] += count * max(own + [amount(c["resources"][kind].get(resource, 0)) for c in steps])
        for claim in workload.object["spec"].get("volumeClaimTemplates", []):
            total["requests.storage"] += count * amount(claim["spec"]["resources"]["requests"]["storage"])
    for claim in of_kind(objects, "PersistentVolumeClaim"):
        total["requests.storage"] += amount(claim["spec"]["resources"]["requests"]["storage"])
    return total


def test_a_quota_has_room_for_all_of_it_and_not_for_two(scaled: list[Object]) -> None:
    [quota] = of_kind(scaled, "ResourceQuota")
    hard = {name: amount(value) for name, value in quota["spec"]["hard"].items()}
    for name, total in needed(scaled).items():
        assert total <= hard[name] <= 3 * total, f"{name}: {total} of {hard[name]}"
    [limits] = of_kind(scaled, "LimitRange")
    [largest] = [amount(limit["max"]["memory"]) for limit in limits["spec"]["limits"] if limit["type"] == "Container"]
    for workload in workloads(scaled):
        assert all(amount(container["resources"]["limits"]["memory"]) <= largest for container in workload.containers)
