"""What many ask at about the same time, asked in one call."""

import asyncio
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.errors import DelinkciousError, Unavailable
from pkg.object_model.types import CheckLinkRequest, Verdict

MAX_BATCH: Final = 16
#: Seconds for which the first waits for others: events of an import come many at once.
GATHERING: Final = 0.005

type _Asked = tuple[CheckLinkRequest, asyncio.Future[Verdict]]


class BatchedChecks(interfaces.LinkChecker):
    """Asks another checker about so many at once. Each has its answer as soon as that is known, whatever the others do.

    How many wait is for those who ask to bound.
    """

    def __init__(
        self, checker: interfaces.LinkBatchChecker, *, max_batch: int = MAX_BATCH, gathering: float = GATHERING
    ) -> None:
        self._checker = checker
        self._max_batch = max_batch
        self._gathering = gathering
        self._gathered: list[_Asked] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Verdict] = loop.create_future()
        self._gathered.append((request, answer))
        if len(self._gathered) == self._max_batch:
            self._send()
        elif len(self._gathered) == 1:
            # In the context of who asks: a call about one link is a part of the trace of its event.
            loop.call_later(self._gathering, self._send)
        return await answer

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        asked = [one for one in gathered if not one[1].done()]
        if asked:
            call = asyncio.create_task(self._ask(asked))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _ask(self, asked: list[_Asked]) -> None:
        fault: DelinkciousError = Unavailable("there was no answer about this link; ask again later")
        try:
            if len(asked) == 1:
                _tell(asked[0][1], await self._checker.check_link(asked[0][0]))
            else:
                async for place, said in self._checker.check_links([request for request, _ in asked]):
                    _tell(asked[place][1], said)
        except DelinkciousError as failed:
            fault = failed
        finally:
            for _, answer in asked:
                _tell(answer, fault)


def _tell(answer: asyncio.Future[Verdict], said: Verdict | DelinkciousError) -> None:
    if answer.done():
        return
    if isinstance(said, DelinkciousError):
        answer.set_exception(said)
    else:
        answer.set_result(said)
