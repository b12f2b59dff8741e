"""The steps of docs/releases.md: each is made in a copy of the manifests, and changes what the page says it changes.

What is rendered is held to all the rest meanwhile: relations, settings, flows, the restricted profile.
"""

import re
import shlex
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from pkg.images.releases import Built, write_release
from tests.manifests.differences import differences
from tests.manifests.given import expected_secrets
from tests.manifests.houses import overlay, switch_off, switch_on
from tests.manifests.objects import ROOT, Change, Object, find, of_kind, render, workloads
from tests.manifests.pod_security import house_faults, restricted_faults
from tests.manifests.relations import every_fault
from tests.manifests.renders import components_of, copy_house
from tests.manifests.resolved import release, resolve_pins
from tests.manifests.schemas import newest_versions, schema_faults
from tests.manifests.test_flows import Flow, allowed, listed, pods
from tests.manifests.test_given import given_faults
from tests.manifests.test_scaling import scaling_faults

PAGE: Final = ROOT / "docs" / "releases.md"
OLD, NEW = "0.1.7-1a2b3c4d5e6f", "0.1.8-6f5e4d3c2b1a"
ENVIRONMENT = "production"
COLOURS = ("blue", "green")
#: What works on events, or on anything else unasked.
CONSUMERS = ("link-manager", "user-manager", "news-manager", "link-checker")
STEP = re.compile(
    r"<!-- step: (?P<name>[a-z-]+) -->\n```sh\n(?P<commands>.*?)```\n(?:.*?)```text\n(?P<lines>.*?)```", re.DOTALL
)


@dataclass(frozen=True)
class Step:
    commands: list[str]
    lines: list[str]


def read_steps() -> dict[str, Step]:
    return {
        match["name"]: Step(match["commands"].splitlines(), match["lines"].splitlines())
        for match in STEP.finditer(PAGE.read_text())
    }


STEPS = read_steps()


def built(tag: str) -> dict[str, Built]:
    return {name: replace(image, tag=tag) for name, image in release().items()}


def make_house(folder: Path) -> Path:
    """Production runs the old release."""
    house = copy_house(folder / "house")
    resolve_pins(house)
    for environment in (ENVIRONMENT, *COLOURS):
        write_release(house / "k8s" / "releases" / environment / "kustomization.yaml", built(OLD))
    write_release(house / "k8s" / "releases" / "staging" / "kustomization.yaml", built(NEW))
    return house


