"""Both buses under one suite: of each test's own consumer, where one is needed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count

import pytest

from pkg.events.bus import ConsumerSpec, Publisher, Subscription
from pkg.events.memory_bus import MemoryBus
from pkg.events.messages import LINK_EVENTS, Message
from pkg.events.nats_bus import NatsBus, open_bus
from pkg.events.operator import ADMINISTRATOR
from pkg.events.provisioning import provide_consumer
from pkg.object_model.clock import SystemClock
from tests.conftest import TestNats

#: Seconds. What is not acknowledged within them is delivered again.
ACK_WAIT = 0.6

_numbers = count(1)


@dataclass
class World:
    """A bus, with subjects and consumers that no other test uses."""

    bus: MemoryBus | NatsBus
    subject: str
    provide: Callable[[ConsumerSpec], Awaitable[object]]

    async def subscribe(self, *, max_pending: int = 1_000, ack_wait: float = ACK_WAIT) -> Subscription:
        spec = ConsumerSpec(
            name=f"test-{self.subject.rpartition('.')[2]}",
            service="tests",
            subjects=(self.subject,),
            ack_wait=ack_wait,
            max_pending=max_pending,
        )
        await self.provide(spec)
        return self.bus.subscribe(spec)

    @property
    def publisher(self) -> Publisher:
        return self.bus

    def message(self, number: int, body: bytes = b"{}") -> Message:
        return Message(
            id=f"{self.subject}/{number}",
            source="tests",
            type="link.added",
            subject=self.subject,
            time=datetime(2026, 1, 1, tzinfo=UTC),
            body=body,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            request_id="abc",
        )


@pytest.fixture
async def nats_bus(nats: TestNats) -> AsyncIterator[NatsBus]:
    async with open_bus(nats.server.address(ADMINISTRATOR), "tests") as bus:
        yield bus


@pytest.fixture(params=["memory", "nats"])
def world(request: pytest.FixtureRequest) -> World:
    subject = f"{LINK_EVENTS}.t{next(_numbers)}"
    if request.param == "memory":
        return World(MemoryBus(SystemClock()), subject, _provide_nothing)
    bus: NatsBus = request.getfixturevalue("nats_bus")
    return World(bus, subject, partial(provide_consumer, bus))


async def _provide_nothing(_spec: ConsumerSpec) -> None:
    """Memory makes a consumer when it is first asked for."""
