#!/usr/bin/env python3
"""Looks after events: those that could not be worked on (dead letters), and those that NATS should get once more.

list                what could not be worked on, and why
show ID             one of them, whole
replay ID ...       has it worked on again, and removes it here
drop ID ...         removes it
outbox replay       publishes what was published since some time once more; after NATS has lost its data
"""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import asyncpg  # noqa: E402  # after the line above, as the rest

from pkg.events.consumers import CONSUMERS  # noqa: E402
from pkg.events.dead_letter_box import DeadLetterBox  # noqa: E402
from pkg.events.dead_letters import DeadLetter  # noqa: E402
from pkg.events.nats_bus import open_bus  # noqa: E402
from pkg.events.operator import (  # noqa: E402
    VARIABLES,
    nats_of_stack,
    read_nats_address,
    read_ready_file,
)
from pkg.events.outbox_reader import replay  # noqa: E402
from pkg.events.settings import NatsAddress  # noqa: E402
from pkg.object_model.errors import DelinkciousError  # noqa: E402
from pkg.provisioning.database_environment import Role, read_address  # noqa: E402
from pkg.provisioning.databases import DATABASES, ServiceDatabase  # noqa: E402
from pkg.runtime.logs import configure_logs  # noqa: E402
from pkg.runtime.postgres import PostgresAddress, database_errors, open_pool  # noqa: E402
from pkg.runtime.secret import Secret  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402

EPILOG = f"""\
Where things are: those of the local system whose folder --data names, or what the environment says. For NATS:
{VARIABLES}
For `outbox replay`, with PREFIX being LINK_DB or SOCIAL_GRAPH_DB, as the services have it:
  PREFIX_SERVICE_HOST, PREFIX_SERVICE_PORT, PREFIX_NAME, PREFIX_USER, PREFIX_PASSWORD_FILE

TIME is like 2026-01-31T12:00:00Z, or how long ago: 90s, 30m, 2h, 7d.
"""
#: Databases whose events these are.
OUTBOXES = tuple(database for database in DATABASES if database.name in {"link_manager", "social_graph_manager"})
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def point_in_time(text: str) -> datetime:
    if ago := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * UNITS[ago[2]])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-01-31T12:00:00Z, or 2h") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r}: say the zone as well, with Z at its end for UTC")
    return time


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="the folder of a local system that runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="what could not be worked on, and why, oldest first")
    add_filters(listing)
    listing.add_argument("--limit", type=int, default=100, help="at most so many (%(default)s)")

    show = commands.add_parser("show", help="one dead letter, with all its headers and its body")
    show.add_argument("id", type=int)

    for name, text in (("replay", "have dead letters worked on again"), ("drop", "remove dead letters")):
        command = commands.add_parser(name, help=text)
        command.add_argument("id", type=int, nargs="*")
        command.add_argument("--all", action="store_true", help="every one")
        add_filters(command)

    outbox = commands.add_parser("outbox", help="the outboxes of the services")
    replaying = outbox.add_subparsers(dest="outbox_command", required=True, metavar="COMMAND").add_parser(
        "replay", help="publish once more what was published in a span of time"
    )
    replaying.add_argument("--since", type=point_in_time, metavar="TIME", required=True)
    replaying.add_argument("--until", type=point_in_time, metavar="TIME", help="now, unless said")
    replaying.add_argument(
        "--database",
        action="append",
        choices=[database.name for database in OUTBOXES],
        help="this one alone; may be repeated",
    )

    arguments = parser.parse_args(words)
    if arguments.command in {"replay", "drop"}:
        chosen = bool(arguments.id) + arguments.all + bool(arguments.consumer or arguments.since)
        if chosen != 1:
            parser.error(f"{arguments.command}: say which: ids, or --consumer and --since, or --all")
    return arguments


def add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--consumer", choices=[spec.name for spec in CONSUMERS], help="of this consumer alone")
    parser.add_argument("--since", type=point_in_time, metavar="TIME", help="that were kept since then")


def nats_address(arguments: argparse.Namespace, environment: Mapping[str, str]) -> NatsAddress:
    if arguments.data is not None:
        return nats_of_stack(read_ready_file(arguments.data))
    return read_nats_address(environment)


def describe(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "time": letter.time.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "consumer": letter.consumer,
        "type": letter.type,
        "event": letter.event_id,
        "attempts": letter.attempts,
        "reason": letter.reason,
    }


