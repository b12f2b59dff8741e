"""What every store of links keeps of checks: verdicts in the order of the checks, and who waits for one."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from pkg.link_manager.store import LinkStore, WaitingLink
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Link, LinkStatus
from tests.contract.link_store.links import (
    NO_LIMIT,
    START,
    add,
    candidate,
    delete,
    event_of,
    events_of,
    ids,
    key,
    make_link,
    query,
    take_in,
    update,
)

URL = "https://1.example/"
CHECKED = START + timedelta(hours=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


async def status_of(store: LinkStore, user_id: int) -> LinkStatus:
    (found,) = await store.find_links(query(user_id))
    return found.link.status


# --- verdicts ---------------------------------------------------------------------------------------------------------


async def test_a_verdict_changes_the_status_and_nothing_else(store: LinkStore, user_id: int) -> None:
    link = await add(store, user_id, make_link(1, tags=("a",)))
    assert await store.keep_verdict(user_id, key(URL), LinkStatus.VALID, CHECKED)
    assert [found for found, _ in await store.find_links(query(user_id))] == [replace(link, status=LinkStatus.VALID)]
    assert await ids(store, user_id, status=LinkStatus.VALID) == [1]
    assert await ids(store, user_id, status=LinkStatus.PENDING) == []
    assert len(await events_of(store, user_id)) == 1, "nobody is told"


async def test_a_late_verdict_never_overwrites_a_newer_one(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    assert await store.keep_verdict(user_id, key(URL), LinkStatus.INVALID, CHECKED)
    assert not await store.keep_verdict(user_id, key(URL), LinkStatus.VALID, CHECKED - SECOND)
    assert not await store.keep_verdict(user_id, key(URL), LinkStatus.VALID, CHECKED), "a repeat"
    assert await status_of(store, user_id) is LinkStatus.INVALID
    assert await store.keep_verdict(user_id, key(URL), LinkStatus.VALID, CHECKED + SECOND)
    assert await status_of(store, user_id) is LinkStatus.VALID


async def test_of_verdicts_at_once_the_newest_stands(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    verdicts = [(LinkStatus.INVALID, CHECKED + number * SECOND) for number in range(20)]
    verdicts.insert(7, (LinkStatus.VALID, CHECKED + 20 * SECOND))
    await asyncio.gather(*[store.keep_verdict(user_id, key(URL), *verdict) for verdict in verdicts])
    assert await status_of(store, user_id) is LinkStatus.VALID


async def test_a_verdict_of_what_is_gone(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    await store.keep_verdict(user_id, key(URL), LinkStatus.VALID, CHECKED)
    await delete(store, user_id, URL)
    assert not await store.keep_verdict(user_id, key(URL), LinkStatus.INVALID, CHECKED + SECOND)
    await add(store, user_id, make_link(2, url=URL))
    assert await status_of(store, user_id) is LinkStatus.PENDING, "what is saved again is checked again"
    assert not await store.keep_verdict(user_id + 1_000_000, key(URL), LinkStatus.INVALID, CHECKED)


async def test_a_change_keeps_the_verdict(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    await store.keep_verdict(user_id, key(URL), LinkStatus.VALID, CHECKED)
    await update(store, user_id, URL, lambda link: replace(link, title="new", version=2))
    await take_in(
        store,
        user_id,
        [candidate(make_link(2, url=URL))],
        NO_LIMIT,
        lambda link, _: replace(link, title="n", version=3),
    )
    assert await status_of(store, user_id) is LinkStatus.VALID
    assert [event.status for event in await events_of(store, user_id)] == [
        LinkStatus.PENDING,
        LinkStatus.VALID,
        LinkStatus.VALID,
    ]


# --- waiting for one --------------------------------------------------------------------------------------------------


@pytest.fixture
async def nobody_waits(store: LinkStore) -> None:
    """Links of other tests, of the same database."""
    waiting = await store.find_waiting(START + timedelta(days=365), 100_000)
    await store.ask_again(waiting, START + timedelta(days=365), START + timedelta(days=1_000), lambda *_: None)


pytestmark = pytest.mark.usefixtures("nobody_waits")


def ask(user_id: int, link: Link) -> LinkEvent:
    return event_of(user_id, LinkEventType.ADDED, link, bulk=True)


async def test_who_waits_longest_comes_first(store: LinkStore, user_id: int) -> None:
    for number in (5, 3, 4, 1):
        await add(store, user_id, make_link(number))
    await add(store, user_id + 1_000_000, make_link(2))
    await store.keep_verdict(user_id, key("https://3.example/"), LinkStatus.INVALID, CHECKED)
    expected = [WaitingLink(user_id, 1), WaitingLink(user_id + 1_000_000, 2), WaitingLink(user_id, 4)]
    assert await store.find_waiting(START + 5 * SECOND, 100) == expected
    assert await store.find_waiting(START + 5 * SECOND, 2) == expected[:2]
    assert await store.find_waiting(START, 100) == []


async def test_a_link_is_asked_for_when_it_is_saved_however_old_it_is(store: LinkStore, user_id: int) -> None:
    old = make_link(1, created_at=START - timedelta(days=9_999))
    await take_in(store, user_id, [candidate(old)], NO_LIMIT, lambda link, _: link)
    assert await store.find_waiting(START, 100) == []
    assert await store.find_waiting(START + SECOND, 100) == [WaitingLink(user_id, 1)]


async def test_asking_again_is_told_and_remembered(store: LinkStore, user_id: int) -> None:
    for number in (1, 2):
        await add(store, user_id, make_link(number))
    now = START + 10 * MINUTE
    waiting = await store.find_waiting(now, 100)
    assert await store.ask_again(waiting, now, now, ask) == 2
    told = (await events_of(store, user_id))[2:]
    assert {(event.type, event.link_id, event.bulk) for event in told} == {
        (LinkEventType.ADDED, 1, True),
        (LinkEventType.ADDED, 2, True),
    }
    assert await store.find_waiting(now, 100) == []
    assert await store.find_waiting(now + SECOND, 100) == waiting
    assert [link.updated_at for link, _ in await store.find_links(query(user_id))] == [
        START + 2 * SECOND,
        START + SECOND,
    ]


async def test_each_wait_is_longer_than_the_one_before(store: LinkStore, user_id: int) -> None:
    await add(store, user_id, make_link(1))
    now, pauses = START + MINUTE, (MINUTE, 3 * MINUTE)
    for pause in (MINUTE, 3 * MINUTE, 3 * MINUTE):
        waiting = await store.find_waiting(now, 100)
        assert await store.ask_again(waiting, now, now, ask, pauses) == 1
        assert await store.find_waiting(now + pause, 100) == []
        now += pause + SECOND


async def test_only_those_that_wait_still_are_asked_for(store: LinkStore, user_id: int) -> None:
    for number in range(1, 5):
        await add(store, user_id, make_link(number))
    now = START + 10 * MINUTE
    waiting = await store.find_waiting(now, 100)
    await store.keep_verdict(user_id, key("https://1.example/"), LinkStatus.VALID, CHECKED)
    await delete(store, user_id, "https://2.example/")
    await store.ask_again([WaitingLink(user_id, 3)], now, now, lambda *_: None)
    before = len(await events_of(store, user_id))
    assert await store.ask_again(waiting, now, now, ask) == 1
    assert [event.link_id for event in (await events_of(store, user_id))[before:]] == [4]
    assert await store.ask_again([], now, now, ask) == 0


async def test_sweeps_at_once_ask_once(store: LinkStore, user_id: int) -> None:
    for number in range(1, 31):
        await add(store, user_id, make_link(number))
    now = START + 10 * MINUTE
    waiting = await store.find_waiting(now, 100)
    asked = await asyncio.gather(*[store.ask_again(waiting[start:], now, now, ask) for start in range(5)])
    assert sum(asked) == 30
    assert len(await events_of(store, user_id)) == 60


async def test_one_sweeps_at_a_time(store: LinkStore) -> None:
    async with store.sweep_alone() as first:
        async with store.sweep_alone() as second:
            assert (first, second) == (True, False)
        async with store.sweep_alone() as third:
            assert not third, "who was turned away ends nothing"

    async def fail() -> None:
        async with store.sweep_alone() as fourth:
            assert fourth
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with store.sweep_alone() as fifth:
        assert fifth
