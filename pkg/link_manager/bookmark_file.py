"""Netscape bookmark files, the format in which every browser and bookmark service lets people take their links along.

There is no standard, only a description (https://learn.microsoft.com/previous-versions/windows/internet-explorer/ie-developer/platform-apis/aa753582(v=vs.85))
and the ways of each product. So reading is generous: any HTML with lists or links will do.

The tokenizer is our own, because ``html.parser`` of CPython 3.13.0 takes quadratic time for some input (one unclosed
comment or tag after the other). It works on bytes, since a str with one emoji in it takes four times the memory, and no
expression in it goes back over what it has read: a file of any content takes time in proportion to its length.
"""

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.entities import html5
from itertools import islice
from typing import IO, Final

from pkg.object_model.errors import InvalidArgument, TooLarge
from pkg.object_model.types import MAX_IMPORT_BYTES, Link, Visibility

#: What is longer than a link may hold, whatever the escaping, is cut here, so that one text of 20 MiB costs little.
_MAX_TEXT_BYTES: Final = 1024 * 1024
#: Of a file. A bookmark takes three to five, and a file with so many is read in seconds.
_MAX_ELEMENTS: Final = 1_000_000
#: More than any product writes, fewer than hurt.
_MAX_ATTRIBUTES: Final = 1_000
_MAX_TAGS: Final = 1_000
_MAX_FOLDERS: Final = 100
#: Of one bookmark; a service writes one.
_MAX_DESCRIPTIONS: Final = 100
_MAX_TIME: Final = 40
#: Where a document says what it is.
_HEAD_BYTES: Final = 4096
#: HTML's, which a text may not begin or end with unless escaped.
_BLANKS: Final = " \t\n\r\f"
_BLANK_BYTES: Final = _BLANKS.encode()
_TRIMMED: Final = _BLANK_BYTES + b"\0"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """A link as a file has it, of any kind: ``javascript:`` and ``place:`` as well."""

    #: In the file, from 1.
    line: int
    url: str
    title: str
    description: str
    tags: tuple[str, ...]
    #: Outermost first.
    folders: tuple[str, ...]
    created_at: datetime | None
    updated_at: datetime | None
    #: None if the file does not say.
    visibility: Visibility | None


def read_bookmarks(file: IO[bytes]) -> Iterator[Bookmark]:
    """The bookmarks of a file, in its order, read when the first one is asked for.

    Bytes that the file's encoding does not have become U+FFFD. The encoding is that of the byte-order mark, or else
    of the META element, or else UTF-8 if it is that, or else windows-1252, as for browsers. A title that breaks over
    lines is put on one; a description keeps its lines. An ``<A>`` begins a bookmark wherever it stands.

    Raises:
        InvalidArgument: ``not_a_bookmark_file``, it is binary, or has no list, no link and not the format's DOCTYPE.
        TooLarge: it is longer than an import may be, or has more elements than that many bookmarks need.
    """
    content = file.read(MAX_IMPORT_BYTES + 1)
    if len(content) > MAX_IMPORT_BYTES:
        raise TooLarge(f"the file is larger than {MAX_IMPORT_BYTES // 2**20} MiB; split it")
    content = _as_utf8(content)
    if b"\0" in content[:_HEAD_BYTES]:
        raise _not_a_bookmark_file()
    # As browsers read them. A carriage return that is meant is written as a reference.
    content = content.replace(b"\0", b"\xef\xbf\xbd").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    reader = _Reader(content)
    yield from reader.read()
    if not reader.is_bookmark_file:
        raise _not_a_bookmark_file()


def _not_a_bookmark_file() -> InvalidArgument:
    return InvalidArgument(
        "this is no bookmarks file; send HTML with links (<A HREF=...>), as browsers and bookmark services export it",
        code="not_a_bookmark_file",
    )


