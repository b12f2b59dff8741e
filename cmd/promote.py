#!/usr/bin/env python3
"""Promotes what staging runs to production: a commit that copies the digests, and nothing else. Argo CD does the rest.

  DELINKCIOUS_TOKEN=... python cmd/promote.py --staging-url https://staging.example --staging-context staging

It shows first what would change, and asks. It refuses what staging has not been seen to work with: the smoke test is
run against --staging-url now, or has passed before on exactly these images (--record keeps that as a commit, for a
pipeline to do after staging was synced). Before it runs, the cluster of --staging-context is asked whether every pod is
of these images. Going back is a commit as well: revert the promotion.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from pkg.images.checkout import Checkout  # noqa: E402  # after the line above, as the rest
from pkg.images.releases import PRODUCTION, STAGING, changes, read_release, render_release  # noqa: E402
from pkg.images.smoke_evidence import RECORD, Staging, read_record, run_smoke_test, write_record  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--staging-url", metavar="URL", help="run the smoke test there, as DELINKCIOUS_TOKEN's user")
    parser.add_argument("--staging-context", metavar="NAME", help="its cluster, as kubectl calls it")
    parser.add_argument(
        "--staging-namespace", metavar="NAME", default="delinkcious-staging", help="where it is there (%(default)s)"
    )
    parser.add_argument(
        "--page", metavar="URL", default="https://example.com/", help="which the smoke test saves (%(default)s)"
    )
    parser.add_argument(
        "--record", action="store_true", help="write down that the smoke test has passed; promote nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change; write nothing, ask nobody")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args(words)
    if arguments.record and not arguments.staging_url:
        parser.error("--record: where does staging run? name it with --staging-url")
    if bool(arguments.staging_url) != bool(arguments.staging_context):
        parser.error("--staging-url and --staging-context belong together: an address does not say all that runs there")
    return arguments


class Promotion:
    def __init__(self, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._token = environment.get("DELINKCIOUS_TOKEN", "")
        self._checkout = Checkout(ROOT)
        self._staging = read_release(ROOT / STAGING)
        self._production = read_release(ROOT / PRODUCTION)

    def run(self) -> None:
        """
        Raises:
            StartError: it is refused.
        """
        if not self._staging:
            raise StartError(f"staging runs nothing yet ({STAGING}); ./build.sh --push comes first")
        if self._arguments.record:
            self._refuse_changes()
            self._test()
            return
        lines = changes(self._production, self._staging)
        if not lines:
            print("production runs what staging runs; there is nothing to promote")
            return
        self._show(lines)
        if self._arguments.dry_run:
            print(f"smoke test: {read_record(ROOT, self._staging) or 'not known to have passed on these images'}")
            return
        self._refuse_changes()
        evidence = read_record(ROOT, self._staging) or self._test()
        print(f"smoke test: {evidence}")
        if not self._arguments.yes and not agreed():
            raise StartError("nothing is promoted")
        self._write(lines)

    def _refuse_changes(self) -> None:
        if changed := self._checkout.changed():
            raise StartError(f"{', '.join(changed[:3])}: changed and not committed; commit or remove it")

    def _show(self, lines: Sequence[str]) -> None:
        before = (ROOT / PRODUCTION).read_text(encoding="utf-8").splitlines()
        after = render_release("production", self._staging).splitlines()
        for line in difflib.unified_diff(before, after, str(PRODUCTION), str(PRODUCTION), n=0, lineterm=""):
            print(line)
        print("\n".join(["", *lines]))

    def _test(self) -> str:
        """How it passed, which is committed."""
        url = self._arguments.staging_url
        if not url:
            raise StartError("staging's smoke test is not known to have passed on these images; name --staging-url")
        if not self._token:
            raise StartError("set DELINKCIOUS_TOKEN to a token of a user of staging")
        about = self._arguments
        staging = Staging(url, self._token, about.page, about.staging_context, about.staging_namespace)
        run_smoke_test(ROOT, staging, self._staging)
        words = f"passed on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at {url}"
        write_record(ROOT, self._staging, words)
        self._checkout.add(RECORD)
        self._checkout.record("Staging has passed its smoke test [skip ci]", RECORD)
        return words

    def _write(self, lines: Sequence[str]) -> None:
        (ROOT / PRODUCTION).write_text(render_release("production", self._staging), encoding="utf-8")
        self._checkout.record("\n".join(["Production runs what staging runs [skip ci]", "", *lines]), PRODUCTION)
        print(
            f"{PRODUCTION}: committed as {self._checkout.commit()[:12]}; push it, and Argo CD brings it to production"
        )


def agreed() -> bool:
    try:
        return input("promote? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        Promotion(read_arguments(words), environment).run()
    except StartError as error:
        for fault in error.faults:
            print(f"promote: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
