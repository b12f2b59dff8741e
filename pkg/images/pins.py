"""The images of others, by version and by digest: one file, for what we build and for what we deploy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkg.runtime.start_error import StartError

#: Kustomize reads it as well.
PINS_FILE: Final = Path(__file__).parents[2] / "k8s" / "components" / "pins" / "kustomization.yaml"
#: What our own images stand on.
_BASE: Final = "python"

_PIN: Final = re.compile(
    r'^(?P<start>  - \{name: (?P<name>[^\s,]+), newTag: "(?P<tag>[^"]+)")(?:, digest: "(?P<digest>[^"]*)")?\}$',
    re.MULTILINE,
)
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Pin:
    name: str
    tag: str
    #: Empty until somebody has asked a registry.
    digest: str = ""

    @property
    def reference(self) -> str:
        """By digest alone, once it is known: not every engine takes a tag beside it."""
        name = self.name if "." in self.name.split("/")[0] else f"docker.io/{_qualified(self.name)}"
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag}"


def _qualified(name: str) -> str:
    return name if "/" in name else f"library/{name}"


def read_pins(file: Path = PINS_FILE) -> dict[str, Pin]:
    """
    Raises:
        StartError: the file has no pins, or one whose digest is none.
    """
    found = _PIN.finditer(file.read_text(encoding="utf-8"))
    pins = {match["name"]: Pin(match["name"], match["tag"], match["digest"] or "") for match in found}
    if not pins:
        raise StartError(f'{file}: there is no line like   - {{name: python, newTag: "3.13"}}')
    for pin in pins.values():
        if pin.digest and not DIGEST.fullmatch(pin.digest):
            raise StartError(f"{file}: the digest of {pin.name} must be sha256: and 64 digits; run cmd/pin_images.py")
    return pins


def write_digests(digests: Mapping[str, str], file: Path = PINS_FILE) -> None:
    """Changes the digests of the images that are named; all else stays as it is."""

    def write(match: re.Match[str]) -> str:
        digest = digests.get(match["name"])
        return match[0] if digest is None else f'{match["start"]}, digest: "{digest}"}}'

    file.write_text(_PIN.sub(write, file.read_text(encoding="utf-8")), encoding="utf-8")


def choose_base(asked: str | None, *, release: bool, file: Path = PINS_FILE) -> str:
    """The image that ours stand on: the one that is asked for, or the pinned one.

    Raises:
        StartError: it is for a release, and nobody knows its digest.
    """
    if asked:
        return asked
    pin = read_pins(file)[_BASE]
    if release and not pin.digest:
        raise StartError(f"{pin.name}:{pin.tag} has no digest; run python cmd/pin_images.py, or name one with --base")
    return pin.reference
