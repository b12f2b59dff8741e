"""What services tell each other, as the domain knows it. How it travels is ``pkg.events``'s affair.

The actor of an event is the user who acted: ``user_id``. ``id`` is unique; who hears an event twice knows it by that.
Wire forms are the contract's; reading ignores what it does not know, so that versions N and N-1 can talk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from pkg.object_model.types import LinkStatus, Visibility
from pkg.object_model.wire import Wire


class LinkEventType(IntEnum):
    ADDED = 0
    UPDATED = 1
    DELETED = 2
    IMPORTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEvent:
    """Something happened to a link; of an import, to many (``count``, with an empty ``url``)."""

    id: int
    type: LinkEventType
    user_id: int
    username: str
    timestamp: datetime
    url: str = ""
    link_id: int = 0
    version: int = 0
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    status: LinkStatus = LinkStatus.PENDING
    visibility: Visibility = Visibility.PUBLIC
    #: One of many, which an ``IMPORTED`` sums up, or a call for another check: for the link checker, not for news.
    bulk: bool = False
    #: Of a call for a check: somebody waits for it, so it goes with what is new.
    urgent: bool = False
    count: int = 0

    def to_wire(self) -> Wire:
        wire: Wire = {
            "EventId": str(self.id),
            "EventType": int(self.type),
            "UserId": str(self.user_id),
            "Username": self.username,
            "Url": self.url,
            "Timestamp": self.timestamp,
            "Id": str(self.link_id),
            "Version": self.version,
            "Title": self.title,
            "Description": self.description,
            "Tags": dict.fromkeys(self.tags, True),
            "Status": self.status,
            "Visibility": self.visibility,
            "Bulk": self.bulk,
            "Count": self.count,
        }
        if self.urgent:
            wire["Urgent"] = True
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "LinkEvent":
        """Raises LookupError, TypeError or ValueError for what is none."""
        return cls(
            id=int(wire["EventId"]),
            type=LinkEventType(wire["EventType"]),
            user_id=int(wire["UserId"]),
            username=wire["Username"],
            timestamp=_read_time(wire["Timestamp"]),
            url=wire["Url"],
            link_id=int(wire["Id"]),
            version=wire["Version"],
            title=wire["Title"],
            description=wire["Description"],
            tags=tuple(wire["Tags"]),
            status=LinkStatus(wire["Status"]),
            visibility=Visibility(wire["Visibility"]),
            bulk=wire["Bulk"],
            count=wire["Count"],
            urgent=wire.get("Urgent", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCheckedEvent:
    """What the link checker found: the original's ``Username, Url, Status``, and when it looked.

    PENDING where the look settled nothing; the rest is as in ``Verdict``.
    """

    id: int
    user_id: int
    username: str
    url: str
    status: LinkStatus
    checked_at: datetime
    reason: str = ""
    transient: bool = False
    moved_to: str = ""
    retry_after: int | None = None
    #: One of many: of an import, or of a sweep.
    bulk: bool = False

    def to_wire(self) -> Wire:
        return {
            "EventId": str(self.id),
            "UserId": str(self.user_id),
            "Username": self.username,
            "Url": self.url,
            "Status": self.status,
            "CheckedAt": self.checked_at,
            "Reason": self.reason,
            "Transient": self.transient,
            "MovedTo": self.moved_to,
            "RetryAfter": self.retry_after,
            "Bulk": self.bulk,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "LinkCheckedEvent":
        """Raises LookupError, TypeError or ValueError for what is none."""
        return cls(
            id=int(wire["EventId"]),
            user_id=int(wire["UserId"]),
            username=wire["Username"],
            url=wire["Url"],
            status=LinkStatus(wire["Status"]),
            checked_at=_read_time(wire["CheckedAt"]),
            reason=wire.get("Reason", ""),
            transient=wire.get("Transient", False),
            moved_to=wire.get("MovedTo", ""),
            retry_after=wire.get("RetryAfter"),
            bulk=wire.get("Bulk", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowEvent:
    """Somebody follows somebody, or does no longer.

    Told in the follower's name, whoever brought it about, so that what is told of a pair keeps its order. Times of one
    follower's events rise from each to the next.
    """

    id: int
    follower_id: int
    follower: str
    followed_id: int
    followed: str
    timestamp: datetime
    #: False: no longer.
    following: bool

    @property
    def user_id(self) -> int:
        return self.follower_id

    def to_wire(self) -> Wire:
        return {
            "EventId": str(self.id),
            "FollowerId": str(self.follower_id),
            "Follower": self.follower,
            "FollowedId": str(self.followed_id),
            "Followed": self.followed,
            "Timestamp": self.timestamp,
            "Following": self.following,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "FollowEvent":
        """Raises LookupError, TypeError or ValueError for what is none."""
        return cls(
            id=int(wire["EventId"]),
            follower_id=int(wire["FollowerId"]),
            follower=wire["Follower"],
            followed_id=int(wire["FollowedId"]),
            followed=wire["Followed"],
            timestamp=_read_time(wire["Timestamp"]),
            following=wire["Following"],
        )


type Event = LinkEvent | LinkCheckedEvent | FollowEvent


def _read_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without its offset")
    return time
