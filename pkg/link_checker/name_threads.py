"""Threads that ask name servers, for a loop that must not wait for them.

The standard library's pool costs 100 microseconds a question, a quarter of what a whole check costs, most of it to wake
the loop for each answer; here it is woken once for all answers that are there. Nor does the end of the process wait for
a name server that never answers.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

#: With a few threads, the names of one slow zone would stop every check.
MAX_THREADS: Final = 64


class _Question[AnswerT](NamedTuple):
    ask: Callable[[], AnswerT]
    answered: asyncio.Future[AnswerT]


class NameThreads:
    """Belongs to the loop in which it is first asked. Questions beyond MAX_THREADS wait for their turn."""

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        self._questions: SimpleQueue[_Question[Any] | None] = SimpleQueue()
        self._threads = 0
        #: Questions without an answer that was delivered.
        self._open = 0
        self._lock = threading.Lock()
        #: Under the lock: answers that the loop has not seen yet. It is woken for the first of them.
        self._answers: list[tuple[_Question[Any], Any, BaseException | None]] = []

    async def run[AnswerT](self, ask: Callable[[], AnswerT]) -> AnswerT:
        """What ``ask``, which may block, returns or raises. Who stops waiting lets it go on, and nobody hears of it."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[AnswerT] = loop.create_future()
        self._open += 1
        self._questions.put(_Question(ask, answered))
        if self._threads < min(self._open, self._max_threads):
            self._threads += 1
            # A daemon: what a name server does not answer must not keep the process from its end.
            threading.Thread(target=self._work, args=(loop,), name="names", daemon=True).start()
        return await answered

    def close(self) -> None:
        """Lets threads go as soon as what they ask is answered."""
        for _ in range(self._threads):
            self._questions.put(None)
        self._threads = 0

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (question := self._questions.get()) is not None:
            answer, fault = None, None
            try:
                answer = question.ask()
            except BaseException as raised:  # noqa: BLE001  # it is raised where the answer is waited for
                fault = raised
            with self._lock:
                is_first = not self._answers
                self._answers.append((question, answer, fault))
            if is_first:
                # Of a loop that is closed nobody waits any more.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            answers, self._answers = self._answers, []
        self._open -= len(answers)
        for question, answer, fault in answers:
            if question.answered.done():
                continue
            if fault is None:
                question.answered.set_result(answer)
            else:
                question.answered.set_exception(fault)
