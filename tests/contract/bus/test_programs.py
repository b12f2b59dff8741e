"""`cmd/provision.py` and `cmd/events.py`, run as programs against real servers."""

import asyncio
import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pkg.events.bus import Delivery
from pkg.events.consumers import LINK_CHECKS, NEWS
from pkg.events.dead_letters import dead_letter
from pkg.events.messages import DEAD_LETTER_STREAM, LINK_EVENTS, STREAM, Message
from pkg.events.nats_bus import NatsBus, open_bus
from pkg.events.operator import ADMINISTRATOR
from pkg.runtime.logs import logs_written_to
from pkg.runtime.secret import passwords_of
from tests.conftest import TestNats, TestPostgres, running_nats, service_pool

ROOT = Path(__file__).parents[3]

type Run = Callable[..., Awaitable["Ended"]]


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


def load_program(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_program", ROOT / "cmd" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


PROGRAMS: dict[str, Any] = {name: load_program(name) for name in ("events", "provision")}


async def run_program(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
    """As from a shell, but in this process: most of a program's time is its start."""

    def run() -> int:
        try:
            return int(PROGRAMS[program].main(arguments, environment or {}))
        except SystemExit as refused:
            return int(refused.code or 0)

    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors), logs_written_to(io.BytesIO()):
        code = await asyncio.to_thread(run)
    return Ended(code, output.getvalue(), errors.getvalue())


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_what_it_is_for(program: str) -> None:
    command = [sys.executable, f"cmd/{program}.py"]
    helped = subprocess.run(
        [*command, "--help"], cwd=ROOT, env={}, capture_output=True, text=True, timeout=60, check=True
    )
    assert "NATS_CLUSTER_SERVICE_HOST" in helped.stdout


@pytest.fixture(scope="module")
async def own_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestNats]:
    async with running_nats(tmp_path_factory.mktemp("programs") / "nats") as nats:
        yield nats


@pytest.fixture
async def bus(own_nats: TestNats) -> AsyncIterator[NatsBus]:
    async with open_bus(own_nats.server.address(ADMINISTRATOR), "tests") as bus:
        for stream in (STREAM, DEAD_LETTER_STREAM):
            await bus.ask(f"STREAM.PURGE.{stream}")
        yield bus


@pytest.fixture
def environment(own_nats: TestNats) -> dict[str, str]:
    address = own_nats.server.address(ADMINISTRATOR)
    return {
        "NATS_CLUSTER_SERVICE_HOST": address.host,
        "NATS_CLUSTER_SERVICE_PORT": str(address.port),
        "NATS_ADMINISTRATOR_PASSWORD_FILE": str(own_nats.server.password_file(ADMINISTRATOR)),
    }


@pytest.fixture
def events(environment: Mapping[str, str]) -> Run:
    return partial(run_program, "events", environment=environment)


_numbers = count()


async def kill(bus: NatsBus, *, number: int, consumer: str = NEWS.name) -> Message:
    """Makes a dead letter of an event."""
    event = Message(
        id=f"event-{next(_numbers)}-{number}",
        source="tests",
        type="link.added",
        subject=f"{LINK_EVENTS}.{number}",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        body=json.dumps({"n": number}).encode(),
        request_id="the-request",
    )
    await bus.publish([event])
    found = await take(bus, consumer)
    await bus.publish([dead_letter(found[-1], consumer, "nonsense: no such thing")])
    return event


async def take(bus: NatsBus, consumer: str) -> list[Delivery]:
    spec = next(spec for spec in (NEWS, LINK_CHECKS) if spec.name == consumer)
    found = await bus.subscribe(spec).fetch(100, 5)
    for delivery in found:
        await delivery.ack()
    return found


def ids(listed: Any) -> list[int]:
    assert listed.returncode == 0, listed.stderr
    return [row["id"] for row in json.loads(listed.stdout)]


