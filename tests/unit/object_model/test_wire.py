"""Results there and back, through JSON as it travels; and each with the fields that the contract names."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.object_model import wire
from pkg.object_model.types import (
    Actor,
    AuditEvent,
    AuditPage,
    FollowCounts,
    Identity,
    ImportAction,
    ImportReport,
    ImportRow,
    Link,
    LinkCount,
    LinkHistory,
    LinkPage,
    LinkStatus,
    NamePage,
    NewApiToken,
    Scope,
    Session,
    StatusChange,
    StatusCount,
    TagCount,
    TagPage,
    Ticket,
    TokenInfo,
    TokenKind,
    TokenRecord,
    User,
    Visibility,
)
from pkg.runtime.json import decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.integers(1, 2**63 - 1)
COUNTS = st.integers(0, 2**53)
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31)).map(  # noqa: DTZ001  # made aware
    lambda time: time.replace(tzinfo=UTC)
)
ACTORS = st.builds(Actor, IDS, TEXT)
LINKS = st.builds(
    Link,
    id=IDS,
    url=TEXT,
    title=TEXT,
    description=TEXT,
    status=st.sampled_from(LinkStatus),
    tags=st.lists(TEXT, unique=True, max_size=4).map(tuple),
    created_at=TIMES,
    updated_at=TIMES,
    visibility=st.sampled_from(Visibility),
    version=COUNTS,
    status_reason=TEXT,
    checked_at=st.none() | TIMES,
    moved_to=TEXT,
    archived_url=TEXT,
)
STATUSES = st.sampled_from(LinkStatus)
REPORTS = st.builds(
    ImportReport,
    import_id=IDS,
    total=COUNTS,
    imported=COUNTS,
    merged=COUNTS,
    unchanged=COUNTS,
    skipped=COUNTS,
    rows=st.lists(
        st.builds(ImportRow, line=COUNTS, url=TEXT, action=st.sampled_from(ImportAction), reason=TEXT), max_size=3
    ),
    rows_truncated=st.booleans(),
)
USERS = st.builds(User, id=IDS, name=TEXT, display_name=TEXT, email=TEXT, private=st.booleans(), created_at=TIMES)
SESSIONS = st.builds(Session, token=TEXT, user=ACTORS, expires_at=TIMES)
TICKETS = st.builds(Ticket, user=ACTORS, ticket=TEXT, expires_at=TIMES)
SCOPES = st.lists(st.sampled_from(Scope), unique=True).map(tuple)
#: Kind and scopes: a session has all.
GRANTS = st.one_of(st.just((TokenKind.SESSION, tuple(Scope))), st.tuples(st.just(TokenKind.API_TOKEN), SCOPES))
IDENTITIES = st.builds(
    lambda actor, token_id, name, grant, expires_at: Identity(
        actor=actor,
        token=TokenInfo(id=token_id, name=name, kind=grant[0], scopes=grant[1], expires_at=expires_at),
    ),
    ACTORS,
    IDS,
    TEXT,
    GRANTS,
    TIMES,
)
RECORDS = st.builds(
    lambda grant, **about: TokenRecord(kind=grant[0], scopes=grant[1], **about),
    grant=GRANTS,
    id=IDS,
    name=TEXT,
    client=TEXT,
    created_at=TIMES,
    expires_at=TIMES,
    last_used_at=st.none() | TIMES,
)
AUDIT_PAGES = st.builds(
    AuditPage,
    st.lists(st.builds(AuditEvent, id=IDS, type=TEXT, timestamp=TIMES, detail=TEXT, client=TEXT), max_size=3),
    TEXT,
)
NAMES = st.builds(NamePage, st.lists(TEXT, unique=True, max_size=4), TEXT)

#: Of each result: what it may be, out, in.
FORMS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "link": (LINKS, wire.link_to_wire, wire.link_from_wire),
    "link page": (
        st.builds(LinkPage, st.lists(LINKS, max_size=3), TEXT),
        wire.link_page_to_wire,
        wire.link_page_from_wire,
    ),
    "link count": (st.builds(LinkCount, COUNTS, COUNTS, COUNTS), wire.link_count_to_wire, wire.link_count_from_wire),
    "status counts": (
        st.lists(st.builds(StatusCount, STATUSES, TEXT, COUNTS), max_size=3),
        wire.status_counts_to_wire,
        wire.status_counts_from_wire,
    ),
    "link history": (
        st.builds(LinkHistory, LINKS, st.lists(st.builds(StatusChange, TIMES, STATUSES, TEXT), max_size=3)),
        wire.link_history_to_wire,
        wire.link_history_from_wire,
    ),
    "tag page": (
        st.builds(TagPage, st.lists(st.builds(TagCount, TEXT, COUNTS), max_size=3), TEXT),
        wire.tag_page_to_wire,
        wire.tag_page_from_wire,
    ),
    "import report": (REPORTS, wire.import_report_to_wire, wire.import_report_from_wire),
    "user": (USERS, wire.user_to_wire, wire.user_from_wire),
    "actor": (ACTORS, wire.actor_to_wire, wire.actor_from_wire),
    "session": (SESSIONS, wire.session_to_wire, wire.session_from_wire),
    "identity": (IDENTITIES, wire.identity_to_wire, wire.identity_from_wire),
    "ticket": (TICKETS, wire.ticket_to_wire, wire.ticket_from_wire),
    "token": (st.builds(NewApiToken, TEXT, RECORDS), wire.new_api_token_to_wire, wire.new_api_token_from_wire),
    "sessions": (
        st.lists(RECORDS, max_size=3),
        lambda records: wire.token_records_to_wire("sessions", records),
        lambda sent: wire.token_records_from_wire("sessions", sent),
    ),
    "audit page": (AUDIT_PAGES, wire.audit_page_to_wire, wire.audit_page_from_wire),
    "followers": (
        NAMES,
        lambda page: wire.name_page_to_wire("followers", page),
        lambda sent: wire.name_page_from_wire("followers", sent),
    ),
    "follow counts": (
        st.builds(FollowCounts, COUNTS, COUNTS),
        wire.follow_counts_to_wire,
        wire.follow_counts_from_wire,
    ),
}


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_there_and_back(form: str, data: st.DataObject) -> None:
    values, to_wire, from_wire = FORMS[form]
    value = data.draw(values)
    assert from_wire(decode(encode(to_wire(value)))) == value


TIME = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
LINK = Link(
    id=2**63 - 1,
    url="https://a.example/",
    title="t",
    description="d",
    status=LinkStatus.PENDING,
    tags=("python", "go"),
    created_at=TIME,
    updated_at=TIME,
    visibility=Visibility.FOLLOWERS,
    version=3,
    status_reason="moved",
    checked_at=TIME,
    moved_to="https://new.example/",
)


RECORD = TokenRecord(
    id=9,
    kind=TokenKind.API_TOKEN,
    name="n",
    scopes=(Scope.LINKS_READ, Scope.NEWS),
    client="c",
    created_at=TIME,
    expires_at=TIME,
    last_used_at=None,
)
SENT_RECORD = {
    "Id": "9",
    "Kind": "api_token",
    "Name": "n",
    "Scopes": ["links:read", "news"],
    "Client": "c",
    "CreatedAt": "2026-01-02T03:04:05.000600Z",
    "ExpiresAt": "2026-01-02T03:04:05.000600Z",
    "LastUsedAt": None,
}


def sent(value: Any) -> Any:
    return decode(encode(value))


def test_a_link_is_as_the_contract_has_it() -> None:
    assert sent(wire.link_to_wire(LINK)) == {
        "Id": "9223372036854775807",
        "Url": "https://a.example/",
        "Title": "t",
        "Description": "d",
        "Status": "pending",
        "Tags": {"python": True, "go": True},
        "CreatedAt": "2026-01-02T03:04:05.000600Z",
        "UpdatedAt": "2026-01-02T03:04:05.000600Z",
        "Visibility": "followers",
        "Version": 3,
        "StatusReason": "moved",
        "CheckedAt": "2026-01-02T03:04:05.000600Z",
        "MovedTo": "https://new.example/",
        "ArchivedUrl": "",
    }


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (wire.link_page_to_wire(LinkPage([], "t")), {"links": [], "NextPageToken": "t", "err": ""}),
        (wire.link_count_to_wire(LinkCount(3, 10, 1)), {"count": 3, "limit": 10, "dead": 1, "err": ""}),
        (
            wire.status_counts_to_wire(
                [
                    StatusCount(LinkStatus.VALID, "ok", 4),
                    StatusCount(LinkStatus.VALID, "moved", 1),
                    StatusCount(LinkStatus.INVALID, "gone", 2),
                ]
            ),
            {
                "statuses": {"pending": 0, "valid": 5, "invalid": 2},
                "reasons": [
                    {"Status": "valid", "StatusReason": "ok", "Count": 4},
                    {"Status": "valid", "StatusReason": "moved", "Count": 1},
                    {"Status": "invalid", "StatusReason": "gone", "Count": 2},
                ],
                "err": "",
            },
        ),
        (
            wire.link_history_to_wire(LinkHistory(LINK, [StatusChange(TIME, LinkStatus.VALID, "ok")]))["changes"],
            [{"At": "2026-01-02T03:04:05.000600Z", "Status": "valid", "StatusReason": "ok"}],
        ),
        (
            wire.tag_page_to_wire(TagPage([TagCount("python", 12)], "")),
            {"tags": [{"Tag": "python", "Count": 12}], "NextPageToken": "", "err": ""},
        ),
        (
            wire.import_report_to_wire(
                ImportReport(
                    import_id=5,
                    total=4,
                    imported=1,
                    merged=1,
                    unchanged=1,
                    skipped=1,
                    rows=[ImportRow(line=17, url="u", action=ImportAction.MERGED, reason="duplicate_of_line_12")],
                    rows_truncated=True,
                )
            ),
            {
                "ImportId": "5",
                "Total": 4,
                "Imported": 1,
                "Merged": 1,
                "Unchanged": 1,
                "Skipped": 1,
                "Rows": [{"Line": 17, "Url": "u", "Action": "merged", "Reason": "duplicate_of_line_12"}],
                "RowsTruncated": True,
            },
        ),
        (
            wire.user_to_wire(User(id=7, name="a", display_name="A", email="e", private=False, created_at=TIME)),
            {
                "Id": "7",
                "Name": "a",
                "DisplayName": "A",
                "Email": "e",
                "Private": False,
                "CreatedAt": "2026-01-02T03:04:05.000600Z",
            },
        ),
        (
            wire.session_to_wire(Session(token="secret", user=Actor(7, "a"), expires_at=TIME)),
            {
                "session": "secret",
                "user": {"Id": "7", "Name": "a"},
                "ExpiresAt": "2026-01-02T03:04:05.000600Z",
                "err": "",
            },
        ),
        (
            wire.identity_to_wire(
                Identity(
                    actor=Actor(7, "a"),
                    token=TokenInfo(
                        id=9, name="n", kind=TokenKind.API_TOKEN, scopes=(Scope.LINKS_READ,), expires_at=TIME
                    ),
                )
            ),
            {
                "user": {"Id": "7", "Name": "a"},
                "token": {
                    "Id": "9",
                    "Name": "n",
                    "Kind": "api_token",
                    "Scopes": ["links:read"],
                    "ExpiresAt": "2026-01-02T03:04:05.000600Z",
                },
                "err": "",
            },
        ),
        (
            wire.ticket_to_wire(Ticket(user=Actor(7, "a"), ticket="secret", expires_at=TIME)),
            {
                "ticket": "secret",
                "user": {"Id": "7", "Name": "a"},
                "ExpiresAt": "2026-01-02T03:04:05.000600Z",
                "err": "",
            },
        ),
        (
            wire.new_api_token_to_wire(NewApiToken("secret", RECORD)),
            {"token": "secret", "record": SENT_RECORD, "err": ""},
        ),
        (wire.token_records_to_wire("sessions", [RECORD]), {"sessions": [SENT_RECORD], "err": ""}),
        (
            wire.audit_page_to_wire(
                AuditPage([AuditEvent(id=5, type="login", timestamp=TIME, detail="d", client="c", address="a")], "t")
            ),
            {
                "events": [
                    {
                        "Id": "5",
                        "Type": "login",
                        "Timestamp": "2026-01-02T03:04:05.000600Z",
                        "Detail": "d",
                        "Client": "c",
                        "Address": "a",
                    }
                ],
                "NextPageToken": "t",
                "err": "",
            },
        ),
        (
            wire.name_page_to_wire("following", NamePage(["b", "a"], "t")),
            {"following": {"b": True, "a": True}, "NextPageToken": "t", "err": ""},
        ),
        (
            wire.follow_counts_to_wire(FollowCounts(2, 1)),
            {"FollowerCount": 2, "FollowingCount": 1, "err": ""},
        ),
    ],
    ids=[
        "links",
        "count",
        "statuses",
        "changes",
        "tags",
        "report",
        "user",
        "session",
        "identity",
        "ticket",
        "token",
        "sessions",
        "audit",
        "names",
        "counts",
    ],
)
def test_results_are_as_the_contract_has_them(value: Any, form: Any) -> None:
    assert sent(value) == form


def test_the_originals_map_of_names_had_no_token() -> None:
    assert wire.name_page_from_wire("followers", {"followers": {"b": True}, "err": ""}) == NamePage(["b"], "")


def test_a_set_of_tags() -> None:
    assert wire.tag_set(("a", "b")) == {"a": True, "b": True}


def test_a_user_service_of_the_version_before_has_neither_ids_nor_scopes() -> None:
    token = {"Name": "", "Kind": "session", "Scopes": [], "ExpiresAt": "2026-01-02T03:04:05Z"}
    identity = wire.identity_from_wire({"user": {"Id": "7", "Name": "a"}, "token": token, "err": ""})
    assert (identity.token.id, identity.token.scopes) == (0, tuple(Scope))


def test_a_scope_of_a_later_version_is_none_of_ours() -> None:
    token = {
        "Id": "9",
        "Name": "n",
        "Kind": "api_token",
        "Scopes": ["all", "news"],
        "ExpiresAt": "2026-01-02T03:04:05Z",
    }
    identity = wire.identity_from_wire({"user": {"Id": "7", "Name": "a"}, "token": token, "err": ""})
    assert identity.token.scopes == (Scope.NEWS,)
