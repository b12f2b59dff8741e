"""Every pod keeps to the *restricted* profile, which the namespace enforces, and to the house's own rules."""

from typing import Any

import pytest

from tests.manifests.objects import Change, Object, find
from tests.manifests.pod_security import house_faults, restricted_faults

PLACE = "Deployment/api-gateway"
POD = "spec.template.spec"
CONTAINER = f"{POD}.containers.0"


def test_every_pod_is_restricted(objects: list[Object]) -> None:
    assert restricted_faults(objects) == []


def test_every_pod_is_as_the_house_wants_it(objects: list[Object]) -> None:
    assert house_faults(objects) == []


def test_the_namespace_enforces_it(objects: list[Object]) -> None:
    labels = find(objects, "Namespace/delinkcious")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (f"{POD}.hostNetwork", True, "hostNetwork"),
        (f"{POD}.hostPID", True, "hostPID"),
        (f"{POD}.hostIPC", True, "hostIPC"),
        (f"{POD}.volumes.0", {"name": "tmp", "hostPath": {"path": "/"}}, "of a kind that is not allowed"),
        (f"{POD}.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], "not a safe one"),
        (f"{POD}.securityContext.windowsOptions", {"hostProcess": True}, "HostProcess"),
        (f"{POD}.securityContext.appArmorProfile", {"type": "Unconfined"}, "AppArmor"),
        (f"{POD}.securityContext.seLinuxOptions", {"type": "spc_t"}, "SELinux"),
        (f"{POD}.securityContext.seLinuxOptions", {"user": "root"}, "SELinux"),
        (f"{POD}.securityContext.runAsUser", 0, "runs as root"),
        (f"{POD}.securityContext.runAsNonRoot", None, "runAsNonRoot is not on"),
        (f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "has no seccomp profile"),
        (f"{POD}.securityContext.seccompProfile", None, "no seccompProfile is said"),
        (f"{CONTAINER}.securityContext.runAsUser", 0, "runs as root"),
        (f"{CONTAINER}.securityContext.runAsNonRoot", False, "runAsNonRoot is not on"),
        (f"{CONTAINER}.securityContext.seccompProfile", {"type": "Unconfined"}, "has no seccomp profile"),
        (f"{CONTAINER}.securityContext.privileged", True, "privileged"),
        (f"{CONTAINER}.securityContext.procMount", "Unmasked", "procMount"),
        (f"{CONTAINER}.securityContext.allowPrivilegeEscalation", None, "allowPrivilegeEscalation"),
        (f"{CONTAINER}.securityContext.capabilities.drop", ["NET_RAW"], "does not drop all"),
        (f"{CONTAINER}.securityContext.capabilities.add", ["SYS_ADMIN"], "adds capabilities"),
        (f"{CONTAINER}.securityContext", None, "does not drop all"),
        (f"{CONTAINER}.ports.0.hostPort", 80, "port of the host"),
        (f"{CONTAINER}.livenessProbe.httpGet.host", "169.254.169.254", "another host"),
        (f"{CONTAINER}.lifecycle.postStart", {"httpGet": {"host": "x", "port": 1}}, "another host"),
    ],
)
def test_what_the_profile_forbids_is_seen(objects: list[Object], path: str, value: Any, fault: str) -> None:
    assert any(fault in found for found in restricted_faults(Change(PLACE, path, value).applied(objects)))


def test_init_containers_and_cron_jobs_are_pods_too(objects: list[Object]) -> None:
    for change in (
        Change("Job/link-db-schema", "spec.template.spec.initContainers.0.securityContext.privileged", True),
        Change(
            "CronJob/link-sweep", "spec.jobTemplate.spec.template.spec.containers.0.securityContext.privileged", True
        ),
        Change("StatefulSet/user-db", f"{CONTAINER}.securityContext.privileged", True),
    ):
        assert any("is privileged" in found for found in restricted_faults(change.applied(objects)))


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (f"{POD}.enableServiceLinks", None, "every Service becomes variables"),
        (f"{POD}.securityContext.fsGroup", None, "which may read its Secrets"),
        (f"{POD}.volumes.0.emptyDir", {}, "has no bound"),
        (f"{POD}.volumes.1.secret.defaultMode", 0o444, "read by everybody"),
        (f"{CONTAINER}.securityContext.readOnlyRootFilesystem", None, "can be written to"),
        (f"{CONTAINER}.resources.limits", None, "what it may take"),
        (f"{CONTAINER}.resources.requests.cpu", None, "what it needs"),
        (f"{CONTAINER}.startupProbe", None, "lacks a probe"),
        (f"{CONTAINER}.volumeMounts.1.readOnly", None, "/etc/delinkcious can be written to"),
    ],
)
def test_what_the_house_does_not_want_is_seen(objects: list[Object], path: str, value: Any, fault: str) -> None:
    assert any(fault in found for found in house_faults(Change(PLACE, path, value).applied(objects)))
