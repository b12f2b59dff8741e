"""What builds, keeps and pushes images on this machine: Docker, Podman or Buildah, by their command."""

import json
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pkg.images.pins import DIGEST
from pkg.runtime.start_error import StartError

#: Seconds for what is a question.
PATIENCE: Final = 120.0
#: Seconds for one image; the first one downloads what it stands on.
BUILD_PATIENCE: Final = 1_800.0
_LINES_OF_A_FAILURE: Final = 40
_PUSHED: Final = re.compile(r"digest: (sha256:[0-9a-f]{64})")
#: What Python calls a processor, by what images call it.
_PROCESSORS: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to build one image."""

    folder: Path
    target: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    #: Passed on to the engine as they are.
    options: Sequence[str] = ()

    @property
    def words(self) -> list[str]:
        words = [*self.options, "--target", self.target]
        for name, value in self.arguments.items():
            words += ["--build-arg", f"{name}={value}"]
        for name, value in self.labels.items():
            words += ["--label", f"{name}={value}"]
        return words


@dataclass(frozen=True)
class Engine:
    """As Docker does it; the others say in which ways they differ."""

    command: str
    #: Of images, as a template: their names.
    listing: ClassVar[str] = "{{.Repository}}:{{.Tag}}"

    def build(self, recipe: Recipe, reference: str) -> None:
        """
        Raises:
            StartError: it cannot be built; with the end of what the engine said.
        """
        words = [*recipe.words, "--tag", reference, str(recipe.folder)]
        done = self.run("build", *words, patience=BUILD_PATIENCE)
        if done.returncode:
            raise StartError(f"{reference}: cannot be built:\n{end_of(done)}")

    def size_over(self, base: str, reference: str) -> int:
        """Bytes of all its layers that the base does not have, unpacked.

        Raises:
            StartError: there is no such image.
        """
        return self.size(reference) - self.size(base)

    def size(self, reference: str) -> int:
        """Bytes of all its layers, unpacked.

        Raises:
            StartError: there is no such image.
        """
        return int(self.ask("image", "inspect", "--format", "{{.Size}}", reference))

    def has(self, reference: str) -> bool:
        """Whether there is such an image on this machine."""
        return not self.run("image", "inspect", reference).returncode

    def label(self, reference: str, name: str) -> str:
        """Empty where it has no such label.

        Raises:
            StartError: there is no such image.
        """
        labels = json.loads(self.ask("image", "inspect", "--format", "{{json .Config.Labels}}", reference)) or {}
        return str(labels.get(name, ""))

    def labelled(self, name: str, value: str) -> list[str]:
        """The images here that have this label."""
        words = ("images", "--filter", f"label={name}={value}", "--format", self.listing)
        return [line.removeprefix("localhost/") for line in self.ask(*words).split() if "<none>" not in line]

    def pull(self, reference: str) -> None:
        """Unless it is there.

        Raises:
            StartError: there is no such image.
        """
        if not self.has(reference):
            self.pull_again(reference)

    def pull_again(self, reference: str) -> None:
        """
        Raises:
            StartError: there is no such image.
        """
        self.ask("pull", "--quiet", reference, patience=BUILD_PATIENCE)

    def run_python(self, reference: str, script: str) -> str:
        """What the image's own Python prints.

        Raises:
            StartError: it fails.
        """
        return self.ask("run", "--rm", "--network=none", "--read-only", "--entrypoint=python", reference, "-c", script)

    def push(self, reference: str) -> str:
        """Gives the digest by which it can be pulled from now on.

        Raises:
            StartError: the registry refuses.
        """
        pushed = self.ask("push", reference, patience=BUILD_PATIENCE)
        return checked_digest(reference, next(iter(_PUSHED.findall(pushed)), ""))

    def platforms(self) -> set[str]:
        """For which processors it can build, as ``linux/arm64``."""
        about = self.run("buildx", "inspect").stdout
        listed = re.findall(r"^Platforms:(.*)$", about, re.MULTILINE)
        return {native_platform(), *re.findall(r"linux/[a-z0-9]+", " ".join(listed))}

    def publish_for(self, platforms: Sequence[str], recipe: Recipe, reference: str) -> str:
        """Builds and pushes one image for each processor, under one name; gives the digest of all of them together.

        Raises:
            StartError: one cannot be built, or the registry refuses.
        """
        with tempfile.TemporaryDirectory() as folder:
            about = Path(folder) / "metadata.json"
            words = ["--platform", ",".join(platforms), "--push", "--metadata-file", str(about), "--tag", reference]
            self.ask("buildx", "build", *words, *recipe.words, str(recipe.folder), patience=BUILD_PATIENCE)
            told = json.loads(about.read_text(encoding="utf-8"))
            return checked_digest(reference, str(told.get("containerimage.digest", "")))

    def ask(self, *arguments: str, patience: float = PATIENCE) -> str:
        """What the engine says to a command of its own.

        Raises:
            StartError: it fails.
        """
        done = self.run(*arguments, patience=patience)
        if done.returncode:
            raise StartError(f"{self.command} {' '.join(arguments[:2])} failed: {end_of(done)}")
        return done.stdout

    def shares_layers(self) -> bool:
        """Whether a layer costs what is in it alone."""
        return True

    def run(self, *arguments: str, patience: float = PATIENCE) -> "subprocess.CompletedProcess[str]":
        """What came of a command of the engine.

        Raises:
            StartError: it takes too long.
        """
        command = [self.command, *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)
        except subprocess.TimeoutExpired:
            raise StartError(f"{' '.join(command[:3])} took more than {patience:g} s; is the engine healthy?") from None


def native_platform() -> str:
    machine = platform.machine()
    return f"linux/{_PROCESSORS.get(machine, machine)}"


def checked_digest(reference: str, digest: str) -> str:
    """
    Raises:
        StartError: it is none.
    """
    if not DIGEST.fullmatch(digest):
        raise StartError(f"{reference}: was pushed, but the engine does not say which digest it has; is it an old one?")
    return digest


def end_of(done: "subprocess.CompletedProcess[str]") -> str:
    """The last lines of what a command said."""
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LINES_OF_A_FAILURE:])
