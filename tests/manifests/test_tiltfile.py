"""The Tiltfile, evaluated with built-ins that write down what they are given, on the manifests as they are rendered."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import starlark
import yaml

from pkg.images.catalogue import IMAGES
from tests.manifests.objects import ROOT, Object, Workload, of_kind, render, workloads

MANUAL = 1


@dataclass
class Tilt:
    """What the Tiltfile has asked for."""

    folder: Path
    manifests: list[Object]
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    local: dict[str, dict[str, Any]] = field(default_factory=dict)
    applied: list[Object] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)

    def built_ins(self) -> dict[str, Callable[..., Any]]:
        return {
            "version_settings": lambda constraint: None,
            "allow_k8s_contexts": self.contexts.extend,
            "read_yaml": lambda path: yaml.safe_load((self.folder / path).read_text()),
            "kustomize": self._kustomize,
            "decode_yaml_stream": lambda text: list(yaml.safe_load_all(text)),
            "encode_yaml_stream": yaml.safe_dump_all,
            "k8s_yaml": lambda text: self.applied.extend(yaml.safe_load_all(text)),
            "docker_build": lambda name, context, **about: self.images.update({name: {"context": context, **about}}),
            "sync": lambda here, there: {"sync": [here, there]},
            "fall_back_on": lambda files: {"fall_back_on": files},
            "k8s_resource": self._k8s_resource,
            "local_resource": lambda name, **about: self.local.update({name: about}),
        }

    def _kustomize(self, path: str) -> str:
        assert (self.folder / path).is_dir()
        return yaml.safe_dump_all(self.manifests)

    def _k8s_resource(self, name: str, **about: Any) -> None:
        assert name not in self.resources
        self.resources[name] = about


def evaluate(folder: Path, manifests: list[Object]) -> Tilt:
    """
    Raises:
        starlark.StarlarkError: it is no Starlark, or calls what Tilt does not have.
    """
    tilt = Tilt(folder, manifests)
    dialect = starlark.Dialect.extended()
    dialect.enable_top_level_stmt = True
    module = starlark.Module()
    for name, function in tilt.built_ins().items():
        module.add_callable(name, function)
    module["TRIGGER_MODE_MANUAL"] = MANUAL
    source = (folder / "Tiltfile").read_text()
    starlark.eval(module, starlark.parse("Tiltfile", source, dialect), starlark.Globals.standard())
    return tilt


@pytest.fixture(scope="module")
def tilt() -> Tilt:
    return evaluate(ROOT, render(ROOT / "k8s" / "overlays" / "minikube"))


def ours(workload: Workload) -> list[Object]:
    return [container for container in workload.containers if container["image"].startswith("delinkcious-")]


def test_every_workload_has_its_place(tilt: Tilt) -> None:
    found = {workload.name: workload for workload in workloads(tilt.applied)}
    assert found.keys() == tilt.resources.keys()
    groups = {name: about["labels"] for name, about in tilt.resources.items()}
    kinds = {"StatefulSet": "stores", "Job": "jobs", "Deployment": "services", "CronJob": "services"}
    assert groups == {name: [kinds[workload.kind]] for name, workload in found.items()} | {"operator": ["operators"]}
    for about in tilt.resources.values():
        assert set(about.get("resource_deps", [])) <= found.keys()


def test_ports_are_forwarded_to_where_somebody_listens_and_none_is_taken_twice(tilt: Tilt) -> None:
    found = {workload.name: workload for workload in workloads(tilt.applied)}
    here = []
    for name, about in tilt.resources.items():
        for forward in about.get("port_forwards", []):
            local, _, port = forward.partition(":")
            here.append(local)
            assert int(port) in {number for number, _ in found[name].ports.values()}, name
    assert len(set(here)) == len(here)
    (gateway,) = tilt.resources["api-gateway"]["port_forwards"]
    config = next(thing for thing in of_kind(tilt.applied, "ConfigMap") if "DELINKCIOUS_PUBLIC_URL" in thing["data"])
    assert config["data"]["DELINKCIOUS_PUBLIC_URL"].endswith(f":{gateway.partition(':')[0]}")


def test_pods_run_the_code_as_it_changes(tilt: Tilt) -> None:
    modules = {image.repository: image.module for image in IMAGES}
    original = {workload.name: workload for workload in workloads(tilt.manifests)}
    for workload in workloads(tilt.applied):
        before = ours(original[workload.name])
        for container, was in zip(ours(workload), before, strict=True):
            assert container["image"] == "delinkcious-dev"
            # What is copied must be writable; all else is as the manifests have it.
            assert container["securityContext"] == {**was["securityContext"], "readOnlyRootFilesystem": False}
            changed = {"image", "securityContext", "command"}
            assert {k: v for k, v in container.items() if k not in changed} == {
                k: v for k, v in was.items() if k not in changed
            }
            name = was["image"].partition(":")[0]
            if workload.kind == "Deployment" and modules[name]:
                assert container["command"] == ["python", "cmd/reload.py", modules[name]]
            else:
                # The image's own program is python, which takes the manifests' arguments.
                assert container.get("command") == was.get("command")
                assert container.get("command") or container["args"][0].startswith("cmd/")
    others = {container["image"] for one in workloads(tilt.applied) for container in one.containers}
    assert {image.partition(":")[0] for image in others} == {"delinkcious-dev", "postgres", "nats", "valkey/valkey"}


def test_the_image_is_built_once_and_kept_up_to_date(tilt: Tilt) -> None:
    assert tilt.images.keys() == {"delinkcious-dev"}
    image = tilt.images["delinkcious-dev"]
    assert (ROOT / image["dockerfile"]).is_file()
    pins = yaml.safe_load((ROOT / "k8s" / "components" / "pins" / "kustomization.yaml").read_text())["images"]
    (tag,) = [pin["newTag"] for pin in pins if pin["name"] == "python"]
    assert image["build_args"] == {"BASE": f"docker.io/library/python:{tag}"}
    assert all((ROOT / path).exists() for path in image["only"])
    first, *syncs = image["live_update"]
    # What it is made of besides code makes a new image.
    assert set(first["fall_back_on"]) == {path for path in image["only"] if (ROOT / path).is_file()}
    assert [one["sync"] for one in syncs] == [
        [path, f"/app/{path}"] for path in image["only"] if (ROOT / path).is_dir()
    ]


def test_buttons_wait_until_they_are_pressed(tilt: Tilt) -> None:
    assert {"smoke-test", "check"} == tilt.local.keys()
    for about in tilt.local.values():
        assert about["auto_init"] is False
        assert about["trigger_mode"] == MANUAL
    program = tilt.local["smoke-test"]["cmd"]
    assert (ROOT / program[1]).is_file()
    assert program[2] == next(thing["metadata"]["name"] for thing in of_kind(tilt.applied, "Namespace"))


def test_no_cluster_of_others_is_worked_on(tilt: Tilt) -> None:
    assert tilt.contexts
    assert all(name.startswith(("minikube", "kind-")) for name in tilt.contexts)


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("k8s_resource('operator'", "k8s_resource('opertor'", AssertionError),
        ("'link-db': '5432:5432'", "'link-db': '5432:5433'", AssertionError),
        ("docker_build(", "docker_buld(", starlark.StarlarkError),
        ("readOnlyRootFilesystem'] = False", "readOnlyRootFilesystem'] = True", AssertionError),
    ],
)
def test_a_mistake_is_seen(tilt: Tilt, tmp_path: Path, right: str, wrong: str, fault: type[Exception]) -> None:
    text = (ROOT / "Tiltfile").read_text()
    assert right in text
    (tmp_path / "Tiltfile").write_text(text.replace(right, wrong))
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    with pytest.raises(fault):
        check(tmp_path, tilt.manifests)


def check(folder: Path, manifests: list[Object]) -> None:
    tilt = evaluate(folder, manifests)
    test_every_workload_has_its_place(tilt)
    test_ports_are_forwarded_to_where_somebody_listens_and_none_is_taken_twice(tilt)
    test_pods_run_the_code_as_it_changes(tilt)


KUBECTL = """#!/bin/sh
case "$*" in
    "--namespace here exec --stdin deploy/operator -- python cmd/users.py add smoke-test") echo a-token ;;
    "--namespace here exec --stdin deploy/operator -- sh -c "*) shift 6; cd "$(dirname "$0")" && exec "$@" ;;
    *) echo "unknown: $*" >&2; exit 1 ;;
esac
"""
PYTHON = """#!/bin/sh
echo "$DELINKCIOUS_TOKEN $*"
"""


def test_the_smoke_test_is_run_in_the_cluster_as_a_user_of_its_own(tmp_path: Path) -> None:
    for name, text in (("kubectl", KUBECTL), ("python", PYTHON)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "smoke_test_in_cluster"), "here"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("a-token cmd/smoke_test.py --url https://example.com/\n", "")
