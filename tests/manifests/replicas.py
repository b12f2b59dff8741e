"""How many pods a workload has: what it says itself, or who scales it."""

from collections.abc import Iterable

from tests.manifests.objects import Object, Workload, of_kind


def fewest(workload: Workload, objects: Iterable[Object]) -> int:
    """Pods that there are of it at least, when nothing is amiss."""
    scaler = _scaler(workload, objects)
    return int(scaler["spec"]["minReplicas"] if scaler else workload.object["spec"].get("replicas", 1))


def most(workload: Workload, objects: Iterable[Object]) -> int:
    """Pods that there may be of it, but for a release that rolls out."""
    scaler = _scaler(workload, objects)
    return int(scaler["spec"]["maxReplicas"] if scaler else workload.object["spec"].get("replicas", 1))


def _scaler(workload: Workload, objects: Iterable[Object]) -> Object | None:
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == (workload.kind, workload.name):
            return scaler
    return None
