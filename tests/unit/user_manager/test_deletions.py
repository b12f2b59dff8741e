"""The saga that deletes an account: killed at each step, refused, put off, undone; it comes to its end all the same."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from pkg.object_model.errors import DelinkciousError, InvalidArgument, NotFound, PermissionDenied
from pkg.object_model.interfaces import UserData
from pkg.object_model.types import AuditEventType, PageRequest, ProviderProfile, RegisterRequest, User
from pkg.user_manager.deletion_store import Deletion, DeletionStep
from pkg.user_manager.deletions import (
    AT_ONCE,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MAX_CHECKS,
    SETTLE,
    AccountDeletions,
    DeletionWorker,
    Outcome,
)
from pkg.user_manager.manager import UserManager
from pkg.user_manager.memory_deletion_store import MemoryDeletionStore
from pkg.user_manager.memory_store import MemoryUserStore
from tests.fakes import FakeClock, SequentialIds, away

GITHUB = ProviderProfile(provider="github", subject="1", login="octocat", display_name="", email="")
HELD = 3
FINISHED, FAILED, UNDONE = [Outcome.FINISHED], [Outcome.FAILED], [Outcome.UNDONE]


class KilledError(BaseException):
    """How a process ends that is killed: nothing in it gets to know."""


class Life:
    """Passes points at which it may end."""

    def __init__(self) -> None:
        self.passed = 0
        self.ends_at: int | None = None

    def go_on(self) -> None:
        self.passed += 1
        if self.passed == self.ends_at:
            raise KilledError


class Holder(UserData):
    """Holds HELD parts of each user, and gives up one at a time. ``life`` may end before that and after it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.held: dict[int, int] = {}
        self.fault: DelinkciousError | None = None
        self.asked = 0

    async def erase_user(self, user_id: int, start_token: str) -> str:
        self.asked += 1
        self._life.go_on()
        if self.fault is not None:
            raise self.fault
        if not self.held.get(user_id):
            return ""
        self.held[user_id] -= 1
        self._life.go_on()
        return "more" if self.held[user_id] else ""


class Store(MemoryDeletionStore):
    """Of which each change may be the last of whoever made it, or the one that they did not come to make."""

    def __init__(self, users: MemoryUserStore, life: Life) -> None:
        super().__init__(users)
        self._life = life

    async def find_due(self, now: datetime, limit: int) -> Sequence[Deletion]:
        self._life.go_on()
        return await super().find_due(now, limit)

    async def move(self, deletion: Deletion, step: DeletionStep) -> Deletion | None:
        self._life.go_on()
        moved = await super().move(deletion, step)
        self._life.go_on()
        return moved

    async def finish(self, user_id: int, now: datetime) -> None:
        self._life.go_on()
        await super().finish(user_id, now)
        self._life.go_on()


class House:
    """Users, and those who hold something of them."""

    def __init__(self, grace: timedelta = timedelta(0)) -> None:
        self.clock = FakeClock()
        self.life = Life()
        self.holders = {
            step: Holder(self.life) for step in (DeletionStep.SOCIAL_GRAPH, DeletionStep.LINKS, DeletionStep.NEWS)
        }
        self._ids = SequentialIds()
        users = MemoryUserStore()
        self.store = Store(users, self.life)
        self.revoked: list[int] = []
        self.users = UserManager(
            users,
            self.clock,
            self._ids,
            deletions=AccountDeletions(self.store, self.clock, self._ids, grace=grace),
            on_revoked=self._on_revoked,
        )

    async def _on_revoked(self, user_id: int) -> None:
        self.revoked.append(user_id)

    async def register(self, name: str = "alice") -> User:
        user = await self.users.register(None, RegisterRequest(name=name))
        for holder in self.holders.values():
            holder.held[user.id] = HELD
        return user

    async def close(self, name: str = "alice") -> User:
        """Somebody whose deletion is due."""
        user = await self.register(name)
        await self.users.delete_account(user.ref, name)
        self.clock.time += SETTLE
        return user

    async def work(self) -> list[Outcome]:
        """As a process does that has just been started."""
        return await DeletionWorker(self.store, self.holders, self.clock, self._ids).work()

    def held(self, user: User) -> int:
        return sum(holder.held[user.id] for holder in self.holders.values())

    async def is_gone(self, user: User) -> bool:
        return not await self.users.find_names([user.id])


