"""The arguments of the public API."""

from typing import Final

from pkg.object_model.types import (
    DEFAULT_PAGE_LIMIT,
    MAX_PAGE_LIMIT,
    LinkReason,
    LinkStatus,
    RequestDirection,
    Scope,
    Visibility,
)
from pkg.runtime.http_service import MAX_HEADER_BYTES
from svc.api_gateway_service.arguments import Argument, Choice, Choices, Integer, Switch, Tags, Text
from svc.api_gateway_service.request_head import MAX_IDEMPOTENCY_KEY

_MAX_URL: Final = 2_048
_MAX_TITLE: Final = 1_024
_MAX_DESCRIPTION: Final = 65_536
_MAX_TAG: Final = 255
_MAX_TAGS: Final = 100
_MAX_PATTERN: Final = 1_000
_MAX_NAME: Final = 39
_MAX_START_TOKEN: Final = 2_048

# --- of links ---------------------------------------------------------------------------------------------------------

URL: Final = Argument(
    name="url",
    kind=Text(_MAX_URL),
    description="An absolute http or https URL without user name or password. Two URLs are one link if they differ "
    "only in how they are spelt (case of scheme and host, default port, percent-encoding).",
    example="https://github.com/the-gigi",
    required=True,
)
NEW_TITLE: Final = Argument(
    name="title", kind=Text(_MAX_TITLE), description="The title.", example="Gigi on GitHub", required=True
)
NEW_DESCRIPTION: Final = Argument(
    name="description", kind=Text(_MAX_DESCRIPTION), description="What it is about.", example="Wrote the book."
)
TAGS: Final = Argument(
    name="tags",
    kind=Tags(_MAX_TAGS, _MAX_TAG),
    description="Tags: a list, text separated by commas, or a set. Equal without regard to case.",
    example="go,author",
)
NEW_VISIBILITY: Final = Argument(
    name="visibility",
    kind=Choice(Visibility, Visibility.PUBLIC),
    description="Who sees the link.",
    example="private",
)
TITLE: Final = Argument(
    name="title",
    kind=Text(_MAX_TITLE),
    description="The new title. It cannot be empty.",
    example="Gigi",
    keeps_empty=True,
)
DESCRIPTION: Final = Argument(
    name="description",
    kind=Text(_MAX_DESCRIPTION),
    description="The new description; an empty one removes it.",
    example="Wrote the book.",
    keeps_empty=True,
)
ADD_TAGS: Final = Argument(
    name="add_tags", kind=Tags(_MAX_TAGS, _MAX_TAG), description="Tags to add.", example="python"
)
REMOVE_TAGS: Final = Argument(
    name="remove_tags",
    kind=Tags(_MAX_TAGS, _MAX_TAG),
    description="Tags to take away; those that are not there are no error.",
    example="go",
)
VISIBILITY: Final = Argument(
    name="visibility", kind=Choice(Visibility), description="Who sees the link from now on.", example="followers"
)

# --- of lists -------------------------------------------------------------------------------------------------------

LIMIT: Final = Argument(
    name="limit",
    kind=Integer(1, MAX_PAGE_LIMIT, DEFAULT_PAGE_LIMIT),
    description="The most entries of one page.",
    example="50",
)
LIMIT_OF_MAP: Final = Argument(
    name="limit",
    kind=Integer(1, MAX_PAGE_LIMIT),
    description="The most names of one page. Without it you get all of them, if they are at most 10,000.",
    example="50",
)
START_TOKEN: Final = Argument(
    name="start_token",
    kind=Text(_MAX_START_TOKEN),
    description="NextPageToken of the page before. Good only with the same filters.",
    example="qD5cVb1mWzEwMDBd",
)
_PATTERN: Final = (
    "A regular expression (what RE2 and Postgres have in common) that is found in the {}. "
    "Write (?i) first to ignore case."
)
LINK_FILTERS: Final = (
    Argument(
        name="url_regex",
        kind=Text(_MAX_PATTERN),
        description=_PATTERN.format("URL"),
        example=r"^https://github\.com/",
    ),
    Argument(name="title_regex", kind=Text(_MAX_PATTERN), description=_PATTERN.format("title"), example="(?i)gigi"),
    Argument(
        name="description_regex",
        kind=Text(_MAX_PATTERN),
        description=_PATTERN.format("description"),
        example="book",
    ),
    Argument(name="tag", kind=Text(_MAX_TAG), description="A tag that the links have.", example="python"),
    Argument(
        name="q",
        kind=Text(_MAX_PATTERN),
        description="Words to search for in title, tags, description and URL, each the beginning of a word there; "
        "at most 20. The best matches come first.",
        example="wrote boo",
    ),
    Argument(name="visibility", kind=Choice(Visibility), description="Links that are seen by these.", example="public"),
    Argument(name="status", kind=Choice(LinkStatus), description="Links of this status.", example="valid"),
    Argument(
        name="status_reason",
        kind=Choice(LinkReason),
        description="Links whose last look met with this: `moved` for those to be moved.",
        example="moved",
    ),
    LIMIT,
    START_TOKEN,
)
TAG_FILTERS: Final = (
    Argument(
        name="prefix",
        kind=Text(_MAX_TAG),
        description="How the tags begin, without regard to case.",
        example="pyt",
    ),
    LIMIT,
    START_TOKEN,
)
_ENTRY_ID: Final = "3742215680000000001"
NEWS_PAGE: Final = (
    Argument(
        name="since",
        kind=Text(19),
        description="Id of an entry: only what is newer. For who asks again and again, with the Id of the first entry "
        "that they have.",
        example=_ENTRY_ID,
    ),
    LIMIT,
    Argument(
        name="start_token",
        kind=Text(_MAX_START_TOKEN),
        description="NextPageToken or PrevPageToken of a page. Good only with the same filters.",
        example="qD5cVb1mWzEwMDBd",
    ),
)
NEWS_STREAM: Final = (
    Argument(
        name="since",
        kind=Text(19),
        description="Id of the first entry that you have: what is newer is told first. Last-Event-ID goes before it.",
        example=_ENTRY_ID,
    ),
)
MAP_PAGE: Final = (LIMIT_OF_MAP, START_TOKEN)
MUTUALS_PAGE: Final = (
    Argument(
        name="username",
        kind=Text(_MAX_NAME),
        description="With whom. Yourself if it is left out.",
        example="alice",
    ),
    *MAP_PAGE,
)
REQUESTS_PAGE: Final = (
    Argument(
        name="direction",
        kind=Choice(RequestDirection, RequestDirection.INCOMING),
        description="Requests of others to follow you, or your own to follow others.",
        example="outgoing",
    ),
    *MAP_PAGE,
)

