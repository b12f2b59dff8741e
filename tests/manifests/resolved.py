"""Digests in a copy of the manifests, as if registries had been asked and images been built and pushed."""

from pathlib import Path

from pkg.images.catalogue import IMAGES
from pkg.images.pins import read_pins, write_digests
from pkg.images.releases import Built, write_release

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def resolve_pins(house: Path, *names: str) -> None:
    """Of the images of others; of all, if none is named."""
    pins = house / "k8s" / "components" / "pins" / "kustomization.yaml"
    write_digests(dict.fromkeys(names or read_pins(pins), DIGEST), pins)


def release(number: int = 0) -> dict[str, Built]:
    """Every image of ours, each with a version of its own."""
    return {
        image.name: Built(
            f"registry.example:5000/we/{image.repository}", f"0.1.{number + place}-0123456789ab", DIGEST, "a" * 64
        )
        for place, image in enumerate(IMAGES)
    }


def resolve_release(house: Path, environment: str) -> None:
    write_release(house / "k8s" / "releases" / environment / "kustomization.yaml", release())
