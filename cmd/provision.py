#!/usr/bin/env python3
"""Makes the streams and consumers of events that are missing, and changes those that differ. Repeatable.

Services cannot do this: it is a step of its own, with credentials of its own, like the migration of a database.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pkg.events.operator import VARIABLES, read_nats_address  # noqa: E402  # after the line above, as the rest
from pkg.events.provisioning import MAX_BYTES, provision_at  # noqa: E402
from pkg.object_model.errors import DelinkciousError  # noqa: E402
from pkg.runtime.logs import configure_logs  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"The environment says where:\n{VARIABLES}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--replicas", type=int, choices=(1, 3, 5), default=1, help="copies of each stream in a cluster (%(default)s)"
    )
    parser.add_argument(
        "--max-bytes",
        type=int,
        default=MAX_BYTES,
        help="of the stream of events, after which its oldest go (%(default)s)",
    )
    parser.add_argument(
        "--patience", type=float, default=20.0, help="seconds for NATS to come up (%(default)s)", metavar="SECONDS"
    )
    arguments = parser.parse_args(words)
    if arguments.max_bytes < 1024**2:
        parser.error("--max-bytes: at least 1048576")
    return arguments


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    arguments = read_arguments(words)
    try:
        address = read_nats_address(environment)
        done = asyncio.run(
            provision_at(
                address, replicas=arguments.replicas, max_bytes=arguments.max_bytes, patience=arguments.patience
            )
        )
    except StartError as error:
        for fault in error.faults:
            print(f"provision: {fault}", file=sys.stderr)
        return 1
    except DelinkciousError as error:
        print(f"provision: {error.message}", file=sys.stderr)
        return 1
    print("\n".join(done) or "nothing to do")
    return 0


if __name__ == "__main__":
    configure_logs("provision", "error", sys.stderr.buffer)
    sys.exit(main(sys.argv[1:], os.environ))
