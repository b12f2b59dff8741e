"""``cmd/bootstrap_cluster.py`` with a kubectl, a Helm and a Minikube that only write down what they are told."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.programs.command import run_command

ROOT = Path(__file__).parents[3]
USUAL = ["metrics-server", "ingress-nginx", "argo-cd"]


class Cluster:
    def __init__(self, folder: Path, context: str = "minikube", tools: str = "kubectl helm minikube") -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self.set("context", context)
        program = Path(__file__).with_name("fake_cluster.py")
        for tool in tools.split():
            file = folder / "bin" / tool
            command = shlex.join([sys.executable, str(program), str(folder), tool])
            file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            file.chmod(0o755)

    def set(self, name: str, value: str = "") -> None:
        (self.folder / name).write_text(value)

    def bootstrap(self, *arguments: str) -> tuple[int, str, str]:
        # With nothing else on the PATH but the shell, so that no tool of this machine is reached.
        return run_command("bootstrap_cluster", *arguments, PATH=f"{self.folder / 'bin'}:/nonexistent")

    def make(self, *arguments: str) -> str:
        code, output, errors = self.bootstrap(*arguments)
        assert (code, errors) == (0, "")
        return output

    def asked(self, *start: str) -> list[list[str]]:
        file = self.folder / "asked"
        asked = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [words for words in asked if words[: len(start)] == list(start)]

    def installs(self) -> list[str]:
        """Names of charts, in their order, since somebody asked."""
        names = [words[words.index("--install") + 1] for words in self.asked("helm") if "upgrade" in words]
        (self.folder / "asked").unlink()
        return names

    def releases(self) -> dict[str, str]:
        return {one["name"]: one["chart"] for one in json.loads((self.folder / "releases").read_text())}


@pytest.fixture
def charts() -> dict[str, Any]:
    listed = yaml.safe_load((ROOT / "cmd" / "bootstrap_cluster.yaml").read_text())["charts"]
    return {chart["name"]: chart for chart in listed}


def test_what_is_needed_is_installed_in_the_versions_of_the_file_and_once(
    tmp_path: Path, charts: dict[str, Any]
) -> None:
    cluster = Cluster(tmp_path)
    assert "cluster: minikube\n" in cluster.make()
    assert cluster.installs() == USUAL
    assert cluster.releases() == {name: f"{name}-{charts[name]['version']}" for name in USUAL}
    assert yaml.safe_load((tmp_path / "values-metrics-server").read_text()) == charts["metrics-server"]["values"]
    assert f"argo-cd: {charts['argo-cd']['version']} is there" in cluster.make()
    assert cluster.installs() == []


def test_what_is_there_in_another_version_or_broke_off_is_done_again(tmp_path: Path, charts: dict[str, Any]) -> None:
    cluster = Cluster(tmp_path)
    cluster.make()
    releases = json.loads((tmp_path / "releases").read_text())
    releases[0]["chart"] = "metrics-server-3.0.0"
    releases[2]["status"] = "failed"
    cluster.set("releases", json.dumps(releases))
    cluster.installs()
    output = cluster.make()
    assert f"metrics-server: metrics-server-3.0.0 (deployed) becomes {charts['metrics-server']['version']}" in output
    assert cluster.installs() == ["metrics-server", "argo-cd"]


def test_a_dry_run_says_what_would_be_done(tmp_path: Path, charts: dict[str, Any]) -> None:
    cluster = Cluster(tmp_path)
    output = cluster.make("--dry-run", "--with", "istio")
    assert cluster.installs() == []
    for name in (*USUAL, "base", "cni", "istiod"):
        about = charts[name]
        assert f"upgrade --install {name} {name} --repo {about['repository']} --version {about['version']}" in output
    assert "nuclio" not in output
    assert "- --kubelet-insecure-tls" in output


def test_what_minikube_does_itself_is_left_to_it(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.set("addons", "ingress metrics-server")
    assert "ingress-nginx: is there, as Minikube's addon ingress" in cluster.make()
    assert cluster.installs() == ["argo-cd"]


def test_some_alone_and_some_besides(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "kind-delinkcious", "kubectl helm")
    cluster.make("--only", "istio")
    assert cluster.installs() == ["base", "cni", "istiod"]
    cluster.make("--with", "kube-prometheus-stack", "--with", "nuclio")
    assert cluster.installs() == [*USUAL, "kube-prometheus-stack", "nuclio"]
    code, _, errors = cluster.bootstrap("--with", "linkerd")
    assert code == 1
    assert "linkerd is not among argo-cd, argo-rollouts, ingress-nginx, istio" in errors


@pytest.mark.parametrize("context", ["production", "gke_ours_europe", "arn:aws:eks:eu:1:cluster/minikube", ""])
def test_a_cluster_of_others_is_touched_only_when_it_is_named(tmp_path: Path, context: str) -> None:
    cluster = Cluster(tmp_path, context)
    code, _, errors = cluster.bootstrap()
    assert code == 1
    assert f"kubectl's context is {context or 'none'}, which is not Minikube's or kind's" in errors
    assert cluster.installs() == []
    cluster.make("--context", context or "named")
    # Every command is told which cluster is meant.
    assert all((context or "named") in words for words in cluster.asked("helm"))
    assert cluster.installs() == USUAL


def test_what_failed_is_named_and_how_to_go_on(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.set("broken", "ingress-nginx")
    code, _, errors = cluster.bootstrap()
    assert code == 1
    assert errors.splitlines() == [
        "bootstrap_cluster: ingress-nginx: Error: context deadline exceeded",
        "bootstrap_cluster: see what is wrong: kubectl --context minikube --namespace ingress-nginx get pods,events",
        "bootstrap_cluster: what was done before stays; not tried: argo-cd. Run the same command again to go on",
    ]
    cluster.installs()
    cluster.set("broken")
    cluster.make()
    assert cluster.installs() == ["ingress-nginx", "argo-cd"]


def test_what_is_missing_is_said_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    code, _, errors = Cluster(tmp_path / "one", tools="kubectl").bootstrap()
    assert code == 1
    assert errors.splitlines() == [
        "bootstrap_cluster: there is no helm; see https://helm.sh/docs/intro/install",
        "bootstrap_cluster: there is no minikube; see https://minikube.sigs.k8s.io/docs/start",
    ]
    (tmp_path / "two").mkdir()
    assert "there is no kubectl" in Cluster(tmp_path / "two", tools="").bootstrap()[2]
    (tmp_path / "three").mkdir()
    down = Cluster(tmp_path / "three")
    down.set("down")
    assert "minikube does not answer (The connection to the server" in down.bootstrap()[2]


def test_every_chart_has_one_version_from_one_place(charts: dict[str, Any], tmp_path: Path) -> None:
    for chart in charts.values():
        assert chart["repository"].startswith("https://"), chart
    file = tmp_path / "bootstrap.yaml"
    text = (ROOT / "cmd" / "bootstrap_cluster.yaml").read_text()
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    for version in ("latest", "3", '"*"'):
        file.write_text(text.replace("version: 3.13.0", f"version: {version}"))
        code, _, errors = cluster.bootstrap("--file", str(file))
        assert code == 1
        assert "is no version; three numbers are wanted" in errors
