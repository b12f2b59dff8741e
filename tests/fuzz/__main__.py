"""``make fuzz``: has Schemathesis make requests of every service's own description, valid ones and others, and hold the
answers against it.

Starts a system of its own, on real servers. Fails on any answer that is not described, on any 5xx, and on whatever else
Schemathesis has a check for; what it then prints has a seed and a request to try again.
"""

import argparse
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg2

from pkg.runtime.access import API_GATEWAY, LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from tests.e2e.stack import ROOT, Stack, running_stack

#: The user service last: what is tried there ends sessions.
TARGETS: Final = (API_GATEWAY, LINK_MANAGER, SOCIAL_GRAPH_MANAGER, NEWS_MANAGER, USER_MANAGER)
#: A name that nobody makes up: who confirms with it deletes the account.
USER: Final = "fuzzer-4711"
_CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
_GENERATED: Final = re.compile(r"^ *(\d+) generated", re.MULTILINE)


def fuzz(stack: Stack, target: str, options: argparse.Namespace) -> tuple[int, bool]:
    """How many requests were made, and whether all answers were as they should be."""
    base_url = stack.ready["services"][target]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG)),
        *("run", f"{base_url}/openapi.json", "--checks", "all", "--continue-on-failure", "--no-color"),
        *("--max-examples", str(options.examples), "--workers", str(options.workers)),
        *(("--seed", options.seed) if options.seed else ()),
    ]
    environment = {"PATH": os.environ["PATH"], "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(ROOT)}
    token = stack.token(USER)
    if target == API_GATEWAY:
        # Under both of its names, so that no other is made up for one of them.
        # They are not under the address that the document begins with, which is all that Schemathesis asks. And a
        # session that is ended on the way is that of all that comes after.
        command += ["--exclude-path", "/login", "--exclude-path", "/logout"]
        command += ["--header", f"Access-Token: {token}", "--header", f"Authorization: Bearer {token}"]
    else:
        environment |= caller(stack, target)
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    generated = _GENERATED.search(done.stdout)
    passed = done.returncode == 0
    if not passed:
        print(done.stdout)
    if target == API_GATEWAY and not is_known(base_url, token):
        print("The session ended on the way; what came after it was refused, and says nothing.")
        passed = False
    return int(generated[1]) if generated else 0, passed


def is_known(gateway: str, token: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(gateway).netloc, timeout=10)
    try:
        connection.request("GET", "/v1/me", headers={"Access-Token": token})
        return connection.getresponse().status == HTTPStatus.OK
    finally:
        connection.close()


def caller(stack: Stack, service: str) -> Mapping[str, str]:
    """What the hooks have to know to call ``service`` for the user."""
    postgres = stack.ready["postgres"]
    connection = psycopg2.connect(
        host=postgres["host"],
        port=postgres["port"],
        user=postgres["user"],
        dbname="user_manager",
        password=Path(postgres["password_file"]).read_text(encoding="utf-8").strip(),
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM users WHERE name = %s", (USER,))
            (user_id,) = cursor.fetchone() or (0,)
    finally:
        connection.close()
    return {
        "FUZZ_SERVICE": service,
        "FUZZ_CONFIG": str(stack.data / "config"),
        "FUZZ_USER": USER,
        "FUZZ_USER_ID": str(user_id),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=30, help="made up for each operation, at most (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="at once (%(default)s)")
    parser.add_argument("--only", choices=TARGETS, action="append", help="this service; may be given several times")
    parser.add_argument("--seed", help="that a run printed, to have the same requests again")
    options = parser.parse_args()
    results = {}
    # Limits are for people: here a refusal by them would hide what is looked for.
    # A stream of news tells what there is and ends.
    environment = {"RATE_LIMIT_FACTOR": "0", "NEWS_STREAM_LIFETIME": "0.1", "NEWS_STREAMS_OF_USER": "1000"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder) / "data", users=[USER, "bob"], environment=environment) as stack,
    ):
        for target in options.only or TARGETS:
            began = time.monotonic()
            requests, passed = results[target] = fuzz(stack, target, options)
            outcome = "as described" if passed else "NOT as described"
            print(f"{target:<22} {requests:>6} requests  {time.monotonic() - began:>5.0f} s  {outcome}", flush=True)
    total = sum(requests for requests, _ in results.values())
    print(f"{'all':<22} {total:>6} requests")
    if not all(requests and passed for requests, passed in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
