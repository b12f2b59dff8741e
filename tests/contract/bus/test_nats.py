"""What only NATS promises: rights, a server that goes and comes back, streams and consumers made by an operator."""

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from pkg.events.bus import ConsumerSpec
from pkg.events.consumer import Consumer
from pkg.events.consumers import BULK_LINK_CHECKS, BULK_LINK_STATUS, CONSUMERS, LINK_CHECKS, LINK_STATUS, NEWS
from pkg.events.messages import (
    DEAD_LETTER_STREAM,
    DEAD_LETTERS,
    LINK_CHECK_EVENTS,
    LINK_EVENTS,
    SOCIAL_GRAPH_EVENTS,
    STREAM,
    Message,
)
from pkg.events.nats_bus import NatsBus, open_bus
from pkg.events.operator import ADMINISTRATOR
from pkg.events.provisioning import provide_consumer, provision_at, provision_events
from pkg.events.settings import NatsAddress
from pkg.local_stack.nats_server import NatsServer
from pkg.local_stack.ports import PortChooser
from pkg.local_stack.secret_store import SecretStore
from pkg.object_model.errors import TooLarge, Unavailable
from pkg.runtime.access import LINK_CHECKER, LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER
from pkg.runtime.background import run_in_background
from pkg.runtime.logs import logs_written_to
from pkg.runtime.mutual_auth import new_secret
from pkg.runtime.secret import Secret, passwords_of
from tests.conftest import TestNats, running_nats
from tests.faults.proxy import Mode, Route

DEADLINE = 30.0

_ids = count(1)


def message(subject: str = f"{LINK_EVENTS}.0", body: bytes = b"{}") -> Message:
    return Message(
        id=f"nats-{next(_ids)}",
        source="tests",
        type="link.added",
        subject=subject,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        body=body,
    )


