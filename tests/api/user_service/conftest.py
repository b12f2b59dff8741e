from dataclasses import dataclass

import pytest

from pkg.object_model.types import Actor
from pkg.runtime.access import USER_MANAGER
from svc.user_service.routes import body_limit, build_app
from tests.internal_service import InternalService, serve
from tests.memory_world import MemoryWorld, build_world


@dataclass(frozen=True)
class UserHouse:
    service: InternalService
    world: MemoryWorld
    alice: Actor


@pytest.fixture
async def house() -> UserHouse:
    world = build_world()
    service = serve(USER_MANAGER, lambda caller_auth: build_app(world.users, caller_auth), body_limit)
    return UserHouse(service, world, await world.person("alice"))
