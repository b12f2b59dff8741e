#!/usr/bin/env python3
"""Gives the secrets of a local stack that runs new values, while it serves. Can be cut short and run again."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pkg.events.operator import read_ready_file  # noqa: E402  # after the line above, as the rest
from pkg.local_stack.data_folder import DataFolder  # noqa: E402
from pkg.local_stack.rotated_kinds import KINDS, RunningStack  # noqa: E402
from pkg.local_stack.rotation import Journal, rotate  # noqa: E402
from pkg.runtime.logs import configure_logs  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402

EPILOG = """\
  edges     what services show each other, and sign with what they say of users
  browser   the key that seals what browsers keep while people log in; who is just doing so begins again
  postgres  passwords of the roles that own the databases, of the services' own, and of the superuser
  nats      passwords of its users
  valkey    passwords of its users

Each goes in three steps, and every service has taken one before the next begins: a second value is made known; it comes
first; the old one is dropped. If this is cut short, or a service does not follow, run it again: it goes on where it
stopped. How the same is done in a cluster is in docs/secrets.md.
"""


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "kinds", metavar="KIND", nargs="*", help=f"which secrets: {', '.join(KINDS)} (all of them, unless named)"
    )
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=Path(".delinkcious"), help="of the stack (%(default)s)"
    )
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds for everybody to take a step (%(default)s)"
    )
    arguments = parser.parse_args(words)
    if unknown := set(arguments.kinds) - set(KINDS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    return arguments


async def rotate_all(arguments: argparse.Namespace) -> None:
    folder = DataFolder(arguments.data)
    stack = RunningStack(folder, read_ready_file(arguments.data), arguments.patience)
    kinds = stack.kinds()
    wanted = arguments.kinds or list(kinds)
    journal = Journal(folder.rotation_journal)
    with journal.locked():
        for name in (*journal.left(), *wanted):
            if name not in kinds:
                raise StartError(f"{name}: somebody else runs that server; its passwords are changed there")
        for name in journal.plan(wanted):
            await rotate(kinds[name], stack.store, journal, stack.until_used, say)
            say(f"{name}: {len(kinds[name].secrets)} secrets are new")


def say(line: str) -> None:
    # At once, also into a pipe: it is what one waits for.
    print(line, flush=True)


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    try:
        asyncio.run(rotate_all(arguments))
    except StartError as error:
        for fault in error.faults:
            print(f"rotate_secrets: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    configure_logs("rotate_secrets", "error", sys.stderr.buffer)
    sys.exit(main(sys.argv[1:]))
