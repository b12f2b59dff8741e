#!/usr/bin/env python3
"""Adds users and lets them in, where no provider vouches for them: the first one of a new system, or one in need.

add      prints the token of a new session; the user is made if nobody has the name
ticket   prints a ticket, good for one login of the user within minutes: POST /login {"Username", "AuthToken"}
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pkg.clients.accounts import connect_operator, let_in  # noqa: E402  # after the line above, as the rest
from pkg.events.operator import read_ready_file  # noqa: E402
from pkg.object_model.errors import DelinkciousError  # noqa: E402
from pkg.runtime.access import USER_MANAGER  # noqa: E402
from pkg.runtime.logs import configure_logs  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402

EPILOG = """\
Where the user service is: that of the local system whose folder --data names, or what the environment says.
  USER_MANAGER_SERVICE_HOST      its host
  USER_MANAGER_SERVICE_PORT      7070, unless set
  DELINKCIOUS_MUTUAL_AUTH_FILE   the operator's secrets; /etc/delinkcious/mutual-auth.yaml, unless set
"""


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="the folder of a local system that runs")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("add", help="make a user, unless they exist, and let them in").add_argument("name")
    commands.add_parser("ticket", help="let a user in once").add_argument("name")
    return parser.parse_args(words)


def find_user_manager(data: Path | None, environment: Mapping[str, str]) -> tuple[str, Path]:
    """Base URL and the operator's secrets."""
    if data is not None:
        return read_ready_file(data)["services"][USER_MANAGER], data / "config" / "operator" / "mutual-auth.yaml"
    host = environment.get("USER_MANAGER_SERVICE_HOST")
    if not host:
        raise StartError("USER_MANAGER_SERVICE_HOST is not set; set it, or name a local system's folder with --data")
    port = environment.get("USER_MANAGER_SERVICE_PORT") or "7070"
    file = environment.get("DELINKCIOUS_MUTUAL_AUTH_FILE") or "/etc/delinkcious/mutual-auth.yaml"
    return f"http://{host}:{port}", Path(file)


async def act(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    async with connect_operator(*find_user_manager(arguments.data, environment)) as users:
        if arguments.command == "add":
            print((await let_in(users, arguments.name, "cmd/users.py")).token)
        else:
            print((await users.issue_ticket(arguments.name)).ticket)


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    arguments = read_arguments(words)
    try:
        asyncio.run(act(arguments, environment))
    except StartError as error:
        for fault in error.faults:
            print(f"users: {fault}", file=sys.stderr)
        return 1
    except DelinkciousError as error:
        print(f"users: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    configure_logs("users", "error", sys.stderr.buffer)
    sys.exit(main(sys.argv[1:], os.environ))