def print_table(rows: list[dict[str, object]]) -> None:
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


async def list_letters(box: DeadLetterBox, arguments: argparse.Namespace) -> None:
    rows, more = [], False
    async for letter in box.find(arguments.consumer, arguments.since):
        if len(rows) >= arguments.limit:
            more = True
            break
        rows.append(describe(letter))
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    if rows:
        print_table(rows)
    else:
        print("no dead letters")
    if more:
        print(f"... and more; --limit shows more than {arguments.limit}")


async def show_letter(box: DeadLetterBox, arguments: argparse.Namespace) -> None:
    letter = await box.get(arguments.id)
    body = letter.body.decode("utf-8", "replace")
    if arguments.json:
        print(json.dumps({**describe(letter), "headers": dict(letter.headers), "body": body}, indent=2))
        return
    for name, value in {**describe(letter), "subject": letter.subject}.items():
        print(f"{name + ':':<10} {value}")
    print()
    for name, value in sorted(letter.headers.items()):
        print(f"{name}: {value}")
    print()
    try:
        print(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    except ValueError:
        print(body)


async def chosen_letters(box: DeadLetterBox, arguments: argparse.Namespace) -> AsyncIterator[DeadLetter]:
    if arguments.id:
        # All of them first: of a list with a mistake in it nothing is done.
        for letter in [await box.get(letter_id) for letter_id in dict.fromkeys(arguments.id)]:
            yield letter
        return
    async for letter in box.find(arguments.consumer, arguments.since):
        yield letter


async def settle_letters(box: DeadLetterBox, arguments: argparse.Namespace) -> None:
    verb, act = ("replayed", box.send_again) if arguments.command == "replay" else ("dropped", box.drop)
    done: list[int] = []
    try:
        async for letter in chosen_letters(box, arguments):
            await act(letter)
            done.append(letter.id)
    finally:
        if arguments.json:
            print(json.dumps({verb: done}))
        else:
            print(f"{verb}: {len(done)}")


async def look_after_letters(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    async with open_bus(nats_address(arguments, environment), "events.py") as bus:
        box = DeadLetterBox(bus)
        match arguments.command:
            case "list":
                await list_letters(box, arguments)
            case "show":
                await show_letter(box, arguments)
            case _:
                await settle_letters(box, arguments)


def outbox_addresses(
    arguments: argparse.Namespace, environment: Mapping[str, str]
) -> list[tuple[ServiceDatabase, PostgresAddress]]:
    wanted = [database for database in OUTBOXES if not arguments.database or database.name in arguments.database]
    if arguments.data is not None:
        postgres = read_ready_file(arguments.data)["postgres"]
        password = Secret.in_file(Path(postgres["password_file"]), relaxed=True)
        return [
            (database, PostgresAddress(postgres["host"], postgres["port"], database.name, postgres["user"], password))
            for database in wanted
        ]
    named = [database for database in wanted if environment.get(f"{database.variable}_SERVICE_HOST")]
    if not named or (arguments.database and named != wanted):
        missing = [f"{database.variable}_SERVICE_HOST" for database in wanted if database not in named]
        raise StartError(f"the environment names no database; set {' and '.join(missing)}, or use --data")
    return [(database, read_address(database, Role.SERVICE, environment)) for database in named]


async def replay_outboxes(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    now = datetime.now(UTC)
    until = min(arguments.until or now, now)
    if until <= arguments.since:
        raise StartError("--since is not before --until; nothing was published in between")
    counts = {}
    for database, address in outbox_addresses(arguments, environment):
        with database_errors():
            async with await open_pool(address, application_name="events.py", statement_timeout=60) as pool:
                try:
                    counts[database.name] = await replay(pool, arguments.since, until)
                except asyncpg.UndefinedTableError:
                    raise StartError(f"{database.name} has no outbox; run cmd/migrate.py") from None
    if arguments.json:
        print(json.dumps(counts))
        return
    for name, count in counts.items():
        print(f"{name}: {count} to be published again")


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    arguments = read_arguments(words)
    act = replay_outboxes if arguments.command == "outbox" else look_after_letters
    try:
        asyncio.run(act(arguments, environment))
    except StartError as error:
        for fault in error.faults:
            print(f"events: {fault}", file=sys.stderr)
        return 1
    except DelinkciousError as error:
        print(f"events: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    configure_logs("events", "error", sys.stderr.buffer)
    sys.exit(main(sys.argv[1:], os.environ))
