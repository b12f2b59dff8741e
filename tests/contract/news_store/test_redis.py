"""What only the store in Valkey promises: bounds that the server keeps, rights, and faults that become ours."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from pkg.news_manager.entry_ids import group_of_user
from pkg.news_manager.redis_keys import newest_key
from pkg.news_manager.redis_store import NEWEST_TOLD, RedisNewsStore
from pkg.news_manager.store import FeedNotBuiltError, FollowOrder, Stretch
from pkg.object_model import erasure
from pkg.object_model.errors import Unavailable
from pkg.runtime.mutual_auth import new_secret
from pkg.runtime.redis import RedisAddress, ask, connect_redis
from pkg.runtime.secret import Secret, passwords_of
from tests.conftest import TestValkey
from tests.contract.news_store.entries import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    NOW,
    end,
    entry,
    give,
    numbers,
    open_feed,
    publish,
    save,
)


async def keys(valkey: TestValkey) -> dict[str, int]:
    """Every key, with the milliseconds that it has left."""
    async with valkey.administrator() as administrator:
        return {key.decode(): await administrator.pttl(key) async for key in administrator.scan_iter()}


async def test_every_key_has_a_prefix_a_slot_and_an_end(redis: Redis, valkey: TestValkey) -> None:
    store = RedisNewsStore(redis)
    await publish(store, entry(1), entry(2, link_id=1, version=2), to=(BOB, CAROL))
    await end(store, ALICE, 9, 1)
    await save(store, entry(3, link_id=0))
    for event_id, following in enumerate((True, False)):
        order = FollowOrder(NOW, event_id)
        await store.set_following(BOB, ALICE, order, following)
        await give(store, BOB, ALICE, order, await store.find_or_save_entries([entry(5)]))
        await store.drop_author(BOB, ALICE, order)
    await publish(store, entry(6, author_id=CAROL))
    await store.begin_feed(DAVE, "a test")
    await store.open_timeline(ALICE)
    await store.note_in_timeline(ALICE, [entry(2).id])
    await store.keep_untold(ALICE, "somewhere")
    await store.keep_progress(ALICE, [entry(2).id], "somewhere")
    await store.join_timeline(ALICE, [BOB])
    await numbers(store)
    kept = await keys(valkey)
    assert {name.partition("{")[0] for name in kept} == {
        "feed:",
        "news:entry:",
        "news:link:",
        "news:since:",
        "news:follow:",
        "news:left:",
        "news:reader:",
        "news:timeline:",
        "news:count:",
        "news:counts:",
        "news:newest:",
        "news:untold:",
        "news:progress:",
    }
    month = timedelta(days=30) // timedelta(milliseconds=1)
    for name, left in kept.items():
        assert "{" in name and 0 < left <= month, name


async def test_what_ends_leaves_no_entry_behind(redis: Redis, valkey: TestValkey) -> None:
    store = RedisNewsStore(redis)
    for version in range(1, 20):
        await publish(store, entry(version, link_id=1, version=version))
    await end(store, ALICE, 1, 20)
    assert not [name for name in await keys(valkey) if name.startswith("news:entry:")]
    (feed,) = [name for name in await keys(valkey) if name.startswith("feed:")]
    assert await ask(redis, "LLEN", feed) == 1, "replaced entries leave feeds as well"


async def test_a_feed_is_kept_alive_by_its_reader(redis: Redis, valkey: TestValkey) -> None:
    """And by nothing else. All that is of it ends together, and what comes while it is empty as well."""
    store = RedisNewsStore(redis, lifetime=timedelta(hours=1))
    await open_feed(store, BOB)
    (reader,) = await keys(valkey)
    await redis.pexpire(reader, 60_000)
    await publish(store, entry(1))
    (feed,) = [name for name in await keys(valkey) if name.startswith("feed:")]
    assert await redis.pttl(feed) > 3_500_000 > await redis.pttl(reader)
    await redis.pexpire(feed, 70_000)
    await publish(store, entry(2))
    assert await redis.pttl(feed) <= 70_000
    assert await numbers(store) == [2, 1]
    for key in (feed, reader):
        assert await redis.pttl(key) > 3_500_000
    # Written anew from its end.
    await publish(store, entry(0))
    assert await redis.pttl(feed) > 3_500_000
    await redis.unlink(reader)
    with pytest.raises(FeedNotBuiltError):
        await store.read_feed(BOB, Stretch(), 1)


async def test_a_restart_that_forgets_the_scripts(redis: Redis, valkey: TestValkey) -> None:
    store = RedisNewsStore(redis)
    await publish(store, entry(1), to=(BOB, CAROL))
    async with valkey.administrator() as administrator:
        await administrator.script_flush()
        await publish(store, entry(2), to=(BOB, CAROL))
        await administrator.script_flush()
    await store.push(ALICE, [entry(1).id, entry(2).id], [], [BOB, CAROL])
    await store.open_timeline(ALICE)
    await store.join_timeline(ALICE, [BOB])
    await save(store, entry(3))
    await store.note_in_timeline(ALICE, [entry(3).id])
    async with valkey.administrator() as administrator:
        await administrator.script_flush()
    assert await numbers(store) == [3, 2, 1], "in the order in which it was asked"
    assert await numbers(store, CAROL) == [2, 1]


@pytest.mark.parametrize("told", [True, False], ids=["told", "by a version that tells numbers alone"])
@pytest.mark.parametrize("came", [1, NEWEST_TOLD, NEWEST_TOLD + 1])
async def test_what_came_in_a_timeline(redis: Redis, came: int, told: bool) -> None:
    """Whether or not a reader is told of all of it in their own place."""
    store, newest = RedisNewsStore(redis), newest_key(group_of_user(BOB))

    async def note(number: int, author_id: int = ALICE) -> None:
        before = await ask(redis, "HGET", newest, author_id)
        await save(store, one := entry(number, author_id=author_id))
        assert await store.note_in_timeline(author_id, [one.id])
        if before and not told:
            await ask(redis, "HSET", newest, author_id, before)

    await open_feed(store, BOB)
    for number, author_id in enumerate((ALICE, CAROL), 1):
        await store.open_timeline(author_id)
        await store.join_timeline(author_id, [BOB])
        await note(number, author_id)
    assert await numbers(store) == [2, 1]
    for number in range(3, 3 + came):
        await note(number)
    for _ in range(2):
        assert await numbers(store) == [*range(2 + came, 0, -1)]


async def test_away_and_back(redis: Redis, valkey: TestValkey) -> None:
    store = RedisNewsStore(redis)
    await publish(store, entry(1))
    valkey.stop()
    try:
        for call in (
            store.check(),
            save(store, entry(2)),
            save(store, entry(2)),
            store.push(ALICE, [entry(2).id], [], [BOB, CAROL]),
            store.read_feed(BOB, Stretch(), 10),
            store.read_feed(BOB, Stretch(below=entry(1).id), 10),
            store.read_feed_json(BOB, Stretch(), 10),
        ):
            with pytest.raises(Unavailable) as away:
                await call
            assert away.value.code == "news_store_unavailable"
    finally:
        valkey.start()
    deadline = time.monotonic() + 10
    while True:
        # It answers before it has read its file.
        with suppress(Unavailable):
            await store.check()
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert await numbers(store) == [1], "what was told is on disk"


async def test_silence(redis: Redis, valkey: TestValkey) -> None:
    """It ends, and an answer that comes later is nobody else's."""
    store = RedisNewsStore(redis)
    await publish(store, entry(1), entry(2), to=(BOB, CAROL))
    await publish(store, entry(3), to=(CAROL,))
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        calls = [store.read_feed(BOB, Stretch(), 10), store.read_feed_json(BOB, Stretch(), 10), store.check()]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
            assert "in time" in outcome.message
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    for _ in range(5):
        assert list(await asyncio.gather(numbers(store), numbers(store, CAROL))) == [[2, 1], [3, 2, 1]]