async def test_everything_goes() -> None:
    house = House()
    alice, bob = await house.close(), await house.register("bob")
    assert await house.work() == FINISHED
    assert house.held(alice) == 0
    assert await house.is_gone(alice)
    assert house.held(bob) == 3 * HELD
    assert not await house.is_gone(bob)
    assert await house.work() == []


async def test_killed_anywhere_it_comes_to_its_end() -> None:
    house = House()
    await house.close()
    assert await house.work() == FINISHED
    points = house.life.passed
    assert points > 20, "each step has several"
    for point in range(1, points + 1):
        house = House()
        alice = await house.close()
        house.life.ends_at = point
        with pytest.raises(KilledError):
            await house.work()
        house.life.ends_at = None
        was_gone = await house.is_gone(alice)
        assert await house.work() == ([] if was_gone else FINISHED)
        assert house.held(alice) == 0, point
        assert await house.is_gone(alice), point


async def test_killed_again_and_again() -> None:
    house = House()
    alice = await house.close()
    for _ in range(100):
        if await house.is_gone(alice):
            break
        # Far enough for a step, and no further.
        house.life.ends_at = house.life.passed + 8
        try:
            await house.work()
        except KilledError:
            continue
    assert await house.is_gone(alice)
    assert house.held(alice) == 0


async def test_closed_the_account_is_nobodys_at_once() -> None:
    house = House()
    alice = await house.register()
    session = await house.users.login("alice", (await house.users.issue_ticket("alice")).ticket)
    await house.users.delete_account(alice.ref, "ALICE")
    assert house.revoked == [alice.id]
    with pytest.raises(DelinkciousError):
        await house.users.authenticate(session.token)
    assert await house.users.find_users(["alice"]) == {}
    with pytest.raises(NotFound):
        await house.users.get_user(None, "alice")
    assert house.held(alice) == 3 * HELD


async def test_it_waits_until_nothing_of_before_can_be_running() -> None:
    house = House()
    alice = await house.close()
    house.clock.time -= timedelta(microseconds=1)
    assert await house.work() == []
    assert house.held(alice) == 3 * HELD
    house.clock.time += timedelta(microseconds=1)
    assert await house.work() == FINISHED


async def test_it_has_to_be_confirmed() -> None:
    house = House()
    alice = await house.register()
    for confirm in ("", "alic", "bob", "alice "):
        with pytest.raises(InvalidArgument) as refused:
            await house.users.delete_account(alice.ref, confirm)
        assert refused.value.code == "not_confirmed"
    with pytest.raises(PermissionDenied):
        await house.users.delete_account(None, "alice")
    assert await house.users.get_user(None, "alice") == alice


async def test_to_ask_again_changes_nothing_and_of_whoever_is_gone_it_is_said() -> None:
    house = House()
    alice = await house.close()
    await house.users.delete_account(alice.ref, "alice")
    assert await house.work() == FINISHED
    with pytest.raises(NotFound):
        await house.users.delete_account(alice.ref, "alice")


@pytest.mark.parametrize("step", [DeletionStep.SOCIAL_GRAPH, DeletionStep.LINKS, DeletionStep.NEWS])
async def test_before_anything_is_erased_everybody_is_asked(step: DeletionStep) -> None:
    house = House()
    alice = await house.close()
    house.holders[step].fault = PermissionDenied("not you", code="caller_not_allowed")
    assert await house.work() == FAILED
    assert house.held(alice) == 3 * HELD
    assert house.store.errors[alice.id] == "caller_not_allowed"


async def test_what_is_away_is_waited_for_longer_and_longer() -> None:
    house = House()
    alice = await house.close()
    links = house.holders[DeletionStep.LINKS]
    links.fault = away("link-manager")
    pause, asked = FIRST_PAUSE, 0
    for _ in range(15):
        assert await house.work() == FAILED
        assert links.asked == asked + 1
        asked = links.asked
        house.clock.time += pause - timedelta(microseconds=1)
        assert await house.work() == []
        house.clock.time += timedelta(microseconds=1)
        pause = min(2 * pause, LONGEST_PAUSE)
    links.fault = None
    assert await house.work() == FINISHED
    assert await house.is_gone(alice)


