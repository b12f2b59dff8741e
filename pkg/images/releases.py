"""Which versions of our images an environment runs: a file of Kustomize's for each, which programs alone write.

A change of it, committed, is a deployment. It remembers what each version was built from as well, so that what has not
changed need not be built again.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkg.images.catalogue import IMAGES
from pkg.images.pins import DIGEST
from pkg.runtime.start_error import StartError

_FOLDER: Final = Path("k8s") / "releases"
STAGING: Final = _FOLDER / "staging" / "kustomization.yaml"
PRODUCTION: Final = _FOLDER / "production" / "kustomization.yaml"

_FORM: Final = """\
# What {environment} runs: a change of it, committed, is a deployment. Written by {writer} alone. Behind each
# image is the hash of what it was built from (pkg/images/sources.py).
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component

components:
  - ../../components/versions

configMapGenerator:
  - name: release
    literals:{versions}
    options:
      # Read by components alone; it is not for the cluster.
      annotations: {{config.kubernetes.io/local-config: "true"}}

images:{images}
"""
_LINE: Final = re.compile(
    r'^  - \{name: (?P<image>[^\s,]+), newName: (?P<name>[^\s,]+), newTag: "(?P<tag>[^"]+)", '
    r'digest: "(?P<digest>[^"]*)"\} # (?P<source>\S+)$',
    re.MULTILINE,
)
_WRITERS: Final = {"staging": "./build.sh", "production": "cmd/promote.py"}


@dataclass(frozen=True)
class Built:
    """An image in a registry."""

    #: With the registry: ``ghcr.io/you/delinkcious-link``.
    name: str
    tag: str
    digest: str
    #: The hash of all that it was built from.
    source: str

    @property
    def reference(self) -> str:
        """By tag for people, and by digest for machines."""
        return f"{self.name}:{self.tag}@{self.digest}"


def read_release(file: Path) -> dict[str, Built]:
    """By the names of our catalogue; what has never been built is not there.

    Raises:
        StartError: there is no such file, or a line of it was changed by hand to what cannot be.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StartError(f"{file} is not there; an environment is k8s/releases/NAME/kustomization.yaml") from None
    known = {image.repository: image.name for image in IMAGES}
    found = {}
    for match in _LINE.finditer(text):
        built = Built(match["name"], match["tag"], match["digest"], match["source"])
        if match["image"] not in known or not DIGEST.fullmatch(built.digest):
            raise StartError(f"{file}: {match[0].strip()} is no image of ours by digest; take it out")
        found[known[match["image"]]] = built
    if len(found) != text.count("newName:"):
        raise StartError(f"{file}: has lines that no program wrote; restore it: git checkout -- {file}")
    return found


def write_release(file: Path, release: Mapping[str, Built]) -> None:
    file.write_text(render_release(file.parent.name, release), encoding="utf-8")


def render_release(environment: str, release: Mapping[str, Built]) -> str:
    """The file's text."""
    built = [(image, release[image.name]) for image in IMAGES if image.name in release]
    versions = "".join(f"\n      - {image.name}={version.tag}" for image, version in built)
    images = "".join(
        f'\n  - {{name: {image.repository}, newName: {version.name}, newTag: "{version.tag}", '
        f'digest: "{version.digest}"}} # {version.source}'
        for image, version in built
    )
    writer = _WRITERS.get(environment, "./build.sh")
    return _FORM.format(environment=environment, writer=writer, versions=versions or " []", images=images or " []")


def fingerprint(release: Mapping[str, Built]) -> str:
    """Hexadecimal SHA-256 of which digests run: the same for the same images, whatever they are called."""
    lines = sorted(f"{name} {built.digest}" for name, built in release.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def changes(before: Mapping[str, Built], after: Mapping[str, Built]) -> list[str]:
    """A line for each image that differs, in the catalogue's order."""
    return list(_changes(before, after))


def _changes(before: Mapping[str, Built], after: Mapping[str, Built]) -> Iterable[str]:
    for image in IMAGES:
        old, new = before.get(image.name), after.get(image.name)
        if old != new:
            yield f"{image.name}: {_short(old)} -> {_short(new)}"


def _short(built: Built | None) -> str:
    return f"{built.tag} ({built.digest.removeprefix('sha256:')[:12]})" if built else "none"
