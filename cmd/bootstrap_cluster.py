#!/usr/bin/env python3
"""Gives a cluster of Minikube or kind what Delinkcious needs beside itself: metrics, Ingress, Argo CD; more if asked.

  minikube start --memory=6g --cni=calico
  python cmd/bootstrap_cluster.py --dry-run
  python cmd/bootstrap_cluster.py --with kube-prometheus-stack

What is installed, and in which version, is in cmd/bootstrap_cluster.yaml. It may be run again: what is there in that
version stays, what is there in another one becomes that one, and what failed is tried again.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import yaml  # noqa: E402  # after the line above, as the rest

from pkg.runtime.start_error import StartError  # noqa: E402

FILE = Path(__file__).with_suffix(".yaml")
#: Seconds for a question, and for one chart until all its pods are ready.
PATIENCE = 60
INSTALL_PATIENCE = 900
TOOLS = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
    "helm": "https://helm.sh/docs/intro/install",
    "minikube": "https://minikube.sigs.k8s.io/docs/start",
}
#: Contexts of clusters that belong to this machine.
OWN = re.compile(r"minikube(?:-.+)?|kind-.+")
VERSION = re.compile(r"\d+(\.\d+){2}")


@dataclass(frozen=True, kw_only=True)
class Chart:
    name: str
    about: str
    repository: str
    version: str
    namespace: str
    values: dict[str, Any] = field(default_factory=dict)
    optional: bool = False
    #: By what it is asked for, if it is one of several.
    group: str = ""
    #: Of Minikube, which does the same.
    addon: str = ""

    @property
    def word(self) -> str:
        return self.group or self.name


def read_charts(file: Path) -> list[Chart]:
    try:
        charts = [Chart(**about) for about in yaml.safe_load(file.read_text(encoding="utf-8"))["charts"]]
    except (OSError, TypeError, KeyError, yaml.YAMLError) as fault:
        raise StartError(f"{file} cannot be read: {fault}") from None
    for chart in charts:
        if not VERSION.fullmatch(str(chart.version)):
            raise StartError(f"{file}: {chart.name} {chart.version} is no version; three numbers are wanted")
    return charts


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--context",
        metavar="NAME",
        help="of this cluster, whichever it is (without: the current one, if it is our own)",
    )
    parser.add_argument(
        "--with", metavar="NAME", action="append", default=[], dest="extras", help="one that is optional as well"
    )
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="these alone; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    parser.add_argument("--file", metavar="FILE", type=Path, default=FILE, help="the charts (%(default)s)")
    return parser.parse_args(words)


def choose(charts: Sequence[Chart], only: Sequence[str], extras: Sequence[str]) -> list[Chart]:
    known = {chart.word for chart in charts}
    if unknown := sorted({*only, *extras} - known):
        raise StartError(f"{unknown[0]} is not among {', '.join(sorted(known))}")
    wanted = set(only) or {chart.word for chart in charts if not chart.optional} | set(extras)
    return [chart for chart in charts if chart.word in wanted]


class Cluster:
    def __init__(self, context: str) -> None:
        self.context = context

    @property
    def is_minikube(self) -> bool:
        return self.context.startswith("minikube")

    def check(self) -> None:
        tools = ["kubectl", "helm", *(["minikube"] if self.is_minikube else [])]
        if missing := [tool for tool in tools if not shutil.which(tool)]:
            raise StartError(*(f"there is no {tool}; see {TOOLS[tool]}" for tool in missing))
        start = "minikube start" if self.is_minikube else "kind create cluster"
        answer = run("kubectl", "--context", self.context, "get", "--raw", "/readyz")
        if answer.returncode:
            raise StartError(f"{self.context} does not answer ({last_line(answer)}); start it: {start}")

    def addons(self) -> set[str]:
        """What Minikube has switched on of its own."""
        if not self.is_minikube:
            return set()
        done = run("minikube", "--profile", self.context, "addons", "list", "--output", "json")
        if done.returncode:
            raise StartError(f"minikube does not say which addons it has: {last_line(done)}")
        return {name for name, about in json.loads(done.stdout).items() if about.get("Status") == "enabled"}

    def installed(self) -> dict[tuple[str, str], tuple[str, str]]:
        """By namespace and name: chart with version, and status."""
        done = run("helm", "--kube-context", self.context, "list", "--all-namespaces", "--all", "--output", "json")
        if done.returncode:
            raise StartError(f"helm does not say what is installed: {last_line(done)}")
        return {(one["namespace"], one["name"]): (one["chart"], one["status"]) for one in json.loads(done.stdout)}

    def install(self, chart: Chart) -> list[str]:
        """The command, whose input are the chart's values."""
        return [
            *("helm", "--kube-context", self.context, "upgrade", "--install", chart.name, chart.name),
            *("--repo", chart.repository, "--version", chart.version),
            *("--namespace", chart.namespace, "--create-namespace"),
            *("--values", "-", "--wait", "--timeout", f"{INSTALL_PATIENCE}s"),
        ]


