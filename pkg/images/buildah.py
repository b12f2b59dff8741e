"""Buildah, in what differs from Podman: it has no daemon and no command that runs an image."""

import json
from typing import Any, ClassVar

from pkg.images.engine import BUILD_PATIENCE, end_of
from pkg.images.podman import Podman
from pkg.runtime.start_error import StartError


class Buildah(Podman):
    listing: ClassVar[str] = "{{.Name}}:{{.Tag}}"

    def size_over(self, base: str, reference: str) -> int:
        # Sizes of a base that was pulled are of what was transferred; those of our own layers are unpacked.
        below = len(self._inspect(base)["OCIv1"]["rootfs"]["diff_ids"])
        return sum(layer["size"] for layer in self._layers(reference)[below:])

    def size(self, reference: str) -> int:
        return sum(layer["size"] for layer in self._layers(reference))

    def has(self, reference: str) -> bool:
        return not self.run("inspect", "--type", "image", reference).returncode

    def label(self, reference: str, name: str) -> str:
        labels = self._inspect(reference)["OCIv1"]["config"].get("Labels") or {}
        return str(labels.get(name, ""))

    def shares_layers(self) -> bool:
        about = json.loads(self.ask("info"))
        return bool(about["store"]["GraphDriverName"] != "vfs")

    def pull_again(self, reference: str) -> None:
        self.ask("pull", "--quiet", "--policy=always", reference, patience=BUILD_PATIENCE)

    def run_python(self, reference: str, script: str) -> str:
        container = self.ask("from", "--quiet", "--pull-never", reference).strip()
        try:
            done = self.run("run", "--network=none", container, "--", "python", "-c", script, patience=BUILD_PATIENCE)
            if done.returncode:
                raise StartError(f"{reference}: its Python cannot be asked: {end_of(done)}")
            return done.stdout
        finally:
            self.run("rm", container)

    def _layers(self, reference: str) -> list[dict[str, Any]]:
        return list(json.loads(self._inspect(reference)["Manifest"])["layers"])

    def _inspect(self, reference: str) -> dict[str, Any]:
        return dict(json.loads(self.ask("inspect", "--type", "image", reference)))
