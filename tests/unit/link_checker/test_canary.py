"""An outage of the checker's own network is nobody's death."""

import asyncio
from collections.abc import Mapping

import pytest

from pkg.link_checker.canary import LIFETIME, MAX_CANARIES, OF_NETWORK, CanaryChecker, parse_canaries
from pkg.object_model.errors import Unavailable
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import CheckLinkRequest, LinkReason, LinkStatus, Verdict

PAGE, ONE, TWO = "https://page.example/", "https://one.example/", "https://two.example/"


class World(LinkChecker):
    """What is said of each URL, and which were asked for."""

    def __init__(self, said: Mapping[str, LinkReason]) -> None:
        self.said = dict(said)
        self.asked: list[str] = []
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        self.asked.append(request.url)
        await asyncio.sleep(0)
        return Verdict(status=LinkStatus.PENDING, reason=self.said[request.url])


def ask(url: str = PAGE) -> CheckLinkRequest:
    return CheckLinkRequest(username="alice", url=url)


@pytest.mark.parametrize("reason", sorted(OF_NETWORK))
async def test_without_a_network_nothing_is_said(reason: LinkReason) -> None:
    world = World({PAGE: reason, ONE: LinkReason.DNS_FAILED, TWO: LinkReason.TIMED_OUT})
    with pytest.raises(Unavailable) as refused:
        await CanaryChecker(world, (ONE, TWO)).check_link(ask())
    assert refused.value.code == "link_checker_offline"
    assert world.asked == [PAGE, ONE, TWO]


@pytest.mark.parametrize("answer", [LinkReason.OK, LinkReason.FORBIDDEN, LinkReason.SERVER_ERROR])
async def test_one_canary_that_answers_is_enough(answer: LinkReason) -> None:
    world = World({PAGE: LinkReason.NO_SUCH_NAME, ONE: LinkReason.TIMED_OUT, TWO: answer})
    assert (await CanaryChecker(world, (ONE, TWO)).check_link(ask())).reason == LinkReason.NO_SUCH_NAME


@pytest.mark.parametrize("reason", [LinkReason.OK, LinkReason.NOT_FOUND, LinkReason.SERVER_ERROR])
async def test_what_a_site_says_itself_needs_no_canary(reason: LinkReason) -> None:
    world = World({PAGE: reason})
    assert (await CanaryChecker(world, (ONE,)).check_link(ask())).reason == reason
    assert world.asked == [PAGE]


async def test_without_canaries_every_word_counts() -> None:
    world = World({PAGE: LinkReason.TIMED_OUT})
    assert (await CanaryChecker(world, ()).check_link(ask())).reason == LinkReason.TIMED_OUT


async def test_many_share_one_look_at_the_canary_and_not_for_long() -> None:
    world = World({PAGE: LinkReason.TIMED_OUT, ONE: LinkReason.OK})
    checker = CanaryChecker(world, (ONE,), now=world.now)
    await asyncio.gather(*(checker.check_link(ask()) for _ in range(10)))
    assert world.asked.count(ONE) == 1
    world.time += LIFETIME
    world.said[ONE] = LinkReason.DNS_FAILED
    with pytest.raises(Unavailable):
        await checker.check_link(ask())


def test_canaries_are_read() -> None:
    assert parse_canaries("") == ()
    assert parse_canaries(f" {ONE}, {TWO},") == (ONE, TWO)


@pytest.mark.parametrize("text", ["one.example", "ftp://one.example/", ",".join([ONE] * (MAX_CANARIES + 1))])
def test_what_is_no_canary_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        parse_canaries(text)
