"""The news service as its own ``app.py`` puts it together, on a real NATS and a real Valkey, its peers in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette

from pkg.clients.news_grpc_client import NewsGrpcClient
from pkg.events.consumers import NEWS
from pkg.events.messages import STREAM, write_message
from pkg.events.nats_bus import open_bus
from pkg.local_stack.mutual_auth import write_mutual_auth
from pkg.local_stack.ports import PortChooser
from pkg.local_stack.secret_store import SecretStore
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import Unavailable
from pkg.object_model.events import FollowEvent, LinkEvent
from pkg.object_model.types import Actor, AddLinkRequest, FollowRequest, GetNewsRequest, NewsEvent
from pkg.runtime.access import API_GATEWAY, LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER
from pkg.runtime.caller_auth import CallerAuth, EdgeCredentials
from pkg.runtime.grpc_client import ServiceGrpcClient, open_channel
from pkg.runtime.http_service import build_http_service
from pkg.runtime.mutual_auth import load_mutual_auth
from pkg.runtime.settings import Mode, ServiceAddress, ServiceSettings, read_settings
from pkg.runtime.start_error import StartError
from svc.link_service import routes as link_routes
from svc.news_service.app import create_app
from svc.news_service.settings import NewsServiceSettings
from svc.social_graph_service import routes as graph_routes
from tests.asgi_client import AsgiClient, AsgiResponse
from tests.conftest import TestNats, TestValkey
from tests.loopback_server import served
from tests.memory_world import MemoryWorld, SteppedClock, build_world

DEADLINE = 15.0


@dataclass(frozen=True)
class Surroundings:
    nats: TestNats
    valkey: TestValkey
    world: MemoryWorld
    alice: Actor
    bob: Actor
    variables: Mapping[str, str]
    files: Mapping[str, Path]

    def settings(self, **others: str) -> NewsServiceSettings:
        return read_settings(NewsServiceSettings, {**self.variables, **others})

    async def publish_all(self, first: int = 0) -> None:
        """What the world's managers told from ``first`` on, by the services whose it is."""
        for event in self.world.events[first:]:
            assert isinstance(event, LinkEvent | FollowEvent)
            source = LINK_MANAGER if isinstance(event, LinkEvent) else SOCIAL_GRAPH_MANAGER
            # The ids of a world begin anew with each test, the stream does not.
            event_id = event.id + time.time_ns()
            async with open_bus(self.nats.server.address(source), source) as bus:
                await bus.publish([write_message(replace(event, id=event_id), source)])

    async def until_heard(self) -> None:
        """Until the service is through with all that was told."""
        deadline = time.monotonic() + DEADLINE
        async with open_bus(self.nats.server.address(NEWS_MANAGER), NEWS_MANAGER) as bus:
            while True:
                state = await bus.ask(f"CONSUMER.INFO.{STREAM}.{NEWS.name}")
                if not state["num_pending"] and not state["num_ack_pending"]:
                    return
                assert time.monotonic() < deadline, state
                await asyncio.sleep(0.02)

    async def news(self, settings: NewsServiceSettings) -> list[NewsEvent]:
        secret = load_mutual_auth(self.files[API_GATEWAY]).presents[NEWS_MANAGER]
        credentials = EdgeCredentials(API_GATEWAY, NEWS_MANAGER, secret, SystemClock())
        async with open_channel(ServiceAddress(host="127.0.0.1", port=settings.port)) as channel:
            client = NewsGrpcClient(ServiceGrpcClient(channel, credentials))
            return (await client.get_news(self.bob, GetNewsRequest(username="bob"))).events


@asynccontextmanager
async def peer(name: str, app: Starlette) -> AsyncIterator[Mapping[str, str]]:
    """The variables that say where it is."""

    class Settings(ServiceSettings):
        service_name = name

    service = build_http_service(Settings(mode=Mode.LOCAL), app, readiness={})
    async with served(service) as base_url:
        address = urlsplit(base_url)
        prefix = name.replace("-", "_").upper()
        yield {f"{prefix}_SERVICE_HOST": str(address.hostname), f"{prefix}_SERVICE_PORT": str(address.port)}


@pytest.fixture
async def surroundings(nats: TestNats, valkey: TestValkey, tmp_path: Path) -> AsyncIterator[Surroundings]:
    # What happened long ago is no news.
    world = build_world(clock=SteppedClock(SystemClock().now() - timedelta(minutes=5)))
    alice, bob = await world.person("alice"), await world.person("bob")
    files = write_mutual_auth(tmp_path / "config", SecretStore(tmp_path / "secrets"))

    def auth(name: str) -> CallerAuth:
        return CallerAuth(name, load_mutual_auth(files[name]).accepts, SystemClock())

    ports = PortChooser()
    async with AsyncExitStack() as stack:
        links = await stack.enter_async_context(
            peer(LINK_MANAGER, link_routes.build_app(world.links, auth(LINK_MANAGER)))
        )
        graph = await stack.enter_async_context(
            peer(SOCIAL_GRAPH_MANAGER, graph_routes.build_app(world.graph, auth(SOCIAL_GRAPH_MANAGER)))
        )
        variables = {
            "DELINKCIOUS_MODE": "local",
            "DELINKCIOUS_MUTUAL_AUTH_FILE": str(files[NEWS_MANAGER]),
            "PORT": str(ports.choose(0)),
            "SHUTDOWN_GRACE": "2",
            "NATS_CLUSTER_SERVICE_HOST": "127.0.0.1",
            "NATS_CLUSTER_SERVICE_PORT": str(nats.server.address(NEWS_MANAGER).port),
            "NATS_PASSWORD_FILE": str(nats.server.password_file(NEWS_MANAGER)),
            "NEWS_MANAGER_REDIS_SERVICE_HOST": "127.0.0.1",
            "NEWS_MANAGER_REDIS_SERVICE_PORT": str(valkey.server.port),
            "NEWS_REDIS_PASSWORD_FILE": str(valkey.server.password_file(NEWS_MANAGER)),
            **links,
            **graph,
        }
        yield Surroundings(nats, valkey, world, alice, bob, variables, files)


