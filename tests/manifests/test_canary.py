"""Releases by Argo Rollouts: what they look at is told by our services, and they run what Deployments describe."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pkg.images.releases import write_release
from tests.manifests.given import expected_secrets
from tests.manifests.houses import overlay, switch_on
from tests.manifests.objects import Change, Object, find, of_kind, render, workloads
from tests.manifests.published_types import INSTALLED, type_faults
from tests.manifests.relations import every_fault
from tests.manifests.renders import Renders, Variant, copy_house
from tests.manifests.resolved import release, resolve_pins
from tests.manifests.test_monitoring import LABELS, METRIC, PLACES, known_samples
from tests.manifests.test_scaling import scaling_faults

#: Who is asked something over HTTP.
ROLLED: Final = {"api-gateway", "link-manager", "user-manager", "social-graph-manager", "news-manager"}
ARGUMENT: Final = re.compile(r"{{args\.(\w+)}}")


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    house = copy_house(tmp_path_factory.mktemp("canary") / "house")
    resolve_pins(house)
    write_release(house / "k8s" / "releases" / "production" / "kustomization.yaml", release())
    switch_on(house, "production", "canary")
    return render(overlay(house, "production"))


def test_each_has_the_pods_of_its_deployment(rolled: list[Object], renders: Renders) -> None:
    assert every_fault(rolled, expected_secrets(rolled)) == []
    rollouts = of_kind(rolled, "Rollout")
    assert {rollout["metadata"]["name"] for rollout in rollouts} == ROLLED
    for rollout in rollouts:
        reference = rollout["spec"]["workloadRef"]
        assert reference["name"] == rollout["metadata"]["name"]
        deployment = find(rolled, f"{reference['kind']}/{reference['name']}")
        assert deployment["apiVersion"] == reference["apiVersion"]
        # An autoscaler has the say, of the Rollout as of the Deployment before.
        assert "replicas" not in rollout["spec"]
        assert "replicas" not in deployment["spec"]
        assert rollout["metadata"]["labels"].items() <= deployment["metadata"]["labels"].items()
    before = {workload.place: workload.template for workload in workloads(renders.of(Variant("production")))}
    assert {workload.place: workload.template for workload in workloads(rolled)} == before


def test_autoscalers_scale_what_runs(rolled: list[Object]) -> None:
    targets = {
        scaler["metadata"]["name"]: scaler["spec"]["scaleTargetRef"]["kind"]
        for scaler in of_kind(rolled, "HorizontalPodAutoscaler")
    }
    assert {name for name, kind in targets.items() if kind == "Rollout"} == ROLLED
    assert list(scaling_faults(rolled)) == []


def query_faults(objects: list[Object]) -> Iterator[str]:
    """Of what is asked of Prometheus."""
    known = known_samples()
    for metric in (metric for thing in of_kind(objects, "AnalysisTemplate") for metric in thing["spec"]["metrics"]):
        query = metric["provider"]["prometheus"]["query"]
        used = {part.strip() for match in LABELS.findall(query) for part in "".join(match).split(",")}
        used |= set(re.findall(r"(\w+)!~?\"", query))
        for name in METRIC.findall(query):
            if name not in known:
                yield f"{metric['name']}: nobody tells {name}"
            elif strange := used - PLACES - known[name]:
                yield f"{metric['name']}: {name} has no {', '.join(sorted(strange))}"
        if not {"service", "namespace", "pod"} <= used:
            yield f"{metric['name']}: it asks of others as well"


def test_what_is_asked_is_told(rolled: list[Object]) -> None:
    assert len(METRIC.findall(str(of_kind(rolled, "AnalysisTemplate")))) == 3
    assert list(query_faults(rolled)) == []


QUERY: Final = "spec.metrics.0.provider.prometheus.query"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(rate(delinkcious_requests_total[3m]))", "nobody tells delinkcious_requests_total"),
        ('rate(delinkcious_http_requests_total{code!~"5.."}[3m])', "has no code"),
        ('rate(delinkcious_http_requests_total{status!~"5.."}[3m])', "of others as well"),
    ],
)
def test_a_question_that_nobody_answers_is_seen(rolled: list[Object], query: str, fault: str) -> None:
    changed = Change("AnalysisTemplate/answers", QUERY, query).applied(rolled)
    assert any(fault in found for found in query_faults(changed))


def analyses(rollout: Object) -> list[Any]:
    return [step["analysis"] for step in rollout["spec"]["strategy"]["canary"]["steps"] if "analysis" in step]


def test_every_argument_is_given_and_used(rolled: list[Object]) -> None:
    template = find(rolled, "AnalysisTemplate/answers")["spec"]
    usual = {argument["name"] for argument in template["args"] if "value" in argument}
    assert set(ARGUMENT.findall(yaml.safe_dump(template["metrics"]))) == {one["name"] for one in template["args"]}
    for rollout in of_kind(rolled, "Rollout"):
        assert analyses(rollout)
        for analysis in analyses(rollout):
            assert analysis["templates"] == [{"templateName": "answers"}]
            given = {argument["name"]: argument for argument in analysis["args"]}
            assert given.keys() | usual == {one["name"] for one in template["args"]}
            # The name of a metric's service is the Deployment's.
            assert given["service"]["value"] == rollout["metadata"]["name"]
            assert 0 < float(given["slowest"]["value"]) <= 1


def test_few_pods_are_looked_at_before_many(rolled: list[Object]) -> None:
    for rollout in of_kind(rolled, "Rollout"):
        steps = [next(iter(step)) for step in rollout["spec"]["strategy"]["canary"]["steps"]]
        assert steps == ["setWeight", "pause", "analysis"] * 2
        assert rollout["spec"]["strategy"]["canary"]["maxUnavailable"] == 0


def test_it_takes_ninety_nine_of_a_hundred(rolled: list[Object]) -> None:
    metrics = {metric["name"]: metric for metric in find(rolled, "AnalysisTemplate/answers")["spec"]["metrics"]}
    assert metrics["success-rate"]["successCondition"].endswith("result[0] >= 0.99")
    assert metrics["p99"]["provider"]["prometheus"]["query"].startswith("histogram_quantile(0.99,")
    # Without an answer it is neither well nor failed.
    for metric in metrics.values():
        assert metric["successCondition"].startswith("len(result) > 0 && ")
        assert metric["failureCondition"].startswith("len(result) > 0 && ")
        assert metric["inconclusiveLimit"] < metric["count"]


@pytest.mark.skipif(
    not INSTALLED.exists(), reason="the published types are not here; `make resource-types` installs them (needs npm)"
)
def test_argo_rollouts_knows_all_of_it(rolled: list[Object], tmp_path: Path) -> None:
    assert type_faults(of_kind(rolled, "Rollout", "AnalysisTemplate"), tmp_path) == []
