"""What the gateway needs of the services behind it."""

from dataclasses import dataclass
from typing import Protocol

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
