"""What is done to a system: its processes are killed, stopped and restarted, what connects them is cut and slowed."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from pkg.local_stack.services import SERVICES
from pkg.provisioning.valkey_users import ADMINISTRATOR
from pkg.runtime.access import (
    API_GATEWAY,
    LINK_CHECK_FUNCTION,
    LINK_CHECKER,
    LINK_MANAGER,
    NEWS_MANAGER,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
)
from tests.e2e.processes import family
from tests.e2e.stack import Stack
from tests.faults.load import Load
from tests.faults.proxy import Mode, ProxyControl
from tests.faults.system import REPLICATED

#: Those whose interrupted work comes again late are first, and others meanwhile.
PROCESSES: Final = (
    LINK_CHECKER,
    LINK_CHECK_FUNCTION,
    LINK_MANAGER,
    NEWS_MANAGER,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
    API_GATEWAY,
    "nats",
    "valkey",
    "postgres",
)
#: Names of the ports behind which they are.
REACHED: Final = {
    "postgres": ("postgres",),
    "nats": ("nats",),
    "valkey": ("valkey",),
    **{service.name: tuple(service.ports) for service in SERVICES if service.name not in {API_GATEWAY, LINK_CHECKER}},
}
#: Seconds for a process to be there again.
_BACK: Final = 60.0
_POLL: Final = 0.02


class Kind(StrEnum):
    KILL = "kill"
    STOP = "stop"
    RESTART = "restart"
    #: One replica after the other.
    ROLL = "roll"
    CUT = "cut"
    SILENCE = "silence"
    SLOW = "slow"
    #: NATS cannot be reached until many writes were accepted.
    OUTBOX = "outbox"
    #: Valkey forgets everything.
    FLUSH = "flush"


_MODES: Final = {Kind.CUT: Mode.CUT, Kind.SILENCE: Mode.SILENT, Kind.SLOW: Mode.SLOW}


@dataclass(frozen=True)
class Fault:
    kind: Kind
    target: str

    @property
    def name(self) -> str:
        match self.kind:
            case Kind.KILL:
                return f"kill -9 {self.target}"
            case Kind.STOP:
                return f"SIGSTOP {self.target}"
            case Kind.RESTART | Kind.ROLL:
                return f"{self.kind} {self.target}"
            case Kind.OUTBOX:
                return "NATS away, the outbox fills"
            case Kind.FLUSH:
                return "FLUSHALL in Valkey"
            case _:
                return f"{self.kind} the ways to {self.target}"


def list_faults(kinds: Iterable[Kind], replicas: int) -> list[Fault]:
    """In the order in which they are inflicted."""
    targets: dict[Kind, Sequence[str]] = {
        Kind.KILL: PROCESSES,
        Kind.STOP: PROCESSES,
        Kind.RESTART: PROCESSES,
        Kind.ROLL: REPLICATED if replicas > 1 else (),
        Kind.CUT: tuple(REACHED),
        Kind.SILENCE: tuple(REACHED),
        Kind.SLOW: tuple(REACHED),
        Kind.OUTBOX: ("nats",),
        Kind.FLUSH: ("valkey",),
    }
    wanted = set(kinds)
    return [Fault(kind, target) for kind in Kind if kind in wanted for target in targets[kind]]


def valkey_administrator(stack: Stack) -> Redis:
    valkey = stack.ready["redis"]
    password = Path(valkey["password_files"][ADMINISTRATOR]).read_text(encoding="utf-8").strip()
    return Redis.from_url(valkey["url"], username=ADMINISTRATOR, password=password)


class Tormentor:
    def __init__(self, stack: Stack, proxy: ProxyControl, load: Load, seconds: float) -> None:
        """``seconds``: how long whatever is not over by itself lasts."""
        self._stack = stack
        self._proxy = proxy
        self._load = load
        self._seconds = seconds

    async def inflict(self, fault: Fault, writes: int) -> float:
        """Returns when it is over; gives the moment since when things could become well again.

        ``writes``: accepted while NATS is away.
        """
        match fault.kind:
            case Kind.KILL | Kind.RESTART | Kind.ROLL | Kind.STOP:
                return await self._harm_processes(fault.kind, fault.target)
            case Kind.OUTBOX:
                return await self._disturb(Mode.CUT, fault.target, self._load.accepted + writes)
            case Kind.FLUSH:
                return await self._flush()
            case _:
                return await self._disturb(_MODES[fault.kind], fault.target)

    async def _harm_processes(self, kind: Kind, target: str) -> float:
        names = self._processes(target)
        # Whoever is connected to Postgres may stay for as long as they like if it is told to end by SIGTERM.
        gently = signal.SIGINT if target == "postgres" else signal.SIGTERM
        if kind is Kind.STOP:
            return await self._stop(names)
        if kind is not Kind.ROLL:
            return await self._end(names, signal.SIGKILL if kind is Kind.KILL else gently)
        over = 0.0
        for name in names:
            over = await self._end([name], gently)
        return over

    def _processes(self, target: str) -> list[str]:
        """With all replicas."""
        return [name for name in self._stack.ready["pids"] if name == target or name.startswith(f"{target}-")]

    async def _end(self, names: Sequence[str], number: signal.Signals) -> float:
        before = self._stack.ready["pids"]
        began = time.monotonic()
        for name in names:
            os.kill(before[name], number)
        for name in names:
            await self._back(name, before[name])
        return began

    async def _back(self, name: str, before: int) -> None:
        """Returns when there is another process that says that it is ready, if it is one that says so."""
        deadline = time.monotonic() + _BACK
        while True:
            now = self._stack.ready["pids"].get(name)
            if now not in {None, before} and f"{name} (pid {now}) serves again" in self._tail():
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} does not come back")
            await asyncio.sleep(_POLL)

    def _tail(self) -> str:
        with self._stack.log.open("rb") as log:
            log.seek(max(0, self._stack.log.stat().st_size - 200_000))
            return log.read().decode(errors="replace")

    async def _stop(self, names: Sequence[str]) -> float:
        pids = [pid for name in names for pid in family(self._stack.ready["pids"][name])]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self._seconds)
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        return time.monotonic()

    async def _flush(self) -> float:
        async with valkey_administrator(self._stack) as redis:
            await redis.flushall()
        return time.monotonic()

    async def _disturb(self, mode: Mode, target: str, writes: int = 0) -> float:
        try:
            if not self._proxy.change(mode, REACHED[target]):
                raise AssertionError(f"nobody reaches {target} through the proxy")
            await asyncio.sleep(self._seconds)
            await self._load.until_accepted(writes)
        finally:
            self._proxy.change(Mode.OPEN, REACHED[target])
        return time.monotonic()
