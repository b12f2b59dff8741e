"""The recipes pass hadolint; whatever is let pass says why, in the line above."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = sorted(ROOT.glob("Dockerfile*"))
IGNORED = re.compile(r"^# hadolint ignore=", re.MULTILINE)
REASONED = re.compile(r"^# [A-Z].+\n(?:# .+\n)*# hadolint ignore=[A-Z0-9,]+$", re.MULTILINE)


def hadolint(recipe: Path) -> list[str]:
    """What is wrong with it; every rule counts, and nothing but the recipe itself excuses."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "hadolint"), "--no-color", "--failure-threshold", "style", str(recipe)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
def test_a_recipe_is_sound(recipe: Path) -> None:
    assert hadolint(recipe) == []
    text = recipe.read_text()
    assert len(IGNORED.findall(text)) == len(REASONED.findall(text))


def test_an_unsound_recipe_is_seen(tmp_path: Path) -> None:
    recipe = tmp_path / "Dockerfile"
    recipe.write_text("FROM debian:latest\nRUN cd /tmp && apt-get install curl\n")
    found = " ".join(hadolint(recipe))
    assert "DL3007" in found
    assert "DL3008" in found
