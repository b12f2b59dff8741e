"""Who asks too often is told so, and when to come back; others do not notice."""

import asyncio
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pytest

from pkg.object_model.errors import Unavailable
from pkg.object_model.types import Identity
from pkg.rate_limits.store import Bucket, LimitStore, Taken
from pkg.runtime.logs import logs_written_to
from svc.api_gateway_service.client_address import parse_networks
from svc.api_gateway_service.limits import owner_of
from tests.api.api_gateway_service.conftest import SETTINGS, GatewayHouse, assemble
from tests.asgi_client import AsgiClient, AsgiResponse

STATE = re.compile(r'"([a-z-]+)";r=([0-9]+);t=([0-9]+)')


def limited(house: GatewayHouse, **settings: Any) -> GatewayHouse:
    """The same world behind a gateway with these limits, and behind a proxy."""
    chosen = {"limit_factor": 1.0, "trusted_proxies": parse_networks("127.0.0.1"), **settings}
    return house.with_peers(SETTINGS.model_copy(update=chosen))


def state(response: AsgiResponse) -> tuple[str, int, int]:
    """Name of the limit, what is left, seconds to the next."""
    match = STATE.fullmatch(response.headers["ratelimit"])
    assert match, response.headers["ratelimit"]
    return match[1], int(match[2]), int(match[3])


async def statuses(call: Callable[[], Any], times: int) -> list[int]:
    return [(await call()).status for _ in range(times)]


async def test_a_user_may_read_so_often(house: GatewayHouse) -> None:
    house = limited(house, user_reads=5)
    for left in (4, 3, 2, 1, 0):
        response = await house.alice.call("GET", "/v1/links")
        assert response.status == 200
        assert response.headers["ratelimit-policy"] == '"reads";q=5;w=60'
        assert state(response) == ("reads", left, 12)
    assert await house.alice.refused("GET", "/v1/links") == (429, "rate_limited")
    refused = await house.alice.call("GET", "/v1.0/tags")
    assert refused.json()["err"] == "more than 5 reads in 60 seconds; try again in 12"
    assert refused.headers["retry-after"] == "12"
    assert state(refused) == ("reads", 0, 12)
    assert refused.headers["ratelimit-policy"] == '"reads";q=5;w=60'
    # Nobody else, and nothing else.
    assert await house.bob.ok("GET", "/v1/links")
    assert await house.alice.ok("DELETE", "/v1/links", query={"url": "https://a.example/"})


async def test_all_tokens_of_a_user_count_together(house: GatewayHouse) -> None:
    house = limited(house, user_reads=3)
    other = (await house.world.users.login("alice", "any")).token
    calls = [house.gateway.call("GET", "/v1/links", token=token) for token in (house.alice.token, other) * 2]
    assert [(await call).status for call in calls] == [200, 200, 200, 429]


async def test_what_changes_something_and_files_have_limits_of_their_own(house: GatewayHouse) -> None:
    house = limited(house, user_reads=1, user_writes=2, user_files=1)

    async def write() -> AsgiResponse:
        return await house.alice.call("DELETE", "/v1/links", query={"url": "https://a.example/"})

    assert await statuses(write, 3) == [200, 200, 429]
    exported = await house.alice.call("GET", "/v1/export")
    assert (exported.status, exported.headers["ratelimit-policy"]) == (200, '"files";q=1;w=60')
    assert await house.alice.refused("GET", "/v1/export") == (429, "rate_limited")
    assert await house.alice.refused("POST", "/v1/import", body=b"x") == (429, "rate_limited")
    assert (await house.alice.call("GET", "/v1/links")).status == 200


async def test_an_address_may_read_so_often_whoever_asks(house: GatewayHouse) -> None:
    house = limited(house, address_reads=4)

    async def read(address: str) -> int:
        person = house.alice if address.endswith("1") else house.bob
        return (await person.call("GET", "/v1/links", headers={"X-Forwarded-For": address})).status

    assert [await read("203.0.113.1") for _ in range(5)] == [200] * 4 + [429]
    assert [await read("203.0.113.2") for _ in range(5)] == [200] * 4 + [429]
    refused = await house.bob.call("GET", "/v1/links", headers={"X-Forwarded-For": "203.0.113.1"})
    assert (refused.status, refused.headers["ratelimit-policy"]) == (429, '"address-reads";q=4;w=60')