async def probe(app: object, path: str = "/readyz") -> AsgiResponse:
    async with AsgiClient(app) as client:  # type: ignore[arg-type]  # an application, whatever its class
        return await client.request("GET", path)


async def save_and_follow(surroundings: Surroundings) -> None:
    world, alice, bob = surroundings.world, surroundings.alice, surroundings.bob
    await world.links.add_link(alice, AddLinkRequest(url="https://before.example/", username="alice", title="before"))
    await world.graph.follow(bob, FollowRequest(followed="alice", follower="bob"))
    await world.links.add_link(alice, AddLinkRequest(url="https://after.example/", username="alice", title="after"))


async def test_from_an_event_to_a_page(surroundings: Surroundings) -> None:
    settings = surroundings.settings()
    await save_and_follow(surroundings)
    async with create_app(settings) as app:
        assert (await probe(app)).json()["dependencies"] == {"store": "ok", "events": "ok"}
        await surroundings.publish_all()
        deadline = time.monotonic() + DEADLINE
        while len(news := await surroundings.news(settings)) < 2:
            assert time.monotonic() < deadline, news
            await asyncio.sleep(0.05)
        assert {event.title for event in news} == {"before", "after"}
        assert b"delinkcious_http_requests_total" in (await probe(app, "/metrics")).body
    # As another process would find it.
    async with create_app(surroundings.settings(DELINKCIOUS_CONSUME="off")) as app:
        assert (await probe(app)).json()["dependencies"] == {"store": "ok"}
        assert await surroundings.news(settings) == news


@pytest.mark.parametrize("threshold", ["10000", "1"])
async def test_valkey_loses_everything_while_people_read(surroundings: Surroundings, threshold: str) -> None:
    """Whether the author's saves are pushed or read from a timeline. Nobody sees an empty feed, and nobody helps."""
    settings = surroundings.settings(NEWS_PUSH_THRESHOLD=threshold)
    world, alice = surroundings.world, surroundings.alice
    carol = await world.person("carol")
    await world.graph.follow(carol, FollowRequest(followed="alice", follower="carol"))
    await save_and_follow(surroundings)

    async def save(title: str) -> None:
        known = len(world.events)
        request = AddLinkRequest(url=f"https://{title}.example/", username="alice", title=title)
        await world.links.add_link(alice, request)
        await surroundings.publish_all(known)

    settled: set[str] = set()

    async def read() -> set[str]:
        """A reader who is told to come back does so."""
        deadline = time.monotonic() + DEADLINE
        while True:
            with suppress(Unavailable):
                news = {event.title for event in await surroundings.news(settings)}
                assert news >= settled, "an empty feed that looks real"
                return news
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    async def read_until(titles: set[str]) -> None:
        deadline = time.monotonic() + DEADLINE
        while (news := await read()) != titles:
            assert time.monotonic() < deadline, news
            await asyncio.sleep(0.05)
        await surroundings.until_heard()

    async with create_app(settings):
        assert await read() == {"before", "after"}
        await surroundings.publish_all()
        await save("first")
        await read_until({"before", "after", "first"})
        settled |= {"before", "after", "first"}
        for number in range(2):
            await surroundings.valkey.empty()
            await asyncio.gather(*(read() for _ in range(10)))
            await read_until(settled)
            await save(f"next{number}")
            await read_until({*settled, f"next{number}"})
            settled.add(f"next{number}")


async def test_without_valkey_it_is_not_ready_and_lives(surroundings: Surroundings) -> None:
    settings = surroundings.settings(NEWS_MANAGER_REDIS_SERVICE_PORT="9")
    async with create_app(settings) as app:
        response = await probe(app)
        assert (response.status, response.json()["dependencies"]["store"]) == (503, "news_store_unavailable")
        assert (await probe(app, "/livez")).status == 200


async def test_without_nats_it_is_not_ready(surroundings: Surroundings) -> None:
    settings = surroundings.settings(NATS_CLUSTER_SERVICE_PORT="9")
    async with create_app(settings) as app:
        response = await probe(app)
        assert response.status == 503
        assert response.json()["dependencies"]["store"] == "ok"


def test_what_must_be_told() -> None:
    with pytest.raises(StartError) as refusal:
        read_settings(NewsServiceSettings, {"HTTP_PORT": "70000"})
    assert [fault.split()[0].rstrip(":") for fault in refusal.value.faults] == [
        "NATS_CLUSTER_SERVICE_HOST",
        "NATS_PASSWORD_FILE",
        "HTTP_PORT",
        "NEWS_MANAGER_REDIS_SERVICE_HOST",
        "NEWS_REDIS_PASSWORD_FILE",
        "LINK_MANAGER_SERVICE_HOST",
        "SOCIAL_GRAPH_MANAGER_SERVICE_HOST",
    ]
