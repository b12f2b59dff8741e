"""What becomes of the failures of the services behind the gateway: nothing. They reach the caller as they are."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pkg.object_model.errors import (
    ERROR_KINDS,
    Conflict,
    DeadlineExceeded,
    DelinkciousError,
    Internal,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from pkg.object_model.types import Actor, ImportReport, ImportRequest
from pkg.runtime.errors import ERROR_STATUS
from svc.api_gateway_service.readiness import ReachedOnce
from tests.api.api_gateway_service.conftest import GatewayHouse
from tests.api.api_gateway_service.test_authentication import FakeUsers
from tests.asgi_client import AsgiClient
from tests.fakes import FakeClock, away


class Failing:
    """A peer of which every call fails."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault
        self.cancelled: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: object) -> Any:
            raise self.fault

        return fail


class Hanging:
    """A peer that never answers, and notes when nobody waits any more."""

    def __init__(self) -> None:
        self.given_up: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def wait(*_: object) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.given_up.append(name)
                raise

        return wait


FAULTS: list[DelinkciousError] = [
    Conflict("there is one already; change it", code="link_exists"),
    NotFound("there is none; add it", code="link_not_found"),
    PreconditionFailed("read it again", code="version_mismatch"),
    Unavailable("try again shortly", code="link_manager_unavailable", retry_after=7),
    Unavailable("try again shortly", code="try_again"),
    DeadlineExceeded("link-manager did not answer in time"),
    Internal("link-manager gave an answer that we cannot read", code="bad_upstream_reply"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind} {fault.code}")
async def test_a_failure_keeps_status_code_words_and_retry_after(house: GatewayHouse, fault: DelinkciousError) -> None:
    """The original made a 500 of each."""
    failing = house.with_peers(links=Failing(fault))
    failing.gateway.conformance.allow(fault.code)
    for method, path, query in [
        ("GET", "/v1/links", {}),
        ("POST", "/v1/links", {"url": "https://a.example/", "title": "x"}),
        ("PUT", "/v1/links", {"url": "https://a.example/"}),
        ("GET", "/v1/me", {}),
        ("GET", "/v1/users/bob", {}),
        ("POST", "/v1/import", {}),
    ]:
        response = await failing.alice.call(method, path, query=query)
        assert response.status == ERROR_STATUS[fault.kind].http, path
        body = response.json()
        assert (body["err"], body["code"]) == (fault.message, fault.code)
        retry_after = "7" if fault.retry_after else None
        assert response.headers.get("retry-after") == retry_after


def test_every_kind_of_failure_has_a_status() -> None:
    assert ERROR_STATUS.keys() == ERROR_KINDS.keys()


async def test_what_nobody_foresaw_says_nothing_of_itself(house: GatewayHouse) -> None:
    failing = house.with_peers(links=Failing(RuntimeError("a secret")))
    for path in ("/v1/links", "/v1/me"):
        response = await failing.alice.call("GET", path)
        assert (response.status, response.json()["code"]) == (500, "internal")
        assert b"secret" not in response.body


async def test_the_first_failure_ends_the_other_calls(house: GatewayHouse) -> None:
    hanging = Hanging()
    failing = house.with_peers(links=Failing(away("link_manager")), social_graph=hanging)
    assert await failing.alice.refused("GET", "/v1/users/bob") == (503, "link_manager_unavailable")
    assert sorted(hanging.given_up) == ["get_counts", "get_relationship"]


async def test_calls_that_do_not_need_each_other_are_made_at_once(house: GatewayHouse) -> None:
    hanging = Hanging()
    slow = house.with_peers(links=hanging, social_graph=hanging)
    refused = await slow.alice.refused("GET", "/v1/users/bob", headers={"X-Request-Timeout-Ms": "200"})
    assert refused == (504, "deadline_exceeded")
    assert sorted(hanging.given_up) == ["count_links", "get_counts", "get_relationship"]


async def test_an_export_that_fails_at_once_is_a_failure(house: GatewayHouse) -> None:
    class NoExport:
        async def export_links(self, actor: Actor | None, username: str) -> AsyncIterator[bytes]:
            for _ in range(1):
                raise Unavailable("try again shortly", code="link_manager_unavailable")
            yield b""

    failing = house.with_peers(links=NoExport())
    assert await failing.alice.refused("GET", "/v1/export") == (503, "link_manager_unavailable")


async def test_an_import_is_passed_on_as_it_comes(house: GatewayHouse) -> None:
    """The gateway holds no file: its first piece is at the service before the last one is sent."""
    arrived = asyncio.Event()
    received: list[bytes] = []

    class SlowReader:
        async def import_links(
            self, actor: Actor | None, request: ImportRequest, content: AsyncIterator[bytes]
        ) -> ImportReport:
            async for piece in content:
                received.append(piece)
                arrived.set()
            return ImportReport(import_id=1, total=0, imported=0, merged=0, unchanged=0, skipped=0)

    async def two_pieces() -> AsyncIterator[bytes]:
        yield b"first"
        async with asyncio.timeout(5):
            await arrived.wait()
        yield b"second"

    reading = house.with_peers(links=SlowReader())
    await reading.alice.ok("POST", "/v1/import", body=two_pieces())
    assert b"".join(received) == b"firstsecond"


async def test_the_link_service_is_not_asked_before_a_file_comes(house: GatewayHouse) -> None:
    """Otherwise it waits for a head that is not sent, gives up, and looks as if it were away."""
    asked = asyncio.Event()

    class Reader:
        async def import_links(
            self, actor: Actor | None, request: ImportRequest, content: AsyncIterator[bytes]
        ) -> ImportReport:
            asked.set()
            async for _ in content:
                pass
            return ImportReport(import_id=1, total=0, imported=0, merged=0, unchanged=0, skipped=0)

    async def late() -> AsyncIterator[bytes]:
        assert not asked.is_set()
        yield b"first"

    await house.with_peers(links=Reader()).alice.ok("POST", "/v1/import", body=late())
    assert asked.is_set()


# --- readiness ------------------------------------------------------------------------------------------------------


async def test_ready_once_the_user_service_was_reached_and_from_then_on() -> None:
    users = FakeUsers(FakeClock(), fault=away("user_manager"))
    readiness = ReachedOnce(users)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await readiness.check()
    users.fault = Internal("user-manager did not accept a call of api-gateway", code="upstream_refused")
    with pytest.raises(Internal):
        await readiness.check()
    users.fault = None
    await readiness.check()
    users.fault = away("user_manager")
    await readiness.check()
    assert users.asked == 4


async def test_the_pages_of_the_process(house: GatewayHouse) -> None:
    async with AsgiClient(house.gateway.app) as client:
        for path in ("/livez", "/startupz", "/readyz", "/version", "/metrics"):
            response = await client.request("GET", path)
            assert response.status == 200, path
            assert response.headers["x-content-type-options"] == "nosniff"
        assert (await client.request("GET", "/version")).json()["service"] == "api-gateway"


async def test_requests_are_counted_by_template(house: GatewayHouse) -> None:
    await house.alice.ok("GET", "/v1/users/bob")
    async with AsgiClient(house.gateway.app) as client:
        metrics = (await client.request("GET", "/metrics")).body.decode()
    counted = [line for line in metrics.splitlines() if 'service="api-gateway"' in line]
    assert any('route="/v1/users/{name}"' in line for line in counted)
    assert not any("/users/bob" in line for line in counted)


async def test_a_gateway_that_is_stopped_says_so(house: GatewayHouse) -> None:
    stopping = house.with_peers()
    stopping.gateway.app.begin_drain()
    response = await stopping.alice.call("GET", "/v1/links")
    assert (response.status, response.headers["connection"]) == (200, "close")
    async with AsgiClient(stopping.gateway.app) as client:
        assert (await client.request("GET", "/readyz")).status == 503
        assert (await client.request("GET", "/livez")).status == 200
