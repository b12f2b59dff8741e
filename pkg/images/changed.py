"""Which images have to be built: those that are made of other sources than the ones that an environment has, or that
are not where they are wanted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pkg.images.catalogue import Image, name_repository
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
    checkout: Checkout, images: Iterable[Image], recorded: Mapping[str, Built], prefix: str, *circumstances: str
) -> list[Changed]:
    """In the order of ``images``. With a ``prefix`` they are wanted under it, wherever they are now. ``circumstances``
    are what else makes an image another one, as what it stands on.
    """
    sources = Sources(checkout.root, checkout.files())
    found = []
    for image in images:
        source = sources.hash(image, *circumstances)
        built = recorded.get(image.name)
        if built is None:
            found.append(Changed(image=image, source=source, reason="never built"))
        elif built.source != source:
            found.append(Changed(image=image, source=source, reason=_reason(checkout, sources, image, built.tag)))
        elif prefix and built.name != name_repository(prefix, image):
            found.append(Changed(image=image, source=source, reason=f"until now {built.name}"))
    return found


def _reason(checkout: Checkout, sources: Sources, image: Image, tag: str) -> str:
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
