"""Strict reading: a right value arrives, a wrong one is refused by name."""

from typing import Any

import pytest

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.types import (
    AddLinkRequest,
    FollowRequest,
    GetFollowRequest,
    GetLinksRequest,
    ImportRequest,
    LinkStatus,
    UpdateLinkRequest,
    Visibility,
    WireRequest,
)
from pkg.object_model.wire_requests import (
    FOLLOWS_QUERY,
    IMPORT_QUERY,
    LINKS_QUERY,
    MAX_LOOKUP,
    FindNamesRequest,
    FindUsersRequest,
    QueryNames,
    to_query,
)
from pkg.runtime.arguments import MAX_QUERY_PAIRS, parse_query, read_object, read_query

LINK = {"Url": "http://a.example/", "Username": "alice"}


def refusal(model: type[Any], sent: object) -> str:
    with pytest.raises(InvalidArgument) as refused:
        read_object(model, sent)
    assert refused.value.code == "invalid_argument"
    return refused.value.message


@pytest.mark.parametrize("tags", [{"python": True}, ["python"], "python", {"python": True, "go": False}])
def test_tags_in_each_form(tags: object) -> None:
    assert read_object(AddLinkRequest, LINK | {"Tags": tags}).tags == ("python",)


def test_what_the_original_go_client_sends() -> None:
    sent = LINK | {"Title": "", "Description": "", "AddTags": None, "RemoveTags": {"go": True}}
    request = read_object(UpdateLinkRequest, sent)
    assert (request.title, request.description, request.add_tags, request.remove_tags) == (
        None,
        None,
        (),
        ("go",),
    )


def test_unknown_fields_are_ignored() -> None:
    assert read_object(AddLinkRequest, LINK | {"Colour": ["green"]}) == read_object(AddLinkRequest, LINK)


@pytest.mark.parametrize("sent", [None, [], [LINK], "text", 3, True])
def test_only_an_object_is_a_request(sent: object) -> None:
    assert "JSON object" in refusal(AddLinkRequest, sent)


@pytest.mark.parametrize(
    ("model", "sent", "said"),
    [
        (AddLinkRequest, {"Username": "alice"}, "Url is missing"),
        (AddLinkRequest, LINK | {"Url": 3}, "Url must be text"),
        (AddLinkRequest, LINK | {"Title": None}, "Title must be text"),
        (AddLinkRequest, LINK | {"Title": ["x"]}, "Title must be text"),
        (AddLinkRequest, LINK | {"Title": "a\x00b"}, "Title must not contain the character NUL"),
        (AddLinkRequest, LINK | {"Tags": 3}, "Tags must be a set like"),
        (AddLinkRequest, LINK | {"Tags": {"a": 1}}, "Tags must be a set like"),
        (AddLinkRequest, LINK | {"Tags": ["a", 3]}, "Tags must hold text only"),
        (AddLinkRequest, LINK | {"Tags": ["a\x00"]}, "Tags must not contain the character NUL"),
        (
            AddLinkRequest,
            LINK | {"Visibility": "secret"},
            "Visibility must be one of public, followers or private",
        ),
        (UpdateLinkRequest, LINK | {"IfVersion": "3"}, "IfVersion must be a whole number, not text"),
        (UpdateLinkRequest, LINK | {"IfVersion": True}, "IfVersion must be a whole number, not a switch"),
        (
            UpdateLinkRequest,
            LINK | {"IfVersion": 3.0},
            "IfVersion must be a whole number, not another number",
        ),
        (
            UpdateLinkRequest,
            LINK | {"IfVersion": 2**63},
            "IfVersion must be a whole number of at most 64 bits",
        ),
        (UpdateLinkRequest, LINK | {"ClearDescription": "yes"}, "ClearDescription must be true or false"),
        (UpdateLinkRequest, LINK | {"ClearDescription": 1}, "ClearDescription must be true or false"),
        (FollowRequest, {"followed": "alice"}, "follower is missing"),
        (FindUsersRequest, {"Names": "alice"}, "Names must be a list of text"),
        (FindUsersRequest, {"Names": ["a"] * (MAX_LOOKUP + 1)}, "Names must have at most 1000 entries"),
        (FindNamesRequest, {"Ids": [1]}, "Ids must hold text only"),
        (FindNamesRequest, {"Ids": ["-1"]}, "Ids"),
    ],
)
def test_a_refusal_names_the_field(model: type[WireRequest], sent: object, said: str) -> None:
    assert refusal(model, sent).startswith(said)


