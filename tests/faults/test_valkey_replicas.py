"""Valkey as three with sentinels, by the scripts and the configuration of its component, under a load of saves:
whatever becomes of the primary, every save that was accepted is in every follower's feed, once."""

import asyncio
import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from redis.asyncio import Redis

from pkg.events.consumer import Consumer
from pkg.events.consumers import NEWS
from pkg.events.messages import read_event, write_message
from pkg.events.nats_bus import NatsBus, open_bus
from pkg.news_manager.entry_ids import group_of_user
from pkg.news_manager.feed_writer import FeedWriter
from pkg.news_manager.redis_keys import since_key
from pkg.news_manager.redis_store import RedisNewsStore
from pkg.news_manager.store import DOUBT, Beginning, Stretch
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import Unavailable
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Actor, FollowCounts, IdPage, Relationship, SharedLink
from pkg.runtime.access import LINK_MANAGER, NEWS_MANAGER
from pkg.runtime.background import run_in_background
from pkg.runtime.redis import connect_redis
from pkg.runtime.redis_sentinels import PrimaryFinder
from tests.conftest import TestNats, running_nats
from tests.valkey_replicas import Replica, ValkeyReplicas, running_replicas

AUTHOR: Final = Actor(7, "alice")
FOLLOWERS: Final = tuple(range(100, 110))
#: Seconds between two saves.
PACE: Final = 0.05
#: Seconds in which another server is the primary, and people read and save again: five of them are silence.
RECOVERY: Final = 30.0
DEADLINE: Final = 60.0


class Followers:
    """Of one author; nobody asks for more."""

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        return IdPage([*FOLLOWERS], "")

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        raise NotImplementedError

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        raise NotImplementedError


class NoLinks:
    """What is lost here cannot be made again: it is missed."""

    async def get_shared_links(
        self, user_ids: Collection[int], limit: int, changed_after: datetime | None = None
    ) -> list[SharedLink]:
        return []


@dataclass
class News:
    """The road of events into feeds, people who save, and people who read."""

    replicas: ValkeyReplicas
    redis: Redis
    store: RedisNewsStore
    links: NatsBus
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    #: Whose event was taken by NATS: their URLs.
    accepted: list[str] = field(default_factory=list)
    #: When a read was answered last, and the longest time without.
    read_at: float = field(default_factory=time.monotonic)
    silence: float = 0.0

    async def primary(self) -> Replica:
        await self.redis.get("news:any:{0}")
        finder = self.redis.connection_pool.connection_kwargs["finder"]
        assert isinstance(finder, PrimaryFinder)
        assert finder.primary is not None
        return self.replicas.at(finder.primary)

    async def save(self) -> str:
        number = next(self.numbers)
        now = datetime.now(UTC)
        event = LinkEvent(
            id=time.time_ns(),
            type=LinkEventType.ADDED,
            user_id=AUTHOR.user_id,
            username=AUTHOR.name,
            timestamp=now,
            url=f"https://a.example/{number}",
            link_id=number,
            version=1,
        )
        await self.links.publish([write_message(event, LINK_MANAGER)])
        self.accepted.append(event.url)
        return event.url

    async def keep_saving(self) -> None:
        while True:
            await self.save()
            await asyncio.sleep(PACE)

    async def keep_reading(self) -> None:
        while True:
            try:
                await self.store.read_feed(random.choice(FOLLOWERS), Stretch(), 20)  # not a secret
            except Unavailable:
                pass
            else:
                now = time.monotonic()
                self.silence, self.read_at = max(self.silence, now - self.read_at), now
            await asyncio.sleep(0.05)

    async def feed(self, reader_id: int) -> Counter[str]:
        try:
            return Counter(one.event.url for one in await self.store.read_feed(reader_id, Stretch(), 10_000))
        except Unavailable:
            return Counter()

    async def seconds_until_read(self) -> float:
        """Until something that is saved now is in a feed."""
        began = time.monotonic()
        url = await self.save()
        while not (await self.feed(FOLLOWERS[0]))[url]:
            assert time.monotonic() - began < RECOVERY, "what is saved does not come into feeds"
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def check(self) -> None:
        """Every follower has each save once, as soon as all are worked on."""
        expected = {*self.accepted}
        deadline = time.monotonic() + DEADLINE
        for follower in FOLLOWERS:
            while (lost := expected - (found := await self.feed(follower)).keys()) or found.total() > len(found):
                assert time.monotonic() < deadline, f"lost: {sorted(lost)[:5]} of {len(lost)}; {found.most_common(3)}"
                await asyncio.sleep(0.1)


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[ValkeyReplicas]:
    with running_replicas(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[TestNats]:
    async with running_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture
async def news(replicas: ValkeyReplicas, bus: TestNats) -> AsyncIterator[News]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect_redis(replicas.sentinels()))
        own = await stack.enter_async_context(open_bus(bus.server.address(NEWS_MANAGER), NEWS_MANAGER))
        links = await stack.enter_async_context(open_bus(bus.server.address(LINK_MANAGER), LINK_MANAGER))
        store = RedisNewsStore(redis, max_length=10_000, replicas=1)
        writer = FeedWriter(store, Followers(), NoLinks(), SystemClock())
        consumer = Consumer(
            own.subscribe(NEWS),
            NEWS,
            lambda messages: writer.handle([read_event(message) for message in messages]),
            own,
            patience=60.0,
        )
        # A store that is new asks what has become of links before it began; this one has been there for long.
        since = datetime.now(UTC) - 2 * DOUBT
        await redis.set(since_key(group_of_user(AUTHOR.user_id)), round(since.timestamp() * 1_000))
        for follower in FOLLOWERS:
            assert await store.begin_feed(follower, "a test") is Beginning.BEGUN
            await store.finish_feed(follower, "a test")
        await stack.enter_async_context(run_in_background(consumer.run()))
        found = News(replicas, redis, store, links)
        for work in (found.keep_saving(), found.keep_reading()):
            await stack.enter_async_context(run_in_background(work))
        yield found


