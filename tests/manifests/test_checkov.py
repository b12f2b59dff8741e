"""checkov finds nothing in the manifests that ``k8s/checkov_skips.yaml`` does not give a reason for."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.manifests.objects import ROOT, Change, Object, label

CHECKOV: Final = ROOT / ".venv-checkov" / "bin" / "checkov"
SKIPS: Final = ROOT / "k8s" / "checkov_skips.yaml"

pytestmark = pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not here; `make checkov` installs it")

#: Check and object.
type Finding = tuple[str, str]


def find(objects: list[Object], folder: Path) -> set[Finding]:
    file = folder / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    # What it asks about on the internet is longer texts.
    words = ["--framework", "kubernetes", "--output", "json", "--skip-download", "--soft-fail", "--file", str(file)]
    done = subprocess.run(
        [str(CHECKOV), *words],
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 1000, "it looked at nearly nothing"
    return {(found["check_id"], place(found["resource"])) for found in report["results"]["failed_checks"]}


def place(resource: str) -> str:
    """``Deployment.delinkcious.api-gateway`` as we call it."""
    kind, _, name = resource.split(".", 2)
    return f"{kind}/{name}"


def read_skips() -> list[dict[str, Any]]:
    skips: list[dict[str, Any]] = yaml.safe_load(SKIPS.read_text())
    assert all(len(skip["why"]) > 5 for skip in skips)
    return skips


def excused(found: Finding, skip: dict[str, Any]) -> bool:
    return found[0] == skip["check"] and found[1] in skip.get("objects", [found[1]])


def unexcused(found: Iterable[Finding], skips: list[dict[str, Any]]) -> list[Finding]:
    return sorted(one for one in found if not any(excused(one, skip) for skip in skips))


def unused(found: Iterable[Finding], skips: list[dict[str, Any]]) -> list[str]:
    found = set(found)
    wanted = [(skip["check"], thing) for skip in skips for thing in skip.get("objects", [])]
    named = [f"{check} {thing}" for check, thing in wanted if (check, thing) not in found]
    return named + [skip["check"] for skip in skips if not any(excused(one, skip) for one in found)]


def test_nothing_is_found_without_a_reason(objects: list[Object], tmp_path: Path) -> None:
    found = find(objects, tmp_path)
    assert unexcused(found, read_skips()) == []
    assert unused(found, read_skips()) == []


def test_what_is_wrong_is_found(objects: list[Object], tmp_path: Path) -> None:
    gateway = "Deployment/api-gateway"
    for change in (
        Change(gateway, "spec.template.spec.containers.0.securityContext.privileged", True),
        Change(gateway, "spec.template.spec.containers.0.livenessProbe"),
        Change("Deployment/link-manager", "spec.template.spec.containers.0.image", "link:latest"),
    ):
        objects = change.applied(objects)
    assert {label(thing) for thing in objects} > {gateway}
    found = unexcused(find(objects, tmp_path), read_skips())
    assert {("CKV_K8S_16", gateway), ("CKV_K8S_8", gateway), ("CKV_K8S_14", "Deployment/link-manager")} <= set(found)


def test_a_reason_for_nothing_is_seen() -> None:
    skips: list[dict[str, Any]] = [
        {"check": "A", "objects": ["x", "y"], "why": "because"},
        {"check": "B", "why": "because"},
    ]
    assert unused({("A", "x"), ("B", "x")}, skips) == ["A y"]
    assert unused({("A", "x"), ("A", "y")}, skips) == ["B"]
    assert unexcused({("A", "z"), ("B", "z")}, skips) == [("A", "z")]
