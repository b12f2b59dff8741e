"""The public REST API: what each operation is called, reads and answers."""

from collections.abc import Sequence
from typing import Final

from starlette.routing import Route

from pkg.object_model.types import MAX_BODY_BYTES, MAX_IMPORT_BYTES, Scope
from svc.api_gateway_service import error_codes, parameters, schemas
from svc.api_gateway_service.application import Application
from svc.api_gateway_service.documentation import documentation_routes
from svc.api_gateway_service.door import Door
from svc.api_gateway_service.handlers import Handlers
from svc.api_gateway_service.limits import Pace
from svc.api_gateway_service.news_streams import NewsStreams
from svc.api_gateway_service.openapi import describe_api
from svc.api_gateway_service.operation import PREFIXES, Operation, mount
from svc.api_gateway_service.peers import Peers
from svc.api_gateway_service.readers import Arguments, Upload

_IMPORT_PATHS: Final = frozenset(prefix + "/import" for prefix in PREFIXES)
#: What takes as long as a file does.
FILE_PATHS: Final = (*_IMPORT_PATHS, *(prefix + path for prefix in PREFIXES for path in ("/export", "/me/export")))


STREAM_PATHS: Final = tuple(prefix + "/news/stream" for prefix in PREFIXES)


def build_app(peers: Peers, streams: NewsStreams, door: Door, pages: Sequence[Route], cookie_name: str) -> Application:
    operations = api_operations(Handlers(peers, streams))
    document = describe_api(operations, cookie_name)
    return Application([*mount(operations, door), *pages, *documentation_routes(document)])


def body_limit(path: str) -> int:
    return MAX_IMPORT_BYTES if path in _IMPORT_PATHS else MAX_BODY_BYTES


def api_operations(handlers: Handlers) -> list[Operation]:
    """Those whose path has parameters are tried in this order."""
    groups = (_reading, _links, _checks, _people, _followers, _account, _files)
    return [operation for group in groups for operation in group(handlers)]


