from dataclasses import dataclass

import pytest

from pkg.object_model.types import Actor
from pkg.runtime.access import LINK_MANAGER
from svc.link_service.routes import body_limit, build_app
from tests.internal_service import InternalService, serve
from tests.memory_world import MemoryWorld, build_world


@dataclass(frozen=True)
class LinkHouse:
    service: InternalService
    world: MemoryWorld
    alice: Actor
    bob: Actor


@pytest.fixture
async def house() -> LinkHouse:
    world = build_world()
    service = serve(LINK_MANAGER, lambda caller_auth: build_app(world.links, caller_auth), body_limit)
    return LinkHouse(service, world, await world.person("alice"), await world.person("bob"))
