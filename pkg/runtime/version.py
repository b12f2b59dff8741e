"""Which code is running."""

from functools import cache
from importlib import metadata


@cache
def package_version() -> str:
    try:
        return metadata.version("delinkcious")
    except metadata.PackageNotFoundError:  # run from a tree that nobody installed
        return "0+unknown"
