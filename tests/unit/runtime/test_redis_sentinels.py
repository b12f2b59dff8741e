"""Connections that go to whoever is the primary: whom they believe, and when they look anew."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from pkg.runtime.redis import Script, ask, connect_redis
from pkg.runtime.redis_sentinels import Place, RedisSentinels, may_be_used

PASSWORD = "0123456789abcdef"


@dataclass
class Speaker:
    """Speaks the protocol: answers as it is told to, and remembers what it was asked."""

    answer: Callable[[list[str]], bytes] = lambda words: b"+OK\r\n"
    asked: list[list[str]] = field(default_factory=list)
    place: Place = field(default_factory=lambda: Place("", 0))
    hangs: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.place.port)
        self.place = Place("127.0.0.1", server.sockets[0].getsockname()[1])
        try:
            yield
        finally:
            server.close()
            for writer in [*self._writers]:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2].decode())
                if self.hangs:
                    continue
                if words[0] in ("AUTH", "CLIENT"):
                    writer.write(b"+OK\r\n")
                    continue
                self.asked.append(words)
                writer.write(self.answer(words))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def names(primary: Place, epoch: int = 1, flags: str = "master") -> Callable[[list[str]], bytes]:
    fields = ("ip", primary.host, "port", str(primary.port), "flags", flags, "config-epoch", str(epoch))
    reply = b"*%d\r\n" % len(fields) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in fields)
    return lambda words: reply if words == ["SENTINEL", "MASTER", "feeds"] else b"-ERR unexpected\r\n"


@dataclass
class Surroundings:
    servers: list[Speaker]
    sentinels: list[Speaker]

    def name(self, server: Speaker, epoch: int = 1) -> None:
        """All sentinels do."""
        for sentinel in self.sentinels:
            sentinel.answer = names(server.place, epoch)

    def connect(self) -> Redis:
        places = tuple(sentinel.place for sentinel in self.sentinels)
        return connect_redis(RedisSentinels(places, "feeds", "somebody", PASSWORD))


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    found = Surroundings([Speaker(), Speaker()], [Speaker(), Speaker(), Speaker()])
    async with AsyncExitStack() as stack:
        for speaker in (*found.servers, *found.sentinels):
            await stack.enter_async_context(speaker.speaking())
        found.name(found.servers[0])
        yield found


async def test_many_connections_ask_once(around: Surroundings) -> None:
    async with around.connect() as redis:
        await asyncio.gather(*(ask(redis, "SET", "a", number) for number in range(20)))
    assert len(around.servers[0].asked) == 20
    assert [len(sentinel.asked) for sentinel in around.sentinels] == [1, 1, 1]


async def test_the_newest_is_believed(around: Surroundings) -> None:
    """One that was cut off together with the primary of before may be the first to answer, and not two of them."""
    around.sentinels[1].answer = names(around.servers[1].place, epoch=2)
    around.sentinels[2].hangs = True
    async with around.connect() as redis:
        await ask(redis, "PING")
    assert [len(server.asked) for server in around.servers] == [0, 1]


async def test_one_that_says_nothing_is_not_waited_for(around: Surroundings) -> None:
    around.sentinels[0].hangs = True
    async with around.connect() as redis:
        began = time.monotonic()
        await ask(redis, "PING")
        assert time.monotonic() - began < 0.9


async def test_the_last_one_is_believed_as_well(around: Surroundings) -> None:
    for sentinel in around.sentinels[:2]:
        sentinel.answer = lambda words: b"-ERR No such master with that name\r\n"
    async with around.connect() as redis:
        await ask(redis, "PING")
    assert len(around.servers[0].asked) == 1


async def test_who_doubts_is_not_believed(around: Surroundings) -> None:
    around.name(around.servers[1])
    around.sentinels[0].answer = names(around.servers[0].place, 7, "master,s_down,o_down,failover_in_progress")
    async with around.connect() as redis:
        await ask(redis, "PING")
        assert len(around.servers[1].asked) == 1
    for sentinel in around.sentinels:
        sentinel.answer = names(around.servers[0].place, 7, "master,s_down")
    async with around.connect() as redis:
        with pytest.raises(RedisConnectionError, match="no sentinel says who is the primary of feeds"):
            await ask(redis, "PING")


async def test_sentinels_that_are_away_and_come_back() -> None:
    """Nothing is asked before there is need; then it is said within a bound, and is over when they are there."""
    server, sentinel = Speaker(), Speaker()
    async with server.speaking():
        async with sentinel.speaking():
            pass
        around = Surroundings([server], [sentinel])
        async with around.connect() as redis:
            began = time.monotonic()
            with pytest.raises(RedisConnectionError, match="no sentinel says"):
                await ask(redis, "PING")
            assert time.monotonic() - began < 3.0
            around.name(server)
            async with sentinel.speaking():
                await ask(redis, "PING")


@pytest.mark.parametrize("refusal", ["READONLY You can't write.", "NOREPLICAS Not enough good replicas to write."])
async def test_a_primary_that_is_none_is_left_and_the_command_repeated(around: Surroundings, refusal: str) -> None:
    first, second = around.servers
    async with around.connect() as redis:
        await ask(redis, "SET", "a", 1)
        first.answer = lambda words: f"-{refusal}\r\n".encode()
        around.name(second, epoch=2)
        await ask(redis, "SET", "a", 2)
        script = Script("return 1")
        assert await script.run_all(redis, [((), (number,)) for number in range(3)]) == [b"OK"] * 3
    assert [words[2] for words in first.asked] == ["1", "2"]
    assert [words[0] for words in second.asked] == ["SET", *["EVALSHA"] * 3]


async def test_another_refusal_is_told(around: Surroundings) -> None:
    around.servers[0].answer = lambda words: b"-READONLY You can't write.\r\n"
    async with around.connect() as redis:
        with pytest.raises(RedisConnectionError, match="You can't write"):
            await ask(redis, "SET", "a", 1)
    assert len(around.servers[0].asked) == 2, "once more, and not for ever"


async def test_idle_connections_to_the_one_of_before_are_given_up(around: Surroundings) -> None:
    """It may stand still: then none of them breaks, and each would be waited for."""
    first, second = around.servers
    async with around.connect() as redis:
        await asyncio.gather(*(ask(redis, "SET", "a", number) for number in range(5)))
        pool = redis.connection_pool
        kept = await pool.get_connection()  # type: ignore[no-untyped-call]  # it has no types
        assert may_be_used(kept)
        first.hangs = True
        around.name(second, epoch=2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await ask(redis, "SET", "a", 5)
        async with asyncio.timeout(5):
            await asyncio.gather(*(ask(redis, "SET", "a", number) for number in range(6, 12)))
        assert not may_be_used(kept)
        await pool.release(kept)
    assert len(second.asked) == 6