def test_ids_that_no_user_can_have_are_nobody() -> None:
    assert read_object(FindNamesRequest, {"Ids": ["7", "9" * 19]}).user_ids() == [7]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (GetLinksRequest(username="alice"), LINKS_QUERY),
        (
            GetLinksRequest(
                username="alice",
                url_regex="^https&?",
                title_regex="é+",
                description_regex="a b",
                tag="c/d#",
                q="%20",
                visibility=Visibility.FOLLOWERS,
                status=LinkStatus.INVALID,
                limit=7,
                start_token="a-_b",  # a page token
            ),
            LINKS_QUERY,
        ),
        (GetLinksRequest(username="", limit=0), LINKS_QUERY),
        (ImportRequest(username="alice", visibility=Visibility.PUBLIC, folders_as_tags=True), IMPORT_QUERY),
        (GetFollowRequest(username="alice"), FOLLOWS_QUERY),
        (GetFollowRequest(username="alice", limit=20), FOLLOWS_QUERY),
    ],
)
def test_a_query_reads_back_to_the_same_request(request_: WireRequest, names: QueryNames) -> None:
    assert read_query(type(request_), to_query(request_, names), names) == request_


def test_every_field_of_a_request_has_a_name_in_its_query() -> None:
    assert set(LINKS_QUERY) == set(GetLinksRequest.model_fields)
    assert set(IMPORT_QUERY) == set(ImportRequest.model_fields)
    assert set(FOLLOWS_QUERY) == set(GetFollowRequest.model_fields)


def test_defaults_are_left_out_of_a_query() -> None:
    assert to_query(GetLinksRequest(username="alice"), LINKS_QUERY) == {"username": "alice"}


@pytest.mark.parametrize(
    ("model", "names", "sent", "said"),
    [
        (GetLinksRequest, LINKS_QUERY, {}, "username is missing"),
        (GetLinksRequest, LINKS_QUERY, {"username": "a", "limit": "ten"}, "limit must be a whole number"),
        (GetLinksRequest, LINKS_QUERY, {"username": "a", "limit": " 5"}, "limit must be a whole number"),
        (GetLinksRequest, LINKS_QUERY, {"username": "a", "limit": "5.0"}, "limit must be a whole number"),
        (GetLinksRequest, LINKS_QUERY, {"username": "a", "limit": "1_0"}, "limit must be a whole number"),
        (
            GetLinksRequest,
            LINKS_QUERY,
            {"username": "a", "limit": "9" * 5000},
            "limit must be a whole number",
        ),
        (GetLinksRequest, LINKS_QUERY, {"username": "a", "status": "dead"}, "status must be one of"),
        (GetLinksRequest, LINKS_QUERY, {"username": "a", "url": "\x00"}, "url must not contain"),
        (
            ImportRequest,
            IMPORT_QUERY,
            {"username": "a", "folders_as_tags": "1"},
            "folders_as_tags must be true",
        ),
    ],
)
def test_a_query_is_refused_under_the_name_it_used(
    model: type[WireRequest], names: QueryNames, sent: dict[str, str], said: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_query(model, sent, names)
    assert refused.value.message.startswith(said)


def test_a_query_string_is_decoded() -> None:
    assert parse_query(b"a=1+2&b=%C3%A9&c=&d=\xc3\xa9", ["a"]) == {"a": "1 2", "b": "é", "c": "", "d": "é"}
    assert parse_query(b"", ["a"]) == {}


def test_a_parameter_twice() -> None:
    assert parse_query(b"a=1&a=1", ["a"]) == {"a": "1"}
    assert parse_query(b"z=1&z=2", ["a"])["z"] == "1"
    with pytest.raises(InvalidArgument) as refused:
        parse_query(b"a=1&a=2", ["a"])
    assert refused.value.code == "conflicting_argument"


@pytest.mark.parametrize("raw", [b"a=%ff", b"a=\xff", b"&".join([b"a=1"] * (MAX_QUERY_PAIRS + 1))])
def test_a_query_string_that_cannot_be_read(raw: bytes) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_query(raw, ["a"])
    assert refused.value.code == "malformed_query"
