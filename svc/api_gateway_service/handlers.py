"""What each operation does: hardly more than asking the service whose it is, as the user whose token it was."""

from datetime import UTC, datetime
from functools import partial
from typing import Final

from starlette.responses import StreamingResponse

from pkg.object_model.errors import InvalidArgument, NotFound, PermissionDenied
from pkg.object_model.types import (
    AddLinkRequest,
    AuditEventType,
    CheckLinkRequest,
    CreateTokenRequest,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    GetLinksRequest,
    GetNewsRequest,
    GetTagsRequest,
    ImportRequest,
    MoveLinkRequest,
    PageRequest,
    RequestDirection,
    Scope,
    TokenInfo,
    TokenRecord,
    UpdateLinkRequest,
    UpdateUserRequest,
    User,
)
from pkg.object_model.wire import (
    Wire,
    audit_page_to_wire,
    import_report_to_wire,
    link_history_to_wire,
    link_to_wire,
    name_page_to_wire,
    status_counts_to_wire,
)
from pkg.runtime.endpoint import begun
from svc.api_gateway_service.audit import AuditTrail
from svc.api_gateway_service.event_stream import EventStream
from svc.api_gateway_service.news_streams import NewsStreams
from svc.api_gateway_service.operation import Answer, Call
from svc.api_gateway_service.peers import Peers, ask_together
from svc.api_gateway_service.personal_data import PersonalData
from svc.api_gateway_service.zip_stream import pack

BOOKMARKS_TYPE: Final = "text/html; charset=utf-8"
ARCHIVE_TYPE: Final = "application/zip"
#: Digits of the greatest 64-bit number.
_MAX_ID: Final = 19
_MAX_INT64: Final = 2**63 - 1