@pytest.fixture
def house(tmp_path: Path) -> Path:
    return make_house(tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """As every house is at first."""
    return render(overlay(make_house(tmp_path_factory.mktemp("plain")), ENVIRONMENT))


COLOURED: Final = {"active": "blue", "blue": "on", "green": "off"}


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    house = make_house(tmp_path_factory.mktemp("coloured"))
    switch_on(house, ENVIRONMENT, "blue-green", **COLOURED)
    return render(overlay(house, ENVIRONMENT))


@dataclass
class Walk:
    """Goes through steps one after the other, and looks at what each has changed."""

    house: Path
    objects: list[Object]

    def to(self, name: str) -> None:
        for command in STEPS[name].commands:
            self._run(command)
        after = render(overlay(self.house, ENVIRONMENT))
        assert differences(self.objects, after) == STEPS[name].lines, name
        self.objects = after

    def _run(self, command: str) -> None:
        match words := shlex.split(command):
            case ["cp" | "sed", *_]:
                subprocess.run(words, cwd=self.house, check=True, capture_output=True)
            case [".venv/bin/python", "cmd/promote.py", *_]:
                write_release(self.house / "k8s" / "releases" / ENVIRONMENT / "kustomization.yaml", built(NEW))
            case ["git", "revert", *_]:
                write_release(self.house / "k8s" / "releases" / ENVIRONMENT / "kustomization.yaml", built(OLD))
            case ["git", *_]:
                pass
            case _:
                raise AssertionError(f"{PAGE}: nobody knows what `{command}` does")


def test_a_release_in_place_and_back(house: Path, plain: list[Object]) -> None:
    way = Walk(house, plain)
    way.to("promote")
    way.to("roll-back")
    assert differences(plain, way.objects) == []


def test_colours_are_held_to_all_of_it(coloured: list[Object], plain: list[Object], tmp_path: Path) -> None:
    check_all(coloured, plain, tmp_path)
    assert every_fault(coloured, expected_secrets(coloured)) == []
    assert [fault for fault in scaling_faults(coloured) if "there is no" in fault] == []
    # What the environment says of pods, it says of both colours'.
    for deployment in of_kind(plain, "Deployment"):
        name, constraints = deployment["metadata"]["name"], "topologySpreadConstraints"
        for other in [] if name == "operator" else [f"{name}-{colour}" for colour in COLOURS]:
            pods_of = find(coloured, f"Deployment/{other}")["spec"]["template"]["spec"]
            assert pods_of[constraints] == deployment["spec"]["template"]["spec"][constraints], other
    check_colours(coloured, "blue", plain)


def test_a_release_by_colours_and_back(house: Path, coloured: list[Object], plain: list[Object]) -> None:
    switch_on(house, ENVIRONMENT, "blue-green", **COLOURED)
    way = Walk(house, coloured)
    way.to("colours-promote")
    way.to("colours-fill")
    check_colours(way.objects, "blue", plain)
    way.to("colours-switch")
    check_colours(way.objects, "green", plain)
    way.to("colours-switch-back")
    check_colours(way.objects, "blue", plain)


@pytest.mark.parametrize(
    "change",
    [
        Change("ConfigMap/colour-green", "data.DELINKCIOUS_CONSUME", "on"),
        Change("ConfigMap/colour-blue", "data.DELINKCIOUS_CONSUME", "off"),
        Change("Service/link-manager", "spec.selector.colour", "green"),
        Change("Deployment/link-manager-green", "spec.template.spec.containers.0.env.0.value", "user-manager"),
    ],
    ids=str,
)
def test_colours_that_are_mixed_up_are_seen(coloured: list[Object], plain: list[Object], change: Change) -> None:
    with pytest.raises(AssertionError):
        check_colours(change.applied(coloured), "blue", plain)


def test_canaries_come_and_go(house: Path, plain: list[Object], tmp_path: Path) -> None:
    way = Walk(house, plain)
    switch_on(house, ENVIRONMENT, "canary-track")
    way.to("canaries-begin")
    check_canaries(way.objects, plain, tmp_path)
    switch_off(house, ENVIRONMENT, "canary-track")
    way.to("canaries-end")


def test_the_page_has_no_step_that_nobody_makes() -> None:
    made = set(re.findall(r'way\.to\("([a-z-]+)"\)', Path(__file__).read_text()))
    assert set(STEPS) == made


def check_colours(objects: list[Object], active: str, plain: list[Object]) -> None:
    for service in of_kind(objects, "Service"):
        name, selector = service["metadata"]["name"], service["spec"]["selector"]
        if "colour" in selector:
            named = next((colour for colour in COLOURS if name.endswith(f"-{colour}")), active)
            assert selector["colour"] == named, name
    for workload in workloads(objects):
        if (colour := workload.labels.get("colour")) is None:
            continue
        own, container = workload.name.removesuffix(f"-{colour}"), workload.containers[0]
        # Whom it calls is of its own colour; whatever else it is told is told to both.
        hosts = {variable["value"] for variable in container.get("env", [])}
        assert all(host.endswith(f"-{colour}") for host in hosts), workload.name
        assert {host.removesuffix(f"-{colour}") for host in hosts} == called(own, plain), workload.name
        switches = [
            find(objects, f"ConfigMap/{source['configMapRef']['name']}")["data"].get("DELINKCIOUS_CONSUME")
            for source in container["envFrom"]
        ]
        expected = ["on" if colour == active else "off"] if own in CONSUMERS else []
        assert [switch for switch in switches if switch] == expected, workload.name


def called(name: str, plain: list[Object]) -> set[str]:
    """The services that somebody calls by a name."""
    deployed = {thing["metadata"]["name"] for thing in of_kind(plain, "Deployment")}
    return {flow.target for flow in listed(pods(plain)) if flow.source == name and flow.target in deployed}


def check_canaries(objects: list[Object], plain: list[Object], folder: Path) -> None:
    check_all(objects, plain, folder)
    faults = every_fault(objects, expected_secrets(objects))
    # What is in front of a service is in front of its canary, and nothing else is wrong.
    shared = {thing["metadata"]["name"] for thing in of_kind(plain, "Service", "PodDisruptionBudget")}
    assert all(
        re.fullmatch(r"\w+/(\S+): its selector takes pods of .*-canary, not of one workload", fault) for fault in faults
    )
    assert {fault.partition(":")[0].partition("/")[2] for fault in faults} <= shared
    taken = {name for fault in faults for name in re.findall(r"Deployment/(\S+)-canary", fault)}
    assert taken == {thing["metadata"]["name"] for thing in of_kind(plain, "Deployment")} - {"operator"}


def check_all(objects: list[Object], plain: list[Object], folder: Path) -> None:
    assert schema_faults(objects, newest_versions(1)[0]) == []
    assert restricted_faults(objects) == house_faults(objects) == []
    assert list(given_faults(objects, folder)) == []
    inside = pods(objects)
    assert {plain_flow(flow) for flow in allowed(objects, inside)} == set(
        listed(pods(plain), components_of(ENVIRONMENT))
    )


def plain_flow(flow: Flow) -> Flow:
    """Between those whom the list knows: colours and canaries may what their service may."""
    source, target = [re.sub(r"-(blue|green|canary)$", "", name) for name in (flow.source, flow.target)]
    return replace(flow, source=source, target=target)
