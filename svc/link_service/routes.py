"""The link service's REST interface: what each operation is called, reads and answers."""

from typing import Any

from fastapi import FastAPI

from pkg.object_model.interfaces import LinkManager
from pkg.object_model.types import (
    MAX_BODY_BYTES,
    MAX_IMPORT_BYTES,
    AddLinkRequest,
    CheckLinkRequest,
    GetLinksRequest,
    GetTagsRequest,
    ImportRequest,
    MoveLinkRequest,
    UpdateLinkRequest,
)
from pkg.object_model.wire import (
    import_report_to_wire,
    link_count_to_wire,
    link_history_to_wire,
    link_page_to_wire,
    link_to_wire,
    shared_links_to_wire,
    status_counts_to_wire,
    tag_page_to_wire,
)
from pkg.object_model.wire_requests import (
    ERASE_QUERY,
    IMPORT_QUERY,
    LINKS_QUERY,
    TAGS_QUERY,
    DeleteLinkRequest,
    EraseUserRequest,
    LinkHistoryRequest,
    SharedLinksRequest,
    UserNameRequest,
)
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.endpoint import Answer, Body, Download, Endpoint, Query, Upload, Uploaded, build_endpoints


def build_app(manager: LinkManager, caller_auth: CallerAuth, *, docs: bool = False) -> FastAPI:
    return build_endpoints("link-manager", caller_auth, link_endpoints(manager), docs=docs)


def body_limit(path: str) -> int:
    return MAX_IMPORT_BYTES if path == "/import" else MAX_BODY_BYTES


def link_endpoints(manager: LinkManager) -> list[Endpoint[Any]]:
    handlers = _Handlers(manager)
    return [
        Endpoint(
            method="GET",
            path="/links",
            operation="links.read",
            reads=Query(GetLinksRequest, LINKS_QUERY),
            handle=handlers.get_links,
            hot=True,
        ),
        Endpoint(
            method="POST",
            path="/links",
            operation="links.write",
            reads=Body(AddLinkRequest),
            handle=handlers.add_link,
        ),
        Endpoint(
            method="PUT",
            path="/links",
            operation="links.write",
            reads=Body(UpdateLinkRequest),
            handle=handlers.update_link,
        ),
        Endpoint(
            method="DELETE",
            path="/links",
            operation="links.write",
            reads=Query(DeleteLinkRequest, {"username": "username", "url": "url"}),
            handle=handlers.delete_link,
        ),
        Endpoint(
            method="POST",
            path="/shared-links",
            operation="links.read_shared",
            reads=Body(SharedLinksRequest),
            handle=handlers.get_shared_links,
        ),
        Endpoint(
            method="GET",
            path="/links/count",
            operation="links.read",
            reads=Query(UserNameRequest, {"username": "username"}),
            handle=handlers.count_links,
        ),
        Endpoint(
            method="POST",
            path="/links/check",
            operation="links.write",
            reads=Body(CheckLinkRequest),
            handle=handlers.ask_for_check,
        ),
        Endpoint(
            method="POST",
            path="/links/move",
            operation="links.write",
            reads=Body(MoveLinkRequest),
            handle=handlers.move_link,
        ),
        Endpoint(
            method="GET",
            path="/links/status",
            operation="links.read_own",
            reads=Query(UserNameRequest, {"username": "username"}),
            handle=handlers.count_statuses,
        ),
        Endpoint(
            method="GET",
            path="/links/history",
            operation="links.read_own",
            reads=Query(LinkHistoryRequest, {"username": "username", "url": "url"}),
            handle=handlers.get_link_history,
        ),
        Endpoint(
            method="GET",
            path="/tags",
            operation="links.read",
            reads=Query(GetTagsRequest, TAGS_QUERY),
            handle=handlers.get_tags,
        ),
        Endpoint(
            method="POST",
            path="/import",
            operation="links.import",
            reads=Upload(Query(ImportRequest, IMPORT_QUERY)),
            handle=handlers.import_links,
        ),
        Endpoint(
            method="GET",
            path="/export",
            operation="links.export",
            reads=Query(UserNameRequest, {"username": "username"}),
            handle=handlers.export_links,
        ),
        Endpoint(
            method="DELETE",
            path="/users/{user_id}",
            operation="links.erase",
            reads=Query(EraseUserRequest, ERASE_QUERY),
            handle=handlers.erase_user,
        ),
    ]


class _Handlers:
    def __init__(self, manager: LinkManager) -> None:
        self._manager = manager

    async def get_links(self, call: Call, request: GetLinksRequest) -> Answer:
        return link_page_to_wire(await self._manager.get_links(call.actor, request))

    async def add_link(self, call: Call, request: AddLinkRequest) -> Answer:
        return {"link": link_to_wire(await self._manager.add_link(call.actor, request)), "err": ""}

    async def update_link(self, call: Call, request: UpdateLinkRequest) -> Answer:
        return {"link": link_to_wire(await self._manager.update_link(call.actor, request)), "err": ""}

    async def delete_link(self, call: Call, request: DeleteLinkRequest) -> Answer:
        """Deleting what is not there is no error: ``deleted`` tells."""
        deleted = await self._manager.delete_link(call.actor, request.username, request.url)
        return {"deleted": deleted, "err": ""}

    async def get_shared_links(self, call: Call, request: SharedLinksRequest) -> Answer:
        """What followers may see, of several users, for services that keep it for them."""
        links = await self._manager.get_shared_links(request.user_ids(), request.limit, request.changed_after)
        return shared_links_to_wire(links)

    async def count_links(self, call: Call, request: UserNameRequest) -> Answer:
        """How many of a user's links the asker may see."""
        return link_count_to_wire(await self._manager.count_links(call.actor, request.username))

    async def ask_for_check(self, call: Call, request: CheckLinkRequest) -> Answer:
        """Asks for a look at one's own link, which shows what came of it later."""
        return {"link": link_to_wire(await self._manager.ask_for_check(call.actor, request)), "err": ""}

    async def move_link(self, call: Call, request: MoveLinkRequest) -> Answer:
        """Gives one's own link the new address of its page."""
        return {"link": link_to_wire(await self._manager.move_link(call.actor, request)), "err": ""}

    async def count_statuses(self, call: Call, request: UserNameRequest) -> Answer:
        """How many of one's own links have which status and reason."""
        return status_counts_to_wire(await self._manager.count_statuses(call.actor, request.username))

    async def get_link_history(self, call: Call, request: LinkHistoryRequest) -> Answer:
        """One's own link, and what the link checker found of it last."""
        return link_history_to_wire(await self._manager.get_link_history(call.actor, request.username, request.url))

    async def get_tags(self, call: Call, request: GetTagsRequest) -> Answer:
        return tag_page_to_wire(await self._manager.get_tags(call.actor, request))

    async def import_links(self, call: Call, upload: Uploaded[ImportRequest]) -> Answer:
        """A bookmarks file in the Netscape form, as the body."""
        report = await self._manager.import_links(call.actor, upload.request, upload.content)
        return {"report": import_report_to_wire(report), "err": ""}

    async def export_links(self, call: Call, request: UserNameRequest) -> Answer:
        """All the links of a user that the asker may see, as a bookmarks file."""
        content = self._manager.export_links(call.actor, request.username)
        return Download(content, "text/html; charset=utf-8")

    async def erase_user(self, call: Call, request: EraseUserRequest) -> Answer:
        """A part of all that is a user's who leaves; with the token, the next."""
        token = await self._manager.erase_user(request.user_id, request.start_token)
        return {"NextPageToken": token, "err": ""}
