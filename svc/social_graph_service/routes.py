"""The social graph service's REST interface: what each operation is called, reads and answers."""

from typing import Any

from fastapi import FastAPI

from pkg.object_model.interfaces import SocialGraphManager
from pkg.object_model.types import MAX_BODY_BYTES, FollowRequest, GetFollowRequest
from pkg.object_model.wire import follow_counts_to_wire, id_page_to_wire, name_page_to_wire, user_page_to_wire
from pkg.object_model.wire_requests import (
    ERASE_QUERY,
    FOLLOWED_QUERY,
    FOLLOWER_IDS_QUERY,
    FOLLOWS_QUERY,
    CountsRequest,
    EraseUserRequest,
    FollowedRequest,
    FollowerIdsRequest,
    RelationshipRequest,
    UserNameRequest,
)
from pkg.runtime.caller_auth import Call, CallerAuth
from pkg.runtime.endpoint import Answer, Body, Endpoint, Query, build_endpoints


def build_app(manager: SocialGraphManager, caller_auth: CallerAuth, *, docs: bool = False) -> FastAPI:
    return build_endpoints("social-graph-manager", caller_auth, social_graph_endpoints(manager), docs=docs)


def body_limit(path: str) -> int:
    return MAX_BODY_BYTES


def social_graph_endpoints(manager: SocialGraphManager) -> list[Endpoint[Any]]:
    handlers = _Handlers(manager)
    return [
        Endpoint(
            method="POST",
            path="/follow",
            operation="graph.write",
            reads=Body(FollowRequest),
            handle=handlers.follow,
        ),
        Endpoint(
            method="POST",
            path="/unfollow",
            operation="graph.write",
            reads=Body(FollowRequest),
            handle=handlers.unfollow,
        ),
        Endpoint(
            method="POST",
            path="/accept",
            operation="graph.write",
            reads=Body(FollowRequest),
            handle=handlers.accept_follow_request,
        ),
        Endpoint(
            method="POST",
            path="/reject",
            operation="graph.write",
            reads=Body(FollowRequest),
            handle=handlers.reject_follow_request,
        ),
        Endpoint(
            method="POST",
            path="/kick",
            operation="graph.write",
            reads=Body(FollowRequest),
            handle=handlers.kick_follower,
        ),
        Endpoint(
            method="POST",
            path="/block",
            operation="graph.write",
            reads=Body(UserNameRequest),
            handle=handlers.block,
        ),
        Endpoint(
            method="POST",
            path="/unblock",
            operation="graph.write",
            reads=Body(UserNameRequest),
            handle=handlers.unblock,
        ),
        Endpoint(
            method="GET",
            # A name with a slash in it is nobody's, which is for the manager to say.
            path="/followers/{username:text}",
            operation="graph.read",
            reads=Query(GetFollowRequest, FOLLOWS_QUERY),
            handle=handlers.get_followers,
        ),
        Endpoint(
            method="GET",
            path="/following/{username:text}",
            operation="graph.read",
            reads=Query(GetFollowRequest, FOLLOWS_QUERY),
            handle=handlers.get_following,
        ),
        Endpoint(
            method="GET",
            path="/mutuals/{username:text}",
            operation="graph.read_own",
            reads=Query(GetFollowRequest, FOLLOWS_QUERY),
            handle=handlers.get_mutuals,
        ),
        Endpoint(
            method="GET",
            path="/incoming-requests/{username:text}",
            operation="graph.read_own",
            reads=Query(GetFollowRequest, FOLLOWS_QUERY),
            handle=handlers.get_incoming_requests,
        ),
        Endpoint(
            method="GET",
            path="/outgoing-requests/{username:text}",
            operation="graph.read_own",
            reads=Query(GetFollowRequest, FOLLOWS_QUERY),
            handle=handlers.get_outgoing_requests,
        ),
        Endpoint(
            method="GET",
            path="/blocked/{username:text}",
            operation="graph.read_own",
            reads=Query(GetFollowRequest, FOLLOWS_QUERY),
            handle=handlers.get_blocked,
        ),
        Endpoint(
            method="GET",
            path="/follower-ids/{user_id}",
            operation="graph.read",
            reads=Query(FollowerIdsRequest, FOLLOWER_IDS_QUERY),
            handle=handlers.get_follower_ids,
        ),
        Endpoint(
            method="GET",
            path="/followed/{user_id}",
            operation="graph.read",
            reads=Query(FollowedRequest, FOLLOWED_QUERY),
            handle=handlers.get_followed,
        ),
        Endpoint(
            method="GET",
            path="/counts/{user_id}",
            operation="graph.read",
            reads=Query(CountsRequest, {"user_id": "user_id"}),
            handle=handlers.get_counts,
        ),
        Endpoint(
            method="GET",
            path="/relationships/{viewer_id}/{user_id}",
            operation="graph.read",
            reads=Query(RelationshipRequest, {"viewer_id": "viewer_id", "user_id": "user_id"}),
            handle=handlers.get_relationship,
            hot=True,
        ),
        Endpoint(
            method="DELETE",
            path="/users/{user_id}",
            operation="graph.erase",
            reads=Query(EraseUserRequest, ERASE_QUERY),
            handle=handlers.erase_user,
        ),
    ]


