"""Time and ids, injected into every manager so that a test owns both."""

import secrets
import threading
from datetime import UTC, datetime
from typing import Protocol

#: Ids count milliseconds from here, so that they stay short for as long as possible.
_ID_EPOCH_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
_RANDOM_BITS = 21


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, in UTC."""


class IdGenerator(Protocol):
    def new_id(self) -> int:
        """A positive 63-bit integer, unique for all practical purposes, rising within one generator."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class TimeOrderedIds:
    """Ids of 42 bits of milliseconds and 21 random bits: no node number to hand out, sortable by age.

    Two processes collide with a chance of one in two million for ids of the same millisecond; ids are part
    of a primary key together with the user's, where they are, so a collision is an error that is tried again
    and never a mix-up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0
        self._lock = threading.Lock()

    def new_id(self) -> int:
        milliseconds = int(self._clock.now().timestamp() * 1000) - _ID_EPOCH_MS
        candidate = (milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._last = candidate if candidate > self._last else self._last + 1
            return self._last