def run(*command: str, content: str = "", patience: int = PATIENCE) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, input=content, capture_output=True, text=True, check=False, timeout=patience)
    except subprocess.TimeoutExpired:
        raise StartError(f"{' '.join(command[:4])}: no answer within {patience} seconds") from None


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    return next(iter(reversed((done.stdout + done.stderr).strip().splitlines())), f"code {done.returncode}")


def choose_context(asked: str | None) -> str:
    if asked:
        return asked
    if not shutil.which("kubectl"):
        raise StartError(f"there is no kubectl; see {TOOLS['kubectl']}")
    context = run("kubectl", "config", "current-context").stdout.strip()
    if not OWN.fullmatch(context):
        raise StartError(
            f"kubectl's context is {context or 'none'}, which is not Minikube's or kind's; if you mean it, name"
            f" it: --context {context or 'NAME'}"
        )
    return context


def plan(cluster: Cluster, charts: Sequence[Chart]) -> Iterator[tuple[Chart, str]]:
    """What is to be done with each chart; nothing, if that is empty."""
    addons, installed = cluster.addons(), cluster.installed()
    for chart in charts:
        there, status = installed.get((chart.namespace, chart.name), ("", ""))
        if chart.addon in addons:
            print(f"{chart.name}: is there, as Minikube's addon {chart.addon}")
            yield chart, ""
        elif (there, status) == (f"{chart.name}-{chart.version}", "deployed"):
            print(f"{chart.name}: {chart.version} is there")
            yield chart, ""
        else:
            yield chart, f"{there} ({status}) becomes {chart.version}" if there else f"install {chart.version}"


def bootstrap(arguments: argparse.Namespace) -> None:
    charts = choose(read_charts(arguments.file), arguments.only, arguments.extras)
    cluster = Cluster(choose_context(arguments.context))
    cluster.check()
    print(f"cluster: {cluster.context}")
    todo = [(chart, what) for chart, what in plan(cluster, charts) if what]
    for number, (chart, what) in enumerate(todo):
        print(f"{chart.name}: {what}, {chart.about}", flush=True)
        command = cluster.install(chart)
        values = yaml.safe_dump(chart.values)
        if arguments.dry_run:
            print(f"  {' '.join(command)}\n    {values.strip().replace(chr(10), chr(10) + '    ')}")
            continue
        done = run(*command, content=values, patience=INSTALL_PATIENCE + PATIENCE)
        if done.returncode:
            left = ", ".join(later.name for later, _ in todo[number + 1 :]) or "nothing"
            raise StartError(
                f"{chart.name}: {last_line(done)}",
                f"see what is wrong: kubectl --context {cluster.context} --namespace {chart.namespace} get pods,events",
                f"what was done before stays; not tried: {left}. Run the same command again to go on",
            )
    if not arguments.dry_run:
        print("done; see README.md, On Kubernetes, for what comes next")


def main(words: Sequence[str]) -> int:
    try:
        bootstrap(read_arguments(words))
    except StartError as error:
        for fault in error.faults:
            print(f"bootstrap_cluster: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
