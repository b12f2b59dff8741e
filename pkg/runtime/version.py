"""Which code is running."""

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"


@cache
def package_version() -> str:
    try:
        return metadata.version("delinkcious")
    except metadata.PackageNotFoundError:  # run from a tree that nobody installed
        return _version_of_tree(_PROJECT)


def _version_of_tree(project: Path) -> str:
    try:
        return str(tomllib.loads(project.read_text())["project"]["version"])
    except FileNotFoundError:
        return "0+unknown"
