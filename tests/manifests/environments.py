"""What one environment has and another in the same cluster must not have: names, hosts, secrets, databases, streams."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Final

from tests.manifests.objects import Object, nested, of_kind, workloads
from tests.manifests.renders import hosts

#: Settings of what somebody else may run for us.
FAR_STORES: Final = ("_DB_SERVICE_HOST", "_REDIS_SERVICE_HOST")
#: Kinds without a namespace, of those that we have.
_OF_THE_CLUSTER: Final = frozenset({"Namespace"})


def belongings(objects: Iterable[Object]) -> dict[str, set[str]]:
    """By what they are."""
    objects = list(objects)
    return {
        "name": {_full_name(thing) for thing in objects},
        "host": hosts(objects),
        "secret": set(_secrets(objects)),
        "database or stream": set(_stores(objects)),
    }


def shared(environments: Mapping[str, Iterable[Object]]) -> list[str]:
    """A line for each thing that two of them have."""
    owned = {name: belongings(objects) for name, objects in environments.items()}
    return [
        f"{one} and {other} share the {what} {thing}"
        for one, other in combinations(owned, 2)
        for what in owned[one]
        for thing in sorted(owned[one][what] & owned[other][what])
    ]


def _full_name(thing: Object) -> str:
    metadata = thing["metadata"]
    where = "" if thing["kind"] in _OF_THE_CLUSTER else metadata.get("namespace", "default")
    return f"{thing['apiVersion'].partition('/')[0]} {thing['kind']} {where}/{metadata['name']}"


def _secrets(objects: list[Object]) -> Iterator[str]:
    """Each by its place in the cluster, and by where it comes from outside."""
    for workload in workloads(objects):
        home = workload.object["metadata"].get("namespace", "default")
        yield from (f"{home}/{name}" for name in nested(workload.spec, "secretName"))
    for thing in of_kind(objects, "ExternalSecret"):
        yield from nested(thing["spec"]["dataFrom"], "key")
    for thing in of_kind(objects, "SecretStore"):
        yield from (f"role {role}" for role in nested(thing["spec"], "role"))


def _stores(objects: list[Object]) -> Iterator[str]:
    """Where what is kept is kept: the volumes of this namespace, and servers elsewhere."""
    for thing in of_kind(objects, "StatefulSet"):
        yield f"{thing['metadata'].get('namespace', 'default')}/{thing['metadata']['name']}"
    for thing in of_kind(objects, "PersistentVolumeClaim"):
        yield _full_name(thing)
    for thing in of_kind(objects, "ConfigMap"):
        yield from (value for name, value in thing.get("data", {}).items() if _is_far_store(name, value))


def far_hosts(objects: Iterable[Object]) -> list[str]:
    """Settings that name a host by more than a Service's name: it could be another environment's. Not of stores."""
    return sorted(
        f"{thing['metadata']['name']}: {name}={value}"
        for thing in of_kind(objects, "ConfigMap")
        for name, value in thing.get("data", {}).items()
        if name.endswith("_SERVICE_HOST") and "." in value and not _is_far_store(name, value)
    )


def _is_far_store(name: str, value: str) -> bool:
    return name.endswith(FAR_STORES) and "." in value
