"""Whether a process lives, and whether it can do its work.

Alive is not ready: a service whose database is away lives, reports not ready, and becomes ready when the
database comes. Restarting it would help nobody.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pkg.object_model.errors import DelinkciousError
from pkg.runtime.logs import get_logger

#: Seconds: what one check may take, and how long its result is good for. Probes come from several places at
#: once.
CHECK_DEADLINE: Final = 1.0
RESULT_LIFETIME: Final = 1.0

#: Returns if the dependency can be used, raises otherwise.
type Check = Callable[[], Awaitable[None]]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    #: By dependency: ``ok``, or what is wrong in a word that gives nothing away.
    dependencies: Mapping[str, str]


class ReadinessProbe:
    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        deadline: float = CHECK_DEADLINE,
        lifetime: float = RESULT_LIFETIME,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = dict(checks)
        self._deadline = deadline
        self._lifetime = lifetime
        self._now = now
        self._lock = asyncio.Lock()
        self._result: Readiness | None = None
        self._expires = 0.0

    async def check(self) -> Readiness:
        """Asks all dependencies at once, at most once in ``lifetime``, however many ask."""
        async with self._lock:
            if self._result is None or self._now() >= self._expires:
                states = await asyncio.gather(*(self._state(check) for check in self._checks.values()))
                result = Readiness(all(state == "ok" for state in states), dict(zip(self._checks, states, strict=True)))
                if self._result is None or result != self._result:
                    _log.info("readiness", ready=result.ready, dependencies=result.dependencies)
                self._result = result
                self._expires = self._now() + self._lifetime
            return self._result

    async def _state(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self._deadline):
                await check()
        except TimeoutError:
            return "timeout"
        except DelinkciousError as error:
            return error.code
        except Exception as error:  # noqa: BLE001  # whatever it is, the dependency cannot be used
            # Its type only: drivers put addresses and user names into their messages.
            return type(error).__name__
        return "ok"


def once(check: Check) -> Check:
    """Holds as soon as ``check`` has held once, and for ever after."""
    held = False

    async def check_once() -> None:
        nonlocal held
        if not held:
            await check()
            held = True

    return check_once