# --- of people and files ----------------------------------------------------------------------------------------------

FOLLOWED: Final = Argument(
    name="followed", kind=Text(_MAX_NAME), description="The user's name.", example="alice", required=True
)
FOLLOWER: Final = Argument(
    name="follower", kind=Text(_MAX_NAME), description="The user's name.", example="bob", required=True
)
BLOCKED: Final = Argument(
    name="blocked", kind=Text(_MAX_NAME), description="The user's name.", example="mallory", required=True
)
CONFIRM: Final = Argument(
    name="confirm",
    kind=Text(_MAX_NAME),
    description="Your own user name, so that it does not happen by mistake.",
    example="alice",
    required=True,
)
NAME: Final = Argument(
    name="name", kind=Text(_MAX_NAME), description="The user's name.", example="alice", required=True
)
IMPORT_OPTIONS: Final = (
    Argument(
        name="visibility",
        kind=Choice(Visibility, Visibility.PRIVATE),
        description="Who sees the links of which the file does not say so.",
        example="public",
    ),
    Argument(
        name="folders_as_tags",
        kind=Switch(),
        description="Whether the names of a bookmark's folders become tags.",
        example="true",
    ),
)

# --- of the account ---------------------------------------------------------------------------------------------------

PROFILE: Final = (
    Argument(
        name="display_name",
        kind=Text(255),
        description="The name to show; an empty one makes it the user name again.",
        example="Alice Liddell",
        keeps_empty=True,
    ),
    Argument(
        name="email",
        kind=Text(254),
        description="Shown to nobody else; an empty one takes it away.",
        example="alice@mail.example",
        keeps_empty=True,
    ),
    Argument(
        name="private",
        kind=Switch(default=None),
        description="Whether new followers need a yes, and followers alone see links.",
        example="true",
    ),
)
NEW_TOKEN: Final = (
    Argument(
        name="name",
        kind=Text(100),
        description="What you call the token, unlike any other of yours.",
        example="laptop",
        required=True,
    ),
    Argument(
        name="scopes",
        kind=Choices(Scope),
        description="What the token is good for: a list, or text separated by commas.",
        example="links:read,links:write",
        required=True,
    ),
    Argument(
        name="expires_in_days",
        kind=Integer(1, 366, 90),
        description="Days for which it is good.",
        example="30",
    ),
)
TOKEN_ID: Final = Argument(
    name="id", kind=Text(19), description="The Id of a session or a token.", example="104857600000004", required=True
)
EVENTS_PAGE: Final = (LIMIT, START_TOKEN)

# --- headers --------------------------------------------------------------------------------------------------------

IDEMPOTENCY_KEY: Final = Argument(
    name="Idempotency-Key",
    kind=Text(MAX_IDEMPOTENCY_KEY),
    description="Printable ASCII of your choice. A repeat with the same key within a day gets the first answer and "
    "does nothing more.",
    example="6f1d3c1e-0c0a-4f57-9a55-3a0e5b9c7c11",
)
IF_NONE_MATCH: Final = Argument(
    name="If-None-Match",
    # As many tags as headers have room for.
    kind=Text(MAX_HEADER_BYTES),
    description="ETag of an answer that you have. If it would be the same now, you get a 304 without it.",
    example='"5f0c7a1e9b5f0c7a1e9b5f0c"',
)
LAST_EVENT_ID: Final = Argument(
    name="Last-Event-ID",
    kind=Text(19),
    description="The id of the last event that you got, as browsers send it when they come back.",
    example=_ENTRY_ID,
)
IF_MATCH: Final = Argument(
    name="If-Match",
    kind=Text(20),
    description="The Version of the link as you read it, quoted or not. Another one now is a 412.",
    example='"3"',
)
