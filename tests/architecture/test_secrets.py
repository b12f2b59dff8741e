"""No secret is kept in the repository: each is made at the first start, and named by a file everywhere else."""

import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What a secret's name ends with.
_NAME = r"\w*(?:password|passwd|secret|token|(?:api|private|statement|signing|session|access)[_-]?key)"
#: A literal where a secret belongs (YAML, environment files, code), and what is a secret by its looks.
SECRET = re.compile(
    rf"""^\s*(?:export\s+|-\s+)?["']?{_NAME}["']?\s*[:=]\s*["']?
        (?:(?=[\w+/.=-]*\d)[\w+/.=-]{{3,}}|postgres|password|secret|changeme|change-me|admin|default|hunter\w*)["']?\s*$
    | \bname:\s*["']?{_NAME}["']?\s*,\s*value:\s*["']?[^\s"'}}]
    | ^\s*-?\s*name:\s*["']?{_NAME}["']?\s*\n\s*value:\s*["']?[^\s"'}}]
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | \b(?:dls|dlt|gh[pousr])_[A-Za-z0-9_-]{{30,}}
    | \b(?:AKIA|ASIA)[A-Z0-9]{{16}}\b
    | \bxox[abprs]-[A-Za-z0-9-]{{10,}}
    | \beyJ[A-Za-z0-9_-]{{10,}}\.[A-Za-z0-9_-]{{10,}}
    | \b(?:postgres(?:ql)?|rediss?|nats|tls|amqp|https?)://[^\s:/@"'{{}}<>]+:[^\s@"'{{}}<>/]+@(?!host\b)""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
#: What is random by its looks: a word of so many letters, capitals and digits that nobody made it up.
WORD = re.compile(r"(?<![A-Za-z0-9+/_.-])[A-Za-z0-9+/_-]{32,}={0,2}(?![A-Za-z0-9+/_=-])")
#: What is random and public: digests by which packages and images are pinned, and commits.
PUBLIC = re.compile(r"sha(?:256|512)[:=-]\S+|\b[0-9a-f]{40}\b|\b[0-9a-f]{64}\b")
#: Files in which something that looks like one is what they are about.
TESTS = "tests/"
RANDOM = "vV3xk9QmT7bLr2Zw" + "Pq8YsHdJc4NfGt-X6uAeKi1MoD0"


def is_random(word: str) -> bool:
    """By its bits a letter (Shannon), with all of what random text has; names have less, paths have slashes."""
    kinds = (str.islower, str.isupper, str.isdigit)
    if not all(any(map(kind, word)) for kind in kinds) or word.count("/") > 2 or word.count("_") > 3:
        return False
    if "ABCDEFGH" in word:
        # An alphabet.
        return False
    counts = Counter(word)
    return -sum(count / len(word) * math.log2(count / len(word)) for count in counts.values()) > 4.2


def secrets(root: Path, paths: Iterable[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            text = (root / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found += [f"{path}: {match[0].strip()[:40]}" for match in SECRET.finditer(text)]
        found += [f"{path}: {word[:8]}..." for word in WORD.findall(PUBLIC.sub("", text)) if is_random(word)]
    return found


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_no_secret_is_committed() -> None:
    assert secrets(ROOT, [path for path in listed() if not path.startswith(TESTS)]) == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_nothing_that_holds_secrets_is_committed() -> None:
    """By name: what programs of ours and of others write them into."""
    names = re.compile(
        r"(^|/)(\.env(\..*)?|mutual-auth\.yaml|users\.acl|authorization\.conf|\.delinkcious|id_\w+|\.netrc|\.pgpass)(/|$)"
        r"|\.(pem|key|p12|pfx|jks|kubeconfig)$"
    )
    assert [path for path in listed() if names.search(path)] == []


def listed() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD=hunter2",
        'token: "123"',
        "  - secret = 'a1b2'",
        "-----BEGIN RSA PRIVATE KEY-----",
        "curl -H 'Access-Token: dls_" + "a" * 43 + "'",
        "url = 'postgresql://me:pass@db.example/x'",
        "POSTGRES_PASSWORD: changeme",
        "statement_key: abc123",
        '- {name: LINK_DB_PASSWORD, value: "hunter"}',
        "- name: GITHUB_CLIENT_SECRET\n  value: deadbeef",
        "AKIA" + "ABCDEFGH12345678",
        f"    return '{RANDOM}'",
        f"url = x.com?code={RANDOM}",
    ],
)
def test_a_secret_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text(f"a: b\n{line}\nc: d\n")
    assert len(secrets(tmp_path, ["file"])) == 1


@pytest.mark.parametrize(
    "line",
    [
        "token: str",
        "password_file = path",
        "token = decode(text)",
        "postgresql://user:password@host:5432/postgres",
        "LINK_DB_PASSWORD_FILE: /run/secrets/db/password",
        "- {name: LINK_DB_PASSWORD_FILE, value: /run/secrets/db/password}",
        "    --hash=sha256:" + "0123456789abcdef" * 4,
        "test_a_name_of_a_test_that_says_a_lot_about_2_Things",
        "delinkcious_secret_file_modified_timestamp_seconds",
        "https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-13.md",
    ],
)
def test_what_only_speaks_of_one_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text(f"{line}\n")
    assert secrets(tmp_path, ["file"]) == []
