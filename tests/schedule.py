"""Which process of ``make test`` runs which file, and when: as pytest-xdist would, but for two things."""

from functools import cache
from pathlib import Path
from typing import Final

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT: Final = Path(__file__).parents[1]
#: Fixtures that take long to make, and live until the process ends: one process has all files that want one.
COSTLY: Final = ("shared_stack", "renders")
#: What starts programs, and so takes long with few tests, goes first: else a process is left with it at the end.
FIRST: Final = ("tests/e2e/", "tests/unit/programs/", "tests/manifests/")


class Schedule(LoadFileScheduling):  # type: ignore[misc]  # xdist says nothing of its types
    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid.partition("::")[0])


@cache
def scope_of(file: str) -> str:
    """The file, or the costly fixture for which it stays together with others. ``file`` is a path from the root."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return next((name for name in COSTLY if f"{name}:" in text), file)


def longest_first(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))
