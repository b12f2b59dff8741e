"""The README's tour, run as it stands there against a system of its own."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import running_stack

ROOT = Path(__file__).parents[2]
ANY = "…"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def tour_steps(readme: str) -> list[tuple[str, list[Any]]]:
    """Each block of commands, with the replies that the README promises for it."""
    text = readme.split("<!-- tour -->")[1].split("<!-- end of tour -->", maxsplit=1)[0]
    steps: list[tuple[str, list[Any]]] = []
    for language, body in FENCE.findall(text):
        if language == "bash":
            steps.append((body, []))
        elif language == "json":
            steps[-1][1].extend(json.loads(line) for line in body.splitlines())
    return steps


def mismatch(expected: Any, actual: Any, where: str = "reply") -> str | None:
    """What differs, in words; None if ``actual`` is what was promised ("…" stands for anything)."""
    if expected == ANY:
        return None
    if isinstance(expected, dict) and isinstance(actual, dict):
        open_ended = ANY in expected
        missing = expected.keys() - actual.keys() - {ANY}
        extra = set() if open_ended else actual.keys() - expected.keys()
        if missing or extra:
            return f"{where}: missing {sorted(missing)}, unexpected {sorted(extra)}"
        faults = (mismatch(value, actual[key], f"{where}.{key}") for key, value in expected.items() if key != ANY)
        return next((fault for fault in faults if fault), None)
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        faults = (mismatch(left, right, f"{where}[{index}]") for index, (left, right) in pairs)
        return next((fault for fault in faults if fault), None)
    return None if expected == actual else f"{where}: promised {expected!r}, got {actual!r}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that looks like the repository's root to the tour, with a running system of its own."""
    home = tmp_path_factory.mktemp("tour")
    (home / "tests").symlink_to(ROOT / "tests")
    with running_stack(home / ".delinkcious", users=["alice", "bob"]):
        yield home


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tour_runs_as_written(house: Path) -> None:
    steps = tour_steps((ROOT / "README.md").read_text())
    assert len(steps) >= 7
    earlier = "set -euo pipefail\n" + steps[0][0]
    for commands, promised in steps[1:]:
        done = subprocess.run(
            ["bash", "-c", earlier + commands.replace("\ncurl", "\necho\ncurl")],
            cwd=house,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stderr}"
        replies = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
        assert mismatch(promised, replies) is None, f"{commands}\n{mismatch(promised, replies)}\n{done.stdout}"


def test_a_broken_promise_is_seen() -> None:
    assert mismatch({"a": 1, "…": "…"}, {"a": 1, "b": 2}) is None
    assert mismatch({"a": 1}, {"a": 1, "b": 2}) is not None
    assert mismatch({"a": [{"b": "…"}]}, {"a": [{"b": 5}]}) is None
    assert mismatch({"a": [{"b": 4}]}, {"a": [{"b": 5}]}) is not None
    assert mismatch([1], [1, 2]) is not None
