"""Does every harm to a running system while people use it, and shows that nothing is lost: ``make faults``.

Starts a system of its own, with a proxy on every way between its processes, and has people of a real social graph save,
change, delete, follow and read. Meanwhile each process is killed, stopped and restarted, what connects them is cut,
silenced and slowed, and NATS is away until the outbox has filled. After each fault everything is looked at from
outside: every accepted write is there, every feed holds exactly what it must, in order and once; in the end every link
has a status, and there is no dead letter.

Ends with 0 if nothing was lost or doubled, with 1 otherwise. Ctrl-C stops it in good order.
"""

import argparse
import asyncio
import signal
import sys
import time

from pkg.runtime.logs import configure_logs
from tests.faults.drill import DrillOptions, run_drill
from tests.faults.fault import Kind, list_faults


def read_options() -> DrillOptions:
    parser = argparse.ArgumentParser(
        prog="make faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--writes", type=int, default=50_000, help="accepted ones, in all (%(default)s)")
    parser.add_argument("--faults", metavar="KIND,...", default=",".join(Kind), help="which kinds (%(default)s)")
    parser.add_argument("--only", metavar="WORD", default="", help="of these, those whose name has this word")
    parser.add_argument("--people", type=int, default=120, help="who use it (%(default)s)")
    parser.add_argument("--at-once", type=int, default=8, help="people who do something at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a fault lasts (%(default)s)")
    parser.add_argument("--replicas", type=int, default=1, help="of those that publish or hear events (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what people choose to do (%(default)s)")
    arguments = parser.parse_args()
    try:
        kinds = [Kind(kind) for kind in arguments.faults.split(",")]
    except ValueError as error:
        parser.error(f"--faults: {error}; there are {', '.join(Kind)}")
    faults = [fault for fault in list_faults(kinds, arguments.replicas) if arguments.only in fault.name]
    if not faults:
        parser.error("no such fault")
    return DrillOptions(
        writes=arguments.writes,
        faults=faults,
        people=arguments.people,
        at_once=arguments.at_once,
        seconds=arguments.seconds,
        seed=arguments.seed,
        replicas=arguments.replicas,
    )


def main() -> int:
    options = read_options()
    # The table is what this prints.
    configure_logs("faults", "error")
    # A plain kill as well is to leave nothing behind. Ctrl-C is heard where the loop can end its work.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    begun = time.monotonic()
    try:
        report = asyncio.run(run_drill(options))
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return 130
    total = report.total
    print(
        f"{total.accepted} accepted, {total.unanswered} unanswered, {total.lost} lost, {total.doubled} doubled;"
        f" {len(options.faults)} faults in {time.monotonic() - begun:.0f} s, seed {options.seed}"
    )
    return 1 if total.lost or total.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
