"""A Git repository of a test's own, with what this one has of what the test is about."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Repository:
    """One that is there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        """Everything that has changed; gives the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def append(self, place: str, text: str = "\n# Changed.\n") -> None:
        with (self.root / place).open("a") as file:
            file.write(text)


def make_repository(root: Path, places: Iterable[str]) -> Repository:
    for place in places:
        source, target = ROOT / place, root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (root / ".gitignore").write_text("__pycache__/\n/build/\n/.venv\n")
    repository = Repository(root)
    repository.git("init", "--quiet", "--initial-branch=main")
    for name, value in (("user.name", "A test"), ("user.email", "test@delinkcious.example")):
        repository.git("config", name, value)
    repository.commit("all")
    return repository
