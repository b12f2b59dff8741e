"""Page tokens: there and back, of one list alone, and never misread."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.paging import Position, check_page_limit, decode_page_token, encode_page_token

SCOPE = ("links", 7, "tag", "python")
INT64 = st.integers(-(2**63), 2**63 - 1)
#: What a database can hold: no NUL, no half of a surrogate pair.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=255)


def shape_of(position: Position) -> tuple[type[int] | type[str], ...]:
    return tuple(int if isinstance(part, int) else str for part in position)


def refusal(
    token: str, scope: tuple[object, ...] = SCOPE, shape: tuple[type[int] | type[str], ...] = (int, int)
) -> str:
    with pytest.raises(InvalidArgument) as refused:
        decode_page_token(token, scope, shape)
    assert refused.value.code == "invalid_start_token"
    assert refused.value.message.endswith("leave it out to begin at the first page")
    return refused.value.message


@given(st.lists(INT64 | TEXT, max_size=4).map(tuple))
def test_a_position_comes_back(position: Position) -> None:
    token = encode_page_token(SCOPE, position)
    assert token.isascii()
    assert not set(token) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert decode_page_token(token, SCOPE, shape_of(position)) == position


@pytest.mark.parametrize(
    "tag", ["日本\u3000語", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "a\u00a0b", "\u0390" * 255]
)
def test_any_tag_is_a_position(tag: str) -> None:
    position = (tag.casefold(),)
    assert decode_page_token(encode_page_token(SCOPE, position), SCOPE, (str,)) == position


def test_the_empty_token_is_the_beginning() -> None:
    assert decode_page_token("", SCOPE, (int, int)) is None


@given(st.lists(st.text() | INT64, max_size=4).map(tuple), st.lists(st.text() | INT64, max_size=4).map(tuple))
def test_a_token_belongs_to_one_list(scope: tuple[object, ...], other: tuple[object, ...]) -> None:
    token = encode_page_token(scope, (1, 2))
    assert decode_page_token(token, scope, (int, int)) == (1, 2)
    if list(map(str, scope)) != list(map(str, other)):
        assert "other filters" in refusal(token, other)


def test_what_is_bound_cannot_be_shifted() -> None:
    token = encode_page_token(("ab", "c"), (1, 2))
    for other in (("a", "bc"), ("abc",), ("ab", "c", ""), ("ab,c",)):
        assert "other filters" in refusal(token, other)


@given(st.text(max_size=200).filter(bool))
def test_nonsense_is_refused(token: str) -> None:
    refusal(token)


@given(st.integers(0, 200), st.characters(min_codepoint=33, max_codepoint=126))
def test_damage_is_refused_or_harmless(place: int, letter: str) -> None:
    token = encode_page_token(SCOPE, (1_700_000_000_000_000, 2**62))
    place %= len(token)
    damaged = token[:place] + letter + token[place + 1 :]
    try:
        position = decode_page_token(damaged, SCOPE, (int, int))
    except InvalidArgument:
        return
    # It holds no secret: whoever changes a digit begins elsewhere in their own list.
    assert position is not None
    assert all(isinstance(part, int) for part in position)


def forged(payload: bytes) -> str:
    digest = base64.urlsafe_b64decode(encode_page_token(SCOPE, ()) + "==")[:9]
    return base64.urlsafe_b64encode(digest + payload).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[1]",
        b"[1,2,3]",
        b'["1",2]',
        b"[1.0,2]",
        b"[true,2]",
        b"[null,2]",
        b"[NaN,2]",
        b"[[1],2]",
        b'{"0":1,"1":2}',
        b"3",
        b"[1,9223372036854775808]",
        b"[-9223372036854775809,1]",
        b"[" + b"9" * 1_000 + b",1]",
        b"[" * 1_000,
        b"\xff\xfe",
    ],
)
def test_a_position_of_another_shape_is_refused(payload: bytes) -> None:
    assert "is damaged" in refusal(forged(payload))


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_what_no_database_takes_is_refused(text: str) -> None:
    assert "is damaged" in refusal(forged(json.dumps([text]).encode()), shape=(str,))


def test_a_token_is_bounded() -> None:
    assert "too long" in refusal("A" * 5_000)


@pytest.mark.parametrize("limit", [1, 20, 200])
def test_a_limit(limit: int) -> None:
    assert check_page_limit(limit) == limit


@pytest.mark.parametrize("limit", [0, -1, 201, 2**63])
def test_a_limit_out_of_bounds(limit: int) -> None:
    with pytest.raises(InvalidArgument, match="between 1 and 200") as refused:
        check_page_limit(limit)
    assert refused.value.code == "invalid_limit"
