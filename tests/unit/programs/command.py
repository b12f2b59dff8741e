"""A program for people, run to its end as people run it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[3] / "cmd"


def run_command(name: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, output, errors. ``environment`` is all that it gets besides the PATH."""
    done = subprocess.run(
        [sys.executable, str(_FOLDER / f"{name}.py"), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr
