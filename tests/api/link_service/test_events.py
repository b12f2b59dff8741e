"""What the link service tells and hears: its handlers on a bus in memory, and the whole of it on real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from pkg.events.consumer import Consumer
from pkg.events.consumers import LINK_CHECKS, LINK_STATUS
from pkg.events.memory_bus import MemoryBus
from pkg.events.messages import LINK_CHECK_EVENTS, STREAM, read_event, write_message
from pkg.events.nats_bus import NatsBus, open_bus
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import Unavailable
from pkg.object_model.events import FollowEvent, LinkCheckedEvent, LinkEvent
from pkg.object_model.types import Actor, LinkStatus
from pkg.provisioning.databases import database_named
from pkg.runtime.access import LINK_CHECKER, LINK_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.settings import Mode, read_settings
from pkg.runtime.start_error import StartError
from svc.link_service.app import create_app
from svc.link_service.events import hear_verdicts, sweep_for_ever
from svc.link_service.settings import LinkServiceSettings
from tests.api.link_service.conftest import LinkHouse
from tests.conftest import TestNats, TestPostgres, running_nats
from tests.internal_service import API_GATEWAY, InternalService, edge_secret

#: Seconds; what takes longer does not come.
DEADLINE = 20.0
URL = "https://a.example/"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await holds():  # noqa: ASYNC110  # what is waited for is on the other side of a service
            await asyncio.sleep(0.02)


async def save(service: InternalService, owner: Actor, url: str = URL) -> Any:
    body = {"Url": url, "Username": owner.name}
    return (await service.ok("POST", "/links", actor=owner, json=body))["link"]


async def statuses(service: InternalService, owner: Actor) -> list[str]:
    page = await service.ok("GET", "/links", actor=owner, query={"username": owner.name})
    return [link["Status"] for link in page["links"]]


def verdict(number: int, owner: Actor, status: LinkStatus = LinkStatus.VALID, url: str = URL) -> LinkCheckedEvent:
    return LinkCheckedEvent(
        id=number, user_id=owner.user_id, username=owner.name, url=url, status=status, checked_at=datetime.now(UTC)
    )


# --- verdicts ---------------------------------------------------------------------------------------------------------


async def test_verdicts_are_heard_and_what_is_none_is_put_aside(house: LinkHouse) -> None:
    bus, other = MemoryBus(SystemClock()), "https://other.example/"
    await save(house.service, house.alice)
    await save(house.service, house.bob, other)
    follow = FollowEvent(id=3, follower_id=1, follower="a", followed_id=2, followed="b", timestamp=NOW, following=True)
    strange = replace(write_message(follow, "tests"), subject=LINK_CHECK_EVENTS)
    await bus.publish([write_message(verdict(1, house.alice), "tests"), strange])
    await bus.publish([write_message(verdict(2, house.bob, url="nonsense"), "tests")])
    await bus.publish([write_message(verdict(4, house.bob, LinkStatus.INVALID, other), "tests")])
    consumer = Consumer(bus.subscribe(LINK_STATUS), LINK_STATUS, hear_verdicts(house.world.links), bus)
    hearing = asyncio.create_task(consumer.run())
    try:

        async def all_done() -> bool:
            seen = [await statuses(house.service, owner) for owner in (house.alice, house.bob)]
            return seen == [["valid"], ["invalid"]] and len(bus.published("dead-letters.>")) == 2

        await eventually(all_done)
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def test_the_sweep_goes_on_after_a_failure() -> None:
    outcomes: list[int | Exception] = [Unavailable("away"), 0, 5]
    done = asyncio.Event()

    async def ask_again() -> int:
        outcome = outcomes.pop(0)
        if not outcomes:
            done.set()
            outcomes.append(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    sweeping = asyncio.create_task(sweep_for_ever(ask_again, interval=0.001))
    async with asyncio.timeout(DEADLINE):
        await done.wait()
    assert not sweeping.done()
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


# --- the whole --------------------------------------------------------------------------------------------------------


def test_no_nats_is_told_at_the_start() -> None:
    """When the NATS host was unset or misnamed, the original's events were silently off."""
    with pytest.raises(StartError) as refused:
        read_settings(LinkServiceSettings, {})
    assert "NATS_CLUSTER_SERVICE_HOST is not set; set it" in refused.value.faults


@pytest.fixture(scope="module")
async def own_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestNats]:
    """One that is stopped and started again."""
    async with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


type RunService = Callable[..., Any]


