"""Bookmark files: as the products write them, as people break them, and our own there and back."""

import html.parser
import io
import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.link_manager.bookmark_file import Bookmark, read_bookmarks, write_bookmark, write_head, write_tail
from pkg.object_model.errors import InvalidArgument, TooLarge
from pkg.object_model.types import MAX_IMPORT_BYTES, Link, LinkStatus, Visibility

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
#: A few lines each, in the manner of the product.
SAMPLES = DATA / "bookmark_files"
DOCTYPE = "<!DOCTYPE NETSCAPE-Bookmark-file-1>\n"


def read(content: str | bytes) -> list[Bookmark]:
    return list(read_bookmarks(io.BytesIO(content.encode() if isinstance(content, str) else content)))


def one(content: str | bytes) -> Bookmark:
    (bookmark,) = read(content)
    return bookmark


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# --- real files -----------------------------------------------------------------------------------------------------


class ReferenceReader(html.parser.HTMLParser):
    """A second, simpler reader, which well-formed files are enough for."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, str]] = []
        self._into: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            line = str(self.getpos()[0])
            self.rows.append({k: v or "" for k, v in attrs} | {"title": "", "description": "", "line": line})
        self._into = {"a": "title", "dd": "description"}.get(tag)

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into:
            self.rows[-1][self._into] += data


@pytest.mark.parametrize(
    ("name", "rows", "urls"), [("bookmarks_firefox.html", 1290, 1283), ("bookmarks_chrome.html", 501, 495)]
)
def test_a_real_file_is_read_whole(name: str, rows: int, urls: int) -> None:
    content = (DATA / name).read_bytes()
    bookmarks = read(content)
    assert (len(bookmarks), len({bookmark.url for bookmark in bookmarks})) == (rows, urls)
    reference = ReferenceReader()
    reference.feed(content.decode())
    for bookmark, row in zip(bookmarks, reference.rows, strict=True):
        assert bookmark == Bookmark(
            line=int(row["line"]),
            url=row["href"],
            title=row["title"].strip(),
            description=row["description"].strip(),
            tags=tuple(filter(None, row.get("tags", "").split(","))),
            folders=bookmark.folders,
            created_at=moment(int(row["add_date"])),
            updated_at=moment(int(row["last_modified"])) if "last_modified" in row else None,
            visibility=None,
        )


def test_folders_of_real_files() -> None:
    firefox = Counter(bookmark.folders for bookmark in read((DATA / "bookmarks_firefox.html").read_bytes()))
    # Each folder's links carry its name as a tag.
    assert firefox[("Major Cloud Providers",)] > 7
    assert all(len(folders) == 1 for folders in firefox)
    chrome = read((DATA / "bookmarks_chrome.html").read_bytes())
    assert chrome[0].folders == ("Projects", "AI and Agents")
    assert chrome[-1].folders == ("Resources", "Websites")


# --- in the manner of each product ----------------------------------------------------------------------------------


def test_firefox() -> None:
    first, second, third = read((SAMPLES / "firefox.html").read_bytes())
    assert (first.url, first.folders, first.description) == ("place:sort=8&maxResults=10", (), "")
    assert second == Bookmark(
        line=15,
        url="http://a.example/?a=1&copy=2&lt=3",
        title='A <b> "q"',
        description="first line\nsecond line\n\n        last line",
        tags=("one", "two three"),
        folders=("Toolbar & more",),
        created_at=moment(1600000000),
        updated_at=moment(1600000005),
        visibility=None,
    )
    assert (third.url, third.folders) == ("javascript:alert('x')", ())


def test_chrome_and_edge() -> None:
    bookmark = one((SAMPLES / "chrome.html").read_bytes())
    assert (bookmark.folders, bookmark.created_at) == (("Bookmarks bar",), None)


def test_safari() -> None:
    assert [(row.url, row.folders) for row in read((SAMPLES / "safari.html").read_bytes())] == [
        ("https://a.example/", ("Favourites",)),
        ("https://b.example/", ()),
    ]


def test_internet_explorer() -> None:
    # IE's files say no charset, and are in that of the machine.
    bookmark = one((SAMPLES / "internet_explorer.html").read_bytes())
    assert (bookmark.title, bookmark.folders, bookmark.line) == ("Café", ("Löss",), 7)


@pytest.mark.parametrize(
    ("private", "visibility"),
    [("0", Visibility.PUBLIC), ("1", Visibility.PRIVATE), ("", None), ("yes", Visibility.PRIVATE)],
)
def test_del_icio_us_and_pinboard_and_linkding_and_shaarli(private: str, visibility: Visibility | None) -> None:
    text = (SAMPLES / "pinboard.html").read_text().replace('PRIVATE="PRIVATE"', f'PRIVATE="{private}"')
    bookmark = one(text)
    assert (bookmark.tags, bookmark.visibility) == (("web", "été", "toread"), visibility)
    assert bookmark.description == "It's good"


def test_pocket_and_instapaper() -> None:
    first, second = read((SAMPLES / "pocket.html").read_bytes())
    assert (first.tags, first.folders, first.created_at) == (("one", "two"), ("Unread",), moment(1600000000))
    assert (second.title, second.folders, second.created_at) == ("B", ("Read Archive",), moment(1600000001))


def test_raindrop() -> None:
    bookmark = one((SAMPLES / "raindrop.html").read_bytes())
    assert (bookmark.tags, bookmark.description) == ((), "Note\nbelow")


# --- what people and programs do to them ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "prefix"),
    [
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("utf-16-le", "\ufeff"),
        ("utf-16-be", "\ufeff"),
        ("utf-16-le", ""),
        ("utf-16-be", ""),
        ("cp1252", '<META CHARSET="iso-8859-1">'),
        ("koi8-r", '<meta http-equiv="Content-Type" content="text/html; charset=KOI8-R">'),
        ("cp932", "<meta charset='Shift_JIS'>"),
        ("gb18030", "<meta charset=gb2312>"),
        ("utf-8", ""),
        ("utf-8", "<meta charset=no-such-thing>"),
        ("cp1252", ""),
    ],
)
def test_encodings(encoding: str, prefix: str) -> None:
    title = {"koi8-r": "Москва", "cp932": "東京", "gb18030": "北京"}.get(encoding, "Café")
    body = f"{prefix}<DL><DT><A HREF='http://a.example/'>{title}</A></DL>"
    content = body.encode(encoding)
    assert one(content).title == title


def test_bytes_that_the_encoding_lacks_are_replaced() -> None:
    assert one(b"<meta charset=utf-8><A HREF=http://a.example/\xff>a\xfe</A>").title == "a\ufffd"
    assert one(b"<meta charset=windows-1252><A HREF=http://a.example/>a\x81</A>").title == "a\ufffd"
    late_nul = b"<A HREF=http://a.example/>" + b" " * 5_000 + b"a\0b</A>"
    assert one(late_nul).title == "a\ufffdb"


@pytest.mark.parametrize(
    ("markup", "url", "title"),
    [
        ("<a href=http://a.example/>A</a>", "http://a.example/", "A"),
        ("<a href='http://a.example/?\"'>A</a>", 'http://a.example/?"', "A"),
        ('<A\n  Href = " http://a.example/ "\n>A', "http://a.example/", "A"),
        ("<A HREF=http://a.example/it's>A</A>", "http://a.example/it's", "A"),
        ('<A HREF="http://a.example/" HREF="http://b.example/">A</A>', "http://a.example/", "A"),
        ('<A TITLE="a > b" HREF="http://a.example/">A</A>', "http://a.example/", "A"),
        ('<A NAME="x">no</A><A HREF="http://a.example/">A</A>', "http://a.example/", "A"),
        ('<A HREF="">A</A>', "", "A"),
        ('<A HREF="u"> a <B>bold</B>\n   <I CLASS=x>word</I> </A>', "u", "a bold word"),
        ('<A HREF="u">a < b <3 &amp;amp; &nosuch; &#65;&#x42;&#0;</A>', "u", "a < b <3 &amp; &nosuch; AB\ufffd"),
        ('<A HREF="u">&am<b>p;</b></A>', "u", "&amp;"),
        (f'<A HREF="u">&#{"9" * 5_000};</A>', "u", f"&#{'9' * 5_000};"),
        ('<A HREF="u?&amp;a&#38;&copy;&copy=&copyx">A</A>', "u?&a&©&copy=&copyx", "A"),
        ('<A HREF="u">A<!-- <A HREF="v">B</A> --></A>', "u", "A"),
        ('<!-- <A HREF="v">B</A> --><!--><A HREF="u">A', "u", "A"),
        ('<ABBR HREF="v">x</ABBR><A HREF="u">A</A><ADDRESS>', "u", "A"),
        ('<DT><A HREF="u">A<DT>', "u", "A"),
    ],
)
def test_markup(markup: str, url: str, title: str) -> None:
    bookmark = one(markup)
    assert (bookmark.url, bookmark.title) == (url, title)


def test_descriptions() -> None:
    text = """<DL>
