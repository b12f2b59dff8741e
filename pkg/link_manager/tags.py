"""Tags: as they are shown, and when two of them are one."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from pkg.object_model.errors import InvalidArgument

MAX_TAG_LENGTH: Final = 255
MAX_TAGS: Final = 100

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def tag_key(tag: str) -> str:
    """Two tags are equal when their keys are."""
    if tag.isascii():
        return tag.strip().lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", tag.strip()).casefold())


def parse_sought(tag: str) -> str:
    """The key of a tag that is looked for, or of how one begins; empty for any.

    Raises:
        InvalidArgument: no tag is so long.
    """
    # Not of the key, which can be longer: that of "ß" is "ss".
    if len(tag) > MAX_TAG_LENGTH:
        raise _too_long()
    return tag_key(tag)


def parse_tags(given: Iterable[str]) -> tuple[str, ...]:
    """The tags in their order, each once, as first written. Blank ones are left out.

    Raises:
        InvalidArgument: one is too long, or has a comma or a control character in it; there are too many.
    """
    tags = merge_tags((), map(_parse_tag, given))
    if len(tags) > MAX_TAGS:
        raise too_many_tags()
    return tags


def merge_tags(present: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    tags = {tag_key(tag): tag for tag in present}
    for tag in more:
        if tag:
            tags.setdefault(tag_key(tag), tag)
    return tuple(tags.values())


def remove_tags(present: Iterable[str], gone: Iterable[str]) -> tuple[str, ...]:
    keys = {tag_key(tag) for tag in gone}
    return tuple(tag for tag in present if tag_key(tag) not in keys)


def mend_tag(text: str) -> str:
    """Text from a file as a tag that can be kept; empty if nothing of it can."""
    text = _CONTROL.sub(" ", text.replace(",", " "))
    return unicodedata.normalize("NFC", text).strip()[:MAX_TAG_LENGTH].strip()


def too_many_tags() -> InvalidArgument:
    return InvalidArgument(f"a link has at most {MAX_TAGS} tags; send fewer", code="too_many_tags")


def _parse_tag(given: str) -> str:
    tag = given.strip() if given.isascii() else unicodedata.normalize("NFC", given.strip())
    if len(tag) > MAX_TAG_LENGTH:
        raise _too_long()
    if "," in tag:
        raise InvalidArgument("a tag must not have a comma in it; send two tags", code="invalid_tag")
    if _CONTROL.search(tag):
        raise InvalidArgument("a tag must not have control characters in it; remove them", code="invalid_tag")
    return tag


def _too_long() -> InvalidArgument:
    return InvalidArgument(f"a tag has at most {MAX_TAG_LENGTH} characters; shorten it", code="tag_too_long")