async def test_a_crowd_of_readers_leaves_room_for_others(redis: Redis, valkey: TestValkey) -> None:
    store = RedisNewsStore(redis)
    await publish(store, entry(1))
    assert await asyncio.gather(*[numbers(store) for _ in range(100)]) == [[1]] * 100
    kept = len(store._kept)
    assert 0 < kept <= 16
    await asyncio.gather(*[store.check() for _ in range(100)])
    assert await asyncio.gather(*[numbers(store) for _ in range(100)]) == [[1]] * 100
    assert len(store._kept) <= 16


async def test_readers_notice_that_the_store_hung_up(redis: Redis, valkey: TestValkey) -> None:
    store = RedisNewsStore(redis)
    await publish(store, entry(1))
    assert await numbers(store) == [1]
    (kept,) = store._kept
    async with valkey.administrator() as administrator:
        await administrator.client_kill_filter(_type="normal", skipme=True)
    deadline = time.monotonic() + 10
    while not kept._reader.at_eof():  # type: ignore[union-attr]  # it is connected
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert await numbers(store) == [1]


async def test_full(redis: Redis, valkey: TestValkey) -> None:
    store = RedisNewsStore(redis)
    await publish(store, entry(1))
    async with valkey.administrator() as administrator:
        await administrator.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(Unavailable):
                await save(store, entry(2))
            assert await numbers(store) == [1]
        finally:
            await administrator.config_set("maxmemory", "512mb")


