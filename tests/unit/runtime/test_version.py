"""The version that is told is the one that is written down."""

import tomllib
from pathlib import Path

from pkg.runtime.version import package_version

ROOT = Path(__file__).parents[3]


def test_a_tree_that_nobody_installed_knows_its_version() -> None:
    assert package_version() == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