def _reading(handlers: Handlers) -> list[Operation]:
    return [
        Operation(
            name="get_links",
            method="GET",
            path="/links",
            group="Links",
            scope=Scope.LINKS_READ,
            summary="List your links",
            description="Newest first, or best first with `q`. Every filter given must hold.",
            reads=Arguments(parameters.LINK_FILTERS),
            handle=handlers.get_links,
            reply=schemas.LINK_PAGE,
            errors=(*error_codes.FILTER_ERRORS, error_codes.LINKS_AWAY),
        ),
        Operation(
            name="get_news",
            method="GET",
            path="/news",
            group="News",
            scope=Scope.NEWS,
            summary="Read your news",
            description="What the people whom you follow saved, newest first: one entry for each link of theirs that "
            "you may see, where its latest change puts it, and one for each import. What they delete or make private "
            "is gone from here within moments, as is all that is theirs when you do not follow them any more, whoever "
            "ended it. A feed holds the newest 1,000 entries of the last 30 days.\n\n"
            "`NextPageToken` leads to older entries and `PrevPageToken` to newer ones. To look again, send the `ETag` "
            "of the first page as `If-None-Match`, or the first entry's `Id` as `since`. An entry stands where "
            "the time of its change puts it: one that comes late, after a disturbance, may be older than `since`; the "
            "first page has it. `GET /news/stream` tells what is new without being asked.",
            header_arguments=(parameters.IF_NONE_MATCH,),
            reads=Arguments(parameters.NEWS_PAGE),
            handle=handlers.get_news,
            reply=schemas.NEWS_PAGE,
            errors=(*error_codes.PAGE_ERRORS, error_codes.INVALID_SINCE, *error_codes.NEWS_AWAY),
            has_tag=True,
        ),
        Operation(
            name="stream_news",
            method="GET",
            path="/news/stream",
            group="News",
            scope=Scope.NEWS,
            summary="Hear your news as it comes",
            description="Server-sent events, as every browser's `EventSource` reads them. A message is an entry in the "
            "form of `GET /news`, within a second of its save. Beside them there are events with names: `removed` "
            "(`Id`: this entry is no more; a change of a link removes the entry that it replaces), `present` (`Ids`: "
            "the newest entries as they are when you come back; what you have among them and is not named is gone), "
            "`reset` (more than 200 entries were missed: the newest 50 follow, `GET /news` has the others), `end` "
            "(`code`: your token is good no longer). What ends is told of the newest 50 entries. A comment comes every "
            "15 seconds when nothing else does.\n\n"
            "The `id` of an event is for `Last-Event-ID`: with it, or with `since`, what you missed comes first. "
            "Without, the stream begins now. A stream ends within the hour, or when you are slow to take what is sent; "
            "come back then. You may have 5 open.",
            header_arguments=(parameters.LAST_EVENT_ID,),
            reads=Arguments(parameters.NEWS_STREAM),
            handle=handlers.stream_news,
            reply=schemas.NEWS_STREAM,
            errors=(
                error_codes.INVALID_SINCE,
                error_codes.TOO_MANY_STREAMS,
                *error_codes.NEWS_AWAY,
                error_codes.GRAPH_AWAY,
            ),
        ),
        Operation(
            name="get_tags",
            method="GET",
            path="/tags",
            group="Links",
            scope=Scope.LINKS_READ,
            summary="List your tags",
            description="With the number of your links that have each, in alphabetical order.",
            reads=Arguments(parameters.TAG_FILTERS),
            handle=handlers.get_tags,
            reply=schemas.TAG_PAGE,
            errors=(*error_codes.PAGE_ERRORS, error_codes.TAG_TOO_LONG, error_codes.LINKS_AWAY),
        ),
        Operation(
            name="get_user_links",
            method="GET",
            path="/users/{name}/links",
            group="People",
            scope=Scope.LINKS_READ,
            summary="List somebody's links",
            description="Those that you may see: the public ones, and those for followers if you follow the user. Of a "
            "private account that you do not follow there are none. Filters as in your own list.",
            path_arguments=(parameters.NAME,),
            reads=Arguments(parameters.LINK_FILTERS),
            handle=handlers.get_user_links,
            reply=schemas.LINK_PAGE,
            errors=(
                *error_codes.FILTER_ERRORS,
                error_codes.USER_NOT_FOUND,
                error_codes.LINKS_AWAY,
                error_codes.GRAPH_AWAY,
            ),
        ),
    ]


def _links(handlers: Handlers) -> list[Operation]:
    return [
        Operation(
            name="add_link",
            method="POST",
            path="/links",
            group="Links",
            scope=Scope.LINKS_WRITE,
            summary="Save a link",
            description="Its status is `pending` until it has been checked.",
            header_arguments=(parameters.IDEMPOTENCY_KEY,),
            reads=Arguments(
                (
                    parameters.URL,
                    parameters.NEW_TITLE,
                    parameters.NEW_DESCRIPTION,
                    parameters.TAGS,
                    parameters.NEW_VISIBILITY,
                )
            ),
            handle=handlers.add_link,
            reply=schemas.LINK,
            errors=(*error_codes.ADD_ERRORS, error_codes.LINKS_AWAY),
        ),
        Operation(
            name="update_link",
            method="PUT",
            path="/links",
            group="Links",
            scope=Scope.LINKS_WRITE,
            summary="Change a link",
            description="What you do not send stays as it is. `If-Match` keeps you from overwriting what somebody else "
            "changed since you read it.",
            header_arguments=(parameters.IF_MATCH,),
            reads=Arguments(
                (
                    parameters.URL,
                    parameters.TITLE,
                    parameters.DESCRIPTION,
                    parameters.ADD_TAGS,
                    parameters.REMOVE_TAGS,
                    parameters.VISIBILITY,
                )
            ),
            handle=handlers.update_link,
            reply=schemas.LINK,
            errors=(*error_codes.UPDATE_ERRORS, error_codes.LINKS_AWAY),
        ),
        Operation(
            name="delete_link",
            method="DELETE",
            path="/links",
            group="Links",
            scope=Scope.LINKS_WRITE,
            summary="Delete a link",
            description="Deleting what is not there is no error: `deleted` tells.",
            reads=Arguments((parameters.URL,)),
            handle=handlers.delete_link,
            reply=schemas.DELETED,
            errors=(*error_codes.URL_ERRORS, error_codes.LINKS_AWAY),
        ),
    ]