class Handlers:
    def __init__(self, peers: Peers, streams: NewsStreams) -> None:
        self._peers = peers
        self._streams = streams
        self._links = peers.links
        self._users = peers.users
        self._graph = peers.social_graph
        self._news = peers.news
        self._audit = AuditTrail(peers.users)

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

    async def check_link(self, call: Call) -> Answer:
        request = CheckLinkRequest(username=call.actor.name, url=call.arguments["url"])
        return {"link": link_to_wire(await self._links.ask_for_check(call.actor, request)), "err": ""}

    async def move_link(self, call: Call) -> Answer:
        request = MoveLinkRequest(
            username=call.actor.name,
            url=call.arguments["url"],
            if_version=call.head.read_if_match(),
            idempotency_key=call.head.read_idempotency_key(),
        )
        return {"link": link_to_wire(await self._links.move_link(call.actor, request)), "err": ""}

    async def get_link_statuses(self, call: Call) -> Answer:
        return status_counts_to_wire(await self._links.count_statuses(call.actor, call.actor.name))

    async def get_link_history(self, call: Call) -> Answer:
        history = await self._links.get_link_history(call.actor, call.actor.name, call.arguments["url"])
        return link_history_to_wire(history)

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

    async def get_mutuals(self, call: Call) -> Answer:
        username = call.arguments.pop("username", call.actor.name)
        request = GetFollowRequest(username=username, **call.arguments)
        return name_page_to_wire("mutuals", await self._graph.get_mutuals(call.actor, request))

    async def follow(self, call: Call) -> Answer:
        request = FollowRequest(followed=call.arguments["followed"], follower=call.actor.name)
        state = await self._graph.follow(call.actor, request)
        if state is FollowState.REQUESTED:
            await self._audit.note(call.actor, AuditEventType.FOLLOW_REQUESTED, request.followed)
        return {"State": state, "err": ""}

    async def unfollow(self, call: Call) -> Answer:
        request = FollowRequest(followed=call.arguments["followed"], follower=call.actor.name)
        await self._graph.unfollow(call.actor, request)
        return {"err": ""}

    async def get_news(self, call: Call) -> Answer:
        since = call.arguments.pop("since", None)
        request = GetNewsRequest(
            username=call.actor.name, since=_read_entry_id(since) if since is not None else None, **call.arguments
        )
        return await self._news.get_news_bytes(call.actor, request)

    async def stream_news(self, call: Call) -> Answer:
        # The later wins: a browser that comes back asks for the same URL as before.
        places = [_read_entry_id(text) for text in (call.arguments.get("since"), call.head.last_event_id) if text]
        return EventStream(
            partial(self._streams.open, call.identity, call.confirm, places[-1] if places else None),
            write_timeout=self._streams.bounds.write_timeout,
        )

    async def get_me(self, call: Call) -> Answer:
        actor = call.actor
        user, links, follows = await ask_together(
            self._users.get_user(actor, actor.name),
            self._links.count_links(actor, actor.name),
            self._graph.get_counts(actor, actor.user_id),
        )
        about = _public_profile(user) | {
            # For the page that says who it is, any token is good; for this, not.
            "Email": user.email if Scope.ACCOUNT in call.identity.token.scopes else "",
            "LinkCount": links.count,
            "DeadLinkCount": links.dead,
            "FollowerCount": follows.followers,
            "FollowingCount": follows.following,
            "MaxLinks": links.limit,
        }
        return {"user": about, "token": _public_token(call.identity.token), "err": ""}

    async def update_me(self, call: Call) -> Answer:
        await self._users.update_user(call.actor, UpdateUserRequest(**call.arguments))
        return await self.get_me(call)

    async def export_my_data(self, call: Call) -> Answer:
        actor = call.actor
        user = await self._users.get_user(actor, actor.name)
        await self._audit.note(actor, AuditEventType.DATA_EXPORTED, "")
        content = await begun(pack(PersonalData(self._peers, user).members(), datetime.now(UTC)))
        headers = {"Content-Disposition": f'attachment; filename="delinkcious-{actor.name}.zip"'}
        return StreamingResponse(content, media_type=ARCHIVE_TYPE, headers=headers)

    async def delete_me(self, call: Call) -> Answer:
        await self._users.delete_account(call.actor, call.arguments["confirm"])
        return {"State": "deleting", "err": ""}

    async def get_user(self, call: Call) -> Answer:
        actor = call.actor
        user: User = await self._users.get_user(actor, call.arguments["name"])
        links, follows, relationship = await ask_together(
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
        await self._audit.note(call.actor, AuditEventType.FOLLOWER_REMOVED, call.arguments["follower"])
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
        await self._audit.note(call.actor, AuditEventType.FOLLOW_APPROVED, call.arguments["follower"])
        return {"err": ""}

    async def reject_follow_request(self, call: Call) -> Answer:
        await self._graph.reject_follow_request(call.actor, _from_follower(call))
        await self._audit.note(call.actor, AuditEventType.FOLLOW_REJECTED, call.arguments["follower"])
        return {"err": ""}

    async def get_blocked(self, call: Call) -> Answer:
        request = GetFollowRequest(username=call.actor.name, **call.arguments)
        return name_page_to_wire("blocked", await self._graph.get_blocked(call.actor, request))

    async def block(self, call: Call) -> Answer:
        await self._graph.block(call.actor, call.arguments["blocked"])
        await self._audit.note(call.actor, AuditEventType.USER_BLOCKED, call.arguments["blocked"])
        return {"err": ""}

    async def unblock(self, call: Call) -> Answer:
        await self._graph.unblock(call.actor, call.arguments["blocked"])
        await self._audit.note(call.actor, AuditEventType.USER_UNBLOCKED, call.arguments["blocked"])
        return {"err": ""}

    # --- sessions, tokens, events -------------------------------------------------------------------------------------

    async def get_sessions(self, call: Call) -> Answer:
        own = call.identity.token.id
        records = await self._users.list_sessions(call.actor)
        return {"sessions": [_public_session(record, current=record.id == own) for record in records], "err": ""}

    async def end_session(self, call: Call) -> Answer:
        if not await self._users.end_session(call.actor, _read_id(call)):
            raise NotFound("you have no such session; GET /v1/me/sessions lists yours", code="session_not_found")
        return {"err": ""}

    async def end_other_sessions(self, call: Call) -> Answer:
        return {"ended": await self._users.end_sessions(call.actor, except_id=call.identity.token.id), "err": ""}

    async def get_tokens(self, call: Call) -> Answer:
        return {"tokens": [_public_record(record) for record in await self._users.list_tokens(call.actor)], "err": ""}

    async def create_token(self, call: Call) -> Answer:
        request = CreateTokenRequest(**call.arguments)
        lacking = set(request.scopes).difference(call.identity.token.scopes)
        if lacking:
            raise PermissionDenied(
                f"your own token is not good for {', '.join(sorted(lacking))}, so that you cannot make one that is",
                code="insufficient_scope",
            )
        made = await self._users.create_token(call.actor, request)
        return {"token": made.token, "record": _public_record(made.record), "err": ""}

    async def revoke_token(self, call: Call) -> Answer:
        if not await self._users.revoke_token(call.actor, _read_id(call)):
            raise NotFound("you have no such token; GET /v1/me/tokens lists yours", code="token_not_found")
        return {"err": ""}

    async def get_events(self, call: Call) -> Answer:
        return audit_page_to_wire(await self._users.get_audit_events(call.actor, PageRequest(**call.arguments)))


def _read_id(call: Call) -> int:
    """0 for what is no id: it names nothing, as an unknown one does."""
    text = call.arguments["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_ID else 0


def _read_entry_id(text: str) -> int:
    """Raises InvalidArgument (``invalid_since``)."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_ID):
        raise InvalidArgument("since and Last-Event-ID must be the Id of an entry of your news", code="invalid_since")
    return min(int(text), _MAX_INT64)


def _public_record(record: TokenRecord) -> Wire:
    return {
        "Id": str(record.id),
        "Name": record.name,
        "Scopes": list(record.scopes),
        "CreatedAt": record.created_at,
        "ExpiresAt": record.expires_at,
        "LastUsedAt": record.last_used_at,
    }


def _public_session(record: TokenRecord, *, current: bool) -> Wire:
    return {
        "Id": str(record.id),
        "Client": record.client,
        "CreatedAt": record.created_at,
        "ExpiresAt": record.expires_at,
        "LastUsedAt": record.last_used_at,
        "Current": current,
    }


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
