"""Regular expressions in the language that RE2 and Postgres share: what is accepted means the same to both.

A pattern is written in RE2's syntax (https://github.com/google/re2/wiki/Syntax), checked by RE2, and rewritten for
Postgres (https://www.postgresql.org/docs/18/functions-matching.html#POSIX-SYNTAX-DETAILS). Every character, class and
case becomes an explicit set of code points, so that neither the database's locale nor its version decides what a letter
is. What cannot be said to Postgres with the same meaning is refused.

Only whether a text matches counts. So groups capture nothing, and lazy repetition is greedy.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Final, Protocol

import re2

from pkg.object_model.errors import InvalidArgument

MAX_PATTERN_LENGTH: Final = 1_000
#: Postgres takes no more; RE2 takes 1,000.
MAX_REPETITIONS: Final = 255
#: Arcs of the automaton that Postgres builds. So many take it about a tenth of a second, ten times as many ten seconds.
MAX_ARCS: Final = 20_000
#: Bytes that RE2 may use for one pattern. The module ``re2`` keeps 128 of them.
_RE2_MEMORY: Final = 1024 * 1024

#: Sorted, disjoint, inclusive ranges of code points.
type _Ranges = tuple[tuple[int, int], ...]

_LAST: Final = 0x10FFFF
#: From 1: neither a link nor Postgres can hold a NUL.
_ANY: Final[_Ranges] = ((1, _LAST),)
_NOT_LINE_END: Final[_Ranges] = ((1, 9), (11, _LAST))

_DIGIT: Final[_Ranges] = ((0x30, 0x39),)
_UPPER: Final[_Ranges] = ((0x41, 0x5A),)
_LOWER: Final[_Ranges] = ((0x61, 0x7A),)
_WORD: Final[_Ranges] = (*_DIGIT, *_UPPER, (0x5F, 0x5F), *_LOWER)
_PERL_CLASSES: Final[dict[str, _Ranges]] = {"d": _DIGIT, "w": _WORD, "s": ((9, 10), (12, 13), (32, 32))}
_POSIX_CLASSES: Final[dict[str, _Ranges]] = {
    "alnum": (*_DIGIT, *_UPPER, *_LOWER),
    "alpha": (*_UPPER, *_LOWER),
    "ascii": ((1, 0x7F),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((1, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGIT,
    "graph": ((0x21, 0x7E),),
    "lower": _LOWER,
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((9, 13), (32, 32)),
    "upper": _UPPER,
    "word": _WORD,
    "xdigit": (*_DIGIT, (0x41, 0x46), (0x61, 0x66)),
}
_CONTROLS: Final = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}

_ESCAPED_CODE: Final = re.compile(r"x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|([0-7]{1,3})")
_POSIX_CLASS: Final = re.compile(r"\[:(\^?)([a-z]+):\]")
#: As RE2 reads them: with a leading zero, or nothing before the comma, they are plain text.
_REPETITION: Final = re.compile(r"(?:([*+?])|\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\})\??")
_GROUP_KIND: Final = re.compile(r"(?:\?P?<\w+>|\?([imsU]*)(?:-([imsU]+))?([:)])|(?!\?))")


class _Program(Protocol):
    """What RE2 makes of a pattern."""

    def search(self, text: str) -> object | None: ...
    def findall(self, text: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class RegexFilter:
    pattern: str
    #: The same for the operator ``~`` of Postgres, as a bound parameter.
    postgres: str
    _program: _Program = field(repr=False, compare=False)

    def matches(self, text: str) -> bool:
        return self._program.search(text) is not None


def parse_regex(pattern: str, argument: str) -> RegexFilter:
    """The filter that ``pattern`` stands for; ``argument`` is what the caller knows it as.

    Raises:
        InvalidArgument: ``regex_too_long``; ``invalid_regex``, RE2 refuses it; ``regex_too_complex``, it would take too
            much memory or time; ``unsupported_regex``, it is good for RE2 but has no equal in Postgres.
    """
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidArgument(
            f"{argument} is longer than {MAX_PATTERN_LENGTH} characters; shorten it", code="regex_too_long"
        )
    program = _compile(pattern, argument)
    try:
        tokens = list(_Reader(pattern).read())
        arcs = _count_arcs(tokens)
    except _Unsupported as refused:
        raise InvalidArgument(f"{argument} cannot be searched for: {refused}", code="unsupported_regex") from None
    except _TooManyRepetitions:
        raise _too_complex(argument) from None
    if arcs > MAX_ARCS:
        raise _too_complex(argument)
    return RegexFilter(pattern, "".join(map(_write, tokens)), program)


def _compile(pattern: str, argument: str) -> _Program:
    try:
        return _program(pattern)
    except UnicodeEncodeError:
        reason = "it holds half of a surrogate pair"
    except re2.error as refused:
        reason = refused.args[0].decode(errors="replace")
        low_high = re.search(r"repetition size: \{(\d+)(?:,(\d*))?\}", reason)
        # RE2 says the same of {5,2}, which is no size at all.
        if (low_high and int(low_high[2] or low_high[1]) >= int(low_high[1])) or "too large" in reason:
            raise _too_complex(argument) from None
    raise InvalidArgument(
        f"{argument} is not a regular expression of RE2: {reason}; see https://github.com/google/re2/wiki/Syntax",
        code="invalid_regex",
    )


def _program(pattern: str) -> _Program:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _RE2_MEMORY
    program: _Program = re2.compile(pattern, options)
    return program


def _too_complex(argument: str) -> InvalidArgument:
    return InvalidArgument(
        f"{argument} is too complex; use fewer or smaller repetitions (each at most {{{MAX_REPETITIONS}}}) "
        "and do not nest them",
        code="regex_too_complex",
    )


class _Unsupported(Exception):
    """Says what, and what to write in its place."""


class _TooManyRepetitions(Exception):
    pass


# --- sets of characters -------------------------------------------------------------------------------------------


def _merge(ranges: Iterator[tuple[int, int]] | list[tuple[int, int]]) -> _Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted((max(low, 1), high) for low, high in ranges if high):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: _Ranges) -> _Ranges:
    edges = [0, *(edge for low, high in ranges for edge in (low - 1, high + 1)), _LAST + 1]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return tuple((max(low, 1), min(high, _LAST)) for low, high in gaps if max(low, 1) <= min(high, _LAST))


@cache
def _cased() -> str:
    """Every character that has another case."""
    return "".join(
        char
        for char in map(chr, range(0x1F000))
        if not (char == char.lower() == char.upper() == char.casefold()) and not 0xD800 <= ord(char) < 0xE000
    )


@lru_cache(4096)
def _fold(ranges: _Ranges) -> _Ranges:
    """With the other cases of its characters. Which those are is asked of RE2: the memory store goes by it as well."""
    written = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges)
    others = "".join(_program(f"(?i)[{written}]+").findall(_cased())) if ranges else ""
    return _merge([*ranges, *((ord(char), ord(char)) for char in others)])


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Set:
    """One character out of these."""

    ranges: _Ranges


@dataclass(frozen=True, slots=True)
class _Repeat:
    low: int
    #: None: without end.
    high: int | None


@dataclass(frozen=True, slots=True)
class _Assertion:
    #: As Postgres has it.
    text: str
    #: What it costs, as found by trying: Postgres looks ahead and behind by additional arcs.
    weight: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """``(``, ``)`` or ``|``."""

    char: str


type _Token = _Set | _Repeat | _Assertion | _Mark

# RE2 knows the word characters of ASCII alone, and \y of Postgres those of the locale.
_W: Final = "[0-9A-Z_a-z]"
_WORD_BOUNDARY: Final = _Assertion(f"(?:(?<={_W})(?!{_W})|(?<!{_W})(?={_W}))", 8)
_START: Final = _Assertion("^", 1)
_END: Final = _Assertion("$", 1)
_LINE_START: Final = _Assertion(r"(?:^|(?<=\n))", 4)
_LINE_END: Final = _Assertion(r"(?:$|(?=\n))", 4)


class _Reader:
    """Reads a pattern that RE2 has accepted."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._flags: frozenset[str] = frozenset()
        self._outer_flags: list[frozenset[str]] = []
        #: Whether a repetition may follow.
        self._repeatable = False

    def read(self) -> Iterator[_Token]:
        while self._at < len(self._pattern):
            if self._pattern.startswith("\\Q", self._at):
                yield from self._read_quoted()
            elif (token := self._read_token()) is not None:
                self._repeatable = isinstance(token, _Set) or token == _Mark(")")
                yield token

    def _read_quoted(self) -> Iterator[_Token]:
        text, end, _ = self._pattern[self._at + 2 :].partition("\\E")
        self._at += 2 + len(text) + len(end)
        for char in text:
            self._repeatable = True
            yield self._set_of(ord(char))

    def _read_token(self) -> _Token | None:
        """None for flags, which leave nothing behind."""
        if repetition := _REPETITION.match(self._pattern, self._at):
            self._at = repetition.end()
            return self._repetition(repetition)
        char = self._take()
        token: _Token | None
        match char:
            case "(":
                token = self._read_group_start()
            case ")" | "|":
                token = self._mark(char)
            case "^":
                token = _LINE_START if "m" in self._flags else _START
            case "$":
                token = _LINE_END if "m" in self._flags else _END
            case ".":
                token = _Set(_ANY if "s" in self._flags else _NOT_LINE_END)
            case "[":
                token = self._read_class()
            case "\\":
                token = self._read_escape()
            case _:
                token = self._set_of(ord(char))
        return token

    def _take(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _repetition(self, written: re.Match[str]) -> _Repeat:
        if not self._repeatable:
            raise _Unsupported("a repetition must follow a character, a class or a group, not an assertion or a flag")
        operator, low, comma, high = written.groups()
        if operator:
            return _Repeat(int(operator == "+"), 1 if operator == "?" else None)
        if max(int(low), int(high or 0)) > MAX_REPETITIONS:
            raise _TooManyRepetitions
        return _Repeat(int(low), int(high or low) if high or not comma else None)

    def _read_group_start(self) -> _Mark | None:
        kind = _GROUP_KIND.match(self._pattern, self._at)
        if not kind:
            raise _Unsupported("a group may begin with (, (?:, (?P<name> or flags out of i, m, s and U")
        self._at = kind.end()
        switched_on, switched_off, end = kind.groups(default="")
        outer = self._flags
        self._flags = (outer | set(switched_on)) - set(switched_off)
        if end == ")":
            self._repeatable = False
            return None
        self._outer_flags.append(outer)
        return _Mark("(")

    def _mark(self, char: str) -> _Mark:
        if char == ")":
            self._flags = self._outer_flags.pop()
        return _Mark(char)

    def _read_escape(self) -> _Token:
        char = self._pattern[self._at]
        if ranges := self._read_perl_class():
            return _Set(ranges)
        match char:
            case "A" | "z" | "b":
                self._at += 1
                return {"A": _START, "z": _END, "b": _WORD_BOUNDARY}[char]
            case "B":
                # RE2 finds places that are no word boundary between the bytes of one character, too.
                raise _Unsupported("it has \\B; write \\b, or the characters that may stand there")
            case "C":
                raise _Unsupported("it has \\C, one byte; write (?s:.), one character")
        return self._set_of(self._read_code())

    def _read_class(self) -> _Set:
        negated = self._pattern.startswith("^", self._at)
        self._at += negated
        start = self._at
        ranges: list[tuple[int, int]] = []
        while self._pattern[self._at] != "]" or self._at == start:
            ranges += self._read_class_item()
        self._at += 1
        merged = _complement(_merge(ranges)) if negated else _merge(ranges)
        if not merged:
            raise _Unsupported("it has a class that no character is in; leave it out")
        return _Set(merged)

    def _read_class_item(self) -> _Ranges:
        if named := _POSIX_CLASS.match(self._pattern, self._at):
            self._at = named.end()
            return self._folded(_POSIX_CLASSES[named[2]], negated=bool(named[1]))
        char = self._take()
        if char == "\\" and (ranges := self._read_perl_class()):
            return ranges
        low = high = self._read_code() if char == "\\" else ord(char)
        if self._pattern[self._at] == "-" and self._pattern[self._at + 1] != "]":
            self._at += 1
            char = self._take()
            high = self._read_code() if char == "\\" else ord(char)
        return self._folded(_merge([(low, high)]))

    def _read_perl_class(self) -> _Ranges | None:
        char = self._pattern[self._at]
        if char in "pP":
            raise _Unsupported("it has a Unicode class (\\p); write the characters as a range, such as [а-я]")
        if char.lower() not in _PERL_CLASSES:
            return None
        self._at += 1
        return self._folded(_PERL_CLASSES[char.lower()], negated=char.isupper())

    def _read_code(self) -> int:
        """The code point of the character escaped here."""
        if coded := _ESCAPED_CODE.match(self._pattern, self._at):
            self._at = coded.end()
            return int(coded[3], 8) if coded[3] else int(coded[1] or coded[2], 16)
        char = self._take()
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isascii() and char.isalnum():
            raise _Unsupported(f"it has \\{char}")
        return ord(char)

    def _set_of(self, code: int) -> _Set:
        if not code:
            raise _Unsupported("it has a NUL, which no text holds")
        return _Set(self._folded(((code, code),)))

    def _folded(self, ranges: _Ranges, *, negated: bool = False) -> _Ranges:
        if "i" in self._flags:
            ranges = _fold(ranges)
        return _complement(ranges) if negated else ranges


# --- what it costs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of a part's automaton, once every empty transition is replaced by copies of the arcs behind it."""

    #: Whether it matches the empty string.
    empty: bool
    #: Arcs out of its first state.
    first: int
    #: States from which its end is reached for nothing; each gets a copy of the first arcs of what follows.
    open_ends: int
    arcs: int
    #: Whether it may match by an assertion alone.
    bare: bool = False


_NOTHING: Final = _Cost(empty=True, first=0, open_ends=0, arcs=0)
_NEVER: Final = _Cost(empty=False, first=0, open_ends=0, arcs=0)


def _count_arcs(tokens: list[_Token]) -> int:
    """How large an automaton Postgres makes of it, roughly.

    An arc is of one colour, as its source has it: of characters that no set of the pattern tells apart.
    """
    sets = {token.ranges for token in tokens if isinstance(token, _Set)}
    edges = sorted({edge for ranges in sets for low, high in ranges for edge in (low, high + 1)})
    colours = {
        ranges: sum(bisect_left(edges, high + 1) - bisect_left(edges, low) for low, high in ranges) for ranges in sets
    }
    outer: list[tuple[_Cost, _Cost]] = []
    branches, sequence, last = _NEVER, _NOTHING, _NOTHING
    for token in [*tokens, _Mark("|")]:
        match token:
            case _Set(ranges):
                width = colours[ranges]
                sequence, last = _join(sequence, last), _Cost(empty=False, first=width, open_ends=0, arcs=width)
            case _Assertion(_, weight):
                cost = _Cost(empty=True, first=4 * weight, open_ends=weight, arcs=4 * weight, bare=True)
                sequence, last = _join(sequence, last), cost
            case _Repeat(low, high):
                last = _repeat(last, low, high)
            case _Mark("("):
                outer.append((branches, _join(sequence, last)))
                branches, sequence, last = _NEVER, _NOTHING, _NOTHING
            case _Mark("|"):
                branches, sequence, last = _choose(branches, _join(sequence, last)), _NOTHING, _NOTHING
            case _Mark():
                last = _choose(branches, _join(sequence, last))
                branches, sequence = outer.pop()
    return branches.arcs


def _join(left: _Cost, right: _Cost) -> _Cost:
    return _Cost(
        empty=left.empty and right.empty,
        first=left.first + right.first * left.empty,
        open_ends=right.open_ends + left.open_ends * right.empty,
        arcs=left.arcs + right.arcs + left.open_ends * right.first,
        bare=(left.bare and right.empty) or (left.empty and right.bare),
    )


def _choose(left: _Cost, right: _Cost) -> _Cost:
    return _Cost(
        empty=left.empty or right.empty,
        first=left.first + right.first,
        # An empty branch is an empty transition from the first state to the end.
        open_ends=left.open_ends + (right.open_ends or right.empty),
        arcs=left.arcs + right.arcs,
        bare=left.bare or right.bare,
    )


def _repeat(part: _Cost, low: int, high: int | None) -> _Cost:
    if part.bare and high != 1:
        # Postgres takes exponential time to rid itself of a loop of assertions.
        raise _Unsupported("it repeats what may be no more than ^, $ or \\b; take that out of the repetition")
    if high is None:
        loop = _Cost(
            empty=True,
            first=part.first,
            open_ends=part.open_ends + 1,
            arcs=part.arcs + (part.open_ends + 1) * part.first,
        )
        return _join(_power(part, low), loop)
    optional = _power(part, high - low)
    return _join(_power(part, low), replace(optional, empty=True, open_ends=optional.open_ends + high - low))


def _power(part: _Cost, times: int) -> _Cost:
    product = _NOTHING
    for bit in f"{times:b}":
        product = _join(product, product)
        if bit == "1":
            product = _join(product, part)
    return product


# --- writing ------------------------------------------------------------------------------------------------------


def _write(token: _Token) -> str:
    match token:
        case _Set(ranges):
            return _write_set(ranges)
        case _Repeat(low, high):
            return _write_repeat(low, high)
        case _Assertion(text, _):
            return text
        case _Mark(char):
            return "(?:" if char == "(" else char


def _write_repeat(low: int, high: int | None) -> str:
    if high is None and low < 2:
        return "*+"[low]
    if high == low:
        return f"{{{low}}}"
    return f"{{{low},{'' if high is None else high}}}"


def _write_set(ranges: _Ranges) -> str:
    if ranges == _ANY:
        return "."
    (low, high), *others = ranges
    if low == high and not others:
        return _write_char(low, "\\")
    if low == 1 and ranges[-1][1] == _LAST:
        return f"[^{_write_ranges(_complement(ranges))}]"
    return f"[{_write_ranges(ranges)}]"


def _write_ranges(ranges: _Ranges) -> str:
    return "".join(
        _write_char(low, "") if low == high else f"{_write_char(low, '')}-{_write_char(high, '')}"
        for low, high in ranges
    )


def _write_char(code: int, escape: str) -> str:
    """``escape`` is what makes punctuation plain; empty where nothing does, in a class."""
    char = chr(code)
    if char.isascii() and (char.isalnum() or char in " _"):
        return char
    if escape and char.isascii() and char.isprintable():
        return escape + char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