<DT><A HREF="1">1</A></DT><DD>  one <b>bold</b> </DD>
<DT><A HREF="2">2</A><DD>two, <a name=x>an anchor</a> in it
<HR>
<DT><H3>Folder</H3><DD>of the folder<DL>
<DT><A HREF="3">3</A>
</DL><DD>of nothing
<DT><A HREF="4">4</A><DD>four<DD>and more
"""
    assert [(row.url, row.description, row.folders) for row in read(text)] == [
        ("1", "one bold", ()),
        ("2", "two, an anchor in it", ()),
        ("3", "", ("Folder",)),
        ("4", "four\nand more", ()),
    ]


def test_folders() -> None:
    text = """<H1>Title</H1>
<DL><p><DT><H3>a</H3><DL><DT><H3> b <i>c</i></H3><DL><A HREF=1></DL><A HREF=2></DL></DL></DL>
<H3>left</H3><DT><A HREF=3><DL><A HREF=4></DL><H3></H3><DL><A HREF=5></DL>"""
    assert [row.folders for row in read(text)] == [("a", "b c"), ("a",), (), (), ()]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_are_counted(line_end: str) -> None:
    text = line_end.join([DOCTYPE.strip(), "<DL><p>", '<DT><A HREF="1">1</A>', "<DD>a", "b", '<DT><A HREF="2">2</A>'])
    first, second = read(text)
    assert (first.line, second.line, first.description) == (3, 6, "a\nb")


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("1600000000", moment(1600000000)),
        ("1600000000123", datetime(2020, 9, 13, 12, 26, 40, 123000, UTC)),
        ("1600000000123456", datetime(2020, 9, 13, 12, 26, 40, 123456, UTC)),
        ("1600000000.5", moment(1600000000)),
        (" 1600000000 ", moment(1600000000)),
        ("2020-09-13T12:26:40Z", moment(1600000000)),
        ("2020-09-13T14:26:40+02:00", moment(1600000000)),
        ("2020-09-13T12:26:40", moment(1600000000)),
        ("", None),
        ("0", None),
        ("-1", None),
        ("13300000000000000000", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("\u0661\u0662", None),
        ("9" * 5_000, None),
    ],
)
def test_times(written: str, time: datetime | None) -> None:
    assert one(f'<A HREF="u" ADD_DATE="{written}">A</A>').created_at == time


@pytest.mark.parametrize("text", [DOCTYPE, "<DL><p></DL>", "\n<dl>\n</dl>", "<!doctype NetScape-Bookmark-file-1>"])
def test_an_empty_file_has_no_bookmarks(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b'{"url": "http://a.example/"}',
        b"url,title\nhttp://a.example/,A\n",
        b"<p>HTML without links</p>",
        b"<!-- <DL> -->",
        b"<A NAME=x>",
        b"PK\x03\x04\x14\0\0\0<A HREF=http://a.example/>A</A>",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xfe<\0\0\0",
    ],
)
def test_what_is_no_bookmarks_file_is_told(content: bytes) -> None:
    with pytest.raises(InvalidArgument, match="send HTML with links") as refused:
        read(content)
    assert refused.value.code == "not_a_bookmark_file"


def test_a_file_longer_than_an_import_is_told() -> None:
    with pytest.raises(TooLarge):
        read(b"<A HREF=u>" + b" " * MAX_IMPORT_BYTES)


def test_tags_folders_and_icons_without_end() -> None:
    tags = ",".join(map(str, range(5_000)))
    bookmark = one(f'<DL><A HREF="u" ICON="data:{"A" * 100_000}" TAGS="{tags}">A</A>')
    assert bookmark.tags == tuple(map(str, range(1_000)))
    assert len(one("<H3>f</H3><DL>" * 5_000 + "<A HREF=u>A</A>").folders) == 100


# --- any input --------------------------------------------------------------------------------------------------------

PIECES = [
    *[
        "<",
        ">",
        "<a ",
        "<A HREF=",
        '"',
        "'",
        "=",
        "<DL>",
        "</DL>",
        "<DD>",
        "<DT>",
        "<H3>",
        "</H3>",
        "</A>",
        "<!--",
        "-->",
    ],
    *[
        "&",
        "&#",
        "&#x",
        ";",
        "9",
        "amp",
        "x",
        " ",
        "\n",
        "\r",
        "\0",
        "é",
        "😀",
        "TAGS=",
        "ADD_DATE=",
        "PRIVATE=",
        "/",
        "<b>",
    ],
]


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=400) | st.lists(st.sampled_from(PIECES), max_size=60).map(lambda parts: "".join(parts).encode())
)
def test_anything_is_read_or_told(content: bytes) -> None:
    bookmarks = []
    with suppress(InvalidArgument):
        bookmarks = read(content)
    for bookmark in bookmarks:
        written = " ".join([bookmark.url, bookmark.title, bookmark.description, *bookmark.tags, *bookmark.folders])
        assert "\0" not in written
        assert written.encode()


#: Head, what is repeated to a megabyte, tail.
HOSTILE = {
    "tag openings": ("", "<", ""),
    "unclosed tags": ("", "<a ", ""),
    "unclosed comments": ("", "<!--", ""),
    "unclosed line breaks": ("<A HREF=u>", "<br ", ""),
    "unclosed elements in a title": ("<A HREF=u>", "<b ", ""),
    "unclosed quotes": ("<DL>", '<a href="', ""),
    "quotes in quotes": ("<DL><a ", "=\"'", ""),
    "references": ("<A HREF=u>", "&#", ""),
    "digits": ("<A HREF=u>&#", "9", ""),
    "digits in an attribute": ('<A HREF="&#', "9", '">'),
    "lists": ("", "<DL>", ""),
    "folders and links": ("", "<H3>f</H3><DL><A HREF=u>", ""),
    "attributes": ("<A HREF=u ", "a=b ", ">"),
    "blanks in a tag": ("<A HREF", " ", "=u>"),
    "blanks in a title": ("<A HREF=u>", " ", "x</A>"),
    "lines in a title": ("<A HREF=u>", "\n ", "x</A>"),
    "elements in a title": ("<A HREF=u>", "<b>x", "</A>"),
    "commas": ("<A HREF=u TAGS=',", ",a", "'>"),
    "one name": ("", "<a", ""),
}
READ_HOSTILE = """
import io, json, sys
from pkg.link_manager.bookmark_file import read_bookmarks
from pkg.object_model.errors import InvalidArgument
for name, (head, part, tail) in json.load(sys.stdin).items():
    try:
        for _ in read_bookmarks(io.BytesIO((head + part * (2**20 // len(part)) + tail).encode())):
            pass
    except InvalidArgument:
        pass
    print(name, flush=True)
"""


def test_hostile_files_take_no_quadratic_time() -> None:
    """Each takes a fraction of a second; were it quadratic, a quarter of an hour at least.

    In a process of its own, since an expression that runs away cannot be interrupted.
    """
    command = [sys.executable, "-c", READ_HOSTILE]
    try:
        done = subprocess.run(
            command, input=json.dumps(HOSTILE), capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"not read in time: what comes after {late.stdout!r}")
    assert done.stdout.splitlines() == list(HOSTILE)


def test_elements_are_bounded() -> None:
    with pytest.raises(TooLarge, match="elements"):
        read(b"<b>" * 1_000_001)


# --- there and back ---------------------------------------------------------------------------------------------------


def export(*links: Link) -> bytes:
    return write_head() + b"".join(map(write_bookmark, links)) + write_tail()


def make_link(**fields: object) -> Link:
    values: dict[str, object] = {
        "id": 1,
        "url": "https://a.example/?a=1&b=2",
        "title": "A",
        "description": "",
        "status": LinkStatus.VALID,
        "tags": (),
        "created_at": moment(1600000000),
        "updated_at": moment(1600000001),
        "visibility": Visibility.PUBLIC,
        "version": 1,
    }
    return Link(**(values | fields))  # type: ignore[arg-type]


def assert_same(link: Link, bookmark: Bookmark) -> None:
    for name in ("url", "title", "description", "tags", "created_at", "updated_at", "visibility"):
        assert getattr(bookmark, name) == getattr(link, name), name
    assert bookmark.folders == ()


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("<>&\"' \t\n\r\f\v;#/A=!-]"),
    max_size=40,
)
PLACES = st.sampled_from(["</A>", "<DT>", "&amp;", "&#10;", "<!--", "-->", "]]>", "\n\n<DT><A HREF=x>", "\r\n", "  "])
TEXTS = st.lists(TEXT | PLACES, max_size=4).map("".join)
TAGS = st.lists(TEXT.map(lambda tag: tag.replace(",", "").strip()).filter(bool), max_size=5, unique=True).map(tuple)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)) | st.integers(  # noqa: DTZ001  # UTC comes with timezones
    1, 2**32
).map(moment)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TAGS, TIMES, TIMES, st.sampled_from(Visibility)), min_size=1, max_size=3)
)
def test_what_is_written_reads_back(
    rows: list[tuple[str, str, str, tuple[str, ...], datetime, datetime, Visibility]],
) -> None:
    names = ("url", "title", "description", "tags", "created_at", "updated_at", "visibility")
    links = [make_link(**dict(zip(names, row, strict=True))) for row in rows]
    for link, bookmark in zip(links, read(export(*links)), strict=True):
        assert_same(link, bookmark)


def test_every_character_reads_back() -> None:
    everything = "".join(chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000)
    link = make_link(title=everything[:60_000], description=everything[60_000:130_000], url="h:" + everything[:30_000])
    assert_same(link, one(export(link)))


def test_the_longest_texts_read_back() -> None:
    link = make_link(title="&" * 1_024, description="\r" * 65_536, url="https://a.example/" + '"' * 2_030)
    assert_same(link, one(export(link)))


def test_what_an_export_looks_like() -> None:
    whole = make_link(title='a "b" <c>', description="one\n\ntwo & three ", tags=("x", "y z"))
    odd = make_link(
        url="https://b.example/",
        title="\tb\n",
        created_at=moment(1600000000) + timedelta(microseconds=1),
        visibility=Visibility.FOLLOWERS,
    )
    assert export(whole, odd) == (SAMPLES / "delinkcious.html").read_bytes()


def test_another_reader_gets_it_right_as_well() -> None:
    link = make_link(title="a <b> & “c”", description="one\ntwo <DT>", tags=("x", "é"))
    reference = ReferenceReader()
    reference.feed(export(link).decode())
    (row,) = reference.rows
    assert (row["href"], row["title"], row["tags"]) == (link.url, link.title, "x,é")
    assert row["description"].strip() == link.description
