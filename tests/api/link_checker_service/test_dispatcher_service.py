"""From a saved link to its verdict: the bus, the dispatcher, the function over HTTP, pages that are really asked."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fun.link_checker import host
from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.clients.link_check_client import LinkCheckClient
from pkg.events.consumers import LINK_CHECKS, LINK_STATUS
from pkg.events.memory_bus import MemoryBus
from pkg.events.messages import LINK_CHECK_EVENTS, Message, read_event, write_message
from pkg.events.nats_bus import open_bus
from pkg.link_checker.batched_checks import BatchedChecks
from pkg.link_checker.dispatcher import Dispatcher
from pkg.link_checker.shared_checks import SharedChecks
from pkg.local_stack.demo_site import DemoSite
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import DelinkciousError, Internal, Unavailable
from pkg.object_model.events import LinkCheckedEvent, LinkEvent, LinkEventType
from pkg.object_model.types import CheckLinkRequest
from pkg.runtime.access import LINK_CHECK_FUNCTION, LINK_CHECKER, LINK_MANAGER
from pkg.runtime.background import run_in_background
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.mutual_auth import EdgeSecret
from pkg.runtime.secret import passwords_of
from pkg.runtime.settings import Mode, read_settings
from pkg.runtime.start_error import StartError
from svc.link_checker_service.app import create_app, page_of
from svc.link_checker_service.routes import build_consumer
from svc.link_checker_service.settings import LinkCheckerServiceSettings
from tests.api.link_check_function.conftest import write_mutual_auth
from tests.conftest import TestNats, running_nats
from tests.internal_service import InternalService, edge_secret
from tests.loopback_server import served


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with DemoSite(0) as demo_site:
        thread = threading.Thread(target=demo_site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{demo_site.server_port}"
        demo_site.shutdown()
        thread.join()


@asynccontextmanager
async def served_function(folder: Path, site: str) -> AsyncIterator[str]:
    """The function in its host, behind a socket, which may look at the site."""
    settings = LinkCheckFunctionSettings(
        mode=Mode.LOCAL,
        mutual_auth_file=write_mutual_auth(folder),
        allowed=frozenset({("127.0.0.1", int(site.rpartition(":")[2]))}),
    )
    async with host.create_app(settings) as app, served(app) as url:
        yield url


@asynccontextmanager
async def function_client(folder: Path, site: str, secret: EdgeSecret | None = None) -> AsyncIterator[LinkCheckClient]:
    edge = secret or edge_secret(LINK_CHECKER, LINK_CHECK_FUNCTION)
    async with served_function(folder, site) as url, HttpSession() as session:
        credentials = EdgeCredentials(LINK_CHECKER, LINK_CHECK_FUNCTION, edge, SystemClock())
        yield LinkCheckClient(ServiceHttpClient(session, url, credentials), timeout=2)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # what it looks at tells nobody of a change
            await asyncio.sleep(0.01)


def saved(site: str, paths: Sequence[str]) -> list[Message]:
    """What the link service tells of these pages when somebody saves them."""
    now = SystemClock().now()
    events = [
        LinkEvent(
            id=number,
            type=LinkEventType.ADDED,
            user_id=7,
            username="alice",
            timestamp=now,
            url=site + path,
        )
        for number, path in enumerate(paths, 1)
    ]
    return [write_message(event, LINK_MANAGER) for event in events]


def verdicts(site: str, messages: Iterable[Message]) -> dict[str, str]:
    """Path -> status."""
    events = map(read_event, messages)
    return {event.url.removeprefix(site): event.status.value for event in events if isinstance(event, LinkCheckedEvent)}


@dataclass(frozen=True)
class House:
    bus: MemoryBus
    site: str

    async def save(self, *paths: str) -> None:
        await self.bus.publish(saved(self.site, paths))

    def told(self) -> dict[str, str]:
        return verdicts(self.site, self.bus.published(LINK_CHECK_EVENTS))


@pytest.fixture
async def house(tmp_path: Path, site: str) -> AsyncIterator[House]:
    clock = SystemClock()
    bus = MemoryBus(clock)
    async with AsyncExitStack() as stack:
        function = await stack.enter_async_context(function_client(tmp_path, site))
        dispatcher = Dispatcher(SharedChecks(BatchedChecks(function), page_of), bus, clock, LINK_CHECKER)
        consumer = build_consumer(dispatcher, bus.subscribe(LINK_CHECKS), LINK_CHECKS, bus)
        await stack.enter_async_context(run_in_background(consumer.run()))
        yield House(bus, site)


async def test_every_saved_link_gets_its_verdict(house: House) -> None:
    await house.save("/ok", "/ok/1?q=a", "/missing", "/gone", "/moved", "/head-refused", "/", "/ok#part")
    expected = {
        "/ok": "valid",
        "/ok/1?q=a": "valid",
        "/missing": "invalid",
        "/gone": "invalid",
        "/moved": "valid",
        "/head-refused": "valid",
        "/": "valid",
        "/ok#part": "valid",
    }
    await eventually(lambda: house.told() == expected)


async def test_what_nothing_can_be_said_of_keeps_nothing_else_waiting(house: House) -> None:
    """Of one user: all are of one partition."""
    await house.save("/slow", "/error", "/loop", "/ok/after")
    await eventually(lambda: house.told().get("/ok/after") == "valid")
    assert "/slow" not in house.told()


async def test_an_import_is_worked_through(house: House) -> None:
    paths = [f"/ok/{number}" for number in range(150)]
    await house.save(*paths)
    await eventually(lambda: house.told() == dict.fromkeys(paths, "valid"))


async def test_of_many_each_is_told_as_soon_as_it_is_known(tmp_path: Path, site: str) -> None:
    paths = ["/slow", "/ok", "/missing", "//", "/error"]
    requests = [CheckLinkRequest(username="alice", url=site + path) for path in paths]
    requests[3] = CheckLinkRequest(username="alice", url="")
    told = []
    async with function_client(tmp_path, site) as function, asyncio.timeout(30):
        async for place, said in function.check_links(requests):
            told.append((place, said.code if isinstance(said, DelinkciousError) else said.reason))
            if len(told) == 4:
                # The slow one has no answer yet.
                break
    assert sorted(told) == [(1, "ok"), (2, "not_found"), (3, "invalid_argument"), (4, "server_error")]


async def test_many_are_not_let_in_either(tmp_path: Path, site: str) -> None:
    requests = [CheckLinkRequest(username="alice", url=site)] * 2
    async with function_client(tmp_path, site, edge_secret("link-checker", "somebody-else")) as function:
        with pytest.raises(Internal) as refused:
            await anext(aiter(function.check_links(requests)))
    assert refused.value.code == "upstream_refused"


@pytest.mark.parametrize(
    "answered",
    [
        b"not json\n",
        b'{"Index": 2, "Status": "valid", "Reason": "ok", "Transient": false, "err": ""}\n',
        b'{"Index": 0, "err": "no", "code": "no", "kind": "unheard_of"}\n',
        b'{"Index": 0, "Status": "valid"',
        b" " * 100_000,
    ],
)
async def test_nonsense_is_no_verdict(answered: bytes) -> None:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(answered)(scope, receive, send)

    async with served(serve) as url, HttpSession() as session:
        credentials = EdgeCredentials(
            LINK_CHECKER, LINK_CHECK_FUNCTION, edge_secret(LINK_CHECKER, LINK_CHECK_FUNCTION), SystemClock()
        )
        client = LinkCheckClient(ServiceHttpClient(session, url, credentials), timeout=20)
        with pytest.raises(Internal) as refused:
            async for _ in client.check_links([CheckLinkRequest(username="alice", url="http://host.example/")] * 2):
                pass
    assert refused.value.code == "bad_upstream_reply"


async def test_a_function_that_does_not_let_us_in(tmp_path: Path, site: str) -> None:
    async with function_client(tmp_path, site, edge_secret("link-checker", "somebody-else")) as function:
        with pytest.raises(Internal) as refused:
            await function.check_link(CheckLinkRequest(username="alice", url=site))
    assert refused.value.code == "upstream_refused"


async def test_a_function_that_is_away() -> None:
    async with HttpSession() as session:
        credentials = EdgeCredentials(
            LINK_CHECKER, LINK_CHECK_FUNCTION, edge_secret(LINK_CHECKER, LINK_CHECK_FUNCTION), SystemClock()
        )
        client = LinkCheckClient(ServiceHttpClient(session, "http://127.0.0.1:1", credentials), timeout=2)
        with pytest.raises(Unavailable):
            await client.check_link(CheckLinkRequest(username="alice", url="http://host.example/"))


def test_a_page_is_one_however_it_is_written() -> None:
    one = page_of("HTTP://Host.Example:80/a%7eb?q=1#first")
    assert one == page_of("http://host.example/a~b?q=1#second") == "http://host.example/a~b?q=1"
    assert one != page_of("https://host.example/a~b?q=1")


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[TestNats]:
    """Not the one that all tests share: the dispatcher would have the links of all of them looked at."""
    async with running_nats(tmp_path / "nats") as nats:
        yield nats


async def test_the_service_as_it_is_put_together(tmp_path: Path, site: str, own_nats: TestNats) -> None:
    """On a real NATS, with the rights that each service has there."""
    secret = edge_secret(LINK_CHECKER, LINK_CHECK_FUNCTION)
    presents = {LINK_CHECK_FUNCTION: {"token": secret.token, "statement_key": secret.statement_key}}
    own_file = tmp_path / "dispatcher.yaml"
    own_file.write_text(yaml.safe_dump({"presents": presents}))
    own_file.chmod(0o600)
    address = own_nats.server.address(LINK_CHECKER)
    async with served_function(tmp_path, site) as url, AsyncExitStack() as stack:
        settings = LinkCheckerServiceSettings(
            mode=Mode.LOCAL,
            mutual_auth_file=own_file,
            function_host="127.0.0.1",
            function_port=int(url.rpartition(":")[2]),
            nats_host=address.host,
            nats_port=address.port,
            nats_password=SecretStr(passwords_of(address.password)[0]),
        )
        service = InternalService(LINK_CHECKER, await stack.enter_async_context(create_app(settings)))
        assert (await service.call("GET", "/readyz")).status == 200
        assert await service.refused("GET", "/links") == (404, "no_such_path")

        link_service = await stack.enter_async_context(open_bus(own_nats.server.address(LINK_MANAGER), "tests"))
        await link_service.publish(saved(site, ["/ok", "/gone"]))
        heard = link_service.subscribe(LINK_STATUS)
        told: dict[str, str] = {}
        async with asyncio.timeout(10):
            while len(told) < 2:
                for delivery in await heard.fetch(10, 1):
                    told |= verdicts(site, [delivery.message])
                    await delivery.ack()
        assert told == {"/ok": "valid", "/gone": "invalid"}

        own_nats.stop()
        async with asyncio.timeout(10):
            while (await service.call("GET", "/readyz")).status == 200:  # noqa: ASYNC110  # as a balancer asks
                await asyncio.sleep(0.05)


def test_without_a_nats_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StartError) as stopped:
        read_settings(LinkCheckerServiceSettings, {"DELINKCIOUS_MUTUAL_AUTH_FILE": str(write_mutual_auth(tmp_path))})
    assert {fault.split()[0] for fault in stopped.value.faults} >= {
        "NATS_CLUSTER_SERVICE_HOST",
        "LINK_CHECK_FUNCTION_SERVICE_HOST",
    }
