"""Images built for real, on a base made of Debian's packages, and the system in them as its manifests have it."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pkg.images.catalogue import IMAGES
from tests.images.podman import Podman, choose_driver, missing_tools

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ("podman", "runc", "conmon", "catatonit", "debootstrap")
BASE: Final = "localhost/debian-with-python:trixie"
#: Seconds.
_BOOTSTRAP_PATIENCE: Final = 900.0
_BUILD_PATIENCE: Final = 3_600.0
_CERTIFICATES: Final = Path("/etc/ssl/certs")
#: What of pip's configuration is about where packages come from.
_SOURCES: Final = ("index-url", "extra-index-url", "trusted-host", "cert")


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if missing := missing_tools(TOOLS):
        pytest.skip(f"{', '.join(missing)} not installed; .ci/run has the packages")
    if os.geteuid() != 0:
        pytest.skip("debootstrap and a network of one's own need root")
    folder = tmp_path_factory.mktemp("podman")
    podman = Podman(folder, choose_driver(tmp_path_factory.mktemp("driver")))
    yield podman
    podman.remove_all()


@pytest.fixture(scope="session")
def base(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Debian with Python and nothing else, in place of the pinned image, for want of a registry."""
    folder = tmp_path_factory.mktemp("debian")
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, "trixie", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=_BOOTSTRAP_PATIENCE,
    )
    archive = folder.with_suffix(".tar")
    left_out = [
        f"--exclude=./{path}" for path in ("var/cache/apt/*", "var/lib/apt/lists/*", "usr/share/doc/*", "proc/*")
    ]
    subprocess.run(["tar", *left_out, "-C", str(folder), "-cf", str(archive), "."], check=True)
    podman("import", str(archive), BASE)
    archive.unlink()
    shutil.rmtree(folder)
    return BASE


@pytest.fixture(scope="session")
def pip_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages come from on this machine."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = {
        key: ast.literal_eval(value) for key, value in re.findall(r"^\S+?\.([a-z-]+)=(.*)$", listed, re.MULTILINE)
    }
    lines = [f"{key} = {value}" for key, value in settings.items() if key in _SOURCES]
    file = tmp_path_factory.mktemp("pip") / "pip.conf"
    file.write_text("\n".join(["[global]", *lines, ""]))
    return file


def certificates() -> list[str]:
    """Those that this machine trusts, for the build to trust as well."""
    return [f"--option=--volume={_CERTIFICATES}:{_CERTIFICATES}:ro"] if _CERTIFICATES.is_dir() else []


@pytest.fixture(scope="session")
def materials(podman: Podman, base: str, pip_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All images, built as people build them; gives the folder with the bills of materials."""
    folder = tmp_path_factory.mktemp("materials")
    options = ["--pip-config", str(pip_config), "--materials", str(folder), "--jobs", "2", *certificates()]
    subprocess.run(
        [sys.executable, "cmd/build_images.py", "--engine", "podman", "--base", base, *options],
        cwd=ROOT,
        env=podman.environment,
        check=True,
        timeout=_BUILD_PATIENCE,
    )
    return folder


@pytest.fixture(params=IMAGES, ids=[image.name for image in IMAGES])
def repository(request: pytest.FixtureRequest, materials: Path) -> str:
    """Of one image after the other."""
    assert materials.is_dir()
    return str(request.param.repository)
