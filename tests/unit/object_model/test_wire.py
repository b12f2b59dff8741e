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
    FollowCounts,
    Identity,
    ImportAction,
    ImportReport,
    ImportRow,
    Link,
    LinkCount,
    LinkPage,
    LinkStatus,
    NamePage,
    Session,
    TagCount,
    TagPage,
    TokenInfo,
    TokenKind,
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
)
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
IDENTITIES = st.builds(
    Identity,
    actor=ACTORS,
    token=st.builds(
        TokenInfo,
        name=TEXT,
        kind=st.sampled_from(TokenKind),
        scopes=st.lists(TEXT, max_size=3).map(tuple),
        expires_at=TIMES,
    ),
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
    "link count": (st.builds(LinkCount, COUNTS, COUNTS), wire.link_count_to_wire, wire.link_count_from_wire),
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
)


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
    }


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (wire.link_page_to_wire(LinkPage([], "t")), {"links": [], "NextPageToken": "t", "err": ""}),
        (wire.link_count_to_wire(LinkCount(3, 10)), {"count": 3, "limit": 10, "err": ""}),
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
                    token=TokenInfo(name="n", kind=TokenKind.SESSION, scopes=("all",), expires_at=TIME),
                )
            ),
            {
                "user": {"Id": "7", "Name": "a"},
                "token": {
                    "Name": "n",
                    "Kind": "session",
                    "Scopes": ["all"],
                    "ExpiresAt": "2026-01-02T03:04:05.000600Z",
                },
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
    ids=["links", "count", "tags", "report", "user", "session", "identity", "names", "counts"],
)
def test_results_are_as_the_contract_has_them(value: Any, form: Any) -> None:
    assert sent(value) == form


def test_the_originals_map_of_names_had_no_token() -> None:
    assert wire.name_page_from_wire("followers", {"followers": {"b": True}, "err": ""}) == NamePage(["b"], "")


def test_a_set_of_tags() -> None:
    assert wire.tag_set(("a", "b")) == {"a": True, "b": True}
