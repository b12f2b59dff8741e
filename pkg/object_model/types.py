"""What the services talk about.

Results are frozen dataclasses (cheap to make by the page); requests are pydantic models that read the contract's
PascalCase wire form and ignore what they do not know, so that versions N and N-1 of two services can talk.
Rules on the values (lengths, URL syntax) belong to the managers, not to the types.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_pascal

DEFAULT_PAGE_LIMIT: Final = 20
MAX_PAGE_LIMIT: Final = 200
DEFAULT_MAX_LINKS_PER_USER: Final = 10_000
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_IMPORT_BYTES: Final = 20 * 1024 * 1024
MAX_IMPORT_ROWS_LISTED: Final = 1_000
#: A whole-map answer of followers or following holds at most this many; beyond it, page.
MAX_WHOLE_MAP: Final = 10_000


class LinkStatus(StrEnum):
    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"


class Visibility(StrEnum):
    PUBLIC = "public"
    FOLLOWERS = "followers"
    PRIVATE = "private"


class Relationship(StrEnum):
    """Of a viewer to somebody."""

    NONE = "none"
    REQUESTED = "requested"
    FOLLOWING = "following"
    SELF = "self"


class FollowState(StrEnum):
    FOLLOWING = "following"
    #: Until the one to be followed agrees, whose account is private.
    REQUESTED = "requested"


class RequestDirection(StrEnum):
    """Of requests to follow."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class TokenKind(StrEnum):
    SESSION = "session"
    API_TOKEN = "api_token"  # noqa: S105  # a kind, not a token


class Scope(StrEnum):
    """What a token may be used for. A session has all of them."""

    LINKS_READ = "links:read"
    LINKS_WRITE = "links:write"
    SOCIAL = "social"
    NEWS = "news"
    ACCOUNT = "account"


def granted_scopes(kind: TokenKind, names: Iterable[str]) -> tuple[Scope, ...]:
    """What a token of this kind, with these names of scopes, may be used for.

    Names that we do not know are left out: what a later version lets a token do besides, is nothing that we have.
    """
    if kind is TokenKind.SESSION:
        return tuple(Scope)
    return tuple(Scope(name) for name in names if name in Scope)


class AuditEventType(StrEnum):
    LOGIN = "login"
    LOGOUT = "logout"
    SESSION_ENDED = "session_ended"
    #: By an operator: whoever has it can log in once.
    TICKET_ISSUED = "ticket_issued"
    TOKEN_MADE = "token_made"  # noqa: S105  # a kind of event, not a token; likewise below
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    ACCOUNT_CHANGED = "account_changed"
    FOLLOW_REQUESTED = "follow_requested"
    FOLLOW_APPROVED = "follow_approved"
    FOLLOW_REJECTED = "follow_rejected"
    FOLLOWER_REMOVED = "follower_removed"
    USER_BLOCKED = "user_blocked"
    USER_UNBLOCKED = "user_unblocked"
    DATA_EXPORTED = "data_exported"
    DELETION_REQUESTED = "deletion_requested"
    #: Because the user changed their mind, or it could not be done.
    DELETION_UNDONE = "deletion_undone"


# --- who is asking ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Actor:
    """The end user on whose behalf a call is made, as the gateway vouches for them."""

    user_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """What may be shown of a session or an API token: never the token."""

    id: int
    name: str
    kind: TokenKind
    scopes: tuple[Scope, ...]
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a token stands for."""

    actor: Actor
    token: TokenInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session just opened. ``token`` is shown this once; the store keeps only its hash."""

    token: str
    user: Actor
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProfile:
    """What an identity provider vouched for: the user whom it knows as ``subject`` for ever, and what they are called
    there now."""

    provider: str
    subject: str
    login: str
    display_name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Opens one session of ``user``."""

    user: Actor
    ticket: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """A session or an API token, as its owner sees it in a list."""

    id: int
    kind: TokenKind
    #: An API token's; sessions have none.
    name: str
    scopes: tuple[Scope, ...]
    #: What a session was opened with: a shortened User-Agent.
    client: str
    created_at: datetime
    expires_at: datetime
    #: To the hour. None: not yet.
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewApiToken:
    """``token`` is shown this once; the store keeps only its hash."""

    token: str
    record: TokenRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Something that matters to the security of an account."""

    id: int
    #: One of AuditEventType, or of those that a later version knows.
    type: str
    timestamp: datetime
    #: Of what or whom, in words; never a token.
    detail: str
    #: With what: a shortened User-Agent, if it is known.
    client: str
    #: From where: an address, or of IPv6 the network that one subscriber has; empty if it is not known.
    address: str = ""


@dataclass(frozen=True, slots=True)
class AuditPage:
    #: Newest first.
    events: list[AuditEvent]
    next_page_token: str


