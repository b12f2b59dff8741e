"""The social graph service from afar."""

from typing import Any, Final
from urllib.parse import quote

from pkg.clients.erasure import erase_user
from pkg.clients.reply import read_reply
from pkg.object_model import interfaces
from pkg.object_model.types import (
    Actor,
    FollowCounts,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    IdPage,
    NamePage,
    Relationship,
    UserPage,
)
from pkg.object_model.wire import follow_counts_from_wire, id_page_from_wire, name_page_from_wire, user_page_from_wire
from pkg.object_model.wire_requests import (
    FOLLOWED_QUERY,
    FOLLOWER_IDS_QUERY,
    FOLLOWS_QUERY,
    FollowedRequest,
    FollowerIdsRequest,
    UserNameRequest,
    to_query,
)
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.json import encode

_SERVICE: Final = "social-graph-manager"


class SocialGraphClient(interfaces.SocialGraphManager):
    def __init__(self, http: ServiceHttpClient) -> None:
        self._http = http

    async def follow(self, actor: Actor | None, request: FollowRequest) -> FollowState:
        body = await self._http.request(
            "POST", "/follow", actor=actor, body=encode(request.model_dump()), repeatable=False
        )
        return read_reply(_SERVICE, body, lambda wire: FollowState(wire["State"]))

    async def unfollow(self, actor: Actor | None, request: FollowRequest) -> None:
        await self._write("/unfollow", actor, request.model_dump())

    async def accept_follow_request(self, actor: Actor | None, request: FollowRequest) -> None:
        await self._write("/accept", actor, request.model_dump())

    async def reject_follow_request(self, actor: Actor | None, request: FollowRequest) -> None:
        await self._write("/reject", actor, request.model_dump())

    async def kick_follower(self, actor: Actor | None, request: FollowRequest) -> None:
        await self._write("/kick", actor, request.model_dump())

    async def block(self, actor: Actor | None, name: str) -> None:
        await self._write("/block", actor, UserNameRequest(username=name).to_wire())

    async def unblock(self, actor: Actor | None, name: str) -> None:
        await self._write("/unblock", actor, UserNameRequest(username=name).to_wire())

    async def get_followers(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return await self._names("/followers", "followers", actor, request)

    async def get_following(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return await self._names("/following", "following", actor, request)

    async def get_mutuals(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return await self._names("/mutuals", "mutuals", actor, request)

    async def get_incoming_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return await self._names("/incoming-requests", "requests", actor, request)

    async def get_outgoing_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return await self._names("/outgoing-requests", "requests", actor, request)

    async def get_blocked(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        return await self._names("/blocked", "blocked", actor, request)

    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        request = FollowerIdsRequest(user_id=user_id, start_token=start_token, limit=limit)
        query = to_query(request, FOLLOWER_IDS_QUERY)
        path = f"/follower-ids/{query.pop('user_id')}"
        body = await self._http.request("GET", path, actor=None, params=query, repeatable=True)
        return read_reply(_SERVICE, body, id_page_from_wire)

    async def get_followed(self, user_id: int, start_token: str, limit: int) -> UserPage:
        request = FollowedRequest(user_id=user_id, start_token=start_token, limit=limit)
        query = to_query(request, FOLLOWED_QUERY)
        path = f"/followed/{query.pop('user_id')}"
        body = await self._http.request("GET", path, actor=None, params=query, repeatable=True)
        return read_reply(_SERVICE, body, user_page_from_wire)

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts:
        body = await self._http.request("GET", f"/counts/{user_id}", actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, follow_counts_from_wire)

    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship:
        path = f"/relationships/{viewer_id}/{user_id}"
        body = await self._http.request("GET", path, actor=actor, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: Relationship(wire["Relationship"]))

    async def erase_user(self, user_id: int, start_token: str) -> str:
        return await erase_user(self._http, _SERVICE, user_id, start_token)

    async def _write(self, path: str, actor: Actor | None, body: dict[str, Any]) -> None:
        await self._http.request("POST", path, actor=actor, body=encode(body), repeatable=False)

    async def _names(self, path: str, key: str, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        query = to_query(request, FOLLOWS_QUERY)
        path = f"{path}/{quote(query.pop('username', ''), safe='')}"
        body = await self._http.request("GET", path, actor=actor, params=query, repeatable=True)
        return read_reply(_SERVICE, body, lambda wire: name_page_from_wire(key, wire))
