"""Words: cut and folded alike on both sides of a search."""

import pytest

from pkg.link_manager.words import MAX_QUERY_WORDS, cut_words, parse_search
from pkg.object_model.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World-wide_web!", {"hello", "world", "wide", "web"}),
        ("C++ & C#", {"c"}),
        ("Caf\u00e9 \ufb01ne STRA\u00dfE", {"cafe", "fine", "strasse"}),
        ("https://github.com/the-gigi", {"https", "github", "com", "the", "gigi"}),
        ("\u6771\u4eac2020", {"\u6771", "\u4eac", "2020"}),
        ("\ud55c\uad6d\uc5b4", {"\ud55c\uad6d\uc5b4"}),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", {"\u0939\u093f\u0928\u094d\u0926\u0940"}),
        ("'quoted' \\ \"x\" :*A & | !", {"quoted", "x", "a"}),
        ("", set()),
        ("\U0001f600 ...", set()),
    ],
)
def test_words(text: str, words: set[str]) -> None:
    assert cut_words(text) == words


def test_a_search_is_bounded_and_says_what_is_wrong() -> None:
    assert parse_search("b A b") == ("a", "b")
    for q in ("?!", "x" * 1_001, " ".join(f"w{number}" for number in range(MAX_QUERY_WORDS + 1))):
        with pytest.raises(InvalidArgument) as refused:
            parse_search(q)
        assert refused.value.code == "invalid_search"
