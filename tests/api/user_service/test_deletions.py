"""What the user service does about deletions unasked: it goes on whatever happens, and says how it stands."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from pkg.object_model.errors import Unavailable
from pkg.object_model.interfaces import UserData
from pkg.runtime.metrics import render_metrics
from pkg.user_manager.deletion_store import Deletion, DeletionStep
from pkg.user_manager.deletions import AccountDeletions, DeletionWorker
from pkg.user_manager.memory_deletion_store import MemoryDeletionStore
from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.providers import ProviderIdentity
from svc.user_service.deletions import delete_accounts_for_ever
from tests.contract.user_store.test_user_store import ALICE, user_of
from tests.fakes import FakeClock, SequentialIds, away

DEADLINE = 20.0
TOTAL = "delinkcious_account_deletions_total"
UNDER_WAY = "delinkcious_account_deletions_under_way"
OLDEST = "delinkcious_account_deletions_oldest_seconds"


def sample(name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(render_metrics().decode()):
        for found in family.samples:
            if found.name == name and labels.items() <= found.labels.items():
                return found.value
    return 0.0


class Holder(UserData):
    def __init__(self) -> None:
        self.is_away = False

    async def erase_user(self, user_id: int, start_token: str) -> str:
        if self.is_away:
            raise away()
        return ""


class Store(MemoryDeletionStore):
    """Its first looks end in ``faults``."""

    def __init__(self, users: MemoryUserStore) -> None:
        super().__init__(users)
        self.faults: list[Exception] = []

    async def find_due(self, now: datetime, limit: int) -> Sequence[Deletion]:
        if self.faults:
            raise self.faults.pop()
        return await super().find_due(now, limit)


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.holder = Holder()
        self.users = MemoryUserStore()
        self.store = Store(self.users)
        self._ids = SequentialIds()

    async def close_account(self) -> None:
        await self.users.add_user(user_of(ALICE), "alice", ProviderIdentity("local", "1"))
        deletions = AccountDeletions(self.store, self.clock, self._ids, settle=timedelta(0))
        assert await deletions.begin(ALICE.user_id)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        holders = {DeletionStep.SOCIAL_GRAPH: self.holder, DeletionStep.LINKS: self.holder}
        worker = DeletionWorker(self.store, holders | {DeletionStep.NEWS: self.holder}, self.clock, self._ids)
        task = asyncio.create_task(delete_accounts_for_ever(worker, self.store, self.clock, interval=0.001))
        yield
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110  # what is waited for is another task's
            await asyncio.sleep(0.001)


async def test_it_works_for_ever_whatever_happens() -> None:
    house = House()
    house.store.faults = [Unavailable("away"), LookupError("a fault of ours"), Unavailable("away")]
    await house.close_account()
    finished = sample(TOTAL, outcome="finished")
    async with house.working():
        await eventually(lambda: sample(TOTAL, outcome="finished") == finished + 1)
    assert house.store.faults == []
    assert await house.users.find_names({ALICE.user_id}) == {}


async def test_how_it_stands_is_told() -> None:
    house = House()
    house.holder.is_away = True
    await house.close_account()
    failed = sample(TOTAL, outcome="failed")
    async with house.working():
        await eventually(lambda: sample(TOTAL, outcome="failed") > failed)
        house.clock.advance(90)
        await eventually(lambda: sample(OLDEST) == 90)
        assert sample(UNDER_WAY) == 1
        house.holder.is_away = False
        house.clock.advance(3_600)
        await eventually(lambda: sample(UNDER_WAY) == 0)
        assert sample(OLDEST) == 0
