"""Secrets that are rotated: what is known at each step, and what becomes of a rotation that is cut short."""

from pathlib import Path

import pytest

from pkg.local_stack.rotation import Journal, Kind, rotate
from pkg.local_stack.secret_store import SecretStore
from pkg.runtime.start_error import StartError

NAMES = ["one", "two"]


class Cut(Exception):
    pass


class House:
    """A store, and those who are told what it holds; ``cut_at`` is the number of the call that does not come to its
    end."""

    def __init__(self, folder: Path) -> None:
        self.store = SecretStore(folder / "secrets")
        self.path = folder / "rotation.json"
        self.old = {name: self.store.get(name) for name in NAMES}
        self.told: list[dict[str, tuple[str, ...]]] = []
        self.cut_at: int | None = None
        self.said: list[str] = []
        self._calls = 0

    async def rotate(self, *kinds: str) -> None:
        self._calls = 0
        journal = Journal(self.path)
        for name in journal.plan(kinds):
            await rotate(Kind(name, NAMES, self._tell), self.store, journal, self._until_used, self.said.append)

    def values(self) -> dict[str, tuple[str, ...]]:
        return {name: self.store.values(name) for name in NAMES}

    async def _tell(self) -> None:
        self._count()
        self.told.append(self.values())
        self._count()

    async def _until_used(self) -> None:
        self._count()

    def _count(self) -> None:
        self._calls += 1
        if self._calls == self.cut_at:
            raise Cut


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_both_are_known_before_the_new_one_comes_first(house: House) -> None:
    await house.rotate("kind")
    both, new_first, new = house.told
    for name, old in house.old.items():
        (after,) = new[name]
        assert (both[name], new_first[name]) == ((old, after), (after, old))
        assert after != old
    assert new == house.values()
    assert not house.path.exists()
    assert [line.partition(":")[0] for line in house.said] == [f"kind, step {number} of 3" for number in (1, 2, 3)]


@pytest.mark.parametrize("cut_at", range(1, 10))
async def test_one_that_is_cut_short_goes_on_where_it_stopped(house: House, cut_at: int) -> None:
    house.cut_at = cut_at
    with pytest.raises(Cut):
        await house.rotate("kind", "other")
    half = house.values()
    house.cut_at = None
    house.told.clear()
    await house.rotate()
    for name, old in house.old.items():
        # What was made known is what it ends with, and nobody was told of less than what may still be presented.
        new = house.told[2][name][0]
        assert old not in house.values()[name]
        assert set(half[name]) <= {old, new}
        assert all(set(told[name]) & set(half[name]) for told in house.told[:2])
    # The one behind it as well.
    assert len(house.told) == 6
    assert not house.path.exists()


async def test_one_that_was_cut_in_the_middle_of_a_step(house: House) -> None:
    journal = Journal(house.path)
    journal.plan(["kind"])
    house.cut_at = 3
    with pytest.raises(Cut):
        await house.rotate("kind")
    added = house.store.values("one")
    # One of them is a step further than the other.
    house.store.put("one", added[::-1])
    house.cut_at = None
    await house.rotate()
    assert house.store.values("one") == (added[1],)
    assert house.old["two"] not in house.store.values("two")


async def test_one_after_the_other(house: House) -> None:
    await house.rotate("kind")
    first = house.values()
    await house.rotate("kind")
    assert all(house.values()[name] != first[name] for name in NAMES)


def test_one_at_a_time(house: House) -> None:
    with (
        Journal(house.path).locked(),
        pytest.raises(StartError, match="another rotation is under way"),
        Journal(house.path).locked(),
    ):
        pass
    with Journal(house.path).locked():
        pass


async def test_the_journal_holds_no_secret(house: House) -> None:
    house.cut_at = 5
    with pytest.raises(Cut):
        await house.rotate("kind")
    assert house.path.stat().st_mode & 0o777 == 0o600
    assert '"old"' in house.path.read_text()
    assert not any(value in house.path.read_text() for values in house.values().values() for value in values)
