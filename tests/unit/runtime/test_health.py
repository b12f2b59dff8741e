"""Ready means: every dependency answered, in time, just now."""

import asyncio

from pkg.object_model.errors import Unavailable
from pkg.runtime.health import ReadinessProbe, once


class Dependency:
    def __init__(self, *faults: BaseException | None) -> None:
        self.faults = list(faults)
        self.asked = 0

    async def check(self) -> None:
        self.asked += 1
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault


class Hands:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


async def test_without_dependencies_it_is_ready() -> None:
    result = await ReadinessProbe({}).check()
    assert result.ready


async def test_each_dependency_is_named_and_nothing_is_given_away() -> None:
    probe = ReadinessProbe(
        {
            "database": Dependency(Unavailable("schema of 10.0.0.5 is behind", code="schema_behind")).check,
            "cache": Dependency(OSError("password=hunter2 at 10.0.0.6")).check,
            "users": Dependency().check,
        }
    )
    result = await probe.check()
    assert not result.ready
    assert result.dependencies == {"database": "schema_behind", "cache": "OSError", "users": "ok"}


async def test_a_dependency_that_hangs_is_not_ready() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    result = await ReadinessProbe({"database": hang}, deadline=0.01).check()
    assert result.dependencies == {"database": "timeout"}


async def test_dependencies_are_asked_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def meet() -> None:
        await both.wait()

    result = await ReadinessProbe({"a": meet, "b": meet}, deadline=5).check()
    assert result.ready


async def test_many_who_ask_are_one_question() -> None:
    dependency, hands = Dependency(), Hands()
    probe = ReadinessProbe({"database": dependency.check}, lifetime=1, now=hands.now)
    await asyncio.gather(*(probe.check() for _ in range(50)))
    assert dependency.asked == 1
    hands.time += 0.99
    await probe.check()
    assert dependency.asked == 1
    hands.time += 0.02
    await probe.check()
    assert dependency.asked == 2


async def test_it_becomes_ready_when_the_dependency_comes() -> None:
    dependency, hands = Dependency(OSError(), OSError(), None), Hands()
    probe = ReadinessProbe({"database": dependency.check}, lifetime=1, now=hands.now)
    states = []
    for _ in range(3):
        states.append((await probe.check()).ready)
        hands.time += 1
    assert states == [False, False, True]


async def test_what_has_to_hold_once() -> None:
    dependency, hands = Dependency(OSError(), None, OSError()), Hands()
    probe = ReadinessProbe({"events": once(dependency.check)}, lifetime=1, now=hands.now)
    states = []
    for _ in range(3):
        states.append((await probe.check()).ready)
        hands.time += 1
    assert states == [False, True, True]
    assert dependency.asked == 2
