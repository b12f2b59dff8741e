"""Words of free text: what of a link can be found, and what a search asks for.

One way of cutting and folding for both sides and for every store. Case, accents and compatibility forms do not matter
(NFKD without combining diacritics, casefolded). Scripts that put no blanks between words are taken letter by letter.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.types import Link

MAX_QUERY_LENGTH: Final = 1_000
MAX_QUERY_WORDS: Final = 20

#: Weights of the places where a word is found, best first, as Postgres names them.
TITLE, TAGS, DESCRIPTION, URL = "A", "B", "C", "D"
SCORES: Final = {TITLE: 8, TAGS: 4, DESCRIPTION: 2, URL: 1}

_MAX_WORD_LENGTH: Final = 64
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
#: Vowel signs and the like, which Unicode counts among the marks, not the letters.
_MARKS: Final = "\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u109f\u1780-\u17ff"
_WORD: Final = re.compile(f"[{_UNSPACED}]|(?:(?![{_UNSPACED}])(?:[^\\W_]|[{_MARKS}]))+")


def cut_words(text: str) -> set[str]:
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
        text = unicodedata.normalize("NFC", text).casefold()
    else:
        text = text.lower()
    return {word[:_MAX_WORD_LENGTH] for word in _WORD.findall(text)}


def index_words(link: Link) -> dict[str, str]:
    """The words of a link, each with the weights of all places where it stands."""
    places = (
        (TITLE, cut_words(link.title)),
        (TAGS, cut_words(" ".join(link.tags))),
        (DESCRIPTION, cut_words(link.description)),
        (URL, cut_words(unquote(link.url.partition("://")[2]))),
    )
    index: dict[str, str] = {}
    for weight, words in places:
        for word in words:
            index[word] = index.get(word, "") + weight
    return index


def parse_search(q: str) -> tuple[str, ...]:
    """The words of a search, each once, in alphabetical order.

    Raises:
        InvalidArgument: it is too long, has too many words, or none.
    """
    if len(q) > MAX_QUERY_LENGTH:
        raise InvalidArgument(f"q has at most {MAX_QUERY_LENGTH} characters; shorten it", code="invalid_search")
    words = cut_words(q)
    if not words:
        raise InvalidArgument("q has no letter and no digit in it; search for a word", code="invalid_search")
    if len(words) > MAX_QUERY_WORDS:
        raise InvalidArgument(f"q has at most {MAX_QUERY_WORDS} words; leave some out", code="invalid_search")
    return tuple(sorted(words))


def score(index: dict[str, str], words: tuple[str, ...]) -> int:
    """The sum of the best places in which each word begins one; 0 if any word begins none."""
    total = 0
    for word in words:
        best = max((SCORES[weights[0]] for found, weights in index.items() if found.startswith(word)), default=0)
        if not best:
            return 0
        total += best
    return total
