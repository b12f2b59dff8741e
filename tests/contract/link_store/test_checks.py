"""What every store of links keeps of checks: what is known of a URL, for all who saved it, and which looks are due."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from pkg.link_manager.checks import Check, unknown
from pkg.link_manager.store import ASK_AGAIN_AFTER, DueCheck, LinkStore
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Link, LinkStatus, StatusChange
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

CHECKED = START + timedelta(hours=1)
SECOND = timedelta(seconds=1)
LATER = START + timedelta(days=9)


class Urls:
    """Nobody else's: what is known of a URL is known to all tests of a database."""

    def __init__(self, user_id: int) -> None:
        self._user_id = user_id

    def __getitem__(self, number: int) -> str:
        return f"https://{number}.of-{self._user_id}.example/"


@pytest.fixture
def urls(user_id: int) -> Urls:
    return Urls(user_id)


def found(status: LinkStatus, at: datetime = CHECKED, **more: object) -> Callable[[Check], Check | None]:
    """What a look is made of; None for one that comes late."""

    def weigh(known: Check) -> Check | None:
        if known.checked_at is not None and known.checked_at >= at:
            return None
        return replace(known, status=status, checked_at=at, **({"reason": "ok", "next_at": LATER} | more))  # type: ignore[arg-type]

    return weigh


async def keep(store: LinkStore, url: str, status: LinkStatus, at: datetime = CHECKED, **more: object) -> bool:
    return await store.keep_check(key(url), at, found(status, at, **more))


async def links_of(store: LinkStore, user_id: int) -> list[Link]:
    return [link for link, _ in await store.find_links(query(user_id))]


# --- what is known ----------------------------------------------------------------------------------------------------


async def test_one_look_is_for_all_who_saved_the_url(store: LinkStore, user_id: int, urls: Urls) -> None:
    others = [user_id + 1_000_000, user_id + 2_000_000]
    for owner in (user_id, *others):
        await add(store, owner, make_link(1, url=urls[1]))
    await add(store, user_id, make_link(2, url=urls[2]))
    assert await keep(store, urls[1], LinkStatus.VALID, reason="moved", moved_to="https://new.example/")
    for owner in others:
        (link,) = await links_of(store, owner)
        assert (link.status, link.status_reason, link.moved_to) == (LinkStatus.VALID, "moved", "https://new.example/")
        assert (link.checked_at, link.version, link.updated_at) == (CHECKED, 1, START + SECOND)
        assert len(await events_of(store, owner)) == 1, "nobody is told"
    assert await ids(store, user_id, status=LinkStatus.VALID) == [1]
    assert await ids(store, user_id, status=LinkStatus.PENDING) == [2]


