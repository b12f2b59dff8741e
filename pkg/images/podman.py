"""Podman, in what differs from Docker."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pkg.images.engine import BUILD_PATIENCE, Engine, Recipe, checked_digest, native_platform

#: Where Linux says for which other processors it has an emulator, and its names for them.
_EMULATORS: Final = Path("/proc/sys/fs/binfmt_misc")
_EMULATED: Final = {"qemu-x86_64": "amd64", "qemu-aarch64": "arm64", "qemu-riscv64": "riscv64", "qemu-s390x": "s390x"}


class Podman(Engine):
    def shares_layers(self) -> bool:
        """With storage of kind vfs each is a copy of all below."""
        return self.ask("info", "--format", "{{.Store.GraphDriverName}}").strip() != "vfs"

    def push(self, reference: str) -> str:
        return self._push(reference, ["push"], reference)

    def platforms(self) -> set[str]:
        emulated = {name for file, name in _EMULATED.items() if (_EMULATORS / file).exists()}
        return {native_platform(), *(f"linux/{name}" for name in emulated)}

    def publish_for(self, platforms: Sequence[str], recipe: Recipe, reference: str) -> str:
        # The name itself is that of the image for this processor.
        index = f"{reference}.index"
        self.run("manifest", "rm", index)
        for platform in platforms:
            words = ["--platform", platform, "--manifest", index, *recipe.words, str(recipe.folder)]
            self.ask("build", *words, patience=BUILD_PATIENCE)
        return self._push(reference, ["manifest", "push", "--all"], index, f"docker://{reference}")

    def _push(self, reference: str, command: Sequence[str], *what: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            self.ask(*command, "--digestfile", str(file), *what, patience=BUILD_PATIENCE)
            return checked_digest(reference, file.read_text(encoding="utf-8").strip())
