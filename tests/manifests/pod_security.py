"""The *restricted* profile of Kubernetes' Pod Security Standards, and what the house asks besides.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (baseline and restricted).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from tests.manifests.objects import Object, Workload, workloads

_VOLUMES: Final = frozenset(
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"]
)
_SECCOMP: Final = frozenset(["RuntimeDefault", "Localhost"])
_SELINUX_TYPES: Final = frozenset(["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
_SYSCTLS: Final = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    ]
)


def restricted_faults(objects: Iterable[Object]) -> list[str]:
    return [f"{workload.place}: {fault}" for workload in workloads(objects) for fault in _pod_faults(workload)]


def _pod_faults(workload: Workload) -> Iterator[str]:
    spec = workload.spec
    security = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is on"
    for volume in workload.volumes:
        if not volume.keys() - {"name"} <= _VOLUMES:
            yield f"volume {volume['name']} is of a kind that is not allowed"
    for sysctl in security.get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']} is not a safe one"
    yield from _context_faults("the pod", security)
    for container in [*workload.containers, *spec.get("ephemeralContainers", [])]:
        own = container.get("securityContext", {})
        yield from (f"{container['name']}: {fault}" for fault in _container_faults(container, own, security))


def _context_faults(who: str, context: Object) -> Iterator[str]:
    """Of what a pod and a container may both say."""
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{who} is a HostProcess"
    if context.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield f"{who} has no AppArmor profile"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type", "") not in _SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{who} chooses its own SELinux options"
    if context.get("runAsUser") == 0:
        yield f"{who} runs as root"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in _SECCOMP:
        yield f"{who} has no seccomp profile"


def _container_faults(container: Object, own: Object, pod: Object) -> Iterator[str]:
    yield from _context_faults("it", own)
    if own.get("privileged"):
        yield "it is privileged"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is not the default"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not off"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "it does not drop all capabilities"
    if not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "it adds capabilities"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not on"
    if "seccompProfile" not in own and "seccompProfile" not in pod:
        yield "no seccompProfile is said"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "it has a port of the host"
    hooks = [container.get(probe, {}) for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    hooks += container.get("lifecycle", {}).values()
    if any(hook.get(how, {}).get("host") for hook in hooks for how in ("httpGet", "tcpSocket")):
        yield "a probe or hook asks another host"


def house_faults(objects: Iterable[Object]) -> list[str]:
    """Beyond the profile."""
    return [f"{workload.place}: {fault}" for workload in workloads(objects) for fault in _house_faults(workload)]


def _house_faults(workload: Workload) -> Iterator[str]:
    spec = workload.spec
    if spec.get("enableServiceLinks") is not False:
        yield "every Service becomes variables, some of which have the names of settings"
    if not (spec.get("securityContext", {}).get("runAsUser") and spec.get("securityContext", {}).get("fsGroup")):
        yield "no user and group are said: which may read its Secrets?"
    for volume in workload.volumes:
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} has no bound"
        if "secret" in volume and volume["secret"].get("defaultMode") != 0o440:
            yield f"volume {volume['name']} can be read by everybody in the container"
    for container in workload.containers:
        yield from (f"{container['name']}: {fault}" for fault in _house_faults_of(container, workload))


def _house_faults_of(container: Object, workload: Workload) -> Iterator[str]:
    if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written to"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
        yield "it says neither what it needs nor what it may take"
    serves = workload.kind == "StatefulSet" or (workload.kind == "Deployment" and container.get("ports"))
    if serves and not {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys():
        yield "it serves and lacks a probe"
    for mount in container.get("volumeMounts", []):
        holds_secret = any(volume["name"] == mount["name"] and "secret" in volume for volume in workload.volumes)
        if holds_secret and mount.get("readOnly") is not True:
            yield f"{mount['mountPath']} can be written to"
