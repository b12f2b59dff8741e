"""What a container is given, laid out on this machine: its variables, and the files of its Secrets and ConfigMaps."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pkg.provisioning.cluster_secrets import VALKEY_LIST, Secrets, render_github, render_secrets
from pkg.runtime.mutual_auth import new_secret
from tests.manifests.objects import Object, Workload, of_kind


class Variables(dict[str, str]):
    """Remembers which ones somebody asked for."""

    def __init__(self, *arguments: Mapping[str, str]) -> None:
        super().__init__(*arguments)
        self.read: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]  # only ever text
        self.read.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return super().__getitem__(name)


@dataclass(frozen=True)
class Given:
    """``root`` stands for the container's own, in which only what is mounted lies."""

    root: Path
    variables: Variables

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")


@cache
def make_secrets() -> Secrets:
    """Every Secret of a cluster, GitHub's among them."""
    made: dict[str, tuple[str, ...]] = {}
    own = render_secrets(lambda name: made.setdefault(name, (new_secret(),)))
    return {**own, **render_github(new_secret(), new_secret())}


#: Of servers that copy each other, and their sentinels.
OF_REPLICAS: Final = frozenset({"news-manager-redis-replica", "news-manager-redis-sentinel"})


def expected_secrets(objects: Iterable[Object]) -> dict[str, set[str]]:
    """The keys of each Secret that is used here. Some are used where Valkey is here, or is several."""
    here = {thing["metadata"]["name"]: thing["spec"].get("replicas", 1) for thing in of_kind(objects, "StatefulSet")}
    servers = here.get("news-manager-redis", 0)
    return {
        name: set(content)
        for name, content in make_secrets().items()
        if (name != VALKEY_LIST or servers) and (name not in OF_REPLICAS or servers > 1)
    }


def lay_out(objects: Iterable[Object], workload: Workload, container: Object, secrets: Secrets, root: Path) -> Given:
    objects = list(objects)
    maps = {thing["metadata"]["name"]: thing["data"] for thing in of_kind(objects, "ConfigMap")}
    for place, content in _mounted(workload, container, maps, secrets):
        folder = root / place.lstrip("/")
        folder.mkdir(parents=True)
        for name, text in content.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o440)
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= maps[source["configMapRef"]["name"]]
    variables |= {variable["name"]: _value(variable, workload) for variable in container.get("env", [])}
    return Given(root, Variables({name: _moved(name, value, root) for name, value in variables.items()}))


def _value(variable: Object, workload: Workload) -> str:
    if "value" in variable:
        return str(variable["value"])
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}, variable
    return f"{workload.name}-0"


def _moved(name: str, value: str, root: Path) -> str:
    return str(root / value.lstrip("/")) if name.endswith("_FILE") else value


def _mounted(
    workload: Workload, container: Object, maps: Secrets, secrets: Secrets
) -> Iterator[tuple[str, Mapping[str, str]]]:
    volumes = {volume["name"]: volume for volume in workload.volumes}
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        if "secret" in volume:
            yield mount["mountPath"], secrets[volume["secret"]["secretName"]]
        elif "configMap" in volume:
            name = volume["configMap"]["name"]
            if name in maps or not volume["configMap"].get("optional"):
                yield mount["mountPath"], maps[name]