def _checks(handlers: Handlers) -> list[Operation]:
    return [
        Operation(
            name="check_link",
            method="POST",
            path="/links/check",
            group="Links",
            scope=Scope.LINKS_WRITE,
            summary="Have a link checked now",
            description="Answers with the link as it is; what is found is shown on it within seconds or, if the site "
            "does not answer, a while: see its `CheckedAt`. A page that was looked at, or asked for, by anybody within "
            "the last minute is not looked at again, nor one whose site asked to be left alone.",
            reads=Arguments((parameters.URL,)),
            handle=handlers.check_link,
            reply=schemas.LINK,
            errors=(*error_codes.URL_ERRORS, error_codes.LINK_NOT_FOUND, error_codes.LINKS_AWAY),
            limited_as=Pace.CHECKS,
        ),
        Operation(
            name="move_link",
            method="POST",
            path="/links/move",
            group="Links",
            scope=Scope.LINKS_WRITE,
            summary="Move a link to its page's new address",
            description="To its `MovedTo`. Id, CreatedAt, texts, tags and visibility stay, Version grows, and the new "
            "address is checked. If you have saved a link there already, that one ends: its tags are added, so are its "
            "title and description where they say something else, and the stricter visibility of the two holds.",
            header_arguments=(parameters.IF_MATCH, parameters.IDEMPOTENCY_KEY),
            reads=Arguments((parameters.URL,)),
            handle=handlers.move_link,
            reply=schemas.LINK,
            errors=(*error_codes.MOVE_ERRORS, error_codes.LINKS_AWAY),
        ),
        Operation(
            name="get_link_statuses",
            method="GET",
            path="/links/status",
            group="Links",
            scope=Scope.LINKS_READ,
            summary="Count your links by status",
            description="And by what the last look at each page met with. `GET /v1/links` lists them, with `status` or "
            "`status_reason`.",
            reads=Arguments(),
            handle=handlers.get_link_statuses,
            reply=schemas.STATUSES,
            errors=(error_codes.LINKS_AWAY,),
        ),
        Operation(
            name="get_link_history",
            method="GET",
            path="/links/history",
            group="Links",
            scope=Scope.LINKS_READ,
            summary="Show what became of a link's page",
            description="The last ten times that its status, or the reason for it, changed. A page is looked at once "
            "for everybody who saved it, so it may have been looked at before you did.",
            reads=Arguments((parameters.URL,)),
            handle=handlers.get_link_history,
            reply=schemas.HISTORY,
            errors=(*error_codes.URL_ERRORS, error_codes.LINK_NOT_FOUND, error_codes.LINKS_AWAY),
        ),
    ]