async def kill_the_primary(news: News) -> Callable[[], None]:
    """With its sentinel, as a node that is lost."""
    lost = await news.primary()
    lost.kill()
    lost.kill_sentinel()

    def come_back() -> None:
        lost.start_sentinel()
        lost.start()

    return come_back


async def stop_the_primary(news: News) -> Callable[[], None]:
    """It comes back as a replica, though it thinks at first that it is the primary."""
    stopped = await news.primary()
    stopped.send(signal.SIGSTOP)
    return lambda: stopped.send(signal.SIGCONT)


async def kill_the_server_alone(news: News) -> Callable[[], None]:
    """Its container starts anew at once, sooner than anybody misses it: it does not go on as if nothing had been."""
    killed = await news.primary()
    killed.kill()
    killed.start()
    return lambda: None


async def restart_all(news: News) -> Callable[[], None]:
    """One after the other, as a rollout does."""
    for replica in news.replicas.all[::-1]:
        await asyncio.to_thread(replica.restart)
        await asyncio.to_thread(news.replicas.until, replica.is_ready, "it is a replica again")
    return lambda: None


HARMS: Final[tuple[Callable[[News], Awaitable[Callable[[], None]]], ...]] = (
    kill_the_primary,
    stop_the_primary,
    kill_the_server_alone,
    restart_all,
)


async def test_no_save_is_lost_whatever_becomes_of_the_primary(news: News) -> None:
    for harm in HARMS:
        before, taken = await news.primary(), len(news.accepted)
        news.silence, news.read_at = 0.0, time.monotonic()
        repair = await harm(news)
        recovery = await news.seconds_until_read()
        after = await news.primary()
        assert after is not before or harm is restart_all
        repair()
        await asyncio.to_thread(
            news.replicas.until, lambda: all(one.is_ready() for one in news.replicas.all), "all are there again"
        )
        assert await news.primary() is after, "who comes back is a replica"
        await news.check()
        print(
            f"{harm.__name__}: {len(news.accepted) - taken} saves, read again after {recovery:.1f} s,"
            f" longest silence of readers {news.silence:.1f} s"
        )
        assert news.silence < RECOVERY


def test_a_primary_that_has_lost_its_data_waits_for_who_has_a_copy(replicas: ValkeyReplicas) -> None:
    """All are ended at once, so that nobody is missed and nobody takes over before they start again."""
    first = replicas.all[0]
    with replicas.administrator(first) as redis:
        redis.set("news:any:{0}", "kept")
        assert redis.wait(2, 5_000) == 2
    for replica in replicas.all:
        replica.end()
    first.forget()
    for replica in replicas.all:
        replica.start_sentinel()
        replica.start()
    replicas.until(lambda: all(replica.is_ready() for replica in replicas.all), "they find to each other", DEADLINE)
    assert "has lost its data" in first.log()
    for replica in replicas.all:
        with replicas.administrator(replica) as redis:
            assert redis.get("news:any:{0}") == b"kept"
