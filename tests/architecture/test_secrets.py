"""No secret is kept in the repository: each is made at the first start, and named by a file everywhere else."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: A literal where a secret belongs (YAML, environment files, code), and what is a secret by its looks.
SECRET = re.compile(
    r"""^\s*(?:export\s+|-\s+)?["']?\w*(?:password|passwd|secret|token|api[_-]?key|private[_-]?key)["']?\s*[:=]\s*["']?
        (?=[\w+/.=-]*\d)[\w+/.=-]{3,}["']?\s*$
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | \b(?:dls|gh[pousr])_[A-Za-z0-9_-]{30,}
    | \b(?:postgres(?:ql)?|redis|nats|amqp)://[^\s:/@"'{}<>]+:[^\s@"'{}<>]+@(?!host\b)""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
#: Files in which something that looks like one is what they are about.
TESTS = "tests/"


def secrets(root: Path, paths: Iterable[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            text = (root / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found += [f"{path}: {match[0].strip()[:40]}" for match in SECRET.finditer(text)]
    return found


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_no_secret_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert secrets(ROOT, [path for path in listed.stdout.splitlines() if not path.startswith(TESTS)]) == []


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD=hunter2",
        'token: "123"',
        "  - secret = 'a1b2'",
        "-----BEGIN RSA PRIVATE KEY-----",
        "curl -H 'Access-Token: dls_" + "a" * 43 + "'",
        "url = 'postgresql://me:pass@db.example/x'",
    ],
)
def test_a_secret_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text(f"a: b\n{line}\nc: d\n")
    assert len(secrets(tmp_path, ["file"])) == 1


@pytest.mark.parametrize(
    "line",
    ["token: str", "password_file = path", "token = decode(text)", "postgresql://user:password@host:5432/postgres"],
)
def test_what_only_speaks_of_one_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text(f"{line}\n")
    assert secrets(tmp_path, ["file"]) == []