async def test_dead_letters_are_listed_and_shown(bus: NatsBus, events: Run) -> None:
    assert (await events("list")).stdout == "no dead letters\n"
    killed = [
        await kill(bus, number=number, consumer=(NEWS.name, LINK_CHECKS.name)[number == 2]) for number in range(3)
    ]
    listed = await events("list")
    assert listed.returncode == 0
    head, *rows = listed.stdout.splitlines()
    assert head.split() == ["id", "time", "consumer", "type", "event", "attempts", "reason"]
    assert [row.split()[2] for row in rows] == ["news", "news", "link-checks"]
    assert rows[0].endswith("nonsense: no such thing")
    of_news = json.loads((await events("--json", "list", "--consumer", "news")).stdout)
    assert [row["event"] for row in of_news] == [killed[0].id, killed[1].id]
    assert (of_news[0]["attempts"], of_news[0]["reason"]) == (1, "nonsense: no such thing")
    assert "and more" in (await events("list", "--limit", "2")).stdout
    assert ids(await events("--json", "list", "--since", "1h")) == [
        *(row["id"] for row in of_news),
        of_news[-1]["id"] + 1,
    ]
    assert ids(await events("--json", "list", "--since", "2099-01-01T00:00:00Z")) == []
    shown = await events("show", str(of_news[1]["id"]))
    assert "X-Request-ID: the-request" in shown.stdout
    assert '"n": 1' in shown.stdout
    whole = json.loads((await events("--json", "show", str(of_news[1]["id"]))).stdout)
    assert (whole["headers"]["ce-id"], json.loads(whole["body"])) == (killed[1].id, {"n": 1})


async def test_a_replayed_letter_is_heard_again_as_it_was_and_gone(bus: NatsBus, events: Run) -> None:
    killed = [await kill(bus, number=number) for number in range(3)]
    letters = ids(await events("--json", "list"))
    done = await events("replay", str(letters[1]))
    assert (done.returncode, done.stdout) == (0, "replayed: 1\n")
    (again,) = await take(bus, NEWS.name)
    message = again.message
    assert (message.id, message.subject, message.body) == (killed[1].id, killed[1].subject, killed[1].body)
    assert message.request_id == "the-request"
    assert not any(name.startswith("Delinkcious-Dead-Letter") for name in again.headers)
    assert ids(await events("--json", "list")) == [letters[0], letters[2]]
    assert json.loads((await events("--json", "replay", "--all")).stdout) == {"replayed": [letters[0], letters[2]]}
    assert [delivery.message.id for delivery in await take(bus, NEWS.name)] == [killed[0].id, killed[2].id]
    assert (await events("list")).stdout == "no dead letters\n"


async def test_letters_are_dropped_by_id_and_by_consumer(bus: NatsBus, events: Run) -> None:
    for number in range(4):
        await kill(bus, number=number, consumer=(NEWS.name, LINK_CHECKS.name)[number % 2])
    letters = ids(await events("--json", "list"))
    assert (await events("drop", str(letters[0]))).stdout == "dropped: 1\n"
    assert (await events("drop", "--consumer", "link-checks")).stdout == "dropped: 2\n"
    assert ids(await events("--json", "list")) == [letters[2]]


async def test_what_is_wrong_is_told_and_nothing_is_done(bus: NatsBus, events: Run, tmp_path: Path) -> None:
    await kill(bus, number=1)
    (letter,) = ids(await events("--json", "list"))
    wrong = await events("replay", str(letter), "9999")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "events: there is no dead letter 9999; list those that there are\n",
    )
    assert ids(await events("--json", "list")) == [letter]
    for arguments, message in (
        (("replay",), "say which"),
        (("drop", "--all", "1"), "say which"),
        (("list", "--since", "yesterday"), "is no time"),
        (("list", "--since", "2026-01-01T00:00:00"), "say the zone"),
        (("list", "--consumer", "nobody"), "invalid choice"),
        (("outbox", "replay"), "--since"),
    ):
        refused = await events(*arguments)
        assert refused.returncode == 2
        assert message in refused.stderr
    nowhere = await events("--data", str(tmp_path), "list")
    assert nowhere.returncode == 1
    assert "no system runs on" in nowhere.stderr
    unset = await run_program("events", "list")
    assert unset.returncode == 1
    assert "NATS_CLUSTER_SERVICE_HOST is not set" in unset.stderr
    assert "NATS_ADMINISTRATOR_PASSWORD_FILE is not set" in unset.stderr
    assert "Traceback" not in unset.stderr


