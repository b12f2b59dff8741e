"""Which code is running."""

from dataclasses import dataclass
from functools import cache
from importlib import metadata


@dataclass(frozen=True, slots=True)
class Version:
    version: str
    #: The commit that the image was built from; ``unknown`` in a working copy.
    commit: str


@cache
def package_version() -> str:
    try:
        return metadata.version("delinkcious")
    except metadata.PackageNotFoundError:  # run from a tree that nobody installed
        return "0+unknown"