async def eventually(check: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not await check():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        await asyncio.sleep(0.02)


async def works(call: Callable[[], Awaitable[object]]) -> bool:
    try:
        await call()
    except Unavailable:
        return False
    return True


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[TestNats]:
    """One that a test may stop."""
    async with running_nats(tmp_path / "nats") as nats:
        yield nats


#: Seconds. The server answers nothing to what it forbids.
SHORT_PATIENCE = 0.25

TELLS = {
    LINK_MANAGER: {f"{LINK_EVENTS}.3"},
    SOCIAL_GRAPH_MANAGER: {f"{SOCIAL_GRAPH_EVENTS}.3"},
    LINK_CHECKER: {LINK_CHECK_EVENTS, f"{LINK_CHECK_EVENTS}.bulk"},
    NEWS_MANAGER: set[str](),
}
HEARS = {
    LINK_MANAGER: {LINK_STATUS, BULK_LINK_STATUS},
    LINK_CHECKER: {LINK_CHECKS, BULK_LINK_CHECKS},
    NEWS_MANAGER: {NEWS},
    SOCIAL_GRAPH_MANAGER: set[ConsumerSpec](),
}


@pytest.mark.parametrize("service", TELLS)
async def test_a_service_tells_what_is_its_own_and_hears_what_is_its_own(nats: TestNats, service: str) -> None:
    hears = HEARS[service]
    letters = {f"{DEAD_LETTERS}.{consumer.name}" for consumer in CONSUMERS}
    own = TELLS[service] | {f"{DEAD_LETTERS}.{consumer.name}" for consumer in hears}
    everything = {subject for subjects in TELLS.values() for subject in subjects} | letters
    async with open_bus(nats.server.address(service), service, reply_timeout=SHORT_PATIENCE) as bus:
        for subject in sorted(everything):
            with logs_written_to(io.BytesIO()):
                assert await works(partial(bus.publish, [message(subject)])) == (subject in own), subject
        for consumer in CONSUMERS:
            subscription = bus.subscribe(consumer)
            with logs_written_to(io.BytesIO()):
                fetched = await works(partial(subscription.fetch, 1, 0.3))
                assert fetched == (consumer in hears), consumer.name


@pytest.mark.parametrize("service", TELLS)
async def test_a_service_makes_changes_and_removes_nothing(nats: TestNats, service: str) -> None:
    async with open_bus(nats.server.address(service), service, reply_timeout=SHORT_PATIENCE) as bus:
        for forbidden in (
            f"STREAM.CREATE.{service}",
            f"STREAM.DELETE.{STREAM}",
            f"STREAM.MSG.GET.{STREAM}",
            f"CONSUMER.DELETE.{STREAM}.{NEWS.name}",
            f"STREAM.INFO.{DEAD_LETTER_STREAM}",
        ):
            with logs_written_to(io.BytesIO()), pytest.raises(Unavailable, match="does not answer"):
                await bus.ask(forbidden, {"name": service})


async def test_an_acknowledgement_is_allowed_and_counts(nats: TestNats) -> None:
    async with open_bus(nats.server.address(LINK_CHECKER), "tests") as bus:
        await bus.publish([message(LINK_CHECK_EVENTS)])
    async with open_bus(nats.server.address(LINK_MANAGER), "tests") as bus:
        subscription = bus.subscribe(LINK_STATUS)

        async def pending() -> int:
            info = await bus.ask(f"CONSUMER.INFO.{STREAM}.{LINK_STATUS.name}")
            return int(info["num_ack_pending"])

        for delivery in await subscription.fetch(100, 5):
            await delivery.ack()

        async def acknowledged() -> bool:
            return await pending() == 0

        await eventually(acknowledged, "everything is acknowledged")


async def test_a_wrong_password_is_told_and_kept_out_of_it(nats: TestNats) -> None:
    right = nats.server.address(NEWS_MANAGER)
    log = io.BytesIO()
    with logs_written_to(log):
        async with open_bus(replace(right, password="of-somebody-else"), "tests") as bus:
            with pytest.raises(Unavailable, match="Authorization Violation"):
                await bus.check()
    assert b"Authorization Violation" in log.getvalue()
    assert b"of-somebody-else" not in log.getvalue()
    assert passwords_of(right.password)[0] not in repr(right)


async def test_a_password_that_is_rotated(own_nats: TestNats, tmp_path: Path) -> None:
    """The server knows one, and breaks with whoever came with another; the bus comes back with the one that follows."""
    right = own_nats.server.address(NEWS_MANAGER)
    before = passwords_of(right.password)[0]
    file = tmp_path / "password"
    file.write_text(f"{new_secret()}\n{before}")
    async with open_bus(replace(right, password=Secret.in_file(file)), "tests") as bus:
        await eventually(lambda: works(bus.check), "the second one is tried")
        # What it is to be next is known to the bus before the server knows it.
        file.write_text(before)
        after = new_secret()
        file.write_text(f"{before}\n{after}")
        of_server = own_nats.server.password_file(NEWS_MANAGER)
        of_server.write_text(after)
        own_nats.reload()
        try:
            await eventually(lambda: refuses(replace(right, password=before)), "the server has changed it")
            await eventually(lambda: works(bus.check), "the bus is back")
        finally:
            of_server.write_text(before)
            own_nats.reload()


async def refuses(address: NatsAddress) -> bool:
    async with open_bus(address, "tests") as bus:
        return bus.refused


async def test_the_bus_starts_without_nats_and_connects_when_it_comes(own_nats: TestNats) -> None:
    own_nats.stop()
    async with open_bus(own_nats.server.address(NEWS_MANAGER), "tests") as bus:
        subscription = bus.subscribe(NEWS)
        for call in (bus.check, lambda: bus.publish([message()]), lambda: subscription.fetch(1, 0.1)):
            with pytest.raises(Unavailable) as refusal:
                await call()
            assert refusal.value.code == "bus_unavailable"
        own_nats.start()
        await eventually(lambda: works(bus.check), "the bus is ready")


async def test_a_server_that_restarts_keeps_messages_and_consumers(own_nats: TestNats) -> None:
    told = [message(f"{LINK_EVENTS}.{number % 16}") for number in range(50)]
    async with (
        open_bus(own_nats.server.address(LINK_MANAGER), "tests") as teller,
        open_bus(own_nats.server.address(NEWS_MANAGER), "tests") as hearer,
    ):
        subscription = hearer.subscribe(NEWS)
        await teller.publish(told[:25])
        first = await subscription.fetch(10, 5)
        waiting = asyncio.create_task(subscription.fetch(100, 20))
        for delivery in first:
            await delivery.ack()
        own_nats.stop()
        own_nats.start()
        # Whoever was waiting was told, or has what was there already.
        early = await asyncio.gather(waiting, return_exceptions=True)
        heard = [delivery.message.id for delivery in first]
        heard += [delivery.message.id for found in early if isinstance(found, list) for delivery in found]
        await eventually(lambda: works(lambda: teller.publish(told)), "the teller is back")
        await eventually(lambda: works(hearer.check), "the hearer is back")
        deadline = time.monotonic() + DEADLINE
        while len(set(heard)) < 50 and time.monotonic() < deadline:
            for delivery in await subscription.fetch(100, 1):
                heard.append(delivery.message.id)
                # Over another connection than the one that it may have come by.
                await delivery.ack()
        assert set(heard) == {one.id for one in told}


async def test_a_consumer_that_is_stopped_takes_nothing_with_it(nats: TestNats) -> None:
    heard: list[str] = []

    async def handle(messages: Sequence[Message]) -> None:
        heard.extend(message.id for message in messages)

    async with open_bus(nats.server.address(ADMINISTRATOR), "tests") as bus:
        subject = f"{LINK_EVENTS}.stopped"
        # What it took would be seen again after the test at the earliest.
        spec = ConsumerSpec(name="test-stopped", service="tests", subjects=(subject,), ack_wait=600)
        await provide_consumer(bus, spec)
        told = [message(subject) for _ in range(20)]
        for each in told[:-1]:
            consumer = asyncio.create_task(Consumer(bus.subscribe(spec), spec, handle, bus).run())
            await bus.publish([each])
            consumer.cancel()
            await asyncio.gather(consumer, return_exceptions=True)
        await bus.publish(told[-1:])
        async with run_in_background(Consumer(bus.subscribe(spec), spec, handle, bus).run()):

            async def all_heard() -> bool:
                return len(heard) >= len(told)

            await eventually(all_heard, "all are heard")
    assert heard == [each.id for each in told]


async def test_what_is_too_large_is_refused_by_name(nats: TestNats) -> None:
    large = message(body=b"x" * 1024**2)
    async with open_bus(nats.server.address(LINK_MANAGER), "tests") as bus:
        with pytest.raises(TooLarge, match=large.id):
            await bus.publish([message(), large])


async def test_provisioning_is_repeatable_and_changes_what_differs(own_nats: TestNats) -> None:
    address = own_nats.server.address(ADMINISTRATOR)
    assert await provision_at(address) == []
    async with open_bus(address, "tests") as bus:
        stream = (await bus.ask(f"STREAM.INFO.{STREAM}"))["config"]
        subjects = [f"{LINK_EVENTS}.>", f"{SOCIAL_GRAPH_EVENTS}.>", LINK_CHECK_EVENTS, f"{LINK_CHECK_EVENTS}.bulk"]
        assert sorted(stream["subjects"]) == sorted(subjects)
        assert (stream["storage"], stream["retention"]) == ("file", "limits")
        assert stream["max_age"] == 7 * 24 * 3600 * 10**9
        await bus.ask(f"STREAM.UPDATE.{STREAM}", {**stream, "subjects": [f"{LINK_EVENTS}.>"], "max_age": 10**12})
        await provide_consumer(bus, replace(NEWS, ack_wait=5.0, max_pending=7))
        await bus.ask(f"CONSUMER.DELETE.{STREAM}.{LINK_CHECKS.name}")
        assert await provision_events(bus) == [
            f"stream {STREAM}: changed subjects, max_age",
            f"consumer {NEWS.name}: changed ack_wait, max_ack_pending",
            f"consumer {LINK_CHECKS.name}: made",
        ]
        assert await provision_events(bus) == []


async def test_a_bus_without_its_stream_or_its_consumer_is_not_ready(own_nats: TestNats) -> None:
    address = own_nats.server.address(ADMINISTRATOR)
    async with open_bus(address, "tests") as bus:
        subscription = bus.subscribe(NEWS)
        await bus.check()
        await bus.ask(f"CONSUMER.DELETE.{STREAM}.{NEWS.name}")
        await assert_not_provisioned(bus.check)
        await assert_not_provisioned(lambda: subscription.fetch(1, 0.1))
        await bus.ask(f"STREAM.DELETE.{STREAM}")
        await assert_not_provisioned(bus.check)
        await assert_not_provisioned(lambda: bus.publish([message()]))


async def assert_not_provisioned(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(Unavailable) as refusal:
        await call()
    assert refusal.value.code == "events_not_provisioned"


async def test_provisioning_waits_for_a_server_that_is_coming_up(own_nats: TestNats) -> None:
    own_nats.stop()
    address = own_nats.server.address(ADMINISTRATOR)
    provisioning = asyncio.create_task(provision_at(address))
    done, _ = await asyncio.wait((provisioning,), timeout=0.3)
    assert not done
    own_nats.start()
    assert await provisioning == []
    own_nats.stop()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await provision_at(address, patience=0.1)


async def test_provisioning_gives_up_at_once_where_it_is_not_let_in(nats: TestNats) -> None:
    stranger = replace(nats.server.address(ADMINISTRATOR), password="of-somebody-else")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="Authorization Violation"):
        await provision_at(stranger)
    assert time.monotonic() - began < 10


def test_the_servers_configuration_is_its_owners_alone(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, PortChooser().choose(0), SecretStore(tmp_path / "secrets"))
    server.initialise()
    assert (tmp_path / "nats.conf").stat().st_mode & 0o777 == 0o600


def test_a_bus_shows_no_password(nats: TestNats) -> None:
    address = nats.server.address(NEWS_MANAGER)
    assert passwords_of(address.password)[0] not in f"{address!r} {NatsBus(address, 'tests')!r} {address.url}"


async def test_a_connection_that_is_cut_while_much_is_being_sent_is_replaced(nats: TestNats) -> None:
    """The client then fails to send what it holds, and says to nobody that it has ended."""
    route = Route("tests", "nats", [nats.server.port])
    address = replace(nats.server.address(ADMINISTRATOR), port=await route.listen())

    async def talk(bus: NatsBus) -> None:
        while True:
            await works(partial(bus.announce, "revocations", b"x" * 1_000))
            await asyncio.sleep(0)

    with contextlib.closing(route):
        async with open_bus(address, "tests") as bus, run_in_background(talk(bus)):
            for _ in range(5):
                await eventually(partial(works, partial(bus.ask, f"STREAM.INFO.{STREAM}")), "it is connected")
                route.change(Mode.CUT)
                await asyncio.sleep(0)
                route.change(Mode.OPEN)
