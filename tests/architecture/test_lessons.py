"""docs/lessons.md tells the truth: every test that it names exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODE = re.compile(r"`([\w/]+\.py)::(\w+)`")


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing(text: str, tests: Path) -> list[str]:
    """The tests that are named and do not exist."""
    return [f"{file}::{name}" for file, name in NODE.findall(text) if name not in functions_of(tests / file)]


def untested(text: str) -> list[str]:
    """Lessons that no test holds."""
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what ")]
    return [row for row in rows if not NODE.search(row)]


def test_every_test_that_is_named_exists() -> None:
    text = (ROOT / "docs" / "lessons.md").read_text()
    assert len(NODE.findall(text)) > 90
    assert missing(text, ROOT / "tests") == []
    assert untested(text) == []


def test_a_missing_one_is_seen(tmp_path: Path) -> None:
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / "test_here.py").write_text("async def test_that_is() -> None: ...\n# def test_that_was()\n")
    named = (
        "| a | `unit/test_here.py::test_that_is`, `unit/test_here.py::test_that_was`, `unit/test_gone.py::test_it` |"
    )
    assert missing(named, tmp_path) == ["unit/test_here.py::test_that_was", "unit/test_gone.py::test_it"]
    assert untested(f"| what went wrong | what fails now |\n|---|---|\n{named}\n| b | nothing |") == ["| b | nothing |"]
