"""Many who ask about one URL are one look."""

import asyncio

import pytest

from pkg.link_checker.shared_checks import LIFETIME, SharedChecks
from pkg.object_model.errors import DelinkciousError, Unavailable
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import CheckLinkRequest, LinkStatus, Verdict

VALID = Verdict(status=LinkStatus.VALID, reason="ok")
LATER = Verdict(status=LinkStatus.PENDING, reason="server_error", transient=True)


class SlowChecker(LinkChecker):
    """Answers when it is let."""

    def __init__(self, verdict: Verdict = VALID) -> None:
        self.verdict = verdict
        self.fault: DelinkciousError | None = None
        self.asked: list[str] = []
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        self.asked.append(request.url)
        self.begun.put_nowait(request.url)
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        return self.verdict


class Hands:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


def ask(url: str, username: str = "alice") -> CheckLinkRequest:
    return CheckLinkRequest(username=username, url=url)


async def test_those_who_ask_meanwhile_share_one_look() -> None:
    checker = SlowChecker()
    shared = SharedChecks(checker, str.lower)
    checker.may_answer.clear()
    asking = [asyncio.create_task(shared.check_link(ask(url))) for url in ("http://A/", "http://a/", "http://b/")]
    assert [await checker.begun.get() for _ in range(2)] == ["http://A/", "http://b/"]
    checker.may_answer.set()
    assert await asyncio.gather(*asking) == [VALID, VALID, VALID]
    assert checker.asked == ["http://A/", "http://b/"]


@pytest.mark.parametrize("verdict", [VALID, LATER])
async def test_a_verdict_is_good_for_a_while(verdict: Verdict) -> None:
    checker, hands = SlowChecker(verdict), Hands()
    shared = SharedChecks(checker, str.lower, now=hands.now)
    for wait, looks in ((0.0, 1), (LIFETIME - 0.01, 1), (0.02, 2)):
        hands.time += wait
        assert await shared.check_link(ask("http://a/")) == verdict
        assert len(checker.asked) == looks


async def test_a_fault_is_for_those_who_wait_and_for_nobody_after() -> None:
    checker = SlowChecker()
    shared = SharedChecks(checker, str.lower)
    checker.fault = Unavailable("away")
    checker.may_answer.clear()
    asking = [asyncio.create_task(shared.check_link(ask("http://a/"))) for _ in range(2)]
    await checker.begun.get()
    checker.may_answer.set()
    assert await asyncio.gather(*asking, return_exceptions=True) == [checker.fault] * 2
    checker.fault = None
    assert await shared.check_link(ask("http://a/")) == VALID
    assert len(checker.asked) == 2


async def test_one_who_leaves_does_not_stop_it_for_the_others() -> None:
    checker = SlowChecker()
    shared = SharedChecks(checker, str.lower)
    checker.may_answer.clear()
    first, second = (asyncio.create_task(shared.check_link(ask("http://a/"))) for _ in range(2))
    await checker.begun.get()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    checker.may_answer.set()
    assert await second == VALID
    assert len(checker.asked) == 1


async def test_so_many_are_kept_and_no_more() -> None:
    checker = SlowChecker()
    shared = SharedChecks(checker, str.lower, max_kept=2)
    for url in ("http://a/", "http://b/", "http://c/", "http://c/", "http://b/", "http://a/"):
        await shared.check_link(ask(url))
    assert checker.asked == ["http://a/", "http://b/", "http://c/", "http://a/"]
