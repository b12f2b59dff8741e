"""``cmd/reload.py`` with a module that says that it runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: Seconds.
DEADLINE = 30.0
SPEAKER = """\
import signal, sys, time
from pathlib import Path
with Path("said").open("a") as said:
    print({word!r}, file=said)
while {word!r} != "short":
    time.sleep(0.05)
"""


class Reloaded:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "svc").mkdir()
        self.write("one")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "cmd" / "reload.py"), "svc.speaker", "--root", str(root)],
            env={"PATH": os.environ["PATH"]},
        )

    def write(self, word: str) -> None:
        (self.root / "svc" / "speaker.py").write_text(SPEAKER.format(word=word))

    def wait_for(self, *words: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while (said := self.said()) != list(words):
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def said(self) -> list[str]:
        file = self.root / "said"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def reloaded(tmp_path: Path) -> Iterator[Reloaded]:
    reloaded = Reloaded(tmp_path)
    yield reloaded
    # Killed, it would leave behind what it runs.
    reloaded.process.terminate()
    reloaded.process.wait(DEADLINE)


def test_a_changed_file_starts_it_anew_and_one_that_ended_too(reloaded: Reloaded) -> None:
    reloaded.wait_for("one")
    reloaded.write("short")
    reloaded.wait_for("one", "short")
    (reloaded.root / "svc" / "new.py").touch()
    reloaded.wait_for("one", "short", "short")
    reloaded.write("four")
    reloaded.wait_for("one", "short", "short", "four")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_what_it_runs(reloaded: Reloaded, number: signal.Signals) -> None:
    reloaded.wait_for("one")
    listed = Path(f"/proc/{reloaded.process.pid}/task/{reloaded.process.pid}/children").read_text().split()
    assert len(listed) == 1
    reloaded.process.send_signal(number)
    assert reloaded.process.wait(DEADLINE) == 0
    assert not Path(f"/proc/{listed[0]}").exists()