@pytest.fixture
async def run(postgres: TestPostgres, link_pool: asyncpg.Pool, own_nats: TestNats, tmp_path: Path) -> RunService:
    """The service as it is deployed, but for its socket."""
    # What other tests left there would be told first.
    await link_pool.execute("DELETE FROM outbox")
    database = database_named("link_manager")
    address = postgres.address(database, database.service)
    edges = {
        "accepts": {API_GATEWAY: _secrets(API_GATEWAY, LINK_MANAGER)},
        "presents": {callee: _secrets(LINK_MANAGER, callee) for callee in (USER_MANAGER, SOCIAL_GRAPH_MANAGER)},
    }
    mutual_auth_file = tmp_path / "mutual-auth.yaml"
    mutual_auth_file.write_text(yaml.safe_dump(edges))
    mutual_auth_file.chmod(0o600)
    nats = own_nats.server.address(LINK_MANAGER)

    @asynccontextmanager
    async def run(**changes: object) -> AsyncIterator[InternalService]:
        values: dict[str, Any] = {
            "mode": Mode.LOCAL,
            "mutual_auth_file": mutual_auth_file,
            "db_host": address.host,
            "db_port": address.port,
            "db_password": address.password,
            "nats_host": nats.host,
            "nats_port": nats.port,
            "nats_password": nats.password,
            "user_manager_host": "127.0.0.1",
            "social_graph_manager_host": "127.0.0.1",
        }
        for name in ("db_password", "nats_password"):
            secret = tmp_path / name
            secret.write_text(values[name])
            values[name] = secret
        async with create_app(LinkServiceSettings(**(values | changes))) as app:
            yield InternalService(LINK_MANAGER, app)

    return run


def _secrets(caller: str, callee: str) -> dict[str, str]:
    secret = edge_secret(caller, callee)
    return {"token": secret.token, "statement_key": secret.statement_key}


@asynccontextmanager
async def link_checker(nats: TestNats) -> AsyncIterator[NatsBus]:
    """The bus, as the link checker sees it."""
    async with open_bus(nats.server.address(LINK_CHECKER), "tests") as bus:
        yield bus


async def told_of(bus: NatsBus, owner: Actor, number: int) -> list[LinkEvent]:
    """The next events of a user's links."""
    subscription = bus.subscribe(LINK_CHECKS)
    found: list[LinkEvent] = []
    async with asyncio.timeout(DEADLINE):
        while len(found) < number:
            for delivery in await subscription.fetch(100, 1.0):
                event = read_event(delivery.message)
                await delivery.ack()
                if isinstance(event, LinkEvent) and event.user_id == owner.user_id:
                    found.append(event)
    return found


async def test_a_save_is_told_and_its_verdict_is_heard(run: RunService, own_nats: TestNats) -> None:
    owner = Actor(7_000_001, "tess")
    async with run() as service, link_checker(own_nats) as bus:
        await save(service, owner, of_many := "https://one-of-many.example/")
        assert len(await told_of(bus, owner, 1)) == 1
        link = await save(service, owner)
        await service.ok("DELETE", "/links", actor=owner, query={"username": owner.name, "url": URL})
        again = await save(service, owner)
        events = await told_of(bus, owner, 3)
        assert [event.version for event in events] == [link["Version"], 2, again["Version"]]
        assert events[0].timestamp == datetime.fromisoformat(link["CreatedAt"])
        await bus.publish([write_message(verdict(7_000_001, owner), LINK_CHECKER)])
        await bus.publish([write_message(replace(verdict(7_000_005, owner, url=of_many), bulk=True), LINK_CHECKER)])

        async def is_valid() -> bool:
            return await statuses(service, owner) == ["valid", "valid"]

        await eventually(is_valid)


async def test_without_nats_people_go_on_saving_and_nothing_is_lost(run: RunService, own_nats: TestNats) -> None:
    """In the original a publish failure killed the process, and an event that failed was gone."""
    owner = Actor(7_000_002, "uma")
    own_nats.stop()
    async with run() as service:
        saved = [await save(service, owner, f"https://{number}.example/") for number in range(3)]
        ready = await service.call("GET", "/readyz", caller=None)
        assert ready.status == 200, ready.body
    own_nats.start()
    async with run() as service:
        saved.append(await save(service, owner))
        async with link_checker(own_nats) as bus:
            events = await told_of(bus, owner, 4)
    assert [(event.url, str(event.link_id)) for event in events] == [(link["Url"], link["Id"]) for link in saved]


async def test_what_was_told_last_is_published_before_the_end(run: RunService, own_nats: TestNats) -> None:
    owner = Actor(7_000_003, "vera")
    async with run() as service:
        await service.ok("GET", "/links", actor=owner, query={"username": owner.name})
        for number in range(20):
            await save(service, owner, f"https://{number}.example/")
    async with link_checker(own_nats) as bus:
        assert len(await told_of(bus, owner, 20)) == 20


async def test_a_service_that_shall_not_consume_leaves_verdicts_to_others(run: RunService, own_nats: TestNats) -> None:
    """A blue/green switch of the original did not gate consumers: unpromoted code worked on live events."""
    owner, url = Actor(7_000_004, "walt"), "https://of-walt.example/"
    async with run(consume=False) as service, link_checker(own_nats) as bus:
        await save(service, owner, url)
        assert len(await told_of(bus, owner, 1)) == 1, "it tells all the same"
        await bus.publish([write_message(verdict(7_000_004, owner, url=url), LINK_CHECKER)])
        assert await count_waiting(own_nats) == 1
        assert await statuses(service, owner) == ["pending"]
    async with run() as service:

        async def is_valid() -> bool:
            return await statuses(service, owner) == ["valid"]

        await eventually(is_valid)


async def count_waiting(nats: TestNats) -> int:
    """Verdicts that nobody has worked on."""
    async with open_bus(nats.server.address(LINK_MANAGER), "tests") as bus:
        state = await bus.ask(f"CONSUMER.INFO.{STREAM}.{LINK_STATUS.name}")
        return int(state["num_pending"]) + int(state["num_ack_pending"])
