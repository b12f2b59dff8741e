"""Requests as they are written by clients old and new."""

import pytest
from pydantic import ValidationError

from pkg.object_model.errors import ERROR_KINDS, Conflict, DelinkciousError, Internal
from pkg.object_model.types import (
    USER_NAME_PATTERN,
    Actor,
    AddLinkRequest,
    FollowRequest,
    GetFollowRequest,
    GetLinksRequest,
    UpdateLinkRequest,
    Visibility,
    parse_tag_set,
)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"python": True, "go": True}, ["python", "go"]),
        ({"python": True, "go": False}, ["python"]),
        ({}, []),
        (["python", "go", "python"], ["python", "go", "python"]),
        ([], []),
        ("python", ["python"]),
        ("python,go", ["python", "go"]),
        (" python , ,go,", [" python ", "go"]),
        ("", []),
        (" , ", []),
        (None, []),
        # Left for pydantic to refuse.
        ({"python": 1}, {"python": 1}),
        ({"python": "true"}, {"python": "true"}),
        (3, 3),
        (True, True),
    ],
)
def test_tags_in_each_form(sent: object, read: object) -> None:
    assert parse_tag_set(sent) == read


@pytest.mark.parametrize("sent", [3, True, {"python": 1}, {"python": None}, [3], [None], [["a"]]])
def test_tags_in_no_form(sent: object) -> None:
    with pytest.raises(ValidationError):
        AddLinkRequest.model_validate({"Url": "https://a.example/", "Username": "alice", "Tags": sent})


def test_the_wire_is_in_pascal_case() -> None:
    sent = {
        "Url": "https://a.example/",
        "Username": "alice",
        "Title": "t",
        "Description": "d",
        "ClearDescription": True,
        "AddTags": {"a": True},
        "RemoveTags": {"b": True},
        "Visibility": "private",
        "IfVersion": 3,
    }
    request = UpdateLinkRequest.model_validate(sent)
    assert request.add_tags == ("a",)
    assert request.visibility is Visibility.PRIVATE
    assert request.to_wire() == sent | {"AddTags": ["a"], "RemoveTags": ["b"]}
    assert UpdateLinkRequest.model_validate(request.to_wire()) == request


def test_empty_is_what_go_clients_send_for_nothing() -> None:
    request = UpdateLinkRequest.model_validate(
        {"Url": "u", "Username": "alice", "Title": "", "Description": "", "Visibility": "", "AddTags": None}
    )
    assert (request.title, request.description, request.visibility, request.add_tags) == (None, None, None, ())
    assert GetLinksRequest.model_validate({"Username": "alice", "Status": ""}).status is None


def test_requests_are_fixed_and_ignore_what_they_do_not_know() -> None:
    request = FollowRequest.model_validate({"followed": "a", "follower": "b", "since": "yesterday"})
    with pytest.raises(ValidationError):
        request.followed = "c"  # type: ignore[misc]  # that is the point
    assert GetFollowRequest(username="alice").limit is None
    assert GetLinksRequest(username="alice").limit == 20
    with pytest.raises(AttributeError):
        Actor(1, "a").name = "b"  # type: ignore[misc]  # likewise


@pytest.mark.parametrize("name", ["a", "A1", "a.b_c-d", "a" * 39])
def test_a_name(name: str) -> None:
    assert USER_NAME_PATTERN.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", ".", "a b", "a/b", "é", "a\n", "a" * 40, "٣"])
def test_no_name(name: str) -> None:
    assert not USER_NAME_PATTERN.fullmatch(name)


def test_every_error_is_in_the_table_of_kinds() -> None:
    assert set(ERROR_KINDS.values()) == set(DelinkciousError.__subclasses__()) - {
        cls for cls in DelinkciousError.__subclasses__() if cls.__module__ != DelinkciousError.__module__
    }
    assert all(cls.kind == kind for kind, cls in ERROR_KINDS.items())
    assert len({cls.default_code for cls in ERROR_KINDS.values()}) == len(ERROR_KINDS)


def test_an_error_says_what_and_why() -> None:
    error = Conflict("it is there already", code="link_exists", retry_after=2)
    assert (str(error), error.message, error.code, error.retry_after) == (
        error.message,
        error.message,
        "link_exists",
        2,
    )
    assert Internal("x").code == "internal"
