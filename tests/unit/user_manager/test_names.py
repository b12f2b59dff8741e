"""Names that newcomers get."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.object_model.errors import Conflict
from pkg.user_manager.names import RESERVED_NAMES, candidate_names, check_name, is_name


def first(login: str, count: int = 1) -> list[str]:
    return list(islice(candidate_names(login), count))


@given(st.text(max_size=60))
def test_whatever_somebody_is_called_they_get_a_name(login: str) -> None:
    names = list(candidate_names(login))
    assert len(names) > 20
    assert len(set(names)) == len(names)
    for name in names:
        assert is_name(name), name
        assert name.casefold() not in RESERVED_NAMES


@given(st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?", fullmatch=True))
def test_a_login_of_github_stays_as_it_is(login: str) -> None:
    """https://github.com/join takes letters, digits and single dashes inside."""
    assert first(login) == [login] or login.casefold() in RESERVED_NAMES


@pytest.mark.parametrize(
    ("login", "name"),
    [
        ("octocat", "octocat"),
        ("Zoë", "Zoe"),
        ("Ångström Ltd.", "Angstrom-Ltd"),
        ("ｆｕｌｌ", "full"),
        ("山田", "user-2"),
        ("", "user-2"),
        ("..", "user-2"),
        ("_ann_", "ann"),
        ("ann@mail.example", "ann-mail.example"),
        ("a/../b", "a-..-b"),
        ("a\u202eb\x00c", "ab-c"),
        ("x" * 100, "x" * 39),
        ("x" * 38 + "-y", "x" * 38),
    ],
)
def test_the_nearest_name(login: str, name: str) -> None:
    assert first(login) == [name]


def test_a_name_that_is_taken_is_followed_by_others() -> None:
    assert first("alice", 4) == ["alice", "alice-2", "alice-3", "alice-4"]
    assert first("x" * 39, 2)[1] == "x" * 37 + "-2"
    assert first("x" * 36 + ".yz", 2)[1] == "x" * 36 + "-2"


def test_the_last_ones_are_taken_by_nobody() -> None:
    one, other = list(candidate_names("alice"))[-5:], list(candidate_names("alice"))[-5:]
    assert not set(one) & set(other)


@pytest.mark.parametrize("name", ["login", "Admin", "API", "me"])
def test_some_names_are_given_to_nobody(name: str) -> None:
    assert first(name) == [f"{name}-2"]
    with pytest.raises(Conflict) as reserved:
        check_name(name)
    assert reserved.value.code == "name_reserved"
