"""Who is let in, and how often the user service is asked."""

import asyncio
import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from pkg.events.announcements import TOKEN_REVOCATIONS, write_revocation
from pkg.events.memory_bus import MemoryBus
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import DeadlineExceeded, DelinkciousError, Unauthenticated, Unavailable
from pkg.object_model.types import Actor, Identity, Scope, TokenInfo, TokenKind
from pkg.runtime.context import current_context
from svc.api_gateway_service.revocations import hear_revocations
from svc.api_gateway_service.tokens import REFUSED_LIFETIME, TokenVerdicts
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse
from tests.asgi_client import Headers
from tests.fakes import FakeClock, away


@dataclass
class FakeUsers:
    """Knows the tokens it was told of, and counts how often it is asked."""

    clock: FakeClock
    names: Mapping[str, str] = field(default_factory=lambda: {"token-of-alice": "alice"})
    ids: Mapping[str, int] = field(default_factory=dict)
    lifetime: timedelta = timedelta(hours=1)
    asked: int = 0
    fault: DelinkciousError | None = None
    #: Cleared, it keeps everybody waiting.
    open: asyncio.Event = field(default_factory=asyncio.Event)
    deadlines: list[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open.set()

    async def authenticate(self, token: str) -> Identity:
        self.asked += 1
        context = current_context()
        self.deadlines.append(context.deadline if context else None)
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        if token not in self.names:
            raise Unauthenticated("no such token", code="invalid_token")
        about = TokenInfo(
            id=1, name="", kind=TokenKind.SESSION, scopes=tuple(Scope), expires_at=self.clock.now() + self.lifetime
        )
        name = self.names[token]
        return Identity(actor=Actor(self.ids.get(name, 1), name), token=about)


class Monotonic:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Door:
    users: FakeUsers
    time: Monotonic
    verdicts: TokenVerdicts

    async def name(self, token: str = "token-of-alice") -> str:
        return (await self.verdicts.identify(token)).actor.name

    async def code(self, token: str) -> str:
        with pytest.raises(Unauthenticated) as refusal:
            await self.verdicts.identify(token)
        return refusal.value.code


def make_door(*, lifetime: float = 5.0, max_known: int = 10, max_refused: int = 10) -> Door:
    users, time = FakeUsers(FakeClock()), Monotonic()
    verdicts = TokenVerdicts(
        users, users.clock, lifetime=lifetime, now=time, max_known=max_known, max_refused=max_refused
    )
    return Door(users, time, verdicts)


# --- verdicts -------------------------------------------------------------------------------------------------------


async def test_a_verdict_is_good_for_its_lifetime() -> None:
    door = make_door()
    assert [await door.name(), await door.name()] == ["alice", "alice"]
    assert door.users.asked == 1
    door.time.time += 4.9
    await door.name()
    assert door.users.asked == 1
    door.time.time += 0.2
    await door.name()
    assert door.users.asked == 2


async def test_a_revoked_token_is_refused_when_the_lifetime_is_over() -> None:
    door = make_door()
    await door.name()
    door.users.names = {}
    door.time.time += 5
    assert await door.code("token-of-alice") == "invalid_token"


async def test_who_is_forgotten_is_asked_about_again() -> None:
    door = make_door()
    door.users.names = {"a": "alice", "b": "alice", "c": "carol"}
    door.users.ids = {"alice": 1, "carol": 3}
    for token in "abc":
        await door.name(token)
    assert door.users.asked == 3
    door.verdicts.forget(1)
    await door.name("c")
    assert door.users.asked == 3
    door.users.names = {"c": "carol"}
    assert [await door.code(token) for token in "ab"] == ["invalid_token"] * 2
    door.verdicts.forget(2)
    door.verdicts.forget_all()
    await door.name("c")
    assert door.users.asked == 6


async def test_an_answer_that_was_on_its_way_while_somebody_was_forgotten_is_not_remembered() -> None:
    door = make_door()
    door.users.open.clear()
    asking = asyncio.create_task(door.name())
    while not door.users.asked:  # noqa: ASYNC110  # a turn or two of the loop
        await asyncio.sleep(0)
    door.verdicts.forget(1)
    door.users.open.set()
    assert await asking == "alice"
    door.users.names = {}
    assert await door.code("token-of-alice") == "invalid_token"


async def test_nothing_is_kept_of_who_is_not_known() -> None:
    door = make_door(max_known=2)
    door.users.names = {name: name for name in "abc"}
    door.users.ids = {"a": 1, "b": 2, "c": 3}
    for token in ("a", "b", "c", "a"):
        await door.name(token)
    assert (len(door.verdicts._known), sorted(door.verdicts._by_user)) == (2, [1, 3])
    door.users.names = {}
    door.time.time += 10
    for token in "abc":
        await door.code(token)
    assert (len(door.verdicts._known), door.verdicts._by_user) == (0, {})


async def test_what_is_announced_is_heard_and_what_is_not_understood_is_counted() -> None:
    door, bus = make_door(), MemoryBus(SystemClock())
    await hear_revocations(bus, door.verdicts)
    await door.name()
    for body in (b"nonsense", b'{"UserId":"2"}'):
        await bus.announce(TOKEN_REVOCATIONS, body)
    await door.name()
    assert door.users.asked == 1
    await bus.announce(TOKEN_REVOCATIONS, write_revocation(1))
    await door.name()
    assert door.users.asked == 2
    # Whatever may have been told while the bus was away.
    bus.away = True
    bus.away = False
    await door.name()
    assert door.users.asked == 3


async def test_no_verdict_outlives_its_token() -> None:
    door = make_door()
    door.users.lifetime = timedelta(seconds=2)
    await door.name()
    door.time.time += 1.9
    await door.name()
    assert door.users.asked == 1
    door.time.time += 0.1
    await door.name()
    assert door.users.asked == 2


async def test_a_lifetime_of_nothing_asks_every_time() -> None:
    door = make_door(lifetime=0)
    await door.name()
    await door.name()
    await door.code("unknown")
    await door.code("unknown")
    assert door.users.asked == 4


async def test_a_refusal_is_remembered_shortly() -> None:
    door = make_door()
    assert [await door.code("unknown"), await door.code("unknown")] == ["invalid_token"] * 2
    assert door.users.asked == 1
    door.users.names = {"unknown": "bob"}
    door.time.time += REFUSED_LIFETIME
    assert await door.name("unknown") == "bob"


async def test_many_refusals_push_out_nobody_who_is_known() -> None:
    door = make_door(max_known=2, max_refused=2)
    await door.name()
    for number in range(10):
        await door.code(f"unknown-{number}")
    assert door.users.asked == 11
    await door.name()
    await door.code("unknown-9")
    assert door.users.asked == 11
    await door.code("unknown-0")
    assert door.users.asked == 12
    assert len(door.verdicts._refused) == 2


async def test_the_one_unused_for_longest_makes_room() -> None:
    door = make_door(max_known=2)
    door.users.names = {name: name for name in "abc"}
    for token in ("a", "b", "a", "c", "a"):
        await door.name(token)
    assert door.users.asked == 3
    await door.name("b")
    assert door.users.asked == 4
    assert len(door.verdicts._known) == 2


async def test_those_who_ask_at_once_share_one_call() -> None:
    door = make_door()
    door.users.open.clear()
    asking = [asyncio.create_task(door.name()) for _ in range(50)]
    await asyncio.sleep(0)
    door.users.open.set()
    assert await asyncio.gather(*asking) == ["alice"] * 50
    assert door.users.asked == 1


async def test_one_who_gives_up_leaves_the_others_their_answer() -> None:
    door = make_door()
    door.users.open.clear()
    first, second = asyncio.create_task(door.name()), asyncio.create_task(door.name())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    door.users.open.set()
    assert await second == "alice"
    assert door.users.asked == 1
    assert first.cancelled()


async def test_a_failure_is_shared_and_forgotten() -> None:
    door = make_door()
    door.users.fault = away("user_manager")
    answers = await asyncio.gather(door.name(), door.name(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert door.users.asked == 1
    door.users.fault = None
    assert await door.name() == "alice"


async def test_a_failure_that_nobody_waited_for_is_no_alarm() -> None:
    door = make_door()
    door.users.fault = away("user_manager")
    door.users.open.clear()
    alarms: list[object] = []
    loop = asyncio.get_running_loop()
    # What tests before this one have left is not its own.
    gc.collect()
    loop.set_exception_handler(lambda _, context: alarms.append(context))
    try:
        asking = asyncio.create_task(door.name())
        await asyncio.sleep(0)
        (asked,) = door.verdicts._asking.values()
        asking.cancel()
        await asyncio.wait([asking])
        door.users.open.set()
        await asyncio.wait([asked])
        # asyncio speaks up when a failure that nobody looked at is thrown away.
        del asking, asked
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert alarms == []


@pytest.mark.parametrize("token", ["x" * 513, "t\u00f6ken", "tok\ten"])
async def test_what_cannot_be_a_token_is_not_asked_about(token: str) -> None:
    door = make_door()
    assert await door.code(token) == "invalid_token"
    assert door.users.asked == 0


async def test_no_token_is_kept() -> None:
    door = make_door()
    await door.name()
    await door.code("unknown")
    kept = repr((door.verdicts._known, door.verdicts._refused, door.verdicts._asking))
    assert "token-of-alice" not in kept
    assert "unknown" not in kept


# --- through the gateway --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Access-Token", "Authorization", "authorization"])
async def test_the_token_in_either_header(house: GatewayHouse, header: str) -> None:
    value = house.alice.token if header == "Access-Token" else f"bearer  {house.alice.token}"
    response = await house.gateway.call("GET", "/v1/me", headers={header: value})
    assert response.json()["user"]["Name"] == "alice"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_token"),
        ({"Access-Token": ""}, "missing_token"),
        ({"Authorization": "Basic YTpi"}, "missing_token"),
        ({"Authorization": "Bearer"}, "missing_token"),
        ({"Access-Token": "wrong"}, "invalid_token"),
        ({"Authorization": "Bearer wrong"}, "invalid_token"),
        ({"Access-Token": "x" * 2_000}, "invalid_token"),
        ({"Access-Token": "\u00e9"}, "invalid_token"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/links"), ("POST", "/v1.0/import"), ("GET", "/v1/export")])
async def test_nobody_gets_nothing(house: GatewayHouse, headers: Headers, code: str, method: str, path: str) -> None:
    response = await house.gateway.call(method, path, headers=headers)
    assert (response.status, response.json()["code"]) == (401, code)
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_two_tokens_are_one_too_many(house: GatewayHouse) -> None:
    headers = {"Authorization": f"Bearer {house.bob.token}"}
    assert await house.alice.refused("GET", "/v1/me", headers=headers) == (400, "conflicting_argument")
    headers = {"Authorization": f"Bearer {house.alice.token}"}
    await house.alice.ok("GET", "/v1/me", headers=headers)


async def test_a_session_that_ended_is_refused(house: GatewayHouse) -> None:
    asking = house.with_peers(SETTINGS.model_copy(update={"token_cache_seconds": 0.0}))
    await asking.alice.ok("GET", "/v1/me")
    await house.world.users.logout("alice", house.alice.token)
    assert await asking.alice.refused("GET", "/v1/me") == (401, "invalid_token")
    await asking.bob.ok("GET", "/v1/me")


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (away("user_manager"), (503, "user_manager_unavailable")),
        (DeadlineExceeded("user-manager did not answer in time"), (504, "deadline_exceeded")),
    ],
)
async def test_a_user_service_that_is_away_makes_nobody_a_stranger(
    house: GatewayHouse, fault: DelinkciousError, answer: tuple[int, str]
) -> None:
    """People must not be asked to log in again because a service is down."""
    users = FakeUsers(house.clock, fault=fault)
    gateway = house.with_peers(users=users).gateway
    response = await gateway.call("GET", "/v1/links", token="token-of-alice")
    assert (response.status, response.json()["code"]) == answer


async def test_those_who_are_known_go_on_without_the_user_service(house: GatewayHouse) -> None:
    users = FakeUsers(house.clock, {house.alice.token: "alice"})
    known = house.with_peers(users=users)
    await known.alice.ok("GET", "/v1/followers")
    users.fault = away("user_manager")
    await known.alice.ok("GET", "/v1/followers")
    assert users.asked == 1


async def test_a_short_deadline_of_one_is_not_the_others(house: GatewayHouse) -> None:
    users = FakeUsers(house.clock, {house.alice.token: "alice"})
    waiting = house.with_peers(users=users)
    users.open.clear()
    hasty = asyncio.create_task(waiting.alice.refused("GET", "/v1/tags", headers={"X-Request-Timeout-Ms": "20"}))
    patient = asyncio.create_task(waiting.alice.call("GET", "/v1/followers"))
    assert await hasty == (504, "deadline_exceeded")
    users.open.set()
    assert (await patient).status == 200
    assert (users.asked, users.deadlines) == (1, [None])
