"""The NATS that the stack starts: each user has the rights listed and no others, strangers none; messages stay."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from stat import S_IMODE
from urllib.parse import urlsplit

import nats
import pytest
from nats.aio.client import Client

from pkg.events.operator import ADMINISTRATOR
from pkg.local_stack.nats_server import NatsServer
from pkg.local_stack.ports import PortChooser
from pkg.local_stack.secret_store import SecretStore
from pkg.provisioning.nats_users import PERMISSIONS
from tests.running_program import DEADLINE, running


def build(folder: Path) -> NatsServer:
    server = NatsServer(folder / "nats", PortChooser().choose(0), SecretStore(folder / "secrets"))
    server.initialise()
    return server


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    folder = tmp_path_factory.mktemp("nats")
    server = build(folder)
    async with running(server.program(), folder):
        yield server


async def told(server: NatsServer, credentials: dict[str, str], *lines: str) -> list[str]:
    """The errors with which the server answers these lines of its protocol (https://docs.nats.io/reference)."""
    place = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        connect = json.dumps({"verbose": False, "pedantic": False, **credentials})
        writer.write("\r\n".join((f"CONNECT {connect}", *lines, "PING", "")).encode())
        errors = []
        async with asyncio.timeout(DEADLINE):
            while line := (await reader.readline()).decode().strip():
                if line.startswith("-ERR"):
                    errors.append(line.removeprefix("-ERR ").strip("'"))
                if line == "PONG":
                    break
        return errors
    finally:
        writer.close()


def password(server: NatsServer, user: str) -> dict[str, str]:
    return {"user": user, "pass": server.password_file(user).read_text()}


def publish(subject: str) -> str:
    return f"PUB {subject} 0\r\n"


def subscribe(subject: str) -> str:
    return f"SUB {subject} 1"


#: Whoever uses which is the one who may.
PUBLISHED: dict[str, set[str]] = {
    "link-events.7": {"link-manager"},
    "link-events.7.bulk": {"link-manager"},
    "social-graph-events.7": {"social-graph-manager"},
    "link-check-events": {"link-checker"},
    "link-check-events.bulk": {"link-checker"},
    "token-revocations": {"user-manager"},
    "dead-letters.news": {"news-manager"},
    "dead-letters.link-checks": {"link-checker"},
    "dead-letters.link-status": {"link-manager"},
    "$JS.API.STREAM.INFO.delinkcious": {"link-manager", "social-graph-manager", "news-manager", "link-checker"},
    "$JS.API.CONSUMER.INFO.delinkcious.news": {"news-manager"},
    "$JS.API.CONSUMER.MSG.NEXT.delinkcious.news": {"news-manager"},
    "$JS.ACK.delinkcious.news.1.1.1.1.0": {"news-manager"},
    "$JS.API.CONSUMER.MSG.NEXT.delinkcious.link-checks": {"link-checker"},
    "$JS.API.CONSUMER.MSG.NEXT.delinkcious.bulk-link-checks": {"link-checker"},
    "$JS.API.CONSUMER.MSG.NEXT.delinkcious.link-status": {"link-manager"},
    "$JS.API.CONSUMER.MSG.NEXT.delinkcious.bulk-link-status": {"link-manager"},
    # Making and unmaking is provisioning, with credentials of its own.
    "$JS.API.STREAM.CREATE.delinkcious": set(),
    "$JS.API.STREAM.DELETE.delinkcious": set(),
    "$JS.API.STREAM.PURGE.delinkcious": set(),
    "$JS.API.STREAM.UPDATE.delinkcious": set(),
    "$JS.API.STREAM.SNAPSHOT.delinkcious": set(),
    # Reading past one's own consumers, and looking around.
    "$JS.API.STREAM.MSG.GET.delinkcious": set(),
    "$JS.API.STREAM.MSG.DELETE.delinkcious": set(),
    "$JS.API.DIRECT.GET.delinkcious": set(),
    "$JS.API.STREAM.INFO.dead-letters": set(),
    "$JS.API.STREAM.NAMES": set(),
    "$JS.API.STREAM.LIST": set(),
    "$JS.API.CONSUMER.NAMES.delinkcious": set(),
    "$JS.API.CONSUMER.PAUSE.delinkcious.news": set(),
    "$JS.API.INFO": set(),
    "$SYS.REQ.SERVER.PING": set(),
    "$JS.API.CONSUMER.CREATE.delinkcious.news": set(),
    "$JS.API.CONSUMER.DURABLE.CREATE.delinkcious.news": set(),
    "$JS.API.CONSUMER.DELETE.delinkcious.news": set(),
    "anything.else": set(),
    "link-events": set(),
}


@pytest.mark.parametrize("user", PERMISSIONS)
async def test_each_publishes_what_is_theirs(server: NatsServer, user: str) -> None:
    for subject, users in PUBLISHED.items():
        errors = await told(server, password(server, user), publish(subject))
        if user == ADMINISTRATOR or user in users:
            assert errors == [], subject
        else:
            assert errors == [f'Permissions Violation for Publish to "{subject}"'], subject


async def test_gateways_alone_hear_of_revocations(server: NatsServer) -> None:
    for user in PERMISSIONS:
        errors = await told(server, password(server, user), subscribe("token-revocations"))
        assert (errors == []) == (user in (ADMINISTRATOR, "api-gateway")), (user, errors)


@pytest.mark.parametrize("user", PERMISSIONS)
async def test_each_hears_their_own_answers_alone(server: NatsServer, user: str) -> None:
    for heard in (">", "link-events.>", "link-check-events", "$JS.>", "_INBOX.>", "_INBOX_*.>"):
        errors = await told(server, password(server, user), subscribe(heard))
        assert (errors == []) == (user == ADMINISTRATOR), (heard, errors)
    for other in PERMISSIONS:
        errors = await told(server, password(server, user), subscribe(f"_INBOX_{other}.1"))
        assert (errors == []) == (user in (ADMINISTRATOR, other)), (other, errors)


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"user": "link-manager"},
        {"user": "link-manager", "pass": "wrong"},
        {"user": ADMINISTRATOR, "pass": ""},
        {"user": "somebody", "pass": "x"},
        {"auth_token": "123"},
    ],
)
async def test_strangers_get_nothing(server: NatsServer, credentials: dict[str, str]) -> None:
    assert await told(server, credentials, publish("link-events.7")) == ["Authorization Violation"]


async def test_passwords_are_nobody_elses(server: NatsServer) -> None:
    one, other = password(server, "link-manager"), password(server, "news-manager")
    assert await told(server, one | {"user": "news-manager"}) == ["Authorization Violation"]
    assert one["pass"] != other["pass"]


async def test_messages_outlive_the_server(tmp_path: Path) -> None:
    server = build(tmp_path)
    configuration = tmp_path / "nats" / "nats.conf"
    assert S_IMODE(configuration.stat().st_mode) == 0o600
    secret = password(server, ADMINISTRATOR)["pass"]

    async def connect() -> Client:
        return await nats.connect(server.url, user=ADMINISTRATOR, password=secret, allow_reconnect=False)

    async with running(server.program(), tmp_path):
        client = await connect()
        stream = client.jetstream()
        await stream.add_stream(name="events", subjects=["link-events.>"])
        await stream.publish("link-events.7", b"saved")
        await client.close()
    server.initialise()
    async with running(server.program(), tmp_path):
        client = await connect()
        kept = await client.jetstream().get_last_msg("events", "link-events.7")
        await client.close()
    assert kept.data == b"saved"