async def test_a_local_system_is_found_by_its_folder(bus: NatsBus, own_nats: TestNats, tmp_path: Path) -> None:
    await kill(bus, number=1)
    nats = {
        "url": own_nats.server.url,
        "password_files": {ADMINISTRATOR: str(own_nats.server.password_file(ADMINISTRATOR))},
    }
    (tmp_path / "ready.json").write_text(json.dumps({"nats": nats}))
    assert len(ids(await run_program("events", "--data", str(tmp_path), "--json", "list"))) == 1


async def test_provisioning_says_what_it_does(environment: Mapping[str, str], bus: NatsBus) -> None:
    assert (await run_program("provision", environment=environment)).stdout == "nothing to do\n"
    await bus.ask(f"CONSUMER.DELETE.{STREAM}.{NEWS.name}")
    done = await run_program("provision", environment=environment)
    assert (done.returncode, done.stdout) == (0, "consumer news: made\n")
    wrong = await run_program("provision", environment={**environment, "NATS_ADMINISTRATOR": "somebody"})
    assert wrong.returncode == 1
    assert "Authorization Violation" in wrong.stderr
    away = {**environment, "NATS_CLUSTER_SERVICE_PORT": "1"}
    refused = await run_program("provision", "--patience", "0.1", environment=away)
    assert refused.returncode == 1
    assert "cannot be reached" in refused.stderr
    unset = await run_program("provision", environment={})
    assert unset.returncode == 1
    assert "NATS_CLUSTER_SERVICE_HOST is not set" in unset.stderr


async def test_an_outbox_is_published_again(postgres: TestPostgres, tmp_path: Path) -> None:
    async with service_pool(postgres, "social_graph_manager") as pool:
        await pool.execute("DELETE FROM outbox")
        await pool.execute(
            "INSERT INTO outbox (partition, id, type, subject, body, traceparent, request_id, created_at, published_at)"
            " SELECT 1, number, 'user.followed', 'social-graph-events.1', '{}', '', '', now(),"
            " now() - number * interval '1 hour' FROM generate_series(1, 5) AS number"
        )
        address = postgres.superuser
        password_file = tmp_path / "password"
        password_file.write_text(passwords_of(address.password)[0])
        (tmp_path / "ready.json").write_text(
            json.dumps(
                {
                    "postgres": {
                        "host": address.host,
                        "port": address.port,
                        "user": address.user,
                        "password_file": str(password_file),
                    }
                }
            )
        )
        arguments = ["outbox", "replay", "--since", "210m", "--database", "social_graph_manager"]
        done = await run_program("events", "--data", str(tmp_path), *arguments, "--until", "90m")
        assert (done.returncode, done.stdout) == (0, "social_graph_manager: 2 to be published again\n"), done.stderr
        assert await pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 2
        environment = {
            "SOCIAL_GRAPH_DB_SERVICE_HOST": address.host,
            "SOCIAL_GRAPH_DB_SERVICE_PORT": str(address.port),
            "SOCIAL_GRAPH_DB_USER": address.user,
            "SOCIAL_GRAPH_DB_PASSWORD_FILE": str(password_file),
        }
        done = await run_program("events", "--json", *arguments, environment=environment)
        assert json.loads(done.stdout) == {"social_graph_manager": 1}
        await pool.execute("DELETE FROM outbox")
    unset = await run_program("events", *arguments)
    assert unset.returncode == 1
    assert "SOCIAL_GRAPH_DB_SERVICE_HOST" in unset.stderr