def test_an_address_of_ipv6_is_its_network() -> None:
    assert owner_of("2001:db8:1:2:3:4:5:6") == owner_of("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert owner_of("2001:db8:1:3::") != owner_of("2001:db8:1:2::")
    assert owner_of("203.0.113.7") == "203.0.113.7"


async def test_whoever_tries_tokens_is_stopped_before_the_user_service_is_asked(house: GatewayHouse) -> None:
    asked = 0

    class Counting:
        async def authenticate(self, token: str) -> Identity:
            nonlocal asked
            asked += 1
            return await house.world.users.authenticate(token)

        def __getattr__(self, name: str) -> Any:
            return getattr(house.world.users, name)

    counted = limited(house, address_failures=5).with_peers(
        SETTINGS.model_copy(
            update={"limit_factor": 1.0, "address_failures": 5, "trusted_proxies": parse_networks("127.0.0.1")}
        ),
        users=Counting(),
    )
    known = await counted.alice.call("GET", "/v1/links")
    assert known.status == 200

    async def guess(number: int, address: str = "203.0.113.1") -> AsgiResponse:
        return await counted.gateway.call(
            "GET", "/v1/links", token=f"guess-{number}", headers={"X-Forwarded-For": address}
        )

    answers = [await guess(number) for number in range(20)]
    assert [answer.status for answer in answers] == [401] * 5 + [429] * 15
    # Alice, five guesses, and the one that found the bucket empty.
    assert asked == 7
    assert int(answers[-1].headers["retry-after"]) <= 12
    # Not those at other addresses, and not whoever is known at the same one: many may share it.
    assert (await guess(99, "203.0.113.2")).status == 401
    assert (await counted.alice.call("GET", "/v1/links", headers={"X-Forwarded-For": "203.0.113.1"})).status == 200


async def test_to_send_no_token_counts_as_well(house: GatewayHouse) -> None:
    house = limited(house, address_failures=3)
    assert await statuses(lambda: house.gateway.call("GET", "/v1/links"), 5) == [401, 401, 401, 429, 429]


async def test_pages_and_logins(house: GatewayHouse) -> None:
    house = limited(house, address_pages=2, address_logins=1)

    async def ask(method: str, path: str) -> AsgiResponse:
        async with AsgiClient(house.gateway.app) as client:
            return await client.request(method, path)

    assert [(await ask("GET", "/docs")).status for _ in range(3)] == [200, 200, 429]
    first, second = await ask("POST", "/login"), await ask("GET", "/login")
    assert first.status != 429
    assert (second.status, second.json()["code"]) == (429, "rate_limited")
    assert second.headers["ratelimit-policy"] == '"address-logins";q=1;w=60'
    for page in ("/livez", "/readyz", "/metrics"):
        assert (await ask("GET", page)).status == 200, "whoever watches the process is not limited"
        assert "ratelimit" not in (await ask("GET", page)).headers


@pytest.mark.parametrize(
    "settings",
    [
        {"limit_factor": 0.0},
        {"user_reads": 0, "address_reads": 0},
    ],
)
async def test_zero_switches_off(house: GatewayHouse, settings: dict[str, Any]) -> None:
    house = limited(house, **settings)
    response = await house.alice.call("GET", "/v1/links")
    assert response.status == 200
    assert "ratelimit" not in response.headers
    assert await statuses(lambda: house.alice.call("GET", "/v1/links"), 20) == [200] * 20


async def test_many_at_once_get_what_there_is(house: GatewayHouse) -> None:
    house = limited(house, user_reads=30)
    answers = await asyncio.gather(*(house.alice.call("GET", "/v1/links") for _ in range(60)))
    assert sorted(answer.status for answer in answers) == [200] * 30 + [429] * 30


async def test_while_the_store_is_away_everybody_is_served(house: GatewayHouse) -> None:
    class Away(LimitStore):
        async def take(self, buckets: Sequence[Bucket], share: float) -> list[Taken]:
            raise Unavailable("away", code="limit_store_unavailable")

    settings = SETTINGS.model_copy(update={"user_reads": 1, "limit_factor": 1.0})
    app = assemble(settings, house.peers, house.clock, Away())
    async with AsgiClient(app, headers={"Access-Token": house.alice.token}) as client:
        answers = [await client.request("GET", "/v1/links") for _ in range(10)]
        metrics = (await client.request("GET", "/metrics")).body.decode()
        assert (await client.request("GET", "/readyz")).status == 200
    assert {answer.status for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers
    assert "delinkcious_rate_limit_store_failures_total" in metrics


async def test_the_log_says_where_a_request_came_from(house: GatewayHouse) -> None:
    house = limited(house)
    stream = BytesIO()
    with logs_written_to(stream):
        await house.alice.call("GET", "/v1/links", headers={"X-Forwarded-For": "203.0.113.77"})
    assert b'"client":"203.0.113.77"' in stream.getvalue()