async def test_what_is_kept_is_what_is_known(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    known: list[Check] = []

    def note(before: Check) -> Check | None:
        known.append(before)
        return None if len(known) > 1 else check

    check = Check(
        status=LinkStatus.INVALID,
        reason="gone",
        moved_to="",
        checked_at=CHECKED,
        changed_at=CHECKED - SECOND,
        seen_alive=True,
        failures=3,
        failing_since=START,
        absent_since=START + SECOND,
        next_at=LATER,
        history=(StatusChange(START, LinkStatus.VALID, "ok"), StatusChange(CHECKED, LinkStatus.INVALID, "gone")),
    )
    assert await store.keep_check(key(urls[1]), CHECKED, note)
    assert not await store.keep_check(key(urls[1]), CHECKED, note)
    assert known == [unknown(CHECKED), check]


async def test_a_late_look_never_overwrites_a_newer_one(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    assert await keep(store, urls[1], LinkStatus.INVALID)
    assert not await keep(store, urls[1], LinkStatus.VALID, CHECKED - SECOND)
    assert await ids(store, user_id, status=LinkStatus.INVALID) == [1]


async def test_of_looks_at_once_the_newest_stands(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    looks = [(LinkStatus.INVALID, CHECKED + number * SECOND) for number in range(20)]
    looks.insert(7, (LinkStatus.VALID, CHECKED + 20 * SECOND))
    await asyncio.gather(*(keep(store, urls[1], *look) for look in looks))
    assert await ids(store, user_id, status=LinkStatus.VALID) == [1]


async def test_what_nobody_has_is_not_kept(store: LinkStore, user_id: int, urls: Urls) -> None:
    assert not await keep(store, urls[1], LinkStatus.VALID)
    await add(store, user_id, make_link(1, url=urls[1]))
    assert (await links_of(store, user_id))[0].status is LinkStatus.PENDING


async def test_who_saves_what_is_known_gets_what_is_known(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    await keep(store, urls[1], LinkStatus.VALID, moved_to="https://new.example/")
    saved, imported = user_id + 1_000_000, user_id + 2_000_000
    added = await add(store, saved, make_link(2, url=urls[1]))
    new = candidate(make_link(3, url=urls[2]))
    await take_in(store, imported, [candidate(make_link(2, url=urls[1])), new], NO_LIMIT, lambda link, _: link)
    assert added == (await links_of(store, saved))[0]
    for link in (added, (await links_of(store, imported))[1]):
        assert (link.status, link.status_reason) == (LinkStatus.VALID, "ok")
        assert (link.checked_at, link.moved_to) == (CHECKED, "https://new.example/")
    told = [event for owner in (saved, imported) for event in await events_of(store, owner)]
    assert [(event.url, event.status) for event in told if event.url] == [
        (urls[1], LinkStatus.VALID),
        (urls[1], LinkStatus.VALID),
        (urls[2], LinkStatus.PENDING),
    ]


async def test_a_change_keeps_what_is_known(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    await keep(store, urls[1], LinkStatus.VALID)
    (link,) = await links_of(store, user_id)
    await update(store, user_id, urls[1], lambda before: replace(before, title="new", version=2))
    merged = candidate(make_link(2, url=urls[1]))
    await take_in(store, user_id, [merged], NO_LIMIT, lambda before, _: replace(before, title="n", version=3))
    assert await links_of(store, user_id) == [replace(link, title="n", version=3)]


# --- what is due ------------------------------------------------------------------------------------------------------


def ask(user_id: int, link: Link) -> LinkEvent:
    return event_of(user_id, LinkEventType.UPDATED, link, bulk=True)


async def due(store: LinkStore, urls: Urls, now: datetime) -> list[tuple[str, int | None]]:
    """Of these URLs; others of the same database are left out."""
    ours = {key(urls[number]): urls[number] for number in range(10)}
    return [(ours[url_key], owner) for url_key, owner in await store.find_due(now, 100_000) if url_key in ours]


async def test_what_is_due_longest_comes_first(store: LinkStore, user_id: int, urls: Urls) -> None:
    for number in (1, 2, 3):
        await add(store, user_id, make_link(number, url=urls[number]))
        await keep(store, urls[number], LinkStatus.VALID, next_at=LATER - number * SECOND)
    await add(store, user_id + 1_000_000, make_link(1, url=urls[1]))
    assert await due(store, urls, LATER) == [(urls[number], user_id) for number in (3, 2, 1)]
    assert await due(store, urls, LATER - 2 * SECOND) == [(urls[number], user_id) for number in (3, 2)]
    assert len(await store.find_due(LATER, 1)) == 1


async def test_asking_is_told_and_remembered(store: LinkStore, user_id: int, urls: Urls) -> None:
    for number in (1, 2):
        await add(store, user_id, make_link(number, url=urls[number]))
        await keep(store, urls[number], LinkStatus.VALID)
    await add(store, user_id + 1_000_000, make_link(1, url=urls[1]))
    checks = [DueCheck(key(urls[number]), user_id) for number in (1, 2)]
    assert await store.ask_for(checks, LATER, ask) == 2, "once a URL"
    told = (await events_of(store, user_id))[2:]
    assert {(event.type, event.url, event.bulk, event.status) for event in told} == {
        (LinkEventType.UPDATED, urls[number], True, LinkStatus.VALID) for number in (1, 2)
    }
    assert await store.ask_for(checks, LATER, ask) == 0, "it is asked for already"


async def test_without_an_answer_each_wait_is_longer(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    await keep(store, urls[1], LinkStatus.VALID)
    check, now = [DueCheck(key(urls[1]), user_id)], LATER
    for times in (1, 2, 4, 8, 16, 32, 64, 128, 144, 144, 144, 144, 144):
        assert await store.ask_for(check, now, ask) == 1
        now += times * ASK_AGAIN_AFTER
        assert await due(store, urls, now - SECOND) == []
        assert await due(store, urls, now) == [(urls[1], user_id)]
    await keep(store, urls[1], LinkStatus.VALID, now, next_at=now)
    await store.ask_for(check, now, ask)
    assert await due(store, urls, now + ASK_AGAIN_AFTER) == [(urls[1], user_id)], "an answer begins it anew"


async def test_sweeps_at_once_ask_once(store: LinkStore, user_id: int, urls: Urls) -> None:
    checks = []
    for number in range(1, 10):
        await add(store, user_id, make_link(number, url=urls[number]))
        await keep(store, urls[number], LinkStatus.VALID)
        checks.append(DueCheck(key(urls[number]), user_id))
    asked = await asyncio.gather(*(store.ask_for(checks[start:], LATER, ask) for start in range(5)))
    assert sum(asked) == 9
    assert len(await events_of(store, user_id)) == 18


async def test_what_nobody_has_any_more_is_forgotten(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    await keep(store, urls[1], LinkStatus.VALID)
    await delete(store, user_id, urls[1])
    assert await due(store, urls, LATER) == [(urls[1], None)]
    assert await store.ask_for([DueCheck(key(urls[1]), None)], LATER, ask) == 0
    assert await due(store, urls, LATER + timedelta(days=400)) == []


async def test_whose_link_is_gone_is_asked_for_in_anothers_name(store: LinkStore, user_id: int, urls: Urls) -> None:
    other = user_id + 1_000_000
    for owner in (user_id, other):
        await add(store, owner, make_link(1, url=urls[1]))
    await keep(store, urls[1], LinkStatus.VALID)
    await delete(store, user_id, urls[1])
    assert await store.ask_for([DueCheck(key(urls[1]), user_id)], LATER, ask) == 0, "it was there when it was found"
    assert await due(store, urls, LATER + ASK_AGAIN_AFTER) == [(urls[1], other)]


async def ask_for_one(
    store: LinkStore, user_id: int, url: str, now: datetime, *, wanted: bool = True
) -> tuple[Link | None, list[tuple[Check, datetime | None]]]:
    """The link, and what the rule was told."""
    heard: list[tuple[Check, datetime | None]] = []

    def judge(check: Check, asked_at: datetime | None) -> bool:
        heard.append((check, asked_at))
        return wanted

    return await store.ask_for_one(user_id, key(url), now, judge, lambda link: ask(user_id, link)), heard


async def test_a_look_that_somebody_asks_for_is_told(store: LinkStore, user_id: int, urls: Urls) -> None:
    saved = await add(store, user_id, make_link(1, url=urls[1]))
    await keep(store, urls[1], LinkStatus.VALID, next_at=LATER)
    known, now = (
        replace(unknown(CHECKED), status=LinkStatus.VALID, reason="ok", checked_at=CHECKED, next_at=LATER),
        START,
    )
    shown = replace(saved, status=LinkStatus.VALID, status_reason="ok", checked_at=CHECKED)
    assert await ask_for_one(store, user_id, urls[1], now) == (shown, [(known, None)])
    (event,) = (await events_of(store, user_id))[1:]
    assert (event.type, event.url, event.bulk) == (LinkEventType.UPDATED, urls[1], True)
    # Without an answer it is due again, and whoever asks meanwhile learns when somebody did.
    assert await due(store, urls, now + ASK_AGAIN_AFTER) == [(urls[1], user_id)]
    asked = replace(known, next_at=now + ASK_AGAIN_AFTER)
    assert await ask_for_one(store, user_id, urls[1], now + SECOND, wanted=False) == (shown, [(asked, now)])
    assert len(await events_of(store, user_id)) == 2
    # However often it is asked for by people, the sweep does not wait longer for that.
    for minutes in range(1, 10):
        await ask_for_one(store, user_id, urls[1], now + timedelta(minutes=minutes))
    assert await due(store, urls, now + timedelta(minutes=9) + ASK_AGAIN_AFTER) == [(urls[1], user_id)]
    await keep(store, urls[1], LinkStatus.VALID, LATER)
    assert (await ask_for_one(store, user_id, urls[1], LATER, wanted=False))[1][0][1] is None, "it was answered"


async def test_what_a_sweep_asked_for_is_known_to_be(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id, make_link(1, url=urls[1]))
    await keep(store, urls[1], LinkStatus.VALID)
    for times in range(1, 4):
        now = LATER + times * timedelta(days=2)
        assert await store.ask_for([DueCheck(key(urls[1]), user_id)], now, ask) == 1
        assert (await ask_for_one(store, user_id, urls[1], now, wanted=False))[1][0][1] == now


async def test_a_look_at_what_nothing_is_known_of(store: LinkStore, user_id: int, urls: Urls) -> None:
    link = await add(store, user_id, make_link(1, url=urls[1]))
    # Its look was asked for when it was saved.
    now = LATER
    found, heard = await ask_for_one(store, user_id, urls[1], now)
    assert (found, heard[0]) == (link, (unknown(now), link.created_at))
    assert (await ask_for_one(store, user_id, urls[1], now, wanted=False))[1][0][1] == now
    assert await due(store, urls, now + ASK_AGAIN_AFTER) == [(urls[1], user_id)]
    await store.schedule_late(now, now, 100_000)
    assert await due(store, urls, now) == [], "it was asked for already"
    await keep(store, urls[1], LinkStatus.VALID, now, next_at=now + timedelta(days=1))
    assert await ids(store, user_id, status=LinkStatus.VALID) == [1]


@pytest.mark.parametrize("known", [True, False])
async def test_of_many_who_ask_at_once_one_is_told(store: LinkStore, user_id: int, urls: Urls, *, known: bool) -> None:
    owners = [user_id + number * 1_000_000 for number in range(8)]
    for owner in owners:
        await add(store, owner, make_link(1, url=urls[1]))
    if known:
        await keep(store, urls[1], LinkStatus.VALID)

    def is_free(_check: Check, asked_at: datetime | None) -> bool:
        return asked_at is None or asked_at < LATER

    await asyncio.gather(
        *(store.ask_for_one(owner, key(urls[1]), LATER, is_free, partial(ask, owner)) for owner in owners)
    )
    assert sum([len(await events_of(store, owner)) for owner in owners]) == len(owners) + 1


async def test_who_does_not_have_a_link_asks_for_nothing(store: LinkStore, user_id: int, urls: Urls) -> None:
    await add(store, user_id + 1_000_000, make_link(1, url=urls[1]))
    assert await ask_for_one(store, user_id, urls[1], LATER) == (None, [])
    assert await events_of(store, user_id) == []


async def test_links_of_which_nothing_was_heard_are_scheduled(store: LinkStore, user_id: int, urls: Urls) -> None:
    """By a lost event, a dispatcher that gave up, or code of before."""
    now = START + timedelta(days=1)
    await store.schedule_late(now, now, 100_000)
    other = user_id + 1_000_000
    for owner in (user_id, other):
        await add(store, owner, make_link(1, url=urls[1]))
    await add(store, user_id, make_link(2, url=urls[2]))
    await keep(store, urls[2], LinkStatus.VALID)
    await take_in(store, user_id, [candidate(make_link(3, url=urls[3]))], NO_LIMIT, lambda link, _: link)
    assert await store.schedule_late(START, now, 100) == 0
    assert await store.schedule_late(now, now, 2) == 2
    assert await store.schedule_late(now, now, 100) == 1
    assert await store.schedule_late(now, now, 100) == 0
    assert sorted(await due(store, urls, now)) == [(urls[1], user_id), (urls[3], user_id)]
    assert await ids(store, user_id, status=LinkStatus.PENDING) == [3, 1]


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
