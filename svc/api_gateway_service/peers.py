"""What the gateway needs of the services behind it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from pkg.object_model.errors import DelinkciousError
from pkg.object_model.interfaces import LinkManager, News, SocialGraphManager, UserManager
from pkg.object_model.types import Actor, GetLinksRequest, GetTagsRequest


class LinkService(LinkManager, Protocol):
    """Its lists also as the bytes that came: the public form is the same, so nobody has to read them in between."""

    async def get_links_bytes(self, actor: Actor | None, request: GetLinksRequest) -> bytes: ...
    async def get_tags_bytes(self, actor: Actor | None, request: GetTagsRequest) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Peers:
    links: LinkService
    users: UserManager
    social_graph: SocialGraphManager
    news: News


async def ask_together(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """The results of calls that do not need each other. The first failure ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* DelinkciousError as failures:
        failure: BaseException = failures.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise failure
