"""What one object says of another is true: selectors, ports, references, accounts, images."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from tests.manifests.objects import Object, Workload, label, nested, of_kind, selects, workloads

#: Of a release: which one, and whether it is the one that most people get.
RELEASE_LABELS: Final = ("app.kubernetes.io/version", "track")
_PINNED: Final = re.compile(
    r"^[^\s:@]+(?::\d+/[^\s:@]+)?(?::(?!latest$|unreleased$)[\w][\w.-]*(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$"
)


def selector_faults(objects: Iterable[Object]) -> Iterator[str]:
    objects = list(objects)
    pods = workloads(objects)
    for workload in pods:
        if workload.kind not in {"Deployment", "StatefulSet"}:
            continue
        selector = workload.object["spec"]["selector"]
        if not selects(selector, workload.labels):
            yield f"{workload.place}: its selector does not take its own pods"
        for other in pods:
            if other is not workload and selects(selector, other.labels):
                yield f"{workload.place}: its selector takes pods of {other.place}"
    for service in of_kind(objects, "Service"):
        taken = _selected(service["spec"]["selector"], pods)
        if len(taken) != 1:
            yield f"{label(service)}: its selector takes pods of {_places(taken)}, not of one workload"
    for budget in of_kind(objects, "PodDisruptionBudget"):
        taken = [pod for pod in pods if selects(budget["spec"]["selector"], pod.labels)]
        if len(taken) != 1:
            yield f"{label(budget)}: its selector takes pods of {_places(taken)}, not of one workload"
    for policy in of_kind(objects, "NetworkPolicy"):
        for selector in _local_selectors(policy):
            if not any(selects(selector, pod.labels) for pod in pods):
                yield f"{label(policy)}: {selector} takes no pod"


def _local_selectors(policy: Object) -> Iterator[Object]:
    spec = policy["spec"]
    yield spec["podSelector"]
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for peer in [*rule.get("from", []), *rule.get("to", [])]:
            if "podSelector" in peer and "namespaceSelector" not in peer:
                yield peer["podSelector"]


def _selected(labels: Mapping[str, str], pods: Iterable[Workload]) -> list[Workload]:
    return [pod for pod in pods if selects({"matchLabels": labels}, pod.labels)]


def _places(taken: Iterable[Workload]) -> str:
    return ", ".join(pod.place for pod in taken) or "nobody"


def port_faults(objects: Iterable[Object]) -> Iterator[str]:
    objects = list(objects)
    pods = workloads(objects)
    services = {service["metadata"]["name"]: service for service in of_kind(objects, "Service")}
    for service in services.values():
        for pod in _selected(service["spec"]["selector"], pods):
            for port in service["spec"]["ports"]:
                yield from (f"{label(service)}: {port} {fault}" for fault in _service_port_faults(service, port, pod))
    for ingress in of_kind(objects, "Ingress"):
        for path in (path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]):
            name, port = path["backend"]["service"]["name"], path["backend"]["service"]["port"]["name"]
            if name not in services or port not in {other["name"] for other in services[name]["spec"]["ports"]}:
                yield f"{label(ingress)}: {name} {port} is no port of a Service"
    for workload in pods:
        if workload.kind == "StatefulSet":
            own = services.get(workload.object["spec"]["serviceName"], {"spec": {"selector": {"svc": ""}}})["spec"]
            if own.get("clusterIP") != "None" or _selected(own["selector"], pods) != [workload]:
                yield f"{workload.place}: serviceName is no headless Service of its own"
        numbers = {number for number, _ in workload.ports.values()}
        for kind, port in _probed_ports(workload):
            if port not in workload.ports and port not in numbers:
                yield f"{workload.place}: {kind} asks port {port}, which it does not have"


def _service_port_faults(service: Object, port: Object, pod: Workload) -> Iterator[str]:
    target = port.get("targetPort")
    if "name" not in port or target not in pod.ports:
        yield f"is no named port of {pod.place}"
    elif service["spec"].get("clusterIP") == "None" and port["port"] != pod.ports[target][0]:
        yield f"is not the port of {pod.place}, and nothing translates it"
    if target in {"http", "grpc"} and port.get("appProtocol") != target:
        yield "does not say its appProtocol"


def _probed_ports(workload: Workload) -> Iterator[tuple[str, object]]:
    for container in workload.containers:
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            for how in ("httpGet", "tcpSocket", "grpc"):
                if how in container.get(kind, {}):
                    yield kind, container[kind][how]["port"]


def reference_faults(objects: Iterable[Object], secrets: Mapping[str, Collection[str]]) -> Iterator[str]:
    """``secrets``: the keys of each that will be there."""
    objects = list(objects)
    maps = {thing["metadata"]["name"]: set(thing.get("data", {})) for thing in of_kind(objects, "ConfigMap")}
    known = {"configMap": maps, "secret": {name: set(keys) for name, keys in secrets.items()}}
    used: dict[str, set[str]] = {"configMap": set(), "secret": set()}
    for workload in workloads(objects):
        for kind, name, keys, optional in _references(workload):
            used[kind].add(name)
            if name not in known[kind]:
                if optional:
                    continue
                yield f"{workload.place}: there is no {kind} {name}"
            elif missing := keys - known[kind][name]:
                yield f"{workload.place}: {kind} {name} has no {', '.join(sorted(missing))}"
        yield from _mount_faults(workload)
    for kind, names in known.items():
        for name in sorted(names.keys() - used[kind]):
            yield f"{kind} {name}: nobody uses it"


def _references(workload: Workload) -> Iterator[tuple[str, str, set[str], bool]]:
    """Kind, name and keys of what the workload needs, and whether it can do without."""
    for container in workload.containers:
        for source in container.get("envFrom", []):
            for field, kind in (("configMapRef", "configMap"), ("secretRef", "secret")):
                if field in source:
                    yield kind, source[field]["name"], set(), source[field].get("optional", False)
        for variable in container.get("env", []):
            for field, kind in (("configMapKeyRef", "configMap"), ("secretKeyRef", "secret")):
                if reference := variable.get("valueFrom", {}).get(field):
                    yield kind, reference["name"], {reference["key"]}, reference.get("optional", False)
    for volume in workload.volumes:
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            for kind, field in (("configMap", "name"), ("secret", "secretName")):
                if reference := source.get(kind):
                    keys = {item["key"] for item in reference.get("items", [])}
                    name = reference.get(field) or reference["name"]
                    yield kind, name, keys, reference.get("optional", False)


def volume_faults(objects: Iterable[Object]) -> Iterator[str]:
    objects = list(objects)
    claims = {claim["metadata"]["name"] for claim in of_kind(objects, "PersistentVolumeClaim")}
    used = set()
    for workload in workloads(objects):
        for name in nested(workload.spec, "claimName"):
            used.add(name)
            if name not in claims:
                yield f"{workload.place}: there is no PersistentVolumeClaim {name}"
    yield from (f"PersistentVolumeClaim/{name}: nobody uses it" for name in sorted(claims - used))


def _mount_faults(workload: Workload) -> Iterator[str]:
    claims = workload.object["spec"].get("volumeClaimTemplates", [])
    volumes = {volume["name"] for volume in workload.volumes} | {claim["metadata"]["name"] for claim in claims}
    mounted: set[str] = set()
    for container in workload.containers:
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        names = {mount["name"] for mount in container.get("volumeMounts", [])}
        mounted |= names
        for name in sorted(names - volumes):
            yield f"{workload.place}: {container['name']} mounts {name}, which is no volume"
        for mount in container.get("volumeMounts", []):
            if "subPath" in mount:
                yield f"{workload.place}: {mount['mountPath']} is a subPath: what changes is never replaced there"
        if len(set(paths)) != len(paths):
            yield f"{workload.place}: {container['name']} mounts two volumes at one place"
    for name in sorted(volumes - mounted):
        yield f"{workload.place}: nobody mounts the volume {name}"


def account_faults(objects: Iterable[Object]) -> Iterator[str]:
    objects = list(objects)
    accounts = {account["metadata"]["name"]: account for account in of_kind(objects, "ServiceAccount")}
    # The operator of external secrets asks for a token of its own.
    used = {
        account["name"]
        for store in of_kind(objects, "SecretStore")
        for account in nested(store["spec"], "serviceAccountRef")
    }
    for workload in workloads(objects):
        name = workload.spec.get("serviceAccountName")
        if name not in accounts:
            yield f"{workload.place}: has no ServiceAccount of its own"
        used.add(name)
        if workload.spec.get("automountServiceAccountToken") is not False:
            yield f"{workload.place}: is given a token of Kubernetes, which nothing here uses"
    for name, account in accounts.items():
        if name not in used:
            yield f"ServiceAccount/{name}: nobody uses it"
        if account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount/{name}: gives its pods a token of Kubernetes"


def image_faults(objects: Iterable[Object]) -> Iterator[str]:
    for workload in workloads(objects):
        for container in workload.containers:
            if not _PINNED.match(container["image"]):
                yield f"{workload.place}: the image {container['image']} is not pinned"


def secret_faults(objects: Iterable[Object]) -> Iterator[str]:
    for secret in of_kind(objects, "Secret"):
        yield f"{label(secret)}: Secrets are made by cmd/make_secrets.py, never kept here"


def label_faults(objects: Iterable[Object]) -> Iterator[str]:
    for thing in of_kind(objects, "Deployment"):
        for place, labels in (("it", thing["metadata"]), ("its pods", thing["spec"]["template"]["metadata"])):
            for name in RELEASE_LABELS:
                if name not in labels.get("labels", {}):
                    yield f"{label(thing)}: {place} lack {name}"


def every_fault(objects: Iterable[Object], secrets: Mapping[str, Collection[str]]) -> list[str]:
    objects = list(objects)
    checks: list[Any] = [selector_faults, port_faults, account_faults, image_faults, secret_faults, label_faults]
    checks.append(volume_faults)
    return [fault for check in checks for fault in check(objects)] + list(reference_faults(objects, secrets))
