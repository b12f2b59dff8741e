"""That a release was seen to work: the smoke test, against the environment that runs it, and a record of it."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkg.images.changed import commit_of
from pkg.images.releases import Built, fingerprint
from pkg.images.running import differences, read_pods
from pkg.runtime.start_error import StartError

#: Beside the file of staging's images, and committed as it is.
RECORD: Final = Path("k8s") / "releases" / "staging" / "passed.txt"
#: Seconds.
_CALL_PATIENCE: Final = 15.0
_TEST_PATIENCE: Final = 600.0
#: Of what differs, for people.
_NAMED: Final = 5
_LINE: Final = re.compile(r"^(?P<fingerprint>[0-9a-f]{64}) (?P<words>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Staging:
    """A running staging, and a page that its link checker can reach."""

    url: str
    token: str
    page: str
    #: Its cluster, as kubectl calls it, and its namespace there.
    context: str
    namespace: str


def read_record(root: Path, release: Mapping[str, Built]) -> str | None:
    """In words, when exactly these images passed; None if they are not known to have."""
    file = root / RECORD
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    wanted = fingerprint(release)
    return next((match["words"] for match in _LINE.finditer(text) if match["fingerprint"] == wanted), None)


def write_record(root: Path, release: Mapping[str, Built], words: str) -> None:
    """The last one alone is kept; Git has the others."""
    (root / RECORD).write_text(f"{fingerprint(release)} {words}\n", encoding="utf-8")


def run_smoke_test(root: Path, staging: Staging, release: Mapping[str, Built]) -> None:
    """Its output is shown as it comes.

    Raises:
        StartError: what runs or answers is another version, or the test does not pass.
    """
    if lagging := differences(read_pods(staging.context, staging.namespace), release):
        raise StartError(
            *lagging[:_NAMED], f"{staging.namespace} is not what is to be promoted; wait for Argo CD to sync"
        )
    wanted, runs = commit_of(release["api-gateway"].tag), _ask_commit(staging.url)
    if not runs.startswith(wanted):
        raise StartError(
            f"{staging.url} runs the gateway of {runs[:12]}, and not of {wanted}; wait for Argo CD to sync"
        )
    done = subprocess.run(
        [sys.executable, str(root / "cmd" / "smoke_test.py"), "--url", staging.page],
        env={"DELINKCIOUS_URL": staging.url, "DELINKCIOUS_TOKEN": staging.token},
        timeout=_TEST_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise StartError(f"{staging.url}: the smoke test has not passed; nothing is promoted")


def _ask_commit(url: str) -> str:
    address = f"{url.rstrip('/').removesuffix('/v1')}/version"
    if not address.startswith(("http://", "https://")):
        raise StartError(f"{url}: must begin with http:// or https://")
    try:
        with urllib.request.urlopen(address, timeout=_CALL_PATIENCE) as answer:  # noqa: S310  # looked at in the line above
            return str(json.loads(answer.read(65_536))["commit"])
    except (OSError, ValueError, KeyError, TypeError, urllib.error.HTTPError) as fault:
        raise StartError(f"{address} does not say which version runs: {fault}") from None
