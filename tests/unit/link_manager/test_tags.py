"""Which tags there are, and which are one."""

import pytest

from pkg.link_manager.tags import (
    MAX_TAG_LENGTH,
    MAX_TAGS,
    mend_tag,
    merge_tags,
    parse_sought,
    parse_tags,
    remove_tags,
    tag_key,
)
from pkg.object_model.errors import InvalidArgument


def test_tags_are_trimmed_composed_and_kept_once_as_first_written() -> None:
    given = (" Python ", "python", "", "  ", "e\u0301t\u00e9", "\u00c9T\u00c9", "Stra\u00dfe", "STRASSE")
    assert parse_tags(given) == ("Python", "\u00e9t\u00e9", "Stra\u00dfe")


@pytest.mark.parametrize(
    ("one", "other"), [("Go", "gO"), ("\u212b", "\u00e5"), ("\u00df", "SS"), (" x", "x "), ("\u01c4", "\u01c6")]
)
def test_equal_tags(one: str, other: str) -> None:
    assert tag_key(one) == tag_key(other)


@pytest.mark.parametrize(("one", "other"), [("c", "c++"), ("e", "\u00e9"), ("a b", "ab"), ("i", "\u0131")])
def test_different_tags(one: str, other: str) -> None:
    assert tag_key(one) != tag_key(other)


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("a" * (MAX_TAG_LENGTH + 1), "tag_too_long"),
        ("a,b", "invalid_tag"),
        ("a\nb", "invalid_tag"),
        ("a\x00", "invalid_tag"),
        ("\ud800", "invalid_tag"),
    ],
)
def test_refused(tag: str, code: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_tags([tag])
    assert refused.value.code == code


def test_no_tag_that_is_looked_for_is_longer_than_any() -> None:
    assert parse_sought("\u00df" * MAX_TAG_LENGTH) == "ss" * MAX_TAG_LENGTH
    assert parse_sought("") == ""
    with pytest.raises(InvalidArgument) as refused:
        parse_sought("a" * (MAX_TAG_LENGTH + 1))
    assert refused.value.code == "tag_too_long"


def test_a_link_has_at_most_a_hundred_different_tags() -> None:
    hundred = [f"t{number}" for number in range(MAX_TAGS)]
    assert len(parse_tags([*hundred, "T1"])) == MAX_TAGS
    with pytest.raises(InvalidArgument) as refused:
        parse_tags([*hundred, "one more"])
    assert refused.value.code == "too_many_tags"


def test_merging_and_removing() -> None:
    assert merge_tags(("A", "b"), ("a", "c", "")) == ("A", "b", "c")
    assert remove_tags(("A", "b", "c"), ("a", "C", "d")) == ("b",)


def test_a_tag_of_a_file_is_mended() -> None:
    assert mend_tag(" a,b\n\tc\x00 ") == "a b  c"
    assert mend_tag("e\u0301") == "\u00e9"
    assert mend_tag(",\n") == ""
    assert len(mend_tag("x" * 1_000)) == MAX_TAG_LENGTH
    assert parse_tags([mend_tag("y" * 254 + "  z")]) == ("y" * 254,)
