"""What one object of the manifests says of another is true, and a mistake in it is seen."""

import pytest

from tests.manifests.given import OF_REPLICAS, make_secrets
from tests.manifests.objects import Change, Object
from tests.manifests.relations import every_fault

SECRETS = {name: set(content) for name, content in make_secrets().items() if name not in OF_REPLICAS}


def test_all_fits_together(objects: list[Object]) -> None:
    assert list(every_fault(objects, SECRETS)) == []


GATEWAY = "Deployment/api-gateway"
POD = "spec.template.spec"
MISTAKES = [
    (Change(GATEWAY, "spec.selector.matchLabels.svc", "gateway"), "its selector does not take its own pods"),
    (
        Change("Deployment/link-manager", "spec.selector.matchLabels", {"app": "manager"}),
        "takes pods of Deployment/user-manager",
    ),
    (Change("Service/link-manager", "spec.selector.svc", "links"), "takes pods of nobody"),
    (Change("Service/link-manager", "spec.selector", {"app": "manager"}), "not of one workload"),
    (
        Change("NetworkPolicy/user-manager", "spec.ingress.0.from.0.podSelector.matchLabels.app", "manger"),
        "takes no pod",
    ),
    (Change("NetworkPolicy/link-manager", "spec.podSelector.matchLabels.app", "db"), "takes no pod"),
    (Change("Service/api-gateway", "spec.ports.0.targetPort", 5000), "is no named port"),
    (Change("Service/api-gateway", "spec.ports.0.targetPort", "htpp"), "is no named port"),
    (Change("Service/link-manager", "spec.ports.0.appProtocol"), "does not say its appProtocol"),
    (Change("Service/nats-cluster", "spec.ports.0.port", 4223), "nothing translates it"),
    (
        Change("Ingress/api-gateway", "spec.rules.0.http.paths.0.backend.service.name", "gateway"),
        "is no port of a Service",
    ),
    (
        Change("Ingress/api-gateway", "spec.rules.0.http.paths.0.backend.service.port.name", "https"),
        "is no port of a Service",
    ),
    (Change("StatefulSet/link-db", "spec.serviceName", "db"), "no headless Service of its own"),
    (Change("Service/link-db", "spec.clusterIP"), "no headless Service of its own"),
    (Change("Deployment/news-manager", f"{POD}.containers.0.readinessProbe.grpc.port", 6062), "asks port 6062"),
    (Change(GATEWAY, f"{POD}.containers.0.livenessProbe.httpGet.port", "probes"), "asks port probes"),
    (Change(GATEWAY, f"{POD}.containers.0.envFrom.0.configMapRef.name", "config"), "there is no configMap config"),
    (Change(GATEWAY, f"{POD}.volumes.1.secret.secretName", "nothing"), "there is no secret nothing"),
    (
        Change(GATEWAY, f"{POD}.volumes.1.secret.secretName", "user-mutual-auth"),
        "secret api-gateway-mutual-auth: nobody uses it",
    ),
    (Change(GATEWAY, f"{POD}.volumes.1.secret.items", [{"key": "auth.yaml", "path": "x"}]), "has no auth.yaml"),
    (
        Change(
            GATEWAY,
            f"{POD}.containers.0.env",
            [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "github", "key": "id"}}}],
        ),
        "there is no secret github",
    ),
    (Change(GATEWAY, f"{POD}.containers.0.volumeMounts.1.name", "auth"), "is no volume"),
    (Change(GATEWAY, f"{POD}.containers.0.volumeMounts.1.subPath", "mutual-auth.yaml"), "is never replaced there"),
    (Change(GATEWAY, f"{POD}.containers.0.volumeMounts.1"), "nobody mounts the volume mutual-auth"),
    (Change(GATEWAY, f"{POD}.containers.0.volumeMounts.0.mountPath", "/etc/delinkcious"), "two volumes at one place"),
    (Change(GATEWAY, f"{POD}.serviceAccountName", "default"), "has no ServiceAccount"),
    (Change(GATEWAY, f"{POD}.automountServiceAccountToken", True), "is given a token of Kubernetes"),
    (Change("ServiceAccount/operator", "automountServiceAccountToken"), "gives its pods a token"),
    (Change(GATEWAY, f"{POD}.serviceAccountName", "operator"), "ServiceAccount/api-gateway: nobody uses it"),
    (Change(GATEWAY, f"{POD}.containers.0.image", "gateway"), "is not pinned"),
    (Change(GATEWAY, f"{POD}.containers.0.image", "registry:5000/gateway"), "is not pinned"),
    (Change(GATEWAY, f"{POD}.containers.0.image", "gateway:latest"), "is not pinned"),
    (Change(GATEWAY, f"{POD}.containers.0.image", "gateway@sha256:123"), "is not pinned"),
    (Change("ConfigMap/api-gateway-config", "kind", "Secret"), "never kept here"),
    (Change(GATEWAY, f"{POD.removesuffix('.spec')}.metadata.labels.track"), "its pods lack track"),
    (Change(GATEWAY, "metadata.labels.app~kubernetes~io/version"), "it lack app.kubernetes.io/version"),
]


@pytest.mark.parametrize(("change", "fault"), MISTAKES, ids=str)
def test_a_mistake_is_seen(objects: list[Object], change: Change, fault: str) -> None:
    assert any(fault in found for found in every_fault(change.applied(objects), SECRETS))


@pytest.mark.parametrize("image", ["a:1", "host:5000/a/b:1.2-x", f"a@sha256:{'0' * 64}", f"h/a:1@sha256:{'0' * 64}"])
def test_what_is_pinned(objects: list[Object], image: str) -> None:
    changed = Change(GATEWAY, f"{POD}.containers.0.image", image).applied(objects)
    assert list(every_fault(changed, SECRETS)) == []
