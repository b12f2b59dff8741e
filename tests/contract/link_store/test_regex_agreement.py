"""RE2 and Postgres give the same answer for every pattern that is accepted, so that both stores find the same links."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkg.link_manager.regex import RegexFilter, parse_regex
from pkg.object_model.errors import InvalidArgument
from pkg.runtime.secret import passwords_of
from tests.conftest import TestPostgres

#: Seconds. Postgres has to make an automaton of any accepted pattern in a fraction of it, even on a busy machine.
STATEMENT_TIMEOUT = 10

TEXTS = [
    "",
    "a",
    "ab\ncd",
    "a\n",
    "\n",
    "foo bar",
    "foobar",
    "éfoo",
    "https://github.com/the-gigi?a=1&b=2",
    "K k S ſ",
    "ÜBER über ß ẞ",
    "ΣΑΣ σας",
    "İıiI",
    "a{2} [x] ]-^ \\ 'q' \"r\"",
    "tab\tcr\rvt\x0bff\x0cnel\x85nbsp\xa0ls\u2028",
    "😀",
    "Ǆǅǆ",
    "a" * 300,
]
PATTERNS = [
    *["a", "^a", "a$", "^a$", "^$", "", "(?m)^c", "(?m)b$", "(?m)^$", r"\Ac", r"b\z", r"a\z", "$", "^"],
    *[".", "^.$", "a.", "b.c", "(?s)b.c", "(?s)^.+$", "^[^a]+$", "[^x]d", r"[\n]", r"\n", r"a\n$"],
    *[r"\bfoo\b", r"\bbar", r"o\b", r"\bé", r"\w", r"^\w+$", r"^\W+$", r"\d", r"^\D*$", r"\s", r"^\S+$", r"[^\s\w]"],
    *[
        "(?i)über",
        "(?i)k",
        "(?i)S",
        "(?i)σ",
        "(?i)ß",
        "(?i)i",
        "(?i)İ",
        "(?i)ı",
        "(?i)ǆ",
        "(?i)[^k]",
        "(?i)[a-z]",
        r"(?i)^\w",
    ],
    *[
        "[[:space:]]",
        "[[:punct:]]",
        "[[:cntrl:]]",
        "[[:^ascii:]]",
        "[[:upper:]]",
        "(?i)[[:upper:]]",
        "[]]",
        "[^]]",
        "[a-]",
    ],
    *[
        "a{2}",
        "a{255}",
        "a{2,}",
        "a{0}",
        "^a{1,3}$",
        r"a\{2\}",
        "a{,2}",
        r"\[x\]",
        r"\Q[x]\E",
        r"\\",
        r"\^",
        "'q'",
        '"r"',
    ],
    *[
        r"^https://github\.com/",
        r"\?a=\d&",
        r"\x{1F600}",
        "[😀-😂]",
        r"[^\x00-\x7f]",
        "a||b",
        "(|foo)bar",
        "(a*)*$",
        "()",
    ],
    *["=a", "(?i:FOO)bar", "foo(?i)BAR", "(?U)a+", "(?P<x>foo) (?<y>bar)", "(foo|bar|a{2})+$"],
]


@pytest.fixture(scope="session")
async def engine(postgres: TestPostgres) -> AsyncIterator[asyncpg.Connection]:
    address = postgres.superuser
    connection = await asyncpg.connect(
        host=address.host,
        port=address.port,
        database=address.database,
        user=address.user,
        password=passwords_of(address.password)[0],
        server_settings={"statement_timeout": str(STATEMENT_TIMEOUT * 1000)},
    )
    yield connection
    await connection.close()


async def found_by_postgres(engine: asyncpg.Connection, regex: RegexFilter, texts: list[str]) -> list[str]:
    statement = (
        "SELECT text FROM unnest($1::text[]) WITH ORDINALITY AS given(text, place) WHERE text ~ $2 ORDER BY place"
    )
    return [row["text"] for row in await engine.fetch(statement, texts, regex.postgres)]


def found_by_re2(regex: RegexFilter, texts: list[str]) -> list[str]:
    return [text for text in texts if regex.matches(text)]


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_both_find_the_same(engine: asyncpg.Connection, pattern: str) -> None:
    regex = parse_regex(pattern, "url_regex")
    assert await found_by_postgres(engine, regex, TEXTS) == found_by_re2(regex, TEXTS)


async def test_both_read_every_character_alike(engine: asyncpg.Connection) -> None:
    everything = [chr(code) for code in range(1, 0x3000)] + list("ﬀﬅﬆＡａ𐐀𐐨𞤀𞤢😀\U0010ffff")
    for pattern in [
        r"\w",
        r"\W",
        r"\s",
        ".",
        "[[:punct:]]",
        "(?i)[a-z]",
        r"(?i)\W",
        "(?i)[à-ÿ]",
        "(?i)[^а-я]",
        "(?i)[Ａ𐐀𞤀]",
    ]:
        regex = parse_regex(pattern, "url_regex")
        assert await found_by_postgres(engine, regex, everything) == found_by_re2(regex, everything), pattern


ATOMS = st.sampled_from(
    [
        *[
            "a",
            "b",
            "k",
            "K",
            "s",
            "é",
            "É",
            "ſ",
            "ß",
            "İ",
            "ı",
            "σ",
            "ς",
            "µ",
            "😀",
            "-",
            "_",
            " ",
            ".",
            "1",
            "]",
            "}",
            "{",
            "a{,3}",
        ],
        *[
            r"\.",
            r"\n",
            r"\d",
            r"\w",
            r"\s",
            r"\D",
            r"\W",
            r"\S",
            r"\/",
            r"\x41",
            r"\x{e9}",
            r"\101",
            r"\Qa.*\E",
            r"\a",
        ],
        *[
            "[ab]",
            "[^a]",
            "[a-k]",
            r"[^\w]",
            r"[\W\d]",
            "[[:alpha:]]",
            "[[:^alpha:]_]",
            "[]a]",
            "[^]]",
            "[a-]",
            "[é-ü]",
            r"[^\n]",
        ],
    ]
)
QUANTIFIERS = st.sampled_from(["", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{0}", "{2,3}?"])
ASSERTIONS = st.sampled_from(["^", "$", r"\b", r"\A", r"\z", "(?i)", "(?s)", "(?m)", "(?-i)", "(?U)", ""])
GROUPS = st.sampled_from(["(", "(?:", "(?i:", "(?s-i:", "(?P<n>", "(?m:"])
PATTERN = st.recursive(
    st.tuples(ATOMS, QUANTIFIERS).map("".join) | ASSERTIONS,
    lambda parts: (
        st.lists(parts, min_size=1, max_size=4).map("".join)
        | st.tuples(parts, parts).map("|".join)
        | st.tuples(GROUPS, parts, st.just(")"), QUANTIFIERS).map("".join)
    ),
    max_leaves=8,
)
TEXT = st.text(st.sampled_from("aabbkKsSéÉſKßẞİıiIσςΣµμ😀-_ .1\n\n\tA]}{*"), max_size=8)


@settings(
    max_examples=300,
    deadline=None,
    # The connection is meant to be the same for every example.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(pattern=PATTERN, texts=st.lists(TEXT, min_size=8, max_size=8))
async def test_both_find_the_same_by_any_pattern(engine: asyncpg.Connection, pattern: str, texts: list[str]) -> None:
    try:
        regex = parse_regex(pattern, "url_regex")
    except InvalidArgument as refused:
        assert refused.code in {"invalid_regex", "unsupported_regex", "regex_too_complex"}  # noqa: PT017  # most are accepted
        return
    assert await found_by_postgres(engine, regex, texts) == found_by_re2(regex, texts)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a*)*b",
        "(x+x+)+y",
        "((a{5}){5}){5}",
        "(a?b?){14}",
        "a?" * 190,
        ".*" * 130,
        "(a{0,30}){0,30}b",
        r"\b(a|b|c){0,20}\b" * 3,
        r"(\ba){200}",
        "(?i)" + "kubernetes|" * 80,
        "(?:" + "|".join(f"[{chr(200 + n * 3)}-{chr(300 + n * 5)}]" for n in range(60)) + "){5}",
        "".join(f"[{chr(200 + n * 3)}-{chr(300 + n * 5)}]?" for n in range(30)),
    ],
)
async def test_no_accepted_pattern_runs_away(engine: asyncpg.Connection, pattern: str) -> None:
    """Each is near the bound. ``((a?b?){20}){20}`` takes ten seconds, ``($|(\\w*|^){20})*`` nobody knows how long."""
    regex = parse_regex(pattern, "url_regex")
    texts = ["ab" * 30_000, "x" * 60_000, "é" * 60_000]
    async with asyncio.timeout(3 * STATEMENT_TIMEOUT):
        assert await found_by_postgres(engine, regex, texts) == found_by_re2(regex, texts)