#: What a file begins with -> its encoding. With the marks of UTF-16, the first character of a file that left them out.
_BEGINNINGS: Final = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
_CHARSET: Final = re.compile(rb"<meta\b[^>]{1,200}?charset\s{0,9}=[\s\"']{0,9}([a-z0-9_-]{1,30})", re.IGNORECASE)
#: Of the encodings that browsers know (https://encoding.spec.whatwg.org/#names-and-labels), under their usual names.
_CODECS: Final = {
    "utf-8": "utf-8",
    **{f"windows-125{number}": f"cp125{number}" for number in range(9)},
    **{f"iso-8859-{number}": f"iso8859_{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "windows-874": "cp874",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "ibm866": "cp866",
    "macintosh": "mac_roman",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp",
}
#: Those in which every character is one byte.
_CHARACTER_SETS: Final = frozenset(
    codec for codec in _CODECS.values() if re.match(r"cp125|cp8|iso8859|koi8|mac", codec)
)


def _as_utf8(content: bytes) -> bytes:
    """Not necessarily valid: what is wrong is replaced when a text is taken out."""
    codec = next((codec for beginning, codec in _BEGINNINGS.items() if content.startswith(beginning)), None)
    if codec is None and (said := _CHARSET.search(content, 0, _HEAD_BYTES)):
        codec = _CODECS.get(said[1].decode().lower())
    if codec is None:
        try:
            content.decode()
        except UnicodeDecodeError:
            codec = "cp1252"
    if codec in {None, "utf-8"}:
        return content
    if codec in _CHARACTER_SETS:
        # Otherwise each byte that it lacks would cost a call.
        table = bytes(range(256)).decode(codec, "replace")
        return codecs.charmap_decode(content, "strict", table)[0].encode()
    return content.decode(codec, "replace").encode(errors="replace")


# Quotes count only behind an equals sign, and only if they are closed.
_VALUE: Final = rb"""(?:"[^"]*+"|'[^']*+'|)"""
_INSIDE: Final = rb"(?:[^>=]++|=\s*+" + _VALUE + rb")*+"
_TAG: Final = re.compile(rb"<(?:(!--)|(/?[a-z][^\s/><]*+)(" + _INSIDE + rb"))", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(
    rb"""([^\s/=][^\s/=]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s]*+)))?""", re.IGNORECASE
)
_LINE_BREAK: Final = re.compile(rb"<(?:br|/?p)(?=[\s/>])[^<>]*+>?", re.IGNORECASE)
_MARKUP: Final = re.compile(rb"<(?:!--.*?(?:-->|\Z)|/?[a-z]" + _INSIDE + rb">?)", re.IGNORECASE | re.DOTALL)
_REFERENCE: Final = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*)[;=]?")
_NUMBER: Final = re.compile(r"([0-9]{1,16})(?:\.[0-9]{0,9})?")
_BETWEEN_COMMAS: Final = re.compile(r"[^,]+")
_DOCTYPE: Final = re.compile(rb"<!doctype\s+netscape-bookmark", re.IGNORECASE)

_LISTS: Final = frozenset({b"dl", b"ul", b"ol"})
_LIST_ENDS: Final = frozenset({b"/dl", b"/ul", b"/ol"})
_HEADINGS: Final = frozenset({b"h1", b"h2", b"h3", b"h4", b"h5", b"h6"})
_TEXTS: Final = _HEADINGS | {b"a", b"dd"}
#: End tag -> the elements whose text it ends.
_TEXT_ENDS: Final = {
    b"/a": frozenset({b"a"}),
    **{b"/" + heading: _HEADINGS for heading in _HEADINGS},
    **dict.fromkeys((b"/dt", b"/dd", b"/li"), _TEXTS),
}
_COMMENT: Final = b"!"
_STRUCTURE: Final = _LISTS | _LIST_ENDS | _TEXTS | _TEXT_ENDS.keys() | {b"dt", b"li", b"hr"}
_KNOWN_ATTRIBUTES: Final = frozenset(
    {
        b"href",
        b"add_date",
        b"time_added",
        b"last_modified",
        b"tags",
        b"toread",
        b"private",
        # Our own, for what the others cannot say.
        b"visibility",
        b"created",
        b"updated",
    }
)


@dataclass(slots=True)
class _Draft:
    """A bookmark that may still get a description."""

    line: int
    attributes: dict[bytes, str]
    title: str = ""
    descriptions: list[str] = field(default_factory=list)


class _Reader:
    """Walks through the elements that give a file its structure; all others are part of some text."""

    def __init__(self, content: bytes) -> None:
        self.is_bookmark_file = _DOCTYPE.search(content, 0, _HEAD_BYTES) is not None
        self._content = content
        self._line = 1
        self._counted = 0
        #: The folders around each list that is open.
        self._paths: list[tuple[str, ...]] = [()]
        #: What the next list is called, and the heading that says so.
        self._name = ""
        self._name_from = b""
        self._draft: _Draft | None = None
        #: The element whose text is being read, and where that began.
        self._text_of = b""
        self._text_start = 0

    def read(self) -> Iterator[Bookmark]:
        at = 0
        for _ in range(_MAX_ELEMENTS):
            tag = _TAG.search(self._content, at)
            if tag is None:
                break
            name = tag[2].lower() if tag[2] else _COMMENT
            at = tag.end() + 1 if name is not _COMMENT else self._skip_comment(tag.end())
            if name in _TEXT_ENDS:
                if self._text_of in _TEXT_ENDS[name]:
                    self._end_text(tag.start())
            elif name in _STRUCTURE:
                attributes = _read_attributes(self._content, *tag.span(3)) if name == b"a" and tag[3] else {}
                if name != b"a" or b"href" in attributes:
                    if name != b"dd" and self._draft:
                        yield self._finish(self._draft, tag.start())
                    self._enter(name, attributes, tag.start(), at)
        else:
            raise TooLarge(f"the file has more than {_MAX_ELEMENTS} elements; split it")
        if self._draft:
            yield self._finish(self._draft, len(self._content))

    def _skip_comment(self, start: int) -> int:
        """An unclosed one goes on to the end of the file."""
        end = self._content.find(b"-->", start - 2)
        return end + 3 if end >= 0 else len(self._content)

    def _line_of(self, place: int) -> int:
        self._line += self._content.count(b"\n", self._counted, place)
        self._counted = place
        return self._line

    def _enter(self, name: bytes, attributes: dict[bytes, str], start: int, inside: int) -> None:
        self._end_text(start)
        if name in _LISTS:
            self._open_list(name)
        elif name in _LIST_ENDS and len(self._paths) > 1:
            self._paths.pop()
        elif name == b"a":
            self._draft = _Draft(self._line_of(start), attributes)
        if name in _TEXTS:
            self._text_of, self._text_start = name, inside
        # A description may stand between the name of a folder and its list.
        if name != b"dd":
            self._name = ""
        self.is_bookmark_file |= name in _LISTS or name == b"a"

    def _open_list(self, name: bytes) -> None:
        path = self._paths[-1]
        # In front of a DL, H1 is the title of the file; Pocket and Instapaper give it to the names of their lists.
        if self._name and not (name == b"dl" and self._name_from == b"h1") and len(path) < _MAX_FOLDERS:
            path = (*path, self._name)
        self._paths.append(path)

    def _end_text(self, end: int) -> None:
        if not self._text_of:
            return
        raw = self._content[self._text_start : min(end, self._text_start + _MAX_TEXT_BYTES)]
        if self._text_of in _HEADINGS:
            self._name, self._name_from = _read_text(raw, one_line=True), self._text_of
        elif self._draft and self._text_of == b"a":
            self._draft.title = _read_text(raw, one_line=True)
        elif self._draft and len(self._draft.descriptions) < _MAX_DESCRIPTIONS:
            self._draft.descriptions.append(_read_text(raw, one_line=False))
        self._text_of = b""

    def _finish(self, draft: _Draft, end: int) -> Bookmark:
        self._end_text(end)
        self._draft = None
        return _make_bookmark(draft, self._paths[-1])


def _make_bookmark(draft: _Draft, folders: tuple[str, ...]) -> Bookmark:
    said = draft.attributes.get
    created = _read_time(said(b"created", "")) or _read_time(said(b"add_date") or said(b"time_added", ""))
    return Bookmark(
        line=draft.line,
        url=said(b"href", ""),
        title=draft.title,
        description="\n".join(draft.descriptions),
        tags=_read_tags(said(b"tags", ""), to_read=said(b"toread") == "1"),
        folders=folders,
        created_at=created,
        updated_at=_read_time(said(b"updated", "")) or _read_time(said(b"last_modified", "")),
        visibility=_read_visibility(said(b"visibility", ""), said(b"private", "")),
    )


def _read_attributes(content: bytes, start: int, end: int) -> dict[bytes, str]:
    """Those that matter. Of one that is given twice the first counts."""
    attributes: dict[bytes, str] = {}
    for attribute in islice(_ATTRIBUTE.finditer(content, start, end), _MAX_ATTRIBUTES):
        name = attribute[1].lower()
        if name in _KNOWN_ATTRIBUTES and name not in attributes:
            value = attribute[attribute.lastindex or 1] if attribute.lastindex != 1 else b""
            text = value[:_MAX_TEXT_BYTES].strip(_BLANK_BYTES).decode(errors="replace")
            attributes[name] = _REFERENCE.sub(_resolve, text) if "&" in text else text
    return attributes


def _resolve(reference: re.Match[str]) -> str:
    """In an attribute, what only looks like a reference (``?a=1&copy=2``) is text; many products do not escape there.

    https://html.spec.whatwg.org/multipage/parsing.html#named-character-reference-state
    """
    text = reference[0]
    if text[1] == "#" or (text[-1] != "=" and text[1:] in html5):
        return _unescape(text)
    return text


def _unescape(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:
        # A number of thousands of digits, which is no character.
        return text


def _read_text(raw: bytes, *, one_line: bool) -> str:
    """The text of an element, without the elements in it. References count only after blanks have been trimmed."""
    if b"<" in raw:
        # NUL keeps apart what an element keeps apart (&am<b>p;); no other is left in a file.
        raw = _MARKUP.sub(b"\0", _LINE_BREAK.sub(b"\n", raw))
    raw = raw.strip(_TRIMMED)
    if one_line and b"\n" in raw:
        raw = b" ".join(filter(None, (line.strip(_TRIMMED) for line in raw.split(b"\n"))))
    text = raw.decode(errors="replace")
    return _unescape(text).replace("\0", "") if "&" in text else text.replace("\0", "")


def _read_tags(text: str, *, to_read: bool) -> tuple[str, ...]:
    written = (tag[0].strip() for tag in islice(_BETWEEN_COMMAS.finditer(text), _MAX_TAGS))
    tags = dict.fromkeys(tag for tag in written if tag)
    if to_read:
        tags.setdefault("toread")
    return tuple(tags)


def _read_time(text: str) -> datetime | None:
    """A time since 1970 in seconds, milliseconds or microseconds (each up to the year 2286), or one of ISO 8601.

    0 stands for none.
    """
    if not text:
        return None
    if number := _NUMBER.fullmatch(text):
        since = int(number[1])
        unit = 1_000_000 if since < 10**10 else 1_000 if since < 10**13 else 1
        return _EPOCH + timedelta(microseconds=since * unit) if since else None
    try:
        time = datetime.fromisoformat(text[:_MAX_TIME])
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _read_visibility(own: str, private: str) -> Visibility | None:
    if own in Visibility:
        return Visibility(own)
    if not private:
        return None
    return Visibility.PUBLIC if private == "0" else Visibility.PRIVATE


# --- writing ------------------------------------------------------------------------------------------------------

_ESCAPED: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#13;"}
_ESCAPED_ON_ONE_LINE: Final = {**_ESCAPED, ord("\n"): "&#10;"}
_ESCAPED_IN_ATTRIBUTE: Final = {**_ESCAPED_ON_ONE_LINE, ord("\t"): "&#9;", ord('"'): "&quot;"}


def write_head() -> bytes:
    """What stands before the first bookmark. Nothing tells when a file was written: the same links give the same."""
    return b"""<!DOCTYPE NETSCAPE-Bookmark-file-1>
<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=UTF-8">
<TITLE>Bookmarks</TITLE>
<H1>Bookmarks</H1>
<DL><p>
"""


def write_bookmark(link: Link) -> bytes:
    """One link, from which :func:`read_bookmarks` gets exactly its URL, texts, tags, times and visibility.

    Where the usual attributes cannot say it, ours do: ``CREATED`` and ``UPDATED`` for times that are no whole seconds,
    ``VISIBILITY`` for links that followers see, which are private to any other reader.
    """
    attributes = {
        "HREF": link.url,
        **_time_attributes("ADD_DATE", "CREATED", link.created_at),
        **_time_attributes("LAST_MODIFIED", "UPDATED", link.updated_at),
        "PRIVATE": "0" if link.visibility is Visibility.PUBLIC else "1",
    }
    if link.visibility is Visibility.FOLLOWERS:
        attributes["VISIBILITY"] = link.visibility.value
    if link.tags:
        attributes["TAGS"] = ",".join(link.tags)
    written = " ".join(f'{name}="{_escape(value, _ESCAPED_IN_ATTRIBUTE)}"' for name, value in attributes.items())
    text = f"    <DT><A {written}>{_escape(link.title, _ESCAPED_ON_ONE_LINE)}</A>\n"
    if link.description:
        text += f"    <DD>{_escape(link.description, _ESCAPED)}\n"
    return text.encode()


def write_tail() -> bytes:
    return b"</DL><p>\n"


def _time_attributes(seconds_name: str, exact_name: str, time: datetime) -> dict[str, str]:
    seconds = str((time - _EPOCH) // timedelta(seconds=1))
    attributes = {seconds_name: seconds}
    if _read_time(seconds) != time:
        attributes[exact_name] = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return attributes


def _escape(text: str, characters: dict[int, str]) -> str:
    """With the blanks at both ends as references, for a reader trims the others."""
    inner = text.strip(_BLANKS)
    if len(inner) == len(text):
        return text.translate(characters)
    start = len(text) - len(text.lstrip(_BLANKS))
    ends = text[:start], text[start + len(inner) :]
    before, after = ("".join(f"&#{ord(blank)};" for blank in end) for end in ends)
    return before + inner.translate(characters) + after
