#!/usr/bin/env python3
"""Runs the whole of Delinkcious on this machine, in the foreground, until Ctrl-C."""

import argparse
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

try:
    # Found by the line above.
    from pkg.local_stack.stack import StackOptions, run_stack
    from pkg.object_model.types import USER_NAME_PATTERN
    from pkg.runtime.logs import configure_logs
    from pkg.runtime.start_error import StartError
except (ModuleNotFoundError, SyntaxError) as error:
    # An older Python, or one that has only itself.
    sys.exit(f"up: {sys.executable} lacks what it takes ({error}); run `make up`, or .venv/bin/python cmd/up.py")

EPILOG = """\
The first start makes the data folder with fresh databases and secrets; the next ones find them again. What runs and
where is in DIR/ready.json from the moment when everything serves, the logs are in DIR/logs.

Servers of your own are used, and not started, where the environment names them:
  DELINKCIOUS_POSTGRES_URL  postgresql://user:password@host:5432/postgres, of a role that may create roles and databases
  DELINKCIOUS_NATS_URL      nats://user:password@host:4222, of a user who may do anything with JetStream
  DELINKCIOUS_REDIS_URL     redis://user:password@host:6379

People log in with GitHub where GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET are those of an OAuth app whose callback is
URL/login/authorized (GITHUB_URL: of an Enterprise), with another provider by OIDC_ISSUER, OIDC_CLIENT_ID and
OIDC_CLIENT_SECRET; without either, by the name of a user. DELINKCIOUS_PUBLIC_URL is where people reach the gateway, if
that is not where it listens.

MAX_LINKS_PER_USER, LOG_LEVEL, DELINKCIOUS_TOKEN_CACHE_SECONDS, LINK_CHECKER_ALLOWED, LINK_CHECKER_CONTACT,
LINK_CHECKER_PORTS, LINK_CHECKER_CANARIES and LINK_CHECKER_CONFINED (true: nothing but the demo site is looked at)
are passed on. NO_COLOR is heeded.

Ctrl-C stops everything in good order; a second one kills what is left.
"""


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise ValueError(text)
    return number


def user_name(text: str) -> str:
    # Told at once, not by the user service when everything has been started.
    if not USER_NAME_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no user name: 1 to 39 letters (a-z), digits, dots, dashes or underscores,"
            " a letter or digit at both ends"
        )
    return text


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=Path(".delinkcious"), help="where everything is kept (%(default)s)"
    )
    parser.add_argument(
        "--gateway-port",
        metavar="N",
        type=port,
        help="port of the public API; 0 takes a free one (default: 5000, or a free one if that is taken)",
    )
    parser.add_argument(
        "--user",
        metavar="NAME",
        type=user_name,
        action="append",
        default=[],
        help="make this user, unless they exist, log them in and print the token; may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="show warnings and deaths only; the log files have all")
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    # What goes wrong is told by the stack itself; the log of the libraries that it uses would only come in between.
    configure_logs("up", "error")
    options = StackOptions(
        data=arguments.data,
        gateway_port=arguments.gateway_port,
        users=tuple(dict.fromkeys(arguments.user)),
        quiet=arguments.quiet,
    )
    try:
        return run_stack(options, os.environ, sys.stdout)
    except StartError as error:
        for fault in error.faults:
            print(f"up: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Before anything was started.
        return 0


if __name__ == "__main__":
    sys.exit(main())
