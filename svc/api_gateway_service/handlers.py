"""What each operation does: hardly more than asking the service whose it is, as the user whose token it was."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import StreamingResponse

from pkg.object_model.errors import DelinkciousError, InvalidArgument, PermissionDenied
from pkg.object_model.types import (
    AddLinkRequest,
    AuditEventType,
    FollowRequest,
    GetFollowRequest,
    GetLinksRequest,
    GetNewsRequest,
    GetTagsRequest,
    ImportRequest,
    RequestDirection,
    Scope,
    TokenInfo,
    UpdateLinkRequest,
    User,
)
from pkg.object_model.wire import Wire, import_report_to_wire, link_to_wire, name_page_to_wire
from pkg.runtime.endpoint import begun
from svc.api_gateway_service.operation import Answer, Call
from svc.api_gateway_service.peers import Peers
from svc.api_gateway_service.personal_data import PersonalData
from svc.api_gateway_service.zip_stream import pack

BOOKMARKS_TYPE: Final = "text/html; charset=utf-8"
ARCHIVE_TYPE: Final = "application/zip"


class Handlers:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._links = peers.links
        self._users = peers.users
        self._graph = peers.social_graph
        self._news = peers.news

    # --- links --------------------------------------------------------------------------------------------------------

    async def get_links(self, call: Call) -> Answer:
        request = GetLinksRequest(username=call.actor.name, **call.arguments)
        return await self._links.get_links_bytes(call.actor, request)

    async def add_link(self, call: Call) -> Answer:
        request = AddLinkRequest(
            username=call.actor.name, idempotency_key=call.head.read_idempotency_key(), **call.arguments
        )
        return {"link": link_to_wire(await self._links.add_link(call.actor, request)), "err": ""}

    async def update_link(self, call: Call) -> Answer:
        if call.arguments.get("title") == "":
            raise InvalidArgument("title must not be empty; leave it out to keep the title as it is")
        request = UpdateLinkRequest(
            username=call.actor.name,
            clear_description=call.arguments.get("description") == "",
            if_version=call.head.read_if_match(),
            **call.arguments,
        )
        return {"link": link_to_wire(await self._links.update_link(call.actor, request)), "err": ""}

    async def delete_link(self, call: Call) -> Answer:
        deleted = await self._links.delete_link(call.actor, call.actor.name, call.arguments["url"])
        return {"deleted": deleted, "err": ""}

    async def get_tags(self, call: Call) -> Answer:
        request = GetTagsRequest(username=call.actor.name, **call.arguments)
        return await self._links.get_tags_bytes(call.actor, request)

    async def import_links(self, call: Call) -> Answer:
        assert call.content is not None  # noqa: S101  # an upload has one
        request = ImportRequest(
            username=call.actor.name, idempotency_key=call.head.read_idempotency_key(), **call.arguments
        )
        # Begun: a file of which nothing comes must not look like a link service that is away.
        report = await self._links.import_links(call.actor, request, await begun(call.content))
        return {"report": import_report_to_wire(report), "err": ""}

    async def export_links(self, call: Call) -> Answer:
        content = await begun(self._links.export_links(call.actor, call.actor.name))
        # A user name has no character that would have to be quoted here.
        file_name = f"delinkcious-{call.actor.name}.html"
        headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
        return StreamingResponse(content, media_type=BOOKMARKS_TYPE, headers=headers)

    # --- people -------------------------------------------------------------------------------------------------------

    async def get_followers(self, call: Call) -> Answer:
        request = GetFollowRequest(username=call.actor.name, **call.arguments)
        return name_page_to_wire("followers", await self._graph.get_followers(call.actor, request))

    async def get_following(self, call: Call) -> Answer:
        request = GetFollowRequest(username=call.actor.name, **call.arguments)
        return name_page_to_wire("following", await self._graph.get_following(call.actor, request))

    async def follow(self, call: Call) -> Answer:
        request = FollowRequest(followed=call.arguments["followed"], follower=call.actor.name)
        return {"State": await self._graph.follow(call.actor, request), "err": ""}

    async def unfollow(self, call: Call) -> Answer:
        request = FollowRequest(followed=call.arguments["followed"], follower=call.actor.name)
        await self._graph.unfollow(call.actor, request)
        return {"err": ""}

    async def get_news(self, call: Call) -> Answer:
        request = GetNewsRequest(username=call.actor.name, **call.arguments)
        return await self._news.get_news_bytes(call.actor, request)

    async def get_me(self, call: Call) -> Answer:
        actor = call.actor
        user, links, follows = await _together(
            self._users.get_user(actor, actor.name),
            self._links.count_links(actor, actor.name),
            self._graph.get_counts(actor, actor.user_id),
        )
        about = _public_profile(user) | {
            "Email": user.email,
            "LinkCount": links.count,
            "FollowerCount": follows.followers,
            "FollowingCount": follows.following,
            "MaxLinks": links.limit,
        }
        return {"user": about, "token": _public_token(call.identity.token), "err": ""}

    async def export_my_data(self, call: Call) -> Answer:
        actor = call.actor
        _check_may_account(call)
        user = await self._users.get_user(actor, actor.name)
        await self._users.record_audit_event(actor, AuditEventType.DATA_EXPORTED, "")
        content = await begun(pack(PersonalData(self._peers, user).members(), datetime.now(UTC)))
        headers = {"Content-Disposition": f'attachment; filename="delinkcious-{actor.name}.zip"'}
        return StreamingResponse(content, media_type=ARCHIVE_TYPE, headers=headers)

    async def delete_me(self, call: Call) -> Answer:
        _check_may_account(call)
        await self._users.delete_account(call.actor, call.arguments["confirm"])
        return {"State": "deleting", "err": ""}

    async def get_user(self, call: Call) -> Answer:
        actor = call.actor
        user: User = await self._users.get_user(actor, call.arguments["name"])
        links, follows, relationship = await _together(
            self._links.count_links(actor, user.name),
            self._graph.get_counts(actor, user.id),
            self._graph.get_relationship(actor, actor.user_id, user.id),
        )
        about = _public_profile(user) | {
            "LinkCount": links.count,
            "FollowerCount": follows.followers,
            "FollowingCount": follows.following,
            "Relationship": relationship,
        }
        return {"user": about, "err": ""}

    async def get_user_links(self, call: Call) -> Answer:
        name = call.arguments.pop("name")
        return await self._links.get_links_bytes(call.actor, GetLinksRequest(username=name, **call.arguments))

    # --- followers, requests, blocks ----------------------------------------------------------------------------------

    async def kick_follower(self, call: Call) -> Answer:
        await self._graph.kick_follower(call.actor, _from_follower(call))
        return {"err": ""}

    async def get_follow_requests(self, call: Call) -> Answer:
        direction = call.arguments.pop("direction", RequestDirection.INCOMING)
        request = GetFollowRequest(username=call.actor.name, **call.arguments)
        if direction is RequestDirection.INCOMING:
            page = await self._graph.get_incoming_requests(call.actor, request)
        else:
            page = await self._graph.get_outgoing_requests(call.actor, request)
        return name_page_to_wire("requests", page)

    async def accept_follow_request(self, call: Call) -> Answer:
        await self._graph.accept_follow_request(call.actor, _from_follower(call))
        return {"err": ""}

    async def reject_follow_request(self, call: Call) -> Answer:
        await self._graph.reject_follow_request(call.actor, _from_follower(call))
        return {"err": ""}

    async def get_blocked(self, call: Call) -> Answer:
        request = GetFollowRequest(username=call.actor.name, **call.arguments)
        return name_page_to_wire("blocked", await self._graph.get_blocked(call.actor, request))

    async def block(self, call: Call) -> Answer:
        await self._graph.block(call.actor, call.arguments["blocked"])
        return {"err": ""}

    async def unblock(self, call: Call) -> Answer:
        await self._graph.unblock(call.actor, call.arguments["blocked"])
        return {"err": ""}


def _check_may_account(call: Call) -> None:
    if Scope.ACCOUNT not in call.identity.token.scopes:
        raise PermissionDenied(
            f"this needs a session, or a token with the scope {Scope.ACCOUNT}", code="insufficient_scope"
        )


def _from_follower(call: Call) -> FollowRequest:
    return FollowRequest(followed=call.actor.name, follower=call.arguments["follower"])


def _public_profile(user: User) -> Wire:
    """What everybody may see: no e-mail address, no id."""
    return {
        "Name": user.name,
        "DisplayName": user.display_name,
        "CreatedAt": user.created_at,
        "Private": user.private,
    }


def _public_token(token: TokenInfo) -> Wire:
    return {"Name": token.name, "Scopes": list(token.scopes), "ExpiresAt": token.expires_at}


async def _together(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """The results of calls that do not need each other. The first failure ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* DelinkciousError as failures:
        failure: BaseException = failures.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise failure
