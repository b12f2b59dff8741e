"""What every bus promises."""

import asyncio
import time

import pytest

from pkg.events.bus import Delivery, Subscription
from pkg.events.messages import Message
from pkg.object_model.errors import InvalidArgument
from tests.contract.bus.conftest import ACK_WAIT, World

DEADLINE = 15.0


async def fetch_all(subscription: Subscription, count: int) -> list[Delivery]:
    """Until ``count`` are there; fails when they do not come."""
    found: list[Delivery] = []
    deadline = time.monotonic() + DEADLINE
    while len(found) < count and time.monotonic() < deadline:
        found += await subscription.fetch(count - len(found), 0.5)
    assert len(found) == count
    return found


async def test_what_is_published_arrives_as_it_was_and_in_order(world: World) -> None:
    subscription = await world.subscribe()
    sent = [world.message(number, b'{"n": %d, "t": "\xc3\xa9"}' % number) for number in range(250)]
    await world.publisher.publish(sent)
    found = await fetch_all(subscription, 250)
    assert [delivery.message.body for delivery in found] == [message.body for message in sent]
    first = found[0].message
    assert (first.id, first.source, first.type, first.subject, first.time, first.traceparent, first.request_id) == (
        sent[0].id,
        sent[0].source,
        sent[0].type,
        sent[0].subject,
        sent[0].time,
        sent[0].traceparent,
        sent[0].request_id,
    )
    assert found[0].headers["ce-specversion"] == "1.0"
    assert [delivery.attempt for delivery in found] == [1] * 250
    assert sorted(delivery.sequence for delivery in found) == [delivery.sequence for delivery in found]


async def test_a_repeat_of_an_id_is_dropped(world: World) -> None:
    subscription = await world.subscribe()
    for _ in range(3):
        await world.publisher.publish([world.message(1), world.message(2)])
    found = await fetch_all(subscription, 2)
    assert await subscription.fetch(10, 0.2) == []
    assert [delivery.message.id for delivery in found] == [world.message(1).id, world.message(2).id]


async def test_a_fetch_gives_what_is_there_and_waits_only_for_the_first(world: World) -> None:
    subscription = await world.subscribe()
    await world.publisher.publish([world.message(number) for number in range(5)])
    began = time.monotonic()
    assert len(await subscription.fetch(3, 10)) == 3
    assert len(await subscription.fetch(100, 10)) == 2
    assert time.monotonic() - began < 5


async def test_a_fetch_is_woken_by_what_comes(world: World) -> None:
    subscription = await world.subscribe()
    fetching = asyncio.create_task(subscription.fetch(10, 10))
    done, _ = await asyncio.wait((fetching,), timeout=0.2)
    assert not done
    began = time.monotonic()
    await world.publisher.publish([world.message(1)])
    assert len(await fetching) >= 1
    assert time.monotonic() - began < 5


async def test_nothing_comes_of_an_empty_bus(world: World) -> None:
    subscription = await world.subscribe()
    began = time.monotonic()
    assert await subscription.fetch(10, 0.3) == []
    assert 0.2 < time.monotonic() - began < 3


async def test_what_is_acknowledged_never_comes_back(world: World) -> None:
    subscription = await world.subscribe()
    await world.publisher.publish([world.message(1)])
    (delivery,) = await fetch_all(subscription, 1)
    await delivery.ack()
    assert await subscription.fetch(10, ACK_WAIT * 2) == []


async def test_what_is_not_acknowledged_comes_again_and_counts(world: World) -> None:
    subscription = await world.subscribe()
    await world.publisher.publish([world.message(1)])
    (first,) = await fetch_all(subscription, 1)
    (again,) = await fetch_all(subscription, 1)
    assert (again.message.id, again.sequence, again.attempt) == (first.message.id, first.sequence, 2)


async def test_what_is_put_off_comes_after_its_delay(world: World) -> None:
    subscription = await world.subscribe()
    await world.publisher.publish([world.message(1)])
    (delivery,) = await fetch_all(subscription, 1)
    await delivery.retry(0.4)
    assert await subscription.fetch(10, 0.1) == []
    (again,) = await fetch_all(subscription, 1)
    assert again.attempt == 2


async def test_what_is_given_back_comes_at_once(world: World) -> None:
    subscription = await world.subscribe()
    await world.publisher.publish([world.message(1)])
    (delivery,) = await fetch_all(subscription, 1)
    await delivery.retry(0)
    began = time.monotonic()
    assert len(await subscription.fetch(10, 10)) == 1
    assert time.monotonic() - began < ACK_WAIT / 2


async def test_whoever_is_still_at_it_keeps_what_he_has(world: World) -> None:
    subscription = await world.subscribe()
    await world.publisher.publish([world.message(1)])
    (delivery,) = await fetch_all(subscription, 1)
    until = time.monotonic() + ACK_WAIT * 2
    while time.monotonic() < until:
        await delivery.extend()
        assert await subscription.fetch(10, ACK_WAIT / 4) == []
    await delivery.ack()


async def test_two_who_share_a_name_share_the_messages(world: World) -> None:
    one, other = await world.subscribe(), await world.subscribe()
    await world.publisher.publish([world.message(number) for number in range(40)])
    found = [*(await fetch_all(one, 20)), *(await fetch_all(other, 20))]
    assert len({delivery.message.id for delivery in found}) == 40


async def test_only_so_many_wait_for_their_acknowledgement(world: World) -> None:
    subscription = await world.subscribe(max_pending=3, ack_wait=60)
    await world.publisher.publish([world.message(number) for number in range(5)])
    held = await fetch_all(subscription, 3)
    assert await subscription.fetch(10, 0.1) == []
    await held[0].ack()
    (following,) = await fetch_all(subscription, 1)
    assert following.message.id == world.message(3).id


async def test_it_is_known_how_many_nobody_has_taken(world: World) -> None:
    subscription = await world.subscribe()
    await world.publisher.publish([world.message(number) for number in range(5)])
    found = await subscription.fetch(2, 5)
    assert found[-1].behind == 3


async def test_a_consumer_begins_with_what_was_there_before_it(world: World) -> None:
    await world.publisher.publish([world.message(1)])
    subscription = await world.subscribe()
    assert len(await fetch_all(subscription, 1)) == 1


async def test_what_is_no_event_of_ours_is_handed_out_raw(world: World) -> None:
    subscription = await world.subscribe()
    strange = Message(
        id=world.message(1).id,
        source="tests",
        type="link.added",
        subject=world.subject,
        time=world.message(1).time,
        body=b"\xff",
        extra_headers={"ce-time": "yesterday"},
    )
    await world.publisher.publish([strange])
    (delivery,) = await fetch_all(subscription, 1)
    assert (delivery.subject, delivery.body, delivery.headers["ce-time"]) == (world.subject, b"\xff", "yesterday")
    with pytest.raises(InvalidArgument, match="no event of ours"):
        _ = delivery.message


async def test_a_bus_that_is_there_says_so(world: World) -> None:
    await world.subscribe()
    await world.bus.check()
