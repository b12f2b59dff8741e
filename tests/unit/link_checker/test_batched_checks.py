"""Who asks at about the same time is asked for in one call, and nobody waits for another's answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from pkg.link_checker.batched_checks import BatchedChecks
from pkg.object_model.errors import DelinkciousError, InvalidArgument, Unavailable
from pkg.object_model.interfaces import LinkBatchChecker
from pkg.object_model.types import CheckLinkRequest, LinkStatus, Verdict

VALID = Verdict(status=LinkStatus.VALID, reason="ok")
DEAD = Verdict(status=LinkStatus.INVALID, reason="gone")


class FakeFunction(LinkBatchChecker):
    """Says what it is told to, and of what is slow nothing until it is let; then it breaks off, if it is to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.says: dict[str, Verdict | DelinkciousError] = {}
        self.slow: set[str] = set()
        self.go_on = asyncio.Event()
        self.breaks: DelinkciousError | None = None

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        self.calls.append([request.url])
        if request.url in self.slow:
            await self.go_on.wait()
        said = self.says.get(request.url, VALID)
        if isinstance(said, DelinkciousError):
            raise said
        return said

    async def check_links(
        self, requests: Sequence[CheckLinkRequest]
    ) -> AsyncIterator[tuple[int, Verdict | DelinkciousError]]:
        self.calls.append([request.url for request in requests])
        late = [place for place, request in enumerate(requests) if request.url in self.slow]
        for place, request in enumerate(requests):
            if place not in late:
                yield place, self.says.get(request.url, VALID)
        if self.breaks is not None:
            raise self.breaks
        if late:
            await self.go_on.wait()
        for place in late:
            yield place, VALID


@pytest.fixture
async def function() -> FakeFunction:
    return FakeFunction()


def ask(checks: BatchedChecks, *urls: str) -> list[asyncio.Task[Verdict]]:
    return [asyncio.create_task(checks.check_link(CheckLinkRequest(username="a", url=url))) for url in urls]


async def test_together_they_are_one_call_and_alone_it_is_as_ever(function: FakeFunction) -> None:
    checks = BatchedChecks(function)
    function.says = {"b": DEAD}
    assert await asyncio.gather(*ask(checks, "a", "b", "c")) == [VALID, DEAD, VALID]
    assert await asyncio.gather(*ask(checks, "d")) == [VALID]
    assert function.calls == [["a", "b", "c"], ["d"]]


async def test_a_call_has_so_many_and_no_more(function: FakeFunction) -> None:
    checks = BatchedChecks(function, max_batch=2)
    assert await asyncio.gather(*ask(checks, "a", "b", "c", "d", "e")) == [VALID] * 5
    assert function.calls == [["a", "b"], ["c", "d"], ["e"]]


async def test_one_that_is_slow_keeps_no_other_waiting(function: FakeFunction) -> None:
    function.slow = {"b"}
    first, slow, third = ask(BatchedChecks(function), "a", "b", "c")
    assert await first == VALID
    assert await third == VALID
    assert not slow.done()
    function.go_on.set()
    assert await slow == VALID


async def test_a_fault_of_one_is_nobody_elses(function: FakeFunction) -> None:
    function.says = {"b": InvalidArgument("no URL")}
    said = await asyncio.gather(*ask(BatchedChecks(function), "a", "b", "c"), return_exceptions=True)
    assert said[0] == said[2] == VALID
    assert isinstance(said[1], InvalidArgument)


async def test_a_call_that_breaks_off_fails_those_without_an_answer_alone(function: FakeFunction) -> None:
    function.slow, function.breaks = {"c"}, Unavailable("gone", code="link_check_function_unavailable")
    said = await asyncio.gather(*ask(BatchedChecks(function), "a", "b", "c"), return_exceptions=True)
    assert said[0] == VALID
    assert said[1] == VALID
    assert isinstance(said[2], Unavailable) and said[2].code == "link_check_function_unavailable"


async def test_a_call_that_forgets_one_says_that_there_was_no_look(function: FakeFunction) -> None:
    class Forgetful(FakeFunction):
        async def check_links(
            self, requests: Sequence[CheckLinkRequest]
        ) -> AsyncIterator[tuple[int, Verdict | DelinkciousError]]:
            yield 0, VALID

    said = await asyncio.gather(*ask(BatchedChecks(Forgetful()), "a", "b"), return_exceptions=True)
    assert said[0] == VALID
    assert isinstance(said[1], Unavailable)


async def test_who_has_left_is_not_asked_for(function: FakeFunction) -> None:
    checks = BatchedChecks(function, gathering=0.05)
    leaving, staying = ask(checks, "a", "b")
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == VALID
    assert function.calls == [["b"]]
