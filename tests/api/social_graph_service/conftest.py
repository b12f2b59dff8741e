from dataclasses import dataclass

import pytest

from pkg.object_model.types import Actor
from pkg.runtime.access import SOCIAL_GRAPH_MANAGER
from svc.social_graph_service.routes import body_limit, build_app
from tests.internal_service import InternalService, serve
from tests.memory_world import MemoryWorld, build_world


@dataclass(frozen=True)
class GraphHouse:
    service: InternalService
    world: MemoryWorld
    alice: Actor
    bob: Actor


@pytest.fixture
async def house() -> GraphHouse:
    world = build_world()
    service = serve(SOCIAL_GRAPH_MANAGER, lambda caller_auth: build_app(world.graph, caller_auth), body_limit)
    return GraphHouse(service, world, await world.person("alice"), await world.person("bob"))
