"""What builds and keeps images on this machine: Podman or Docker, by their command."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkg.runtime.start_error import StartError

ENGINES: Final = ("docker", "podman")
#: Seconds for what is a question.
_PATIENCE: Final = 120.0
#: Seconds for one image; the first one downloads what it stands on.
_BUILD_PATIENCE: Final = 1_800.0
_LINES_OF_A_FAILURE: Final = 40


@dataclass(frozen=True)
class Engine:
    command: str

    def build(
        self,
        folder: Path,
        reference: str,
        *,
        target: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        options: Sequence[str] = (),
    ) -> None:
        """
        Raises:
            StartError: it cannot be built; with the end of what the engine said.
        """
        parts = [self.command, "build", *options, "--target", target, "--tag", reference]
        for name, value in arguments.items():
            parts += ["--build-arg", f"{name}={value}"]
        for name, value in labels.items():
            parts += ["--label", f"{name}={value}"]
        done = self._run([*parts, str(folder)], _BUILD_PATIENCE)
        if done.returncode:
            raise StartError(f"{reference}: cannot be built:\n{_end_of(done)}")

    def size(self, reference: str) -> int:
        """Bytes of all its layers, unpacked.

        Raises:
            StartError: there is no such image.
        """
        return int(self.ask("image", "inspect", "--format", "{{.Size}}", reference))

    def pull(self, reference: str) -> None:
        """Unless it is there.

        Raises:
            StartError: there is no such image.
        """
        if self._run([self.command, "image", "inspect", reference], _PATIENCE).returncode:
            self.ask("pull", "--quiet", reference, patience=_BUILD_PATIENCE)

    def ask(self, *arguments: str, patience: float = _PATIENCE) -> str:
        """What the engine says to a command of its own.

        Raises:
            StartError: it fails.
        """
        done = self._run([self.command, *arguments], patience)
        if done.returncode:
            raise StartError(f"{self.command} {' '.join(arguments[:2])} failed: {_end_of(done)}")
        return done.stdout

    def _run(self, command: Sequence[str], patience: float) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)
        except subprocess.TimeoutExpired:
            raise StartError(f"{' '.join(command[:3])} took more than {patience:g} s; is the engine healthy?") from None

    def shares_layers(self) -> bool:
        """Whether a layer costs what is in it alone; with storage of kind vfs each is a copy of all below."""
        return self.command != "podman" or self.ask("info", "--format", "{{.Store.GraphDriverName}}").strip() != "vfs"


def choose_engine(asked: str | None) -> Engine:
    """The one that is asked for, or the first that answers.

    Raises:
        StartError: none does.
    """
    for command in [asked] if asked else ENGINES:
        if (
            shutil.which(command)
            and not subprocess.run([command, "info"], capture_output=True, check=False, timeout=_PATIENCE).returncode
        ):
            return Engine(command)
    raise StartError(
        f"{asked or ' and '.join(ENGINES)} cannot be used; install it and see that `{asked or 'docker'} info` works"
    )


def _end_of(done: "subprocess.CompletedProcess[str]") -> str:
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LINES_OF_A_FAILURE:])