async def test_a_wrong_password_is_unavailable(valkey: TestValkey) -> None:
    given = valkey.address()
    async with connect_redis(RedisAddress(given.host, given.port, given.user, "wrong")) as client:
        with pytest.raises(Unavailable):
            await RedisNewsStore(client).check()
    assert passwords_of(given.password)[0] not in repr(given)


async def test_a_password_that_is_rotated(valkey: TestValkey, tmp_path: Path) -> None:
    """The server knows two meanwhile; a connection comes with the one that is the first when it is made."""
    given = valkey.address()
    old, new = passwords_of(given.password)[0], new_secret()
    file = tmp_path / "password"
    file.write_text(f"{old}\n{new}")
    user = given.user
    async with (
        valkey.administrator() as administrator,
        connect_redis(replace(given, password=Secret.in_file(file)), max_connections=1) as client,
    ):
        store = RedisNewsStore(client)
        await store.check()
        await administrator.execute_command("ACL", "SETUSER", user, f">{new}")  # type: ignore[no-untyped-call]  # it has none
        file.write_text(f"{new}\n{old}")
        await client.connection_pool.disconnect()
        await store.check()
        await administrator.execute_command("ACL", "SETUSER", user, f"<{old}")  # type: ignore[no-untyped-call]  # likewise
        file.write_text(new)
        try:
            await store.check()
            await client.connection_pool.disconnect()
            await store.check()
            file.write_text(old)
            await client.connection_pool.disconnect()
            with pytest.raises(Unavailable):
                await store.check()
        finally:
            await administrator.execute_command("ACL", "LOAD")  # type: ignore[no-untyped-call]  # likewise


async def test_nothing_is_written_before_a_replica_has_it(
    redis_pair: Redis, valkey_pair: tuple[TestValkey, TestValkey]
) -> None:
    """Nor when it is said again, so that there is nothing left to write: its own server has it, and alone."""
    store = RedisNewsStore(redis_pair, replicas=1)
    _, replica = valkey_pair
    order = FollowOrder(NOW, 1)
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: save(store, entry(1)),
        lambda: store.find_or_save_entries([entry(2)]),
        lambda: store.push(ALICE, [entry(1).id], [], [BOB, CAROL]),
        lambda: store.set_following(BOB, ALICE, order, True),
        lambda: give(store, BOB, ALICE, order, [entry(2).id]),
        lambda: store.keep_progress(ALICE, [entry(1).id], "somewhere"),
        lambda: store.open_timeline(ALICE),
        lambda: store.note_in_timeline(ALICE, [entry(1).id]),
        lambda: store.join_timeline(ALICE, [BOB]),
        lambda: store.keep_untold(ALICE, "somewhere"),
        lambda: store.close_timeline(ALICE),
        lambda: store.set_following(BOB, ALICE, FollowOrder(NOW, 2), False),
        lambda: store.drop_author(BOB, ALICE, FollowOrder(NOW, 2)),
        lambda: store.fill_feed(BOB, "a test", []),
        lambda: store.erase_user(CAROL, erasure.START),
    ]
    await open_feed(store, BOB, CAROL)
    await publish(store, entry(3), to=(BOB,))
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        assert len(await store.read_feed(BOB, Stretch(), 10)) == 1, "it can be read"
        for again in range(2):
            for outcome in await asyncio.gather(*(write() for write in writes), return_exceptions=True):
                assert isinstance(outcome, Unavailable), (again, outcome)
                assert "no second copy" in outcome.message
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    for write in writes:
        await write()


async def test_the_service_may_touch_its_own_keys_only(redis: Redis) -> None:
    with pytest.raises(NoPermissionError):
        await redis.get("limit:{1}:1")
    with pytest.raises(NoPermissionError):
        await redis.flushall()
