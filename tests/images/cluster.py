"""What Kubernetes would make of the rendered manifests, as far as Podman can be told.

Every workload becomes one pod, with an address of its own on loopback; the names of Services lead to the addresses
of the pods that they select. Pods are what the manifests say of images, commands, settings, Secrets, volumes, users,
rights and limits; the probes are called by whoever waits. Podman 4 knows neither Jobs nor StatefulSets nor probes.
"""

import copy
import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # it brings no types

from pkg.local_stack.ports import LOOPBACK
from tests.images.podman import Podman

type Document = dict[str, Any]

#: Seconds.
START_DEADLINE: Final = 240.0
_POLL: Final = 0.2
_WORKLOADS: Final = ("Deployment", "StatefulSet", "Job", "CronJob")
#: What is called by the test, or concerns Kubernetes alone.
_NOT_PODMANS: Final = ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "ports")


class Cluster:
    def __init__(
        self, podman: Podman, folder: Path, documents: list[Document], settings: Mapping[str, Document]
    ) -> None:
        """``settings`` are keys of ConfigMaps that differ from the manifests', by the map's name without its hash."""
        self._podman = podman
        self._folder = folder
        self._documents = documents
        self._workloads = {
            document["metadata"]["name"]: document for document in documents if document["kind"] in _WORKLOADS
        }
        self.addresses = {name: f"127.0.1.{number}" for number, name in enumerate(sorted(self._workloads), 1)}
        self._hosts = folder / "hosts"
        self._hosts.write_text("".join(f"{address} {name}\n" for name, address in self._names()))
        self._config_maps = list(self._changed_config_maps(settings))

    # --- pods ---------------------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """In the order in which a cluster gets there: nobody is ready before their stores, schemas and streams."""
        for kind in ("StatefulSet", "Job", "Deployment"):
            names = self.of_kind(kind)
            for name in names:
                self.start(name)
            for name in names:
                if kind == "Job":
                    self.wait_until_done(name)
                else:
                    self.wait_until_ready(name)

    def of_kind(self, kind: str) -> list[str]:
        return [name for name, workload in self._workloads.items() if workload["kind"] == kind]

    def start(self, name: str) -> None:
        pod = self.pod(name)
        self._write_secrets(pod)
        self._make_volumes(pod)
        file = self._folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all([*self._config_maps, pod]))
        self._podman("play", "kube", str(file))

    def pod(self, name: str) -> Document:
        workload = self._workloads[name]
        template = template_of(workload)
        spec = copy.deepcopy(template["spec"])
        spec["hostNetwork"] = True
        spec.setdefault("volumes", []).append({"name": "hosts", "hostPath": {"path": str(self._hosts), "type": "File"}})
        spec["restartPolicy"] = "Never"
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            for part in _NOT_PODMANS:
                container.pop(part, None)
            container["imagePullPolicy"] = "Never"
            # Podman heeds hostAliases in no pod that is on the host's network.
            mounts = container.setdefault("volumeMounts", [])
            mounts.append({"name": "hosts", "mountPath": "/etc/hosts", "readOnly": True})
            self._give_address(name, container)
        for claim in workload["spec"].get("volumeClaimTemplates", ()):
            claim_name = claim["metadata"]["name"]
            spec["volumes"].append({"name": claim_name, "persistentVolumeClaim": {"claimName": f"{name}-{claim_name}"}})
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": template["metadata"]["labels"]},
            "spec": spec,
        }

    def _give_address(self, name: str, container: Document) -> None:
        """A pod has a network of its own, where nobody else has its ports. Here they share one."""
        if container["image"].partition(":")[0].endswith("postgres"):
            container["args"] += ["-c", f"listen_addresses={self.addresses[name]}"]
        else:
            container.setdefault("env", []).append({"name": "HOST", "value": self.addresses[name]})

    def _names(self) -> Iterator[tuple[str, str]]:
        """Each Service, and the address of the one workload that it selects."""
        yield "localhost", LOOPBACK
        for service in self._documents_of("Service"):
            (selected,) = [
                name
                for name, workload in self._workloads.items()
                if service["spec"]["selector"].items() <= template_of(workload)["metadata"]["labels"].items()
            ]
            yield service["metadata"]["name"], self.addresses[selected]

    # --- what pods refer to -------------------------------------------------------------------------------------------

    def _documents_of(self, kind: str) -> Iterator[Document]:
        return (document for document in self._documents if document["kind"] == kind)

    def _changed_config_maps(self, settings: Mapping[str, Document]) -> Iterator[Document]:
        for document in self._documents_of("ConfigMap"):
            changes = settings.get(document["metadata"]["name"].rpartition("-")[0], {})
            yield {**document, "data": {**document["data"], **changes}}

    def secrets(self, name: str, volume: str) -> Path:
        """The folder with what a pod has of a Secret."""
        return self._folder / "secrets" / name / volume

    def _write_secrets(self, pod: Document) -> None:
        """As the kubelet does: each Secret's keys as files, of the pod's group. (Podman 4 does not decode them.)"""
        secrets = {document["metadata"]["name"]: document["stringData"] for document in self._documents_of("Secret")}
        for volume in pod["spec"].get("volumes", ()):
            if (source := volume.pop("secret", None)) is None:
                continue
            place = self.secrets(pod["metadata"]["name"], volume["name"])
            place.mkdir(parents=True)
            volume["hostPath"] = {"path": str(place), "type": "Directory"}
            content = secrets.get(source["secretName"])
            assert content is not None or source["optional"], f"nobody makes the Secret {source['secretName']}"
            for key, value in (content or {}).items():
                file = place / key
                file.write_text(value)
                os.chown(file, 0, pod["spec"]["securityContext"]["fsGroup"])
                file.chmod(source["defaultMode"])

    def _make_volumes(self, pod: Document) -> None:
        """What ``fsGroup`` is for: the pod's user may write to them."""
        user = pod["spec"]["securityContext"]["runAsUser"]
        for volume in pod["spec"].get("volumes", ()):
            if claim := volume.get("persistentVolumeClaim"):
                name = claim["claimName"]
                self._podman("volume", "create", "--opt", f"o=uid={user},gid={user}", name)

    # --- probes -------------------------------------------------------------------------------------------------------

    def container_names(self, name: str) -> list[str]:
        return [f"{name}-{container['name']}" for container in self.pod(name)["spec"]["containers"]]

    def wait_until_ready(self, name: str) -> None:
        """As the kubelet: started, then ready; and alive."""
        (container,) = template_of(self._workloads[name])["spec"]["containers"]
        deadline = time.monotonic() + START_DEADLINE
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            if kind not in container:
                continue
            while not self.probe(name, container, kind):
                state = self._podman.inspect("container", f"{name}-{container['name']}")["State"]
                assert state["Running"], f"{name} ended:\n{self.log(name)}"
                assert time.monotonic() < deadline, f"{name}: the {kind} fails:\n{self.log(name)}"
                time.sleep(_POLL)

    def probe(self, name: str, container: Document, kind: str) -> bool:
        probe = container[kind]
        if "exec" in probe:
            command = [
                self._own_address(name, container) if word == LOOPBACK else word for word in probe["exec"]["command"]
            ]
            return self._podman.run("exec", f"{name}-{container['name']}", *command).returncode == 0
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        if "grpc" in probe:
            return serves_grpc(self.addresses[name], probe["grpc"]["port"], probe["timeoutSeconds"])
        get = probe.get("httpGet") or {**probe["tcpSocket"], "path": None}
        port = ports.get(get["port"], get["port"])
        return answers(self._own_address(name, container), port, get["path"], probe["timeoutSeconds"])

    def _own_address(self, name: str, container: Document) -> str:
        """NATS and Valkey, of which there is one each, listen on all."""
        return LOOPBACK if container["name"] in ("nats", "valkey") else self.addresses[name]

    def log(self, name: str) -> str:
        return "".join(self._podman.logs(container) for container in self.container_names(name))

    # --- ends ---------------------------------------------------------------------------------------------------------

    def wait_until_done(self, name: str) -> None:
        """For a Job: it succeeds."""
        for container in self.container_names(name):
            code = self._podman("wait", container).strip()
            assert code == "0", f"{name} ended with {code}:\n{self.log(name)}"

    def grace(self, name: str) -> float:
        """Seconds from the signal to the end, at most."""
        return float(template_of(self._workloads[name])["spec"]["terminationGracePeriodSeconds"])

    def stop(self, name: str) -> tuple[int, float]:
        """As the kubelet does: the signal, then the grace. Exit code, and the seconds that it took."""
        (container,) = self.container_names(name)
        began = time.monotonic()
        self._podman("stop", f"--time={self.grace(name):.0f}", container)
        seconds = time.monotonic() - began
        return self._podman.inspect("container", container)["State"]["ExitCode"], seconds

    def start_again(self, name: str) -> None:
        (container,) = self.container_names(name)
        self._podman("start", container)
        self.wait_until_ready(name)


def template_of(workload: Document) -> Document:
    spec = workload["spec"]
    template: Document = spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
    return template


def answers(host: str, port: int, path: str | None, timeout: float) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.connect()
        if path is None:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serves_grpc(host: str, port: int, timeout: float) -> bool:
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def render(*commands: list[str]) -> list[Document]:
    documents: list[Document] = []
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        documents += [document for document in yaml.safe_load_all(done.stdout) if document]
    return documents
