"""Whatever happens, in whatever order it is heard, feeds come to what they must be: in memory, and in a real Valkey."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.asyncio import Redis

from pkg.news_manager.memory_store import MemoryNewsStore
from pkg.news_manager.redis_keys import feed_key, reader_key
from pkg.news_manager.redis_store import RedisNewsStore
from pkg.news_manager.store import NewsStore
from pkg.object_model.types import Actor
from pkg.runtime.redis import connect_redis
from tests.conftest import TestValkey
from tests.contract.news_store.history import History
from tests.fakes import FakeClock

#: Each of so many steps. A failure is told as it was found: to look for a shorter one takes minutes.
IN_MEMORY = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
IN_VALKEY = settings(IN_MEMORY, max_examples=6)


class HistoryInMemory(History):
    async def make_store(self) -> NewsStore:
        self.memory = MemoryNewsStore(FakeClock())
        return self.memory

    async def lose_feed(self, reader: Actor) -> None:
        self.memory._feeds.pop(reader.user_id)


def history_in(valkey: TestValkey) -> type[History]:
    class HistoryInValkey(History):
        client: Redis | None = None

        async def make_store(self) -> NewsStore:
            await valkey.empty()
            if self.client is None:
                self.client = await connect_redis(valkey.address()).__aenter__()
            return RedisNewsStore(self.client)

        async def lose_feed(self, reader: Actor) -> None:
            async with valkey.administrator() as administrator:
                await administrator.unlink(reader_key(reader.user_id), feed_key(reader.user_id))

        async def close(self) -> None:
            if self.client is not None:
                await self.client.aclose()

    return HistoryInValkey


def test_in_memory() -> None:
    run_state_machine_as_test(HistoryInMemory, settings=IN_MEMORY)


def test_in_valkey(valkey: TestValkey) -> None:
    run_state_machine_as_test(history_in(valkey), settings=IN_VALKEY)
