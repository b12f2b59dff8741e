"""What the client of a stream has of the newest entries of a feed, and what to tell it when they are others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

#: So many of the newest entries are looked at: what ends or comes late among them is told.
WINDOW: Final = 50

#: As the public API shows it.
type Entry = Mapping[str, Any]


class Difference(NamedTuple):
    #: Ids of entries that are no more: deleted, replaced, or of somebody whom the reader does not follow any more.
    gone: Sequence[int]
    #: The oldest first.
    new: Sequence[Entry]


class FeedView:
    def __init__(self, newest: Sequence[Entry], place: int | None = None) -> None:
        """The client has what is not newer than ``place``, the id of an entry; all of it for None."""
        ids = [entry_id(entry) for entry in newest]
        newest_id = max(ids, default=0)
        #: The newest id that the client has heard of, of those that there are; 0 if there are none.
        self.place = newest_id if place is None else min(place, newest_id)
        self._known = {each for each in ids if each <= self.place}
        self._bottom = _bottom(ids)

    def may_miss(self, newest: Sequence[Entry]) -> bool:
        """Whether there may be new ones between those that the client has and ``newest``."""
        return _bottom([entry_id(entry) for entry in newest]) > self.place

    def update(self, newest: Sequence[Entry]) -> Difference:
        """What has become of it. From now on the client has ``newest``."""
        ids = [entry_id(entry) for entry in newest]
        bottom = _bottom(ids)
        # What is below is not looked at, or was not before: it is out of sight, and no news.
        gone = sorted(each for each in self._known.difference(ids) if each >= bottom)
        new = [
            entry for each, entry in zip(ids, newest, strict=True) if each not in self._known and each >= self._bottom
        ]
        difference = Difference(gone, new[::-1])
        self._known, self._bottom = set(ids), bottom
        self.place = max(self.place, *ids) if ids else self.place
        return difference


def entry_id(entry: Entry) -> int:
    return int(entry["Id"])


def _bottom(ids: Sequence[int]) -> int:
    """The lowest id that is looked at."""
    return ids[-1] if len(ids) >= WINDOW else 0
