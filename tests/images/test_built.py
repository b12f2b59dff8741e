"""What is in each image, and what is not."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from pkg.images.catalogue import IMAGES
from tests.images.conftest import ROOT, certificates
from tests.images.podman import Podman

#: Whatever an attacker would be glad of.
BUILD_TOOLS = ("pip", "pip3", "gcc", "cc", "make", "git")
CONFINED = ("run", "--rm", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=none")
#: Those that every machine gets.
PACKAGE = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+) \\$", re.MULTILINE)


def test_it_runs_as_nobody_in_particular_and_says_where_it_comes_from(podman: Podman, repository: str) -> None:
    about = podman.inspect("image", f"{repository}:dev")
    assert about["Config"]["User"] == "65532:65532"
    # A list is run as it is, without a shell in between that would keep the signals.
    assert isinstance(about["Config"]["Entrypoint"], list)
    labels = about["Config"]["Labels"]
    for label in ("title", "description", "version", "revision", "created", "source", "base.name"):
        assert labels[f"org.opencontainers.image.{label}"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert labels["org.opencontainers.image.revision"].removesuffix("-changed") == head.stdout.strip()


def test_nothing_that_builds_or_installs_is_in_it(podman: Podman, repository: str) -> None:
    script = (
        "import importlib.util as i, shutil;"
        f"print([n for n in {BUILD_TOOLS} if shutil.which(n)], [n for n in ('pip', 'ensurepip') if i.find_spec(n)])"
    )
    assert podman(*CONFINED, "--entrypoint=python", f"{repository}:dev", "-c", script) == "[] []\n"


def test_its_bill_lists_what_was_locked_and_what_the_base_has(repository: str, materials: Path) -> None:
    bill = json.loads((materials / f"{repository}.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {component["purl"].partition("?")[0] for component in bill["components"]}
    (image,) = [image for image in IMAGES if image.repository == repository]
    locked = PACKAGE.findall((ROOT / "requirements" / f"{image.requirements}.txt").read_text())
    assert len(locked) > 5
    assert {f"pkg:pypi/{name.replace('_', '-').lower()}@{version}" for name, version in locked} <= listed
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in listed)


@pytest.mark.usefixtures("materials")
def test_every_program_of_operators_starts(podman: Podman) -> None:
    script = "for program in cmd/*.py; do python $program --help >/dev/null || echo $program; done; ls cmd"
    done = podman.run(*CONFINED, "--entrypoint=sh", "delinkcious-operations:dev", "-c", script)
    assert done.stderr == ""
    assert {"migrate.py", "provision.py", "smoke_test.py", "users.py"} <= set(done.stdout.split())
    assert not [line for line in done.stdout.splitlines() if line.startswith("cmd/")]


@pytest.mark.usefixtures("materials")
def test_a_service_that_is_told_nothing_says_what_it_lacks(podman: Podman) -> None:
    done = podman.run(*CONFINED, "delinkcious-user:dev")
    assert done.returncode == 78
    assert "user-manager: USER_DB_SERVICE_HOST is not set; set it" in done.stderr


def test_the_image_for_development_has_every_service_and_code_that_can_be_changed(
    podman: Podman, base: str, pip_config: Path
) -> None:
    options = [option.removeprefix("--option=") for option in certificates()]
    podman(
        *("build", "--file", "Dockerfile.dev", "--build-arg", f"BASE={base}", "--secret", f"id=pip,src={pip_config}"),
        *(*options, "--tag", "delinkcious-dev:dev", str(ROOT)),
        patience=1_800.0,
    )
    script = "for module in $(ls -d svc/*_service | tr / .); do python -m $module; echo $module $?; done 2>&1"
    writable = ("run", "--rm", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=none")
    said = podman(*writable, "--entrypoint=sh", "delinkcious-dev:dev", "-c", f"{script}; touch svc/link_service/new.py")
    services = {image.module for image in IMAGES if image.module.startswith("svc.")}
    # Each says what it is not told.
    assert {f"{module} 78" for module in services} <= set(said.splitlines()), said
    assert "denied" not in said