async def test_what_does_not_go_away_undoes_what_has_erased_nothing() -> None:
    """The account is its user's again: half a deletion is the worst of all."""
    house = House()
    await house.users.admit(GITHUB)
    alice = await house.close()
    house.holders[DeletionStep.NEWS].fault = away("news-manager")
    outcomes = []
    for _ in range(MAX_CHECKS + 1):
        outcomes += await house.work()
        house.clock.time += LONGEST_PAUSE
    assert outcomes == MAX_CHECKS * FAILED + UNDONE
    assert house.held(alice) == 3 * HELD
    assert await house.users.get_user(None, "alice") == alice
    ticket = (await house.users.issue_ticket("alice")).ticket
    assert await house.users.login("alice", ticket)
    events = (await house.users.get_audit_events(alice.ref, PageRequest())).events
    assert {AuditEventType.DELETION_REQUESTED, AuditEventType.DELETION_UNDONE} < {event.type for event in events}
    house.holders[DeletionStep.NEWS].fault = None
    assert await house.work() == []


async def test_once_something_is_erased_it_goes_on_for_ever() -> None:
    house = House()
    alice = await house.close()
    house.life.ends_at = house.life.passed + 8
    with pytest.raises(KilledError):
        await house.work()
    assert house.held(alice) < 3 * HELD
    for holder in house.holders.values():
        holder.fault = away()
    for _ in range(MAX_CHECKS + 10):
        assert await house.work() == FAILED
        house.clock.time += LONGEST_PAUSE
    for holder in house.holders.values():
        holder.fault = None
    assert await house.work() == FINISHED
    assert await house.is_gone(alice)


async def test_who_comes_back_in_time_keeps_the_account() -> None:
    house = House(grace=timedelta(days=14))
    octocat = (await house.users.admit(GITHUB)).user
    await house.users.delete_account(octocat, "octocat")
    house.clock.time += timedelta(days=13)
    assert await house.work() == []
    assert (await house.users.admit(GITHUB)).user == octocat
    assert await house.users.find_users(["octocat"])
    house.clock.time += timedelta(days=30)
    assert await house.work() == []


@pytest.mark.parametrize("grace", [timedelta(0), timedelta(days=14)])
async def test_who_comes_back_too_late_does_not(grace: timedelta) -> None:
    house = House(grace=grace)
    octocat = (await house.users.admit(GITHUB)).user
    await house.users.delete_account(octocat, "octocat")
    if grace:
        house.clock.time += grace
        house.holders[DeletionStep.SOCIAL_GRAPH].held[octocat.user_id] = 1
        house.life.ends_at = house.life.passed + 8
        with pytest.raises(KilledError):
            await house.work()
    with pytest.raises(PermissionDenied) as refused:
        await house.users.admit(GITHUB)
    assert refused.value.code == "account_deleting"
    house.life.ends_at = None
    house.clock.time += SETTLE
    assert await house.work() == FINISHED
    newcomer = (await house.users.admit(GITHUB)).user
    assert newcomer.user_id != octocat.user_id
    assert newcomer.name != "octocat", "not even they get the old name again"


async def test_one_that_cannot_be_done_keeps_nobody_else_waiting() -> None:
    house = House()
    people = [await house.close(f"user{number}") for number in range(2 * AT_ONCE)]
    house.holders[DeletionStep.SOCIAL_GRAPH].held.clear()
    house.holders[DeletionStep.LINKS].fault = away()
    assert await house.work() == AT_ONCE * FAILED
    house.holders[DeletionStep.LINKS].fault = None
    for holder in house.holders.values():
        holder.held = dict.fromkeys([user.id for user in people], 1)
    assert await house.work() == AT_ONCE * FINISHED, "those who were not tried yet"


async def test_an_error_of_ours_is_told_when_all_are_done() -> None:
    house = House()
    alice, bob = await house.close("alice"), await house.close("bob")
    del house.holders[DeletionStep.NEWS]
    with pytest.raises(KeyError):
        await house.work()
    assert not await house.is_gone(alice)
    assert not await house.is_gone(bob)
    assert all(holder.held[bob.id] == 0 for holder in house.holders.values())