class _Handlers:
    def __init__(self, manager: SocialGraphManager) -> None:
        self._manager = manager

    async def follow(self, call: Call, request: FollowRequest) -> Answer:
        return {"State": await self._manager.follow(call.actor, request), "err": ""}

    async def unfollow(self, call: Call, request: FollowRequest) -> Answer:
        """Not to have followed is no error."""
        await self._manager.unfollow(call.actor, request)
        return {"err": ""}

    async def accept_follow_request(self, call: Call, request: FollowRequest) -> Answer:
        await self._manager.accept_follow_request(call.actor, request)
        return {"err": ""}

    async def reject_follow_request(self, call: Call, request: FollowRequest) -> Answer:
        """That there is no request is no error."""
        await self._manager.reject_follow_request(call.actor, request)
        return {"err": ""}

    async def kick_follower(self, call: Call, request: FollowRequest) -> Answer:
        """That they do not follow is no error."""
        await self._manager.kick_follower(call.actor, request)
        return {"err": ""}

    async def block(self, call: Call, request: UserNameRequest) -> Answer:
        """Hides the two from each other."""
        await self._manager.block(call.actor, request.username)
        return {"err": ""}

    async def unblock(self, call: Call, request: UserNameRequest) -> Answer:
        """Not to have blocked is no error."""
        await self._manager.unblock(call.actor, request.username)
        return {"err": ""}

    async def get_followers(self, call: Call, request: GetFollowRequest) -> Answer:
        return name_page_to_wire("followers", await self._manager.get_followers(call.actor, request))

    async def get_following(self, call: Call, request: GetFollowRequest) -> Answer:
        return name_page_to_wire("following", await self._manager.get_following(call.actor, request))

    async def get_mutuals(self, call: Call, request: GetFollowRequest) -> Answer:
        """Those whom the actor follows and who follow the user."""
        return name_page_to_wire("mutuals", await self._manager.get_mutuals(call.actor, request))

    async def get_incoming_requests(self, call: Call, request: GetFollowRequest) -> Answer:
        """Those who ask to follow the user."""
        return name_page_to_wire("requests", await self._manager.get_incoming_requests(call.actor, request))

    async def get_outgoing_requests(self, call: Call, request: GetFollowRequest) -> Answer:
        """Those whom the user asks to follow."""
        return name_page_to_wire("requests", await self._manager.get_outgoing_requests(call.actor, request))

    async def get_blocked(self, call: Call, request: GetFollowRequest) -> Answer:
        return name_page_to_wire("blocked", await self._manager.get_blocked(call.actor, request))

    async def get_follower_ids(self, call: Call, request: FollowerIdsRequest) -> Answer:
        """Of everybody who follows the user, for services that tell them something."""
        page = await self._manager.get_follower_ids(request.user_id, request.start_token, request.limit)
        return id_page_to_wire(page)

    async def get_followed(self, call: Call, request: FollowedRequest) -> Answer:
        """All whom the user follows, for services that keep feeds."""
        page = await self._manager.get_followed(request.user_id, request.start_token, request.limit)
        return user_page_to_wire(page)

    async def get_counts(self, call: Call, request: CountsRequest) -> Answer:
        return follow_counts_to_wire(await self._manager.get_counts(call.actor, request.user_id))

    async def get_relationship(self, call: Call, request: RelationshipRequest) -> Answer:
        """What the viewer is to the user; a 404 if one of them has blocked the other."""
        relationship = await self._manager.get_relationship(call.actor, request.viewer_id, request.user_id)
        return {"Relationship": relationship, "err": ""}

    async def erase_user(self, call: Call, request: EraseUserRequest) -> Answer:
        """A part of all that is a user's who leaves; with the token, the next."""
        token = await self._manager.erase_user(request.user_id, request.start_token)
        return {"NextPageToken": token, "err": ""}