# --- users --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """What other services need to know of a user whom somebody names."""

    user_id: int
    name: str
    #: Whether followers alone may look.
    private: bool = False

    @property
    def ref(self) -> Actor:
        return Actor(self.user_id, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: int
    name: str
    display_name: str
    email: str
    private: bool
    created_at: datetime

    @property
    def ref(self) -> Actor:
        return Actor(self.id, self.name)

    @property
    def entry(self) -> DirectoryEntry:
        return DirectoryEntry(self.id, self.name, self.private)


# --- links --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    id: int
    url: str
    title: str
    description: str
    status: LinkStatus
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    visibility: Visibility
    #: Grows with each change of the (user, url) pair; survives deletion and a later add.
    version: int
    #: What the last look at the page met with: a LinkReason, or empty before the first.
    status_reason: str = ""
    checked_at: datetime | None = None
    #: Its new address, if the site says that it has one.
    moved_to: str = ""
    #: Where an archive may have a copy of a dead one; nobody has asked whether it does. Else empty.
    archived_url: str = ""


@dataclass(frozen=True, slots=True)
class LinkPage:
    links: list[Link]
    #: Opaque; empty when this is the last page.
    next_page_token: str


@dataclass(frozen=True, slots=True)
class LinkCount:
    #: As the one who asks sees it.
    count: int
    #: The most links that a user may have.
    limit: int
    #: Of those counted; for the owner alone.
    dead: int = 0


@dataclass(frozen=True, slots=True)
class StatusCount:
    status: LinkStatus
    #: A LinkReason, or one that a later version knows; empty before the first look.
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What was said of a page from then on."""

    at: datetime
    status: LinkStatus
    reason: str


@dataclass(frozen=True, slots=True)
class LinkHistory:
    link: Link
    #: The last changes of status or reason, newest first.
    changes: list[StatusChange]


@dataclass(frozen=True, slots=True)
class TagCount:
    tag: str
    count: int


@dataclass(frozen=True, slots=True)
class TagPage:
    tags: list[TagCount]
    next_page_token: str


class ImportAction(StrEnum):
    IMPORTED = "imported"
    MERGED = "merged"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    line: int
    url: str
    action: ImportAction
    #: A stable code: ``duplicate_of_line_12``, ``link_limit_reached``, ``unsupported_scheme``, ...
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    import_id: int
    total: int
    imported: int
    merged: int
    unchanged: int
    skipped: int
    #: At most MAX_IMPORT_ROWS_LISTED, in file order, never the plainly imported ones.
    rows: list[ImportRow] = field(default_factory=list)
    rows_truncated: bool = False


# --- social graph -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NamePage:
    """Some followers, or some of the followed, newest first."""

    names: list[str]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class FollowCounts:
    followers: int
    following: int


@dataclass(frozen=True, slots=True)
class IdPage:
    """Some followers by id, in an order of the store's own; for machines that go through all of them."""

    user_ids: list[int]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class UserPage:
    """Some people, in an order of the store's own, likewise."""

    users: list[Actor]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class SharedLink:
    """A link that its owner's followers may see, for machines that keep a copy for them."""

    user_id: int
    link: Link


# --- link checks --------------------------------------------------------------------------------------------------


class LinkReason(StrEnum):
    """Why a link has the status that it has: what the last look at its page met with."""

    OK = "ok"
    #: It is there, at another address now.
    MOVED = "moved"

    #: The site says that there is no such page.
    NOT_FOUND = "not_found"
    #: The site says that there was one.
    GONE = "gone"
    #: Nobody has that host name.
    NO_SUCH_NAME = "no_such_name"

    #: The site shows the same for every address that it does not know, as if all was well.
    SOFT_NOT_FOUND = "soft_404"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMED_OUT = "timed_out"
    #: Name servers did not say.
    DNS_FAILED = "dns_failed"
    #: The machine is there, and no web server.
    CONNECTION_REFUSED = "connection_refused"
    UNREACHABLE = "unreachable"
    CONNECTION_LOST = "connection_lost"
    CERTIFICATE_EXPIRED = "certificate_expired"
    #: The certificate is another site's.
    CERTIFICATE_OF_ANOTHER_HOST = "certificate_of_another_host"
    CERTIFICATE_SELF_SIGNED = "certificate_self_signed"
    #: Nobody whom we trust vouches for it.
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    TLS_FAILED = "tls_failed"
    MALFORMED_ANSWER = "malformed_answer"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    #: A redirect to what is no http or https URL.
    BAD_REDIRECT = "bad_redirect"

    #: The site answers, and not to us: a login, a check for robots.
    FORBIDDEN = "forbidden"
    #: Its robots.txt asks us not to look.
    ROBOTS = "forbidden_by_robots_txt"
    #: Where our own policy does not let us look: what is not public, or not at a port of the web.
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    #: No absolute http or https URL, one with a user name in it, or too long.
    UNSUPPORTED_URL = "unsupported_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a look at a URL."""

    #: PENDING where it says neither that the page is there nor that it is not.
    status: LinkStatus
    #: A LinkReason, or one that a later version knows.
    reason: str
    #: Trouble of the page, which may be over at another look. False as well where nothing is said of the page at all.
    transient: bool = False
    #: Where permanent redirects lead; empty if none do.
    moved_to: str = ""
    #: Seconds for which the site asks not to be asked; None where it asks for nothing.
    retry_after: int | None = None


# --- news ---------------------------------------------------------------------------------------------------------


class NewsEventType(IntEnum):
    """As on the original's wire; an import is ours."""

    LINK_ADDED = 0
    LINK_UPDATED = 1
    LINK_DELETED = 2
    LINKS_IMPORTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsEvent:
    """What somebody whom the reader follows did. ``id`` is the entry's, greater for newer ones."""

    id: int
    event_type: NewsEventType
    username: str
    url: str
    timestamp: datetime
    title: str
    description: str
    tags: tuple[str, ...]
    status: LinkStatus
    version: int
    #: Links of an import; 0 otherwise.
    count: int = 0


@dataclass(frozen=True, slots=True)
class NewsPage:
    events: list[NewsEvent]
    next_page_token: str
    #: To what is newer.
    prev_page_token: str = ""


# --- requests -----------------------------------------------------------------------------------------------------


def parse_tag_set(value: object) -> object:
    """Any of the three forms in which tags are sent (set object, list, comma-separated string) as a list.

    A tag whose value in the set object is false is not in the set. Anything else is left for pydantic to refuse.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [tag for tag in value.split(",") if tag.strip()]
    if isinstance(value, dict) and all(isinstance(present, bool) for present in value.values()):
        return [tag for tag, present in value.items() if present]
    return value


TagSet = Annotated[tuple[str, ...], BeforeValidator(parse_tag_set)]


def _empty_as_none(value: object) -> object:
    return None if value == "" else value


#: Go clients send "" for what they leave out.
OptionalText = Annotated[str | None, BeforeValidator(_empty_as_none)]


class WireRequest(BaseModel):
    """The base of what travels between services as a JSON object with PascalCase keys."""

    model_config = ConfigDict(frozen=True, alias_generator=to_pascal, populate_by_name=True, extra="ignore")

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class PageRequest(WireRequest):
    limit: int = DEFAULT_PAGE_LIMIT
    start_token: str = ""


class GetLinksRequest(PageRequest):
    """Whose links, and which of them. Every filter given must hold; an empty one does not filter."""

    username: str
    url_regex: str = ""
    title_regex: str = ""
    description_regex: str = ""
    tag: str = ""
    #: Free text: every word must be the beginning of a word in title, tags, description or URL.
    q: str = ""
    visibility: Annotated[Visibility | None, BeforeValidator(_empty_as_none)] = None
    status: Annotated[LinkStatus | None, BeforeValidator(_empty_as_none)] = None
    #: What the last look met with: a LinkReason.
    status_reason: str = ""


class AddLinkRequest(WireRequest):
    url: str
    title: str = ""
    description: str = ""
    username: str
    tags: TagSet = ()
    visibility: Annotated[Visibility | None, BeforeValidator(_empty_as_none)] = None
    #: A repeat with the same key gives the first answer and adds nothing. Empty: no such promise.
    idempotency_key: str = ""


class UpdateLinkRequest(WireRequest):
    """Changes what is sent. An empty title or description means "as it is" (the original's clients send those)."""

    url: str
    title: OptionalText = None
    description: OptionalText = None
    clear_description: bool = False
    username: str
    add_tags: TagSet = ()
    remove_tags: TagSet = ()
    visibility: Annotated[Visibility | None, BeforeValidator(_empty_as_none)] = None
    #: The version that the caller saw; another one now is a PreconditionFailed.
    if_version: int | None = None


class MoveLinkRequest(WireRequest):
    """Gives a link the new address of its page."""

    url: str
    username: str
    #: As in UpdateLinkRequest.
    if_version: int | None = None
    #: As in AddLinkRequest.
    idempotency_key: str = ""


class GetTagsRequest(PageRequest):
    username: str
    #: Only tags that begin with this, without regard to case.
    prefix: str = ""


class ImportRequest(WireRequest):
    """How to read a bookmarks file."""

    username: str
    #: For rows whose file does not say.
    visibility: Visibility = Visibility.PRIVATE
    folders_as_tags: bool = False
    idempotency_key: str = ""


class RegisterRequest(WireRequest):
    email: str = ""
    name: str
    display_name: str = ""


class UpdateUserRequest(WireRequest):
    """Changes what is sent. An empty e-mail takes it away, an empty display name makes it the user name again."""

    display_name: str | None = None
    email: str | None = None
    private: bool | None = None


class CreateTokenRequest(WireRequest):
    name: str
    scopes: tuple[Scope, ...]
    expires_in_days: int = 90


class FollowRequest(BaseModel):
    """Lower-case on the wire, as in the original."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    followed: str
    follower: str


class GetFollowRequest(PageRequest):
    """Whose followers or followed. ``limit`` None asks for the whole map."""

    username: str
    limit: int | None = None  # type: ignore[assignment]  # the one list whose default is "all"


class GetNewsRequest(PageRequest):
    """Whose news. ``since``: the id of an entry; what is newer only."""

    username: str
    since: int | None = None


class CheckLinkRequest(WireRequest):
    username: str
    url: str


USER_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,37}[A-Za-z0-9])?")
