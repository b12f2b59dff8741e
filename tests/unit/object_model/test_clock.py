"""Time is aware and in UTC; ids rise, fit in 63 bits, and are never given twice."""

import threading
from datetime import UTC, datetime, timedelta

from pkg.object_model.clock import SystemClock, TimeOrderedIds
from tests.fakes import FakeClock


def test_the_clock_is_in_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


def test_ids_rise_with_time_and_within_it() -> None:
    clock = FakeClock()
    ids = TimeOrderedIds(clock)
    made = []
    for _ in range(100):
        made += [ids.new_id() for _ in range(10)]
        clock.advance(0.001)
    assert made == sorted(set(made))


def test_ids_of_two_generators_are_in_order_of_their_time() -> None:
    clock = FakeClock()
    earlier = [TimeOrderedIds(clock).new_id() for _ in range(100)]
    clock.advance(0.001)
    later = [TimeOrderedIds(clock).new_id() for _ in range(100)]
    assert max(earlier) < min(later)
    assert len(set(earlier)) > 90, "they are not random"


def test_a_clock_that_is_set_back_gives_no_id_twice() -> None:
    clock = FakeClock()
    ids = TimeOrderedIds(clock)
    first = [ids.new_id() for _ in range(10)]
    clock.advance(-3_600)
    second = [ids.new_id() for _ in range(10)]
    assert first + second == sorted(set(first + second))


def test_ids_fit() -> None:
    for now in (datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), datetime(2164, 1, 1, tzinfo=UTC)):
        ids = TimeOrderedIds(FakeClock(now))
        assert all(0 < ids.new_id() < 2**63 for _ in range(100))
    before_the_epoch = TimeOrderedIds(FakeClock(datetime(2020, 1, 1, tzinfo=UTC)))
    assert [before_the_epoch.new_id() for _ in range(3)] == [1, 2, 3]


def test_threads_share_a_generator() -> None:
    ids = TimeOrderedIds(FakeClock())
    made: list[list[int]] = [[] for _ in range(8)]

    def make(mine: list[int]) -> None:
        mine += [ids.new_id() for _ in range(2_000)]

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*made)) == 8 * 2_000
    assert all(mine == sorted(mine) for mine in made)