def _people(handlers: Handlers) -> list[Operation]:
    return [
        Operation(
            name="get_me",
            method="GET",
            path="/me",
            group="People",
            scope=None,
            summary="Show yourself",
            description="And the token that you sent.",
            reads=Arguments(),
            handle=handlers.get_me,
            reply=schemas.ME,
            errors=(error_codes.USER_NOT_FOUND, error_codes.LINKS_AWAY, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="delete_me",
            method="DELETE",
            path="/me",
            group="Account",
            summary="Delete your account",
            description="For good. Your sessions and tokens end at once, and nobody finds you any more; within minutes "
            "no service holds anything of you: links, tags, followers, news. Nobody gets your name again. Take what is "
            "yours with you before, with `GET /me/export`.",
            scope=Scope.ACCOUNT,
            reads=Arguments((parameters.CONFIRM,)),
            handle=handlers.delete_me,
            reply=schemas.DELETING,
            errors=(error_codes.NOT_CONFIRMED, error_codes.ACCOUNT_GONE),
        ),
        Operation(
            name="get_user",
            method="GET",
            path="/users/{name}",
            group="People",
            scope=Scope.SOCIAL,
            summary="Show somebody",
            description="As you may see them. If one of you has blocked the other there is no such user.",
            path_arguments=(parameters.NAME,),
            reads=Arguments(),
            handle=handlers.get_user,
            reply=schemas.USER,
            errors=(error_codes.USER_NOT_FOUND, error_codes.LINKS_AWAY, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="get_followers",
            method="GET",
            path="/followers",
            group="People",
            scope=Scope.SOCIAL,
            summary="List those who follow you",
            description="All of them, or, with `limit`, page by page.",
            reads=Arguments(parameters.MAP_PAGE),
            handle=handlers.get_followers,
            reply=schemas.FOLLOWERS,
            errors=(*error_codes.WHOLE_MAP_ERRORS, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="get_following",
            method="GET",
            path="/following",
            group="People",
            scope=Scope.SOCIAL,
            summary="List those whom you follow",
            description="All of them, or, with `limit`, page by page.",
            reads=Arguments(parameters.MAP_PAGE),
            handle=handlers.get_following,
            reply=schemas.FOLLOWING,
            errors=(*error_codes.WHOLE_MAP_ERRORS, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="get_mutuals",
            method="GET",
            path="/mutuals",
            group="People",
            scope=Scope.SOCIAL,
            summary="List those whom you have in common with somebody",
            description="Those whom you follow and who follow the user: of yourself, those who follow you back. All of "
            "them, or, with `limit`, page by page. With a private account that you do not follow there are none.",
            reads=Arguments(parameters.MUTUALS_PAGE),
            handle=handlers.get_mutuals,
            reply=schemas.MUTUALS,
            errors=(*error_codes.WHOLE_MAP_ERRORS, error_codes.USER_NOT_FOUND, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="follow",
            method="POST",
            path="/following",
            group="People",
            scope=Scope.SOCIAL,
            summary="Follow somebody",
            description="A private account is asked first: `State` is `requested` until it agrees. To follow or to ask "
            "twice is no error.",
            reads=Arguments((parameters.FOLLOWED,)),
            handle=handlers.follow,
            reply=schemas.FOLLOWED,
            errors=(*error_codes.FOLLOW_ERRORS, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="unfollow",
            method="DELETE",
            path="/following",
            group="People",
            scope=Scope.SOCIAL,
            summary="Follow somebody no longer",
            description="Takes back a request that waits, too. Not to have followed is no error.",
            reads=Arguments((parameters.FOLLOWED,)),
            handle=handlers.unfollow,
            reply=schemas.DONE,
            errors=(*error_codes.FOLLOW_ERRORS, error_codes.GRAPH_AWAY),
        ),
    ]


def _followers(handlers: Handlers) -> list[Operation]:
    return [
        Operation(
            name="kick_follower",
            method="DELETE",
            path="/followers",
            group="People",
            scope=Scope.SOCIAL,
            summary="Remove a follower",
            description="They are not told. If your account is public they may follow you again; block them to keep "
            "them away. That they do not follow you is no error.",
            reads=Arguments((parameters.FOLLOWER,)),
            handle=handlers.kick_follower,
            reply=schemas.DONE,
            errors=(error_codes.USER_NOT_FOUND, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="get_follow_requests",
            method="GET",
            path="/follow-requests",
            group="People",
            scope=Scope.SOCIAL,
            summary="List requests to follow",
            description="All of them, or, with `limit`, page by page. To take back one of your own, "
            "`DELETE /v1/following`.",
            reads=Arguments(parameters.REQUESTS_PAGE),
            handle=handlers.get_follow_requests,
            reply=schemas.REQUESTS,
            errors=(*error_codes.WHOLE_MAP_ERRORS, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="accept_follow_request",
            method="POST",
            path="/follow-requests",
            group="People",
            scope=Scope.SOCIAL,
            summary="Let somebody follow you",
            description="Who asked. Requests stay when a private account becomes public. To accept twice is no error.",
            reads=Arguments((parameters.FOLLOWER,)),
            handle=handlers.accept_follow_request,
            reply=schemas.DONE,
            errors=(error_codes.USER_NOT_FOUND, error_codes.FOLLOW_REQUEST_NOT_FOUND, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="reject_follow_request",
            method="DELETE",
            path="/follow-requests",
            group="People",
            scope=Scope.SOCIAL,
            summary="Let somebody not follow you",
            description="They are not told, and may ask again. That they do not ask is no error.",
            reads=Arguments((parameters.FOLLOWER,)),
            handle=handlers.reject_follow_request,
            reply=schemas.DONE,
            errors=(error_codes.USER_NOT_FOUND, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="get_blocked",
            method="GET",
            path="/blocks",
            group="People",
            scope=Scope.SOCIAL,
            summary="List those whom you have blocked",
            description="All of them, or, with `limit`, page by page.",
            reads=Arguments(parameters.MAP_PAGE),
            handle=handlers.get_blocked,
            reply=schemas.BLOCKED,
            errors=(*error_codes.WHOLE_MAP_ERRORS, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="block",
            method="POST",
            path="/blocks",
            group="People",
            scope=Scope.SOCIAL,
            summary="Block somebody",
            description="Ends whatever either of you follows or asked of the other, and hides you from each other: "
            "profile, links, news, lists. They are not told. To block twice is no error.",
            reads=Arguments((parameters.BLOCKED,)),
            handle=handlers.block,
            reply=schemas.DONE,
            errors=(*error_codes.BLOCK_ERRORS, error_codes.GRAPH_AWAY),
        ),
        Operation(
            name="unblock",
            method="DELETE",
            path="/blocks",
            group="People",
            scope=Scope.SOCIAL,
            summary="Block somebody no longer",
            description="Nobody follows anybody by that. Not to have blocked is no error.",
            reads=Arguments((parameters.BLOCKED,)),
            handle=handlers.unblock,
            reply=schemas.DONE,
            errors=(error_codes.USER_NOT_FOUND, error_codes.GRAPH_AWAY),
        ),
    ]


def _account(handlers: Handlers) -> list[Operation]:
    return [
        Operation(
            name="update_me",
            method="PUT",
            path="/me",
            group="Account",
            summary="Change your account",
            description="What you do not send stays as it is. Requests to follow stay when a private account becomes "
            "public.",
            scope=Scope.ACCOUNT,
            reads=Arguments(parameters.PROFILE),
            handle=handlers.update_me,
            reply=schemas.ME,
            errors=(
                *error_codes.PROFILE_ERRORS,
                error_codes.ACCOUNT_GONE,
                error_codes.LINKS_AWAY,
                error_codes.GRAPH_AWAY,
            ),
        ),
        Operation(
            name="get_sessions",
            method="GET",
            path="/me/sessions",
            group="Account",
            summary="List your sessions",
            description="Browsers and programs that are logged in as you, the newest first.",
            scope=Scope.ACCOUNT,
            reads=Arguments(),
            handle=handlers.get_sessions,
            reply=schemas.SESSIONS,
        ),
        Operation(
            name="end_other_sessions",
            method="DELETE",
            path="/me/sessions",
            group="Account",
            summary="End all other sessions",
            description="All but the one that asks; all, if an API token asks. They are refused everywhere within a "
            "second.",
            scope=Scope.ACCOUNT,
            reads=Arguments(),
            handle=handlers.end_other_sessions,
            reply=schemas.SESSIONS_ENDED,
        ),
        Operation(
            name="end_session",
            method="DELETE",
            path="/me/sessions/{id}",
            group="Account",
            summary="End a session",
            description="It is refused everywhere within a second. It may be the one that asks.",
            scope=Scope.ACCOUNT,
            path_arguments=(parameters.TOKEN_ID,),
            reads=Arguments(),
            handle=handlers.end_session,
            reply=schemas.DONE,
            errors=(error_codes.SESSION_NOT_FOUND,),
        ),
        Operation(
            name="get_tokens",
            method="GET",
            path="/me/tokens",
            group="Account",
            summary="List your tokens",
            description="Those for programs, the newest first. The tokens themselves are shown to nobody.",
            scope=Scope.ACCOUNT,
            reads=Arguments(),
            handle=handlers.get_tokens,
            reply=schemas.TOKENS,
        ),
        Operation(
            name="create_token",
            method="POST",
            path="/me/tokens",
            group="Account",
            summary="Make a token",
            description="For a program that acts as you. It can be good for nothing that the token that asks is not "
            "good for. You may have 50.",
            scope=Scope.ACCOUNT,
            reads=Arguments(parameters.NEW_TOKEN),
            handle=handlers.create_token,
            reply=schemas.TOKEN_MADE,
            errors=(*error_codes.TOKEN_ERRORS, error_codes.ACCOUNT_GONE),
        ),
        Operation(
            name="revoke_token",
            method="DELETE",
            path="/me/tokens/{id}",
            group="Account",
            summary="Revoke a token",
            description="It is refused everywhere within a second. It may be the one that asks.",
            scope=Scope.ACCOUNT,
            path_arguments=(parameters.TOKEN_ID,),
            reads=Arguments(),
            handle=handlers.revoke_token,
            reply=schemas.DONE,
            errors=(error_codes.TOKEN_NOT_FOUND,),
        ),
        Operation(
            name="get_events",
            method="GET",
            path="/me/audit",
            group="Account",
            summary="List what happened to your account",
            description="Logins, tokens made and revoked, followers approved and the like, of the last 400 days.",
            scope=Scope.ACCOUNT,
            reads=Arguments(parameters.EVENTS_PAGE),
            handle=handlers.get_events,
            reply=schemas.EVENTS_PAGE,
            errors=error_codes.PAGE_ERRORS,
        ),
    ]


def _files(handlers: Handlers) -> list[Operation]:
    return [
        Operation(
            name="import_links",
            method="POST",
            path="/import",
            group="Files",
            scope=Scope.LINKS_WRITE,
            summary="Import a bookmarks file",
            description="A file as browsers and bookmark services export it, at most 20 MiB: as the body itself, or as "
            "the field `file` of a form, after the other fields. Importing it again changes nothing.",
            header_arguments=(parameters.IDEMPOTENCY_KEY,),
            reads=Upload(parameters.IMPORT_OPTIONS),
            handle=handlers.import_links,
            reply=schemas.IMPORTED,
            errors=(*error_codes.IMPORT_ERRORS, error_codes.LINKS_AWAY),
            limited_as=Pace.FILES,
        ),
        Operation(
            name="export_links",
            method="GET",
            path="/export",
            group="Files",
            scope=Scope.LINKS_READ,
            summary="Export all your links",
            description="As a bookmarks file that every browser reads, and that imports back to the same links.",
            reads=Arguments(),
            handle=handlers.export_links,
            reply=schemas.BOOKMARKS,
            errors=(error_codes.LINKS_AWAY,),
            limited_as=Pace.FILES,
        ),
        Operation(
            name="export_my_data",
            method="GET",
            path="/me/export",
            group="Files",
            summary="Export all your data",
            description="Your account, links, followers and followed, requests, blocks, sessions, tokens and what "
            "happened to the account, as a zip file of JSON and HTML; `index.html` in it says what is what.",
            scope=Scope.ACCOUNT,
            reads=Arguments(),
            handle=handlers.export_my_data,
            reply=schemas.PERSONAL_DATA,
            errors=(
                error_codes.ACCOUNT_GONE,
                error_codes.LINKS_AWAY,
                error_codes.GRAPH_AWAY,
            ),
            limited_as=Pace.FILES,
        ),
    ]
