"""Ids of entries: 42 bits of milliseconds since 1970, 15 of what the entry is about, 6 of its author.

A greater id is a newer entry. The same event always has the same id, so that hearing it again makes no second entry.
The author's bits let a store keep all that is one author's in one place, and find it by the id alone.
"""

import zlib
from datetime import UTC, datetime, timedelta
from typing import Final

#: Authors and readers are dealt into so many groups. Fixed: ids that are out say it.
GROUPS: Final = 64

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SOURCE_BITS: Final = 15
_GROUP_BITS: Final = 6
_LAST_MILLISECOND: Final = 2**42 - 1


def make_entry_id(timestamp: datetime, source_id: int, author_id: int) -> int:
    """``source_id`` tells entries of one millisecond apart: the event's id, or the link's."""
    milliseconds = min(max((timestamp - _EPOCH) // _MILLISECOND, 0), _LAST_MILLISECOND)
    source = source_id % 2**_SOURCE_BITS
    return (milliseconds << _SOURCE_BITS | source) << _GROUP_BITS | group_of_user(author_id)


def group_of_user(user_id: int) -> int:
    return zlib.crc32(user_id.to_bytes(8)) % GROUPS


def group_of_entry(entry_id: int) -> int:
    """Its author's."""
    return entry_id % GROUPS
