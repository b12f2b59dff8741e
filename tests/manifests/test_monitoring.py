"""Prometheus reads every service, and its alerts ask for what services tell."""

import re
from collections.abc import Iterator
from typing import Final

import pytest
from prometheus_client import REGISTRY

import svc.api_gateway_service.app
import svc.link_checker_service.app
import svc.link_service.app
import svc.news_service.app
import svc.social_graph_service.app
import svc.user_service.app  # noqa: F401  # all of them: importing them registers what they count
from pkg.runtime.metrics import RequestMetrics
from tests.manifests.objects import Change, Object, of_kind, selects, workloads
from tests.manifests.renders import Renders, Variant, components_of


def scraped(objects: list[Object]) -> list[str]:
    """Whose metrics are read, as often as they are."""
    found = []
    pods = workloads(objects)
    for monitor in of_kind(objects, "PodMonitor"):
        ports = {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]}
        found += [
            pod.name
            for pod in pods
            if selects(monitor["spec"]["selector"], pod.labels)
            for _ in ports & pod.ports.keys()
        ]
    for monitor in of_kind(objects, "ServiceMonitor"):
        ports = {end["port"] for end in monitor["spec"]["endpoints"]}
        for service in of_kind(objects, "Service"):
            if selects(monitor["spec"]["selector"], service["metadata"]["labels"]):
                named = {port["name"] for port in service["spec"]["ports"]} & ports
                chosen = {"matchLabels": service["spec"].get("selector", {})}
                found += [pod.name for pod in pods if selects(chosen, pod.labels) for _ in named]
    return sorted(found)


@pytest.fixture(scope="module")
def monitored(renders: Renders) -> list[Object]:
    return renders.of(Variant("staging", () if "monitoring" in components_of("staging") else ("monitoring",)))


def test_every_service_is_read_once(monitored: list[Object]) -> None:
    services = {thing["metadata"]["name"] for thing in of_kind(monitored, "Deployment")} - {"operator"}
    assert scraped(monitored) == sorted(services)


METRIC: Final = re.compile(r"\bdelinkcious_\w+")
LABELS: Final = re.compile(r"(\w+)=~?\"|\bby \(([\w, ]+)\)")
#: Given by Prometheus itself.
PLACES: Final = {"namespace", "pod", "le"}


def known_samples() -> dict[str, set[str]]:
    """Names that a query may use, and the labels of each."""
    found: dict[str, set[str]] = {"up": set()}
    RequestMetrics.of("any").observe("GET", "/any", 200, 0.1)
    for family in REGISTRY.collect():
        # What has no value yet has no samples; its collector knows the labels.
        own = REGISTRY._names_to_collectors.get(family.name)  # there is no other way
        labels = {name for sample in family.samples for name in sample.labels} | set(getattr(own, "_labelnames", ()))
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        found |= {f"{family.name}{suffix}": labels for suffix in suffixes}
    return found


def alert_faults(objects: list[Object]) -> Iterator[str]:
    known = known_samples()
    groups = [group for thing in of_kind(objects, "PrometheusRule") for group in thing["spec"]["groups"]]
    for rule in (rule for group in groups for rule in group["rules"]):
        expression = rule["expr"]
        used = {part.strip() for match in LABELS.findall(expression) for part in "".join(match).split(",")}
        for name in METRIC.findall(expression) or ["up"]:
            if name not in known:
                yield f"{rule['alert']}: nobody tells {name}"
            elif strange := used - PLACES - known[name]:
                yield f"{rule['alert']}: {name} has no {', '.join(sorted(strange))}"
        if expression.count("(") != expression.count(")"):
            yield f"{rule['alert']}: a parenthesis is not closed"


def test_alerts_ask_for_what_is_told(monitored: list[Object]) -> None:
    assert len(METRIC.findall(str(of_kind(monitored, "PrometheusRule")))) > 8
    assert list(alert_faults(monitored)) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("delinkcious_outbox_oldest > 1", "nobody tells delinkcious_outbox_oldest"),
        ('delinkcious_outbox_oldest_seconds{servce="x"} > 1', "has no servce"),
        ("max by (consumer) (delinkcious_outbox_oldest_seconds) > 1", "has no consumer"),
    ],
)
def test_an_alert_that_would_never_come_is_seen(monitored: list[Object], expression: str, fault: str) -> None:
    change = Change("PrometheusRule/delinkcious", "spec.groups.0.rules.0.expr", expression)
    assert any(fault in line for line in alert_faults(change.applied(monitored)))
