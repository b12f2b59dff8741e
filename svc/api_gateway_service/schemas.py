"""The objects of the public API's replies, as JSON Schema; every field with its meaning and an example."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pkg.object_model.types import (
    MAX_IMPORT_ROWS_LISTED,
    AuditEventType,
    FollowState,
    ImportAction,
    LinkReason,
    LinkStatus,
    NewsEventType,
    Relationship,
    Scope,
    Visibility,
)
from svc.api_gateway_service.arguments import Schema

_TIME: Final = "2026-01-31T09:30:00.123456Z"


@dataclass(frozen=True, slots=True)
class Reply:
    """What an operation answers when it succeeds."""

    description: str
    schema: Schema
    media_type: str = "application/json"
    #: Header -> its schema.
    headers: tuple[tuple[str, Schema], ...] = ()


def _field(kind: str, description: str, example: object, **rules: object) -> Schema:
    return {"type": kind, "description": description, "examples": [example], **rules}


def _text(description: str, example: str, **rules: object) -> Schema:
    return _field("string", description, example, **rules)


def _count(description: str, example: int) -> Schema:
    return _field("integer", description, example, minimum=0)


def _time(description: str) -> Schema:
    return _text(f"{description} RFC 3339, UTC.", _TIME, format="date-time")


def _optional_time(description: str) -> Schema:
    return {**_time(description), "type": ["string", "null"]}


def _object(description: str, *, optional: Mapping[str, Schema] = MappingProxyType({}), **fields: Schema) -> Schema:
    """All fields are always there, but for the optional ones."""
    properties = {**fields, **optional}
    return {"type": "object", "description": description, "required": list(fields), "properties": properties}


def _set(description: str, *members: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": {"const": True},
        "examples": [dict.fromkeys(members, True)],
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


_ERR: Final = _text("Empty: all went well.", "", maxLength=0)
_NEXT: Final = _text(
    "Send it as start_token, with the same filters, to get the next page. Empty when this is the last one.",
    "qD5cVb1mWzEwMDBd",
)
_NAME: Final = _text("The user name, unique without regard to case.", "alice")
_PROFILE: Final[dict[str, Schema]] = {
    "Name": _NAME,
    "DisplayName": _text("The name to show.", "Alice Liddell"),
    "CreatedAt": _time("When the user registered."),
    "Private": _field("boolean", "Whether new followers need a yes, and followers alone see links.", False),
}
_ID: Final = _text("Stable; a 64-bit number as text.", "104857600000004", pattern="^[0-9]{1,19}$")
_SCOPES: Final[Schema] = {
    "type": "array",
    "description": "What it is good for.",
    "items": {"type": "string", "enum": [scope.value for scope in Scope]},
    "examples": [[Scope.LINKS_READ.value]],
}
_FOLLOW_COUNTS: Final[dict[str, Schema]] = {
    "FollowerCount": _count("How many follow the user.", 12),
    "FollowingCount": _count("How many the user follows.", 34),
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Link": _object(
        "A saved link.",
        Id=_text("Stable; a 64-bit number as text.", "104857600000001", pattern="^[0-9]{1,19}$"),
        Url=_text("As it was saved.", "https://github.com/the-gigi", format="uri", maxLength=2048),
        Title=_text("May be empty after an import.", "Gigi on GitHub", maxLength=1024),
        Description=_text("May be empty, and may have several lines.", "Wrote the book.", maxLength=65536),
        Status=_text("What the link checker found.", "pending", enum=[status.value for status in LinkStatus]),
        Tags=_set("The tags, as a set.", "go", "author"),
        CreatedAt=_time("When the link was saved; after an import what the file says."),
        UpdatedAt=_time("When it was last changed by its owner."),
        Visibility=_text("Who sees it.", "public", enum=[visibility.value for visibility in Visibility]),
        Version=_field("integer", "Grows with each change; for If-Match.", 1, minimum=1),
        StatusReason=_text(
            "What the last look at the page met with; empty before the first. A later version may know others than "
            + ", ".join(LinkReason)
            + ".",
            LinkReason.OK.value,
        ),
        CheckedAt=_optional_time("When the page was last looked at; null: not yet."),
        MovedTo=_text("The page's new address, where its site gives one; else empty.", "", maxLength=2048),
        ArchivedUrl=_text(
            "Of a dead link: where an archive may have a copy of the page, which nobody has looked for. Else empty.", ""
        ),
    ),
    "StatusCount": _object(
        "How many links have a status and a reason.",
        Status=_text("What the link checker found.", "invalid", enum=[status.value for status in LinkStatus]),
        StatusReason=_text("What the last look met with, as in a link; empty before the first.", LinkReason.GONE.value),
        Count=_field("integer", "The number of links.", 3, minimum=1),
    ),
    "StatusChange": _object(
        "What was said of a page from then on.",
        At=_time("When the look was that found it."),
        Status=_text("What the link checker found.", "invalid", enum=[status.value for status in LinkStatus]),
        StatusReason=_text("What the look met with, as in a link.", LinkReason.GONE.value),
    ),
    "TagCount": _object(
        "A tag and how many links have it.",
        Tag=_text("As first written.", "python"),
        Count=_field("integer", "The number of links.", 12, minimum=1),
    ),
    "ImportRow": _object(
        "What became of one bookmark of the file.",
        Line=_field("integer", "Where it begins in the file, counted from 1.", 17, minimum=1),
        Url=_text("As the file has it.", "https://example.org/"),
        Action=_text("What was done.", "merged", enum=[action.value for action in ImportAction]),
        Reason=_text("Why: a stable code.", "duplicate_of_line_12"),
    ),
    "NewsEvent": _object(
        "What somebody whom you follow did.",
        Id=_text("A greater one is newer; a 64-bit number as text.", "104857600000003", pattern="^[0-9]{1,19}$"),
        EventType=_field(
            "integer",
            "0: saved. 1: changed. 3: imported many, see Count.",
            0,
            enum=[kind.value for kind in NewsEventType],
        ),
        Username=_text("Who did it.", "alice"),
        Url=_text("The link's URL; empty for an import.", "https://github.com/the-gigi", maxLength=2048),
        Timestamp=_time("When it was done."),
        Title=_text("The link's title. May be empty.", "Gigi on GitHub", maxLength=1024),
        Description=_text("The beginning of the link's description. May be empty.", "Wrote the book.", maxLength=1000),
        Tags=_set("The link's tags, as a set; of very many the first.", "go", "author"),
        Status=_text("What the link checker had found by then.", "valid", enum=[status.value for status in LinkStatus]),
        Version=_field("integer", "The link's.", 1, minimum=0),
        optional={"Count": _count("How many links an import brought; not there for anything else.", 1279)},
    ),
    "ImportReport": _object(
        "What became of a bookmarks file.",
        ImportId=_text("Stable; a 64-bit number as text.", "104857600000002", pattern="^[0-9]{1,19}$"),
        Total=_count("Bookmarks in the file.", 1290),
        Imported=_count("New links.", 1279),
        Merged=_count("Added to a link that was there, or that came earlier in the file.", 11),
        Unchanged=_count("Saved already, with nothing to add.", 0),
        Skipped=_count("Not saved; Rows says why.", 0),
        Rows={
            "type": "array",
            "description": "In the order of the file; not those that were plainly imported.",
            "items": _ref("ImportRow"),
            "maxItems": MAX_IMPORT_ROWS_LISTED,
        },
        RowsTruncated=_field("boolean", "Whether there were more rows to list than there is room for.", False),
    ),
    "Me": _object(
        "Yourself.",
        **_PROFILE,
        Email=_text(
            "Shown to nobody else, and to no token without the scope account. May be empty.", "alice@mail.example"
        ),
        LinkCount=_count("All your links.", 1279),
        DeadLinkCount=_count("Those whose pages are not there any more.", 9),
        **_FOLLOW_COUNTS,
        MaxLinks=_count("The most links that you may have.", 10000),
    ),
    "Token": _object(
        "The token that you sent, without the token.",
        Name=_text("What it was called when it was made. May be empty.", "laptop"),
        Scopes=_SCOPES,
        ExpiresAt=_time("Until when it is good."),
    ),
    "SessionRecord": _object(
        "A session of yours.",
        Id=_ID,
        Client=_text("The browser or program that opened it, as it called itself. May be empty.", "Mozilla/5.0 ..."),
        CreatedAt=_time("When it was opened."),
        ExpiresAt=_time("When it ends, used or not."),
        LastUsedAt=_optional_time("When it was last used, to the hour; null: not since."),
        Current=_field("boolean", "Whether it is the one that asks.", True),
    ),
    "TokenRecord": _object(
        "A token of yours, without the token.",
        Id=_ID,
        Name=_text("What you called it.", "laptop", maxLength=100),
        Scopes=_SCOPES,
        CreatedAt=_time("When it was made."),
        ExpiresAt=_time("Until when it is good."),
        LastUsedAt=_optional_time("When it was last used, to the hour; null: not yet."),
    ),
    "AuditEvent": _object(
        "Something that matters to the security of your account.",
        Id=_ID,
        Type=_text("What happened: a stable word. There may be others later.", AuditEventType.TOKEN_MADE.value),
        Timestamp=_time("When."),
        Detail=_text("Of what, or whom. May be empty.", "laptop"),
        Client=_text("With what, where that is known. May be empty.", "Mozilla/5.0 ..."),
        Address=_text("From where, where that is known; of IPv6 the network. May be empty.", "203.0.113.7"),
    ),
    "User": _object(
        "Somebody, as you may see them.",
        **_PROFILE,
        LinkCount=_count("Those of their links that you may see.", 3),
        **_FOLLOW_COUNTS,
        Relationship=_text("What you are to them.", "following", enum=[value.value for value in Relationship]),
    ),
    "Error": _object(
        "What went wrong.",
        err=_text("What is wrong and what to do, for people.", "url is missing; POST /v1/links needs it", minLength=1),
        code=_text("What is wrong, for programs: stable.", "missing_argument", pattern="^[a-z_]+$"),
        request_id=_text("What to quote when you ask for help. Also in the header X-Request-ID.", "5f0c7a1e9b"),
    ),
}

LOGIN: Final = Reply(
    "You are logged in.",
    _object(
        "A new session.",
        session=_text("Its token, which has all scopes.", "dls_..."),
        ExpiresAt=_time("When it ends by itself."),
        err=_ERR,
    ),
)
LINK_PAGE: Final = Reply(
    "A page of links.", _object("A page of links, newest first.", links=_list("Link"), NextPageToken=_NEXT, err=_ERR)
)
LINK: Final = Reply("The link as it is now.", _object("One link.", link=_ref("Link"), err=_ERR))
STATUSES: Final = Reply(
    "How your links are.",
    _object(
        "Your links, counted.",
        statuses=_object("By status.", **{status.value: _count("The number of links.", 3) for status in LinkStatus}),
        reasons=_list("StatusCount"),
        err=_ERR,
    ),
)
HISTORY: Final = Reply(
    "The link, and what was found of it.",
    _object(
        "A link and its last changes of status, newest first.",
        link=_ref("Link"),
        changes=_list("StatusChange"),
        err=_ERR,
    ),
)
DELETED: Final = Reply(
    "There is no such link any more.",
    _object("The end of a link.", deleted=_field("boolean", "Whether there was one.", True), err=_ERR),
)
TAG_PAGE: Final = Reply(
    "A page of tags.", _object("Tags, in alphabetical order.", tags=_list("TagCount"), NextPageToken=_NEXT, err=_ERR)
)
NEWS_PAGE: Final = Reply(
    "A page of news.",
    _object(
        "News, newest first.",
        events=_list("NewsEvent"),
        NextPageToken=_NEXT,
        PrevPageToken=_text(
            "Send it as start_token, with the same filters, to get the page of what is newer. Empty when nothing is.",
            "qD5cVb1mWy0xMDBd",
        ),
        err=_ERR,
    ),
    headers=(("ETag", _text("Of this very answer, for If-None-Match.", '"5f0c7a1e9b5f0c7a1e9b5f0c"')),),
)
NEWS_STREAM: Final = Reply(
    "News as it comes, in the form of server-sent events.",
    _object(
        "One event: its fields, as text.",
        optional={
            "event": _text(
                "What it is, if it is no entry.", "removed", enum=["message", "removed", "present", "reset", "end"]
            )
        },
        id=_text("For Last-Event-ID.", "3742215680000000001", pattern="^[0-9]{1,19}$"),
        data=_text("An entry, or what the event's name stands for: a JSON object.", '{"Id":"3742215680000000001"}'),
    ),
    media_type="text/event-stream",
)
FOLLOWERS: Final = Reply(
    "Those who follow you.",
    _object("A set of names.", followers=_set("Their names.", "bob", "carol"), NextPageToken=_NEXT, err=_ERR),
)
FOLLOWING: Final = Reply(
    "Those whom you follow.",
    _object("A set of names.", following=_set("Their names.", "bob", "carol"), NextPageToken=_NEXT, err=_ERR),
)
MUTUALS: Final = Reply(
    "Those whom you follow and who follow the user.",
    _object("A set of names.", mutuals=_set("Their names.", "bob", "carol"), NextPageToken=_NEXT, err=_ERR),
)
FOLLOWED: Final = Reply(
    "You follow them now, or have asked to.",
    _object(
        "How it stands.",
        State=_text(
            "``requested`` until somebody with a private account agrees.",
            "following",
            enum=[state.value for state in FollowState],
        ),
        err=_ERR,
    ),
)
REQUESTS: Final = Reply(
    "Those who ask, or who are asked.",
    _object("A set of names.", requests=_set("Their names.", "bob", "carol"), NextPageToken=_NEXT, err=_ERR),
)
BLOCKED: Final = Reply(
    "Those whom you have blocked.",
    _object("A set of names.", blocked=_set("Their names.", "mallory"), NextPageToken=_NEXT, err=_ERR),
)
DONE: Final = Reply("Done.", _object("Nothing more to say.", err=_ERR))
ME: Final = Reply(
    "You, and the token that you sent.",
    _object("You.", user=_ref("Me"), token={"oneOf": [_ref("Token"), {"type": "null"}]}, err=_ERR),
)
USER: Final = Reply("A user.", _object("A user.", user=_ref("User"), err=_ERR))
SESSIONS: Final = Reply("Your sessions.", _object("Newest first.", sessions=_list("SessionRecord"), err=_ERR))
SESSIONS_ENDED: Final = Reply(
    "They are ended.", _object("The end of sessions.", ended=_count("How many there were.", 2), err=_ERR)
)
TOKENS: Final = Reply("Your tokens.", _object("Newest first.", tokens=_list("TokenRecord"), err=_ERR))
TOKEN_MADE: Final = Reply(
    "The token, shown this once.",
    _object(
        "A new token.",
        token=_text("The token itself. Nobody can show it again.", "dlt_..."),
        record=_ref("TokenRecord"),
        err=_ERR,
    ),
)
EVENTS_PAGE: Final = Reply(
    "A page of events.", _object("Events, newest first.", events=_list("AuditEvent"), NextPageToken=_NEXT, err=_ERR)
)
IMPORTED: Final = Reply("What became of the file.", _object("A report.", report=_ref("ImportReport"), err=_ERR))
BOOKMARKS: Final = Reply(
    "All your links, as a bookmarks file that every browser reads.",
    {"type": "string", "examples": ["<!DOCTYPE NETSCAPE-Bookmark-file-1>\n..."]},
    media_type="text/html; charset=utf-8",
    headers=(("Content-Disposition", _text("The file's name.", 'attachment; filename="delinkcious-alice.html"')),),
)
PERSONAL_DATA: Final = Reply(
    "All that is yours, as a zip file.",
    {"type": "string", "contentMediaType": "application/zip"},
    media_type="application/zip",
    headers=(("Content-Disposition", _text("The file's name.", 'attachment; filename="delinkcious-alice.zip"')),),
)
DELETING: Final = Reply(
    "Your account is closed, and what is yours is being deleted.",
    _object("How it stands.", State=_text("Always the same.", "deleting", const="deleting"), err=_ERR),
)
