"""Podman with everything of its own in one folder: configuration, images, containers, volumes, secrets."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

#: Seconds for one command, on a machine that is busy.
PATIENCE: Final = 300.0

_ENGINE = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
lock_type = "file"

[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
"""


class Podman:
    def __init__(self, folder: Path, driver: str) -> None:
        configuration, storage = folder / "containers.conf", folder / "storage.conf"
        self._folder = folder
        configuration.write_text(_ENGINE.format(folder=folder))
        storage.write_text(
            f'[storage]\ndriver = "{driver}"\ngraphroot = "{folder / "store"}"\nrunroot = "{folder / "run"}"\n'
        )
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CONTAINERS_CONF": str(configuration),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "BUILDAH_ISOLATION": "chroot",
        }

    def __call__(self, *arguments: str, check: bool = True, text: str | None = None, patience: float = PATIENCE) -> str:
        """What it says to the command; with ``check`` the command must succeed."""
        done = self.run(*arguments, text=text, patience=patience)
        assert not check or done.returncode == 0, f"podman {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def run(
        self, *arguments: str, text: str | None = None, patience: float = PATIENCE
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["podman", *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience,
        )

    def inspect(self, *what: str) -> Any:
        return json.loads(self(*what[:-1], "inspect", what[-1]))[0]

    def logs(self, container: str) -> str:
        done = self.run("logs", container)
        return done.stdout + done.stderr

    def remove_all(self) -> None:
        """Nothing stays: no process, no mount, no file."""
        self("pod", "rm", "--all", "--force", "--time=0", check=False)
        self("rm", "--all", "--force", "--time=0", check=False)
        places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for place in sorted(filter(self._is_mine, places), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(self._folder)

    def _is_mine(self, place: str) -> bool:
        return Path(place).is_relative_to(self._folder)


def choose_driver(folder: Path) -> str:
    """Overlay where it can be mounted, else copies of everything."""
    layers = [folder / name for name in ("lower", "upper", "work", "merged")]
    for layer in layers:
        layer.mkdir()
    lower, upper, work, merged = layers
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], capture_output=True, check=False
    )
    if mounted.returncode:
        return "vfs"
    subprocess.run(["umount", str(merged)], check=True)
    return "overlay"


def missing_tools(tools: Sequence[str]) -> list[str]:
    return [tool for tool in tools if shutil.which(tool) is None]
