"""``build.sh`` for real, with Buildah and a registry: two commits, and what each of them builds and pushes."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from pkg.images.engine import native_platform
from pkg.images.releases import STAGING, Built, read_release
from tests.image_registry import Registry, registry
from tests.images.conftest import ROOT, certificates
from tests.images.podman import Podman, missing_tools
from tests.unit.programs.checkouts import Repository, make_repository

PLACES: Final = (
    *("pkg", "svc", "fun", "pb", "cmd", "requirements", "k8s/releases", "k8s/components/pins"),
    *("pyproject.toml", "Dockerfile", ".dockerignore", "Makefile", ".ci", "build.sh"),
)
#: One that uses the client's library that is changed, and one that does not.
BUILT: Final = {"link-checker", "link-check-function"}
CLIENT: Final = "pkg/clients/link_check_client.py"
#: Seconds.
_PATIENCE: Final = 1_800.0


@dataclass(frozen=True)
class Site:
    podman: Podman
    repository: Repository
    registry: Registry
    options: list[str]
    environment: dict[str, str]

    @property
    def prefix(self) -> str:
        return f"{self.registry.address}/we"

    def build(self, *arguments: str, engine: str = "buildah") -> str:
        names = [f"--only={name}" for name in BUILT]
        done = subprocess.run(
            ["./build.sh", "--engine", engine, *names, *self.options, *arguments],
            cwd=self.repository.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def push(self, *arguments: str, engine: str = "buildah") -> str:
        return self.build("--push", "--prefix", self.prefix, *arguments, engine=engine)

    def release(self) -> dict[str, Built]:
        return read_release(self.repository.root / STAGING)

    def tags(self) -> dict[str, dict[str, str]]:
        """Of each image the digests by tag."""
        return {name: self.registry.tags(f"we/delinkcious-{name}") for name in BUILT}


@pytest.fixture(scope="module")
def site(podman: Podman, base: str, pip_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if missing := missing_tools(["buildah"]):
        pytest.skip(f"{missing[0]} is not installed; .ci/run has the package")
    folder = tmp_path_factory.mktemp("site")
    repository = make_repository(folder / "repository", PLACES)
    lend_environment(repository.root / ".venv")
    trusted = folder / "registries.conf"
    environment = {**podman.environment, "CONTAINERS_REGISTRIES_CONF": str(trusted)}
    options = ["--base", base, "--pip-config", str(pip_config), *certificates()]
    with registry() as there:
        trusted.write_text(f'[[registry]]\nlocation = "{there.address}"\ninsecure = true\n')
        yield Site(podman, repository, there, options, environment)


def lend_environment(folder: Path) -> None:
    """This one's interpreter, so that nothing is to be installed, and nothing can be."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {ROOT / ".venv" / "bin" / "python"} "$@"\n')
    python.chmod(0o755)
    (folder / ".installed").touch()


def test_each_commit_builds_what_it_changes_and_nothing_moves(site: Site) -> None:
    site.push()
    first, tags = site.release(), site.tags()
    assert first.keys() == BUILT
    assert tags == {name: {built.tag: built.digest} for name, built in first.items()}
    assert {built.tag[:6] for built in first.values()} == {"0.1.1-"}
    assert site.repository.git("show", "--name-only", "--format=") == str(STAGING)
    assert site.repository.git("status", "--porcelain") == ""

    site.repository.append(CLIENT)
    commit = site.repository.commit("a change of a client")
    output = site.push()
    assert f"link-check-function: as {first['link-check-function'].tag}" in output
    second = site.release()
    assert second["link-check-function"] == first["link-check-function"]
    new = second["link-checker"]
    assert new.tag == f"0.1.3-{commit[:12]}"
    assert new.digest != first["link-checker"].digest
    assert site.tags()["link-checker"] == {**tags["link-checker"], new.tag: new.digest}
    assert site.tags()["link-check-function"] == tags["link-check-function"]
    assert "Staging runs 0.1.3-" in site.repository.git("log", "-1", "--format=%s")

    # What is there is not built again, by whatever engine.
    assert site.build() == site.build(engine="podman")


def test_what_was_pushed_runs_and_has_a_bill(site: Site) -> None:
    assert site.release(), "the test before has pushed"
    built = site.release()["link-checker"]
    pulled = site.podman.run("pull", "--quiet", "--tls-verify=false", f"{built.name}@{built.digest}")
    assert pulled.returncode == 0, pulled.stderr
    done = site.podman.run("run", "--rm", "--network=none", "--read-only", pulled.stdout.strip())
    assert "link-checker: " in done.stderr
    assert "is not set; set it" in done.stderr
    bill = site.repository.root / "build" / "materials" / "delinkcious-link-checker.cdx.json"
    assert "pkg:pypi/aiohttp@" in bill.read_text()


def test_images_of_several_processors_have_one_name(site: Site) -> None:
    """Of one, for want of an emulator; the way is the same."""
    site.push("--platform", native_platform(), engine="podman")
    for name, built in site.release().items():
        assert site.tags()[name][built.tag] == built.digest
        kind, content = site.registry.manifests[f"we/delinkcious-{name}"][built.tag]
        assert "manifest.list" in kind or "image.index" in kind
        assert [entry["platform"]["os"] for entry in json.loads(content)["manifests"]] == ["linux"]
