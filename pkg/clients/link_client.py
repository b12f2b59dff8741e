"""The link service from afar."""

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Final

from pkg.clients.erasure import erase_user
from pkg.clients.reply import read_reply
from pkg.object_model import interfaces
from pkg.object_model.types import (
    Actor,
    AddLinkRequest,
    CheckLinkRequest,
    GetLinksRequest,
    GetTagsRequest,
    ImportReport,
    ImportRequest,
    Link,
    LinkCount,
    LinkHistory,
    LinkPage,
    MoveLinkRequest,
    SharedLink,
    StatusCount,
    TagPage,
    UpdateLinkRequest,
)
from pkg.object_model.wire import (
    import_report_from_wire,
    link_count_from_wire,
    link_from_wire,
    link_history_from_wire,
    link_page_from_wire,
    shared_links_from_wire,
    status_counts_from_wire,
    tag_page_from_wire,
)
from pkg.object_model.wire_requests import IMPORT_QUERY, LINKS_QUERY, TAGS_QUERY, SharedLinksRequest, to_query
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.json import encode

_SERVICE: Final = "link-manager"
#: Seconds for a whole bookmarks file, up or down: 20 MiB take 84 on a line of two megabits.
_FILE_TIMEOUT: Final = 120.0


class LinkClient(interfaces.LinkManager):
    """``get_links_bytes`` and ``get_tags_bytes`` are for those who pass a reply on: the public form is the same."""

    def __init__(self, http: ServiceHttpClient) -> None:
        self._http = http

    async def get_links(self, actor: Actor | None, request: GetLinksRequest) -> LinkPage:
        return read_reply(_SERVICE, await self.get_links_bytes(actor, request), link_page_from_wire)

    async def get_links_bytes(self, actor: Actor | None, request: GetLinksRequest) -> bytes:
        return await self._http.request(
            "GET", "/links", actor=actor, params=to_query(request, LINKS_QUERY), repeatable=True
        )

    async def add_link(self, actor: Actor | None, request: AddLinkRequest) -> Link:
        body = await self._http.request("POST", "/links", actor=actor, body=encode(request.to_wire()), repeatable=False)
        return read_reply(_SERVICE, body, lambda wire: link_from_wire(wire["link"]))

    async def update_link(self, actor: Actor | None, request: UpdateLinkRequest) -> Link:
        body = await self._http.request("PUT", "/links", actor=actor, body=encode(request.to_wire()), repeatable=False)
        return read_reply(_SERVICE, body, lambda wire: link_from_wire(wire["link"]))

    async def delete_link(self, actor: Actor | None, username: str, url: str) -> bool:
        """False as well if a first attempt deleted it and only its answer was lost."""
        body = await self._http.request(
            "DELETE", "/links", actor=actor, params={"username": username, "url": url}, repeatable=True
        )
        return read_reply(_SERVICE, body, lambda wire: bool(wire["deleted"]))

    async def get_tags(self, actor: Actor | None, request: GetTagsRequest) -> TagPage:
        return read_reply(_SERVICE, await self.get_tags_bytes(actor, request), tag_page_from_wire)

    async def get_tags_bytes(self, actor: Actor | None, request: GetTagsRequest) -> bytes:
        return await self._http.request(
            "GET", "/tags", actor=actor, params=to_query(request, TAGS_QUERY), repeatable=True
        )

    async def get_shared_links(
        self, user_ids: Collection[int], limit: int, changed_after: datetime | None = None
    ) -> list[SharedLink]:
        request = SharedLinksRequest(ids=tuple(map(str, user_ids)), limit=limit, changed_after=changed_after)
        body = await self._http.request(
            "POST", "/shared-links", actor=None, body=encode(request.to_wire()), repeatable=True
        )
        return read_reply(_SERVICE, body, shared_links_from_wire)

    async def count_links(self, actor: Actor | None, username: str) -> LinkCount:
        body = await self._http.request(
            "GET", "/links/count", actor=actor, params={"username": username}, repeatable=True
        )
        return read_reply(_SERVICE, body, link_count_from_wire)

    async def count_statuses(self, actor: Actor | None, username: str) -> list[StatusCount]:
        body = await self._http.request(
            "GET", "/links/status", actor=actor, params={"username": username}, repeatable=True
        )
        return read_reply(_SERVICE, body, status_counts_from_wire)

    async def ask_for_check(self, actor: Actor | None, request: CheckLinkRequest) -> Link:
        body = await self._http.request(
            "POST", "/links/check", actor=actor, body=encode(request.to_wire()), repeatable=True
        )
        return read_reply(_SERVICE, body, lambda wire: link_from_wire(wire["link"]))

    async def move_link(self, actor: Actor | None, request: MoveLinkRequest) -> Link:
        body = await self._http.request(
            "POST", "/links/move", actor=actor, body=encode(request.to_wire()), repeatable=False
        )
        return read_reply(_SERVICE, body, lambda wire: link_from_wire(wire["link"]))

    async def get_link_history(self, actor: Actor | None, username: str, url: str) -> LinkHistory:
        body = await self._http.request(
            "GET", "/links/history", actor=actor, params={"username": username, "url": url}, repeatable=True
        )
        return read_reply(_SERVICE, body, link_history_from_wire)

    async def import_links(
        self, actor: Actor | None, request: ImportRequest, content: AsyncIterator[bytes]
    ) -> ImportReport:
        body = await self._http.request(
            "POST",
            "/import",
            actor=actor,
            params=to_query(request, IMPORT_QUERY),
            body=content,
            content_type="application/octet-stream",
            repeatable=False,
            timeout=_FILE_TIMEOUT,
        )
        return read_reply(_SERVICE, body, lambda wire: import_report_from_wire(wire["report"]))

    def export_links(self, actor: Actor | None, username: str) -> AsyncIterator[bytes]:
        return self._http.stream("GET", "/export", actor=actor, params={"username": username}, timeout=_FILE_TIMEOUT)

    async def erase_user(self, user_id: int, start_token: str) -> str:
        return await erase_user(self._http, _SERVICE, user_id, start_token)
