"""Which of our images a cluster runs, as it says itself."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pkg.images.catalogue import IMAGES
from pkg.images.releases import Built
from pkg.provisioning.kubectl import ask_kubectl

_NAMES: Final = {image.repository: image.name for image in IMAGES}
#: Those of which a pod always runs; others come and go.
_SERVING: Final = [image.name for image in IMAGES if image.module]
_OVER: Final = frozenset({"Succeeded", "Failed"})

type _Pod = Mapping[str, Any]


def read_pods(context: str, namespace: str) -> list[_Pod]:
    """``context`` is a cluster, as kubectl calls it.

    Raises:
        StartError: it cannot be asked.
    """
    answer = ask_kubectl("--namespace", namespace, "get", "pods", "--output", "json", context=context)
    return list(json.loads(answer)["items"])


def differences(pods: Sequence[_Pod], release: Mapping[str, Built]) -> list[str]:
    """In words, for each way in which these pods are not those of the release; none if they are."""
    alive = [pod for pod in pods if pod["status"].get("phase") not in _OVER]
    serving = {name for pod in alive if _is_ready(pod) for name, _ in _images(pod)}
    found = [
        f"{pod['metadata']['name']} runs another {name} than {release[name].tag}"
        for pod in alive
        for name, digest in _images(pod)
        if name in release and digest != release[name].digest
    ]
    return found + [f"no pod of {name} is ready" for name in _SERVING if name in release and name not in serving]


def _images(pod: _Pod) -> Iterator[tuple[str, str]]:
    """Of ours: name in the catalogue, and digest."""
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        reference, _, digest = container["image"].partition("@")
        name = _NAMES.get(reference.rpartition("/")[2].partition(":")[0])
        if name is not None:
            yield name, digest


def _is_ready(pod: _Pod) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
