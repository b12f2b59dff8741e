"""What a pattern becomes for Postgres, what is refused, and what a match is. That both engines agree is tested on a
real Postgres, in ``tests/contract/link_store``."""

import pytest

from pkg.link_manager.regex import MAX_PATTERN_LENGTH, parse_regex
from pkg.object_model.errors import InvalidArgument

W = "[0-9A-Z_a-z]"
WORD_BOUNDARY = f"(?:(?<={W})(?!{W})|(?<!{W})(?={W}))"
LINE_START = r"(?:^|(?<=\n))"
LINE_END = r"(?:$|(?=\n))"


@pytest.mark.parametrize(
    ("pattern", "postgres"),
    [
        (r"^https://github\.com/", r"^https\:\/\/github\.com\/"),
        ("a b_1", "a b_1"),
        ("é+|😀", r"\u00e9+|\U0001f600"),
        (".", r"[^\u000a]"),
        ("(?s).", "."),
        ("(?s:.).", r"(?:.)[^\u000a]"),
        (r"\Ax\z", "^x$"),
        ("^x$", "^x$"),
        ("(?m)^x$", f"{LINE_START}x{LINE_END}"),
        ("(?m:^)$", f"(?:{LINE_START})$"),
        (r"\bx", f"{WORD_BOUNDARY}x"),
        (r"\d\D", "[0-9][^0-9]"),
        (r"\w\W", rf"{W}[^0-9A-Z_a-z]"),
        (r"\s", r"[\u0009-\u000a\u000c-\u000d ]"),
        (r"[\s\S]", "."),
        ("[[:alpha:]][[:^alpha:]]", "[A-Za-z][^A-Za-z]"),
        ("[]a-][^]a]", r"[\u002d\u005da][^\u005da]"),
        ("[a-c-e]", r"[\u002da-ce]"),
        ("[[.a.]]", r"[\u002e\u005ba]\]"),
        (r"[\x00-\x1f]", r"[\u0001-\u001f]"),
        (r"[^\x00-\x7f]", r"[\u0080-\U0010ffff]"),
        (r"[^\x00]", "."),
        (r"\x41\x{e9}\101\07", r"A\u00e9A\u0007"),
        (r"\a\f\n\r\t\v", r"\u0007\u000c\u000a\u000d\u0009\u000b"),
        (r"\/\-\.\_\{\"", r"\/\-\._\{" + '\\"'),
        (r"\Qa.b*\E*", r"a\.b\**"),
        (r"\Q(", r"\("),
        ("a{2}{", r"a{2}\{"),
        ("a{,3}", r"a\{\,3\}"),
        ("a{02}", r"a\{02\}"),
        ("a{0}b{1,}c{2,3}", "a{0}b+c{2,3}"),
        ("a*?b+?c??d{2,}?", "a*b+c{0,1}d{2,}"),
        ("(a)(?:b)(?P<n>c)(?<m>d)", "(?:a)(?:b)(?:c)(?:d)"),
        ("a||(|b)", "a||(?:|b)"),
        ("(?i)cloud", "[Cc][Ll][Oo][Uu][Dd]"),
        ("(?i)k1", r"[Kk\u212a]1"),
        ("(?i)ß", r"[\u00df\u1e9e]"),
        ("(?i)ı", r"\u0131"),
        ("(?i)[^s]", r"[^Ss\u017f]"),
        (r"(?i)\W", r"[^0-9A-Z_a-z\u017f\u212a]"),
        ("(?i)[a-c]", "[A-Ca-c]"),
        ("a(?i)b|c(?-i)d", "a[Bb]|[Cc]d"),
        ("(a(?i)b)c", "(?:a[Bb])c"),
        ("(?i:a(?-i:b))c", "(?:[Aa](?:b))c"),
        ("(?Ui-s)a*", "[Aa]*"),
        (r"\*\*\*=x", r"\*\*\*\=x"),
    ],
)
def test_translation(pattern: str, postgres: str) -> None:
    assert parse_regex(pattern, "url_regex").postgres == postgres


@pytest.mark.parametrize(
    ("code", "pattern"),
    [
        *[
            ("invalid_regex", pattern)
            for pattern in (
                *("(", "(a", "a)", "[a", "*", "a**", "a{2}{3}", "a++", "[b-a]", "[[:no:]]", "a{5,2}", "\\"),
                *(r"(a)\1", "(?=a)", "(?!a)", "(?<=a)b", "(?>a)", "(?#a)", "(?x)a", r"\Z", r"\8", r"\y", r"[\b]"),
                *("***", r"\x{110000}", "\ud800", "(?P=a)", "(?i"),
            )
        ],
        *[
            ("regex_too_complex", pattern)
            for pattern in (
                *("((a{200}){200}){200}", "a{256}", "a{1,256}", "a{256,}", "a{1001}", "a{9999999999}"),
                *("(a?b?){200}", "(.{0,30}){0,30}", "(a|){250}", "(((a|){10})?){60}", r"\b" * 20),
                *("a?" * 300, "([a-c]|[b-d]|[x-z]|.){255}[a-z]?" * 20),
            )
        ],
        *[
            ("unsupported_regex", pattern)
            for pattern in (
                r"\pN",
                r"\PL",
                r"[\p{Greek}]",
                r"\C",
                r"\B",
                r"\x00",
                r"\0",
                r"[\x00]",
                r"[^\x00-\x{10ffff}]",
            )
        ],
        *[("unsupported_regex", pattern) for pattern in ("^*", r"\b?", "a(?i)*", "(^)*", r"(a*|\b)+", "(^|$){2}")],
        ("regex_too_long", "a" * (MAX_PATTERN_LENGTH + 1)),
    ],
)
def test_refusals(code: str, pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidArgument, match="title_regex") as refused:
        parse_regex(pattern, "title_regex")
    assert refused.value.code == code
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "pattern", ["(^|,)a", r"(\ba)*", "(?:^a|b$)+", r"(\b)?a", "(^){1}", r"\bone\b|\btwo\b|\bthree\b"]
)
def test_assertions_that_do_not_run_in_circles(pattern: str) -> None:
    assert parse_regex(pattern, "url_regex").postgres


@pytest.mark.parametrize(
    "pattern", [".{0,255}", "(a*)*b", "(x+x+)+y", "((a{5}){5}){5}", "a?" * 150, ".*" * 50, "(?i)" + "kubernetes|" * 80]
)
def test_what_people_may_write(pattern: str) -> None:
    assert parse_regex(pattern, "url_regex").pattern == pattern


def test_a_match_is_anywhere_in_the_text() -> None:
    regex = parse_regex("(?i)b.d", "title_regex")
    assert regex.matches("abcde")
    assert regex.matches("xBÉDx")
    assert not regex.matches("b\nd")
    assert not regex.matches("")


def test_filters_of_one_pattern_are_equal() -> None:
    assert parse_regex("a", "x") == parse_regex("a", "y") != parse_regex("b", "x")
    assert repr(parse_regex("a", "x")) == "RegexFilter(pattern='a', postgres='a')"
