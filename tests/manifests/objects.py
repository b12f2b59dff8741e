"""What is in a rendered set of manifests: objects, the pods that they make, and where to find and change them."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "k8s" / "overlays"

type Object = dict[str, Any]


def render(folder: Path) -> list[Object]:
    """What ``kubectl apply -k`` would send.

    Raises:
        AssertionError: it cannot be rendered; with what kustomize said.
    """
    # Of our own environment: a machine's may be of any age.
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    # libyaml's: an overlay has ten thousand lines, and there are dozens of them.
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def manifest_files() -> list[Path]:
    """The files of which they are rendered."""
    folders = [ROOT / "k8s", *ROOT.glob("svc/*/k8s"), *ROOT.glob("fun/*/k8s")]
    return sorted(path for folder in folders for path in folder.rglob("*.yaml"))


def label(thing: Object) -> str:
    """How a fault names an object."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    return [thing for thing in objects if thing["kind"] in kinds]


def find(objects: Iterable[Object], place: str) -> Object:
    """The one object that ``Kind/name`` means; a name may go on with what a render adds to it."""
    found = [thing for thing in objects if label(thing) == place]
    found = found or [thing for thing in objects if label(thing).startswith(f"{place}-")]
    assert len(found) == 1, f"{place}: {[label(thing) for thing in found]}"
    return found[0]


def nested(thing: Any, key: str) -> Iterator[Any]:  # any part of an object
    """The values under this key, however deep."""
    match thing:
        case dict():
            for name, value in thing.items():
                if name == key:
                    yield value
                yield from nested(value, key)
        case list():
            for value in thing:
                yield from nested(value, key)


@dataclass(frozen=True)
class Change:
    """One change of one object, to see whether a check notices. ``path`` is like ``spec.ports.0.name``.

    Without a value it is removed.
    """

    place: str
    path: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.place}:{self.path}={self.value}"

    def applied(self, objects: Iterable[Object]) -> list[Object]:
        changed = deepcopy(list(objects))
        holder: Any = find(changed, self.place)
        *steps, last = [int(step) if step.isdigit() else step.replace("~", ".") for step in self.path.split(".")]
        for step in steps:
            holder = holder[step]
        if self.value is None:
            del holder[last]
        elif isinstance(holder, list) and last == len(holder):
            holder.append(self.value)
        else:
            holder[last] = self.value
        return changed


@dataclass(frozen=True)
class Workload:
    """What makes pods, and the pods that it makes."""

    object: Object
    template: Object

    @property
    def kind(self) -> str:
        return str(self.object["kind"])

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def place(self) -> str:
        return label(self.object)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"].get("labels", {}))

    @property
    def spec(self) -> Object:
        return dict(self.template["spec"])

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def volumes(self) -> list[Object]:
        return list(self.spec.get("volumes", []))

    @property
    def ports(self) -> dict[str, tuple[int, str]]:
        """By name, number and protocol."""
        return {
            port["name"]: (port["containerPort"], port.get("protocol", "TCP"))
            for container in self.containers
            for port in container.get("ports", [])
        }


def workloads(objects: Iterable[Object]) -> list[Workload]:
    return list(_workloads(objects))


def _workloads(objects: Iterable[Object]) -> Iterator[Workload]:
    for thing in objects:
        match thing["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                yield Workload(thing, thing["spec"]["template"])
            case "CronJob":
                yield Workload(thing, thing["spec"]["jobTemplate"]["spec"]["template"])


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector (``matchLabels``, ``matchExpressions``) takes something with these labels."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_satisfies(expression, labels) for expression in selector.get("matchExpressions", []))


def _satisfies(expression: Object, labels: dict[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(f"no operator of a selector: {expression['operator']}")
