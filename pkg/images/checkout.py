"""What Git knows of the files that images are built from."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pkg.runtime.start_error import StartError

#: Seconds for one question.
_PATIENCE: Final = 120.0
#: Of a commit, in a tag.
_DIGITS: Final = 12


@dataclass(frozen=True)
class Checkout:
    root: Path

    def commit(self) -> str:
        """
        Raises:
            StartError: there is no Git, no repository or no commit.
        """
        return self._ask("rev-parse", "HEAD")

    def committed_at(self) -> datetime:
        return datetime.fromtimestamp(int(self._ask("log", "-1", "--format=%ct")), UTC)

    def branch(self) -> str:
        """Empty when HEAD is on none."""
        return self._ask("branch", "--show-current")

    def changed(self) -> list[str]:
        """Files that differ from the commit, and new ones that Git does not ignore."""
        return [line[3:] for line in self._ask("status", "--porcelain", strip=False).splitlines()]

    def files(self) -> list[str]:
        """All that are in the commit or about to be, and are there."""
        listed = self._ask("ls-files", "-z", "--cached", "--others", "--exclude-standard", strip=False)
        return sorted({name for name in listed.split("\0") if name and (self.root / name).is_file()})

    def version(self, series: str) -> str:
        """A tag that no other commit of the branch has: the series (``0.1``), the number of commits, the commit.

        Raises:
            StartError: older commits were not fetched, so they cannot be counted.
        """
        if self._ask("rev-parse", "--is-shallow-repository") == "true":
            raise StartError("older commits are missing, so they cannot be counted; run git fetch --unshallow")
        return f"{series}.{self._ask('rev-list', '--count', 'HEAD')}-{self.commit()[:_DIGITS]}"

    def changed_since(self, commit: str) -> list[str]:
        """Files that are others than in that commit; none if nobody knows it."""
        return self._run("diff", "--name-only", "-z", commit).stdout.split("\0")[:-1]

    def holds(self, commit: str) -> bool:
        """Whether the commit is HEAD or before it."""
        return not self._run("merge-base", "--is-ancestor", commit, "HEAD").returncode

    def add(self, *files: Path) -> None:
        """Files that may be new, to what is recorded next."""
        self._ask("add", "--", *map(str, files))

    def record(self, message: str, *files: Path) -> None:
        """Commits these files, which are in the repository already, and nothing else.

        Raises:
            StartError: Git refuses; with what it said.
        """
        self._ask("commit", "--quiet", f"--message={message}", "--", *map(str, files))

    def _ask(self, *arguments: str, strip: bool = True) -> str:
        done = self._run(*arguments)
        if done.returncode:
            raise StartError(f"git {arguments[0]}: {' '.join((done.stderr or done.stdout).split()) or done.returncode}")
        return done.stdout.strip() if strip else done.stdout

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command: Sequence[str] = ["git", "-C", str(self.root), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
        except FileNotFoundError:
            raise StartError("there is no git; install it") from None
        except subprocess.TimeoutExpired:
            raise StartError(f"git {arguments[0]}: no answer within {_PATIENCE:g} s") from None
