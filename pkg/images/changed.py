"""Which images have to be built: those that are made of other sources than the ones that an environment has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pkg.images.catalogue import Image
from pkg.images.checkout import Checkout
from pkg.images.releases import Built
from pkg.images.sources import Sources
from pkg.runtime.start_error import StartError

#: Of the files that have changed, for people.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Changed:
    image: Image
    source: str
    #: In words for people.
    reason: str


def find_changed(
    checkout: Checkout, images: Iterable[Image], recorded: Mapping[str, Built], *circumstances: str
) -> list[Changed]:
    """In the order of ``images``. ``circumstances`` are what else makes an image another one, as what it stands on."""
    sources = Sources(checkout.root, checkout.files())
    hashes = {image.name: sources.hash(image, *circumstances) for image in images}
    return [
        Changed(image=image, source=hashes[image.name], reason=_reason(checkout, sources, image, recorded))
        for image in images
        if image.name not in recorded or recorded[image.name].source != hashes[image.name]
    ]


def _reason(checkout: Checkout, sources: Sources, image: Image, recorded: Mapping[str, Built]) -> str:
    if image.name not in recorded:
        return "never built"
    tag = recorded[image.name].tag
    own = set(map(str, sources.files(image)))
    files = [name for name in checkout.changed_since(commit_of(tag)) if name in own]
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return f"since {tag}: {', '.join(files[:_NAMED]) + more or 'what it stands on, or is built with'}"


def refuse_older(checkout: Checkout, recorded: Mapping[str, Built]) -> None:
    """
    Raises:
        StartError: something was built from a commit that is not in this branch: what is here is older.
    """
    for name, built in recorded.items():
        if not checkout.holds(commit_of(built.tag)):
            raise StartError(f"{name} {built.tag} was built from a commit that is not here; pull first")


def commit_of(tag: str) -> str:
    """The commit in the tag of an image that a branch has."""
    return tag.rpartition("-")[2]
