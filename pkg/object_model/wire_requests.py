"""Requests as they travel: those that exist only on the wire, and the query strings of the others.

A client writes what is here and the service reads it, so that both sides take a name from one place.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AwareDatetime, Field, StringConstraints

from pkg.object_model.types import AuditEventType, PageRequest, WireRequest

#: Field -> its name in the query string.
type QueryNames = Mapping[str, str]

LINKS_QUERY: Final[QueryNames] = MappingProxyType(
    {
        "username": "username",
        "url_regex": "url",
        "title_regex": "title",
        "description_regex": "description",
        "tag": "tag",
        "q": "q",
        "visibility": "visibility",
        "status": "status",
        "status_reason": "status_reason",
        "limit": "limit",
        "start_token": "start",
    }
)
TAGS_QUERY: Final[QueryNames] = MappingProxyType(
    {"username": "username", "prefix": "prefix", "limit": "limit", "start_token": "start"}
)
IMPORT_QUERY: Final[QueryNames] = MappingProxyType(
    {
        "username": "username",
        "visibility": "visibility",
        "folders_as_tags": "folders_as_tags",
        "idempotency_key": "idempotency_key",
    }
)
FOLLOWS_QUERY: Final[QueryNames] = MappingProxyType({"username": "username", "limit": "limit", "start_token": "start"})
FOLLOWER_IDS_QUERY: Final[QueryNames] = MappingProxyType(
    {"user_id": "user_id", "limit": "limit", "start_token": "start"}
)
FOLLOWED_QUERY: Final[QueryNames] = MappingProxyType({"user_id": "user_id", "limit": "limit", "start_token": "start"})
NEWS_QUERY: Final[QueryNames] = MappingProxyType(
    {"username": "username", "since": "since", "limit": "limit", "start_token": "start"}
)
AUDIT_QUERY: Final[QueryNames] = MappingProxyType({"limit": "limit", "start_token": "start"})
ERASE_QUERY: Final[QueryNames] = MappingProxyType({"user_id": "user_id", "start_token": "start"})
#: One call that looks up users takes at most this many names, or ids.
MAX_LOOKUP: Final = 1_000


DecimalId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]


class UserNameRequest(WireRequest):
    username: str


class DeleteLinkRequest(WireRequest):
    username: str
    url: str


class LinkHistoryRequest(WireRequest):
    username: str
    url: str


class AdmitRequest(WireRequest):
    provider: str
    subject: str
    login: str
    display_name: str = ""
    email: str = ""


class LoginRequest(WireRequest):
    username: str
    auth_token: str
    client: str = ""


class LogoutRequest(WireRequest):
    username: str
    session: str


class AuthenticateRequest(WireRequest):
    token: str


class TokenIdRequest(WireRequest):
    token_id: int


class EndSessionsRequest(WireRequest):
    except_id: int | None = None


class RecordAuditEventRequest(WireRequest):
    type: AuditEventType
    detail: str = ""
    client: str = ""


class NoArguments(WireRequest):
    pass


class GetUserRequest(WireRequest):
    name: str


class FindUsersRequest(WireRequest):
    names: Annotated[tuple[str, ...], Field(max_length=MAX_LOOKUP)]


class FindNamesRequest(WireRequest):
    """Ids travel as strings: not every reader of JSON keeps 64 bits."""

    ids: Annotated[tuple[DecimalId, ...], Field(max_length=MAX_LOOKUP)]

    def user_ids(self) -> list[int]:
        """Without what is larger than any id: it is nobody's."""
        return [user_id for user_id in map(int, self.ids) if user_id < 2**63]


class CountsRequest(WireRequest):
    user_id: int


class FollowerIdsRequest(PageRequest):
    user_id: int


class FollowedRequest(PageRequest):
    user_id: int


class SharedLinksRequest(WireRequest):
    ids: Annotated[tuple[DecimalId, ...], Field(max_length=MAX_LOOKUP)]
    limit: int
    changed_after: AwareDatetime | None = None

    def user_ids(self) -> list[int]:
        """Without what is larger than any id: it is nobody's."""
        return [user_id for user_id in map(int, self.ids) if user_id < 2**63]


class DeleteAccountRequest(WireRequest):
    confirm: str


class EraseUserRequest(WireRequest):
    user_id: int
    start_token: str = ""


class RelationshipRequest(WireRequest):
    viewer_id: int
    user_id: int


def to_query(request: WireRequest, names: QueryNames) -> dict[str, str]:
    """What ``request`` says beyond its defaults, under the query's names."""
    query: dict[str, str] = {}
    fields = type(request).model_fields
    for field, name in names.items():
        value = getattr(request, field)
        about = fields[field]
        if value is None or (value == about.default and not about.is_required()):
            continue
        if isinstance(value, bool):
            query[name] = "true" if value else "false"
        else:
            query[name] = str(value.value if isinstance(value, Enum) else value)
    return query
