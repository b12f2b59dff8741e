"""What services tell each other: subjects, envelope and bodies.

CloudEvents 1.0 in binary mode (https://github.com/cloudevents/spec): attributes are headers, the body is the JSON of
the contract. An event's partition is its actor's, so that the order of one user's events is kept.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.events import Event, FollowEvent, LinkCheckedEvent, LinkEvent, LinkEventType
from pkg.runtime.json import decode, encode

#: The one stream of events, and the one of those that could not be worked on.
STREAM: Final = "delinkcious"
DEAD_LETTER_STREAM: Final = "delinkcious-dead-letters"

LINK_EVENTS: Final = "link-events"
SOCIAL_GRAPH_EVENTS: Final = "social-graph-events"
LINK_CHECK_EVENTS: Final = "link-check-events"
DEAD_LETTERS: Final = "dead-letters"
#: Last part of the subject of an event that is one of many.
BULK: Final = "bulk"

#: JetStream drops a repeat by this one.
DEDUPLICATION_HEADER: Final = "Nats-Msg-Id"
#: Seconds within which it does.
DUPLICATE_WINDOW: Final = 600.0

#: Fixed: a user's events must not change their partition while some are on their way.
PARTITIONS: Final = 16


def partition_of(user_id: int) -> int:
    return zlib.crc32(user_id.to_bytes(8)) % PARTITIONS


def partitioned_subject(subject: str, partition: int) -> str:
    return f"{subject}.{partition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event on its way. ``id`` is unique; a repeat has the same one."""

    id: str
    #: The service that tells it.
    source: str
    type: str
    subject: str
    time: datetime
    body: bytes
    #: Of the request that caused it; empty where there was none.
    traceparent: str = ""
    request_id: str = ""
    #: Further headers; they win over those that follow from the rest.
    extra_headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    def headers(self) -> dict[str, str]:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": self.id,
            "ce-source": self.source,
            "ce-type": self.type,
            "ce-time": self.time.isoformat().replace("+00:00", "Z"),
            "content-type": "application/json",
            DEDUPLICATION_HEADER: self.id,
        }
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        if self.request_id:
            headers["X-Request-ID"] = self.request_id
        headers.update(self.extra_headers)
        return headers


def read_message(subject: str, headers: Mapping[str, str] | None, body: bytes) -> Message:
    """
    Raises:
        InvalidArgument: it is no event of ours (``malformed_event``).
    """
    headers = headers or {}
    try:
        return Message(
            id=headers["ce-id"],
            source=headers["ce-source"],
            type=headers["ce-type"],
            subject=subject,
            time=datetime.fromisoformat(headers["ce-time"]),
            body=body,
            traceparent=headers.get("traceparent", ""),
            request_id=headers.get("X-Request-ID", ""),
        )
    except (KeyError, ValueError) as fault:
        raise _malformed(f"header {fault}") from None


class EventName(StrEnum):
    """The CloudEvents type of each."""

    LINK_ADDED = "link.added"
    LINK_UPDATED = "link.updated"
    LINK_DELETED = "link.deleted"
    LINKS_IMPORTED = "links.imported"
    LINK_CHECKED = "link.checked"
    FOLLOWED = "user.followed"
    UNFOLLOWED = "user.unfollowed"


_LINK_EVENT_NAMES: Final = {
    LinkEventType.ADDED: EventName.LINK_ADDED,
    LinkEventType.UPDATED: EventName.LINK_UPDATED,
    LinkEventType.DELETED: EventName.LINK_DELETED,
    LinkEventType.IMPORTED: EventName.LINKS_IMPORTED,
}


def describe(event: Event) -> tuple[EventName, str]:
    """An event's type, and the subject that it belongs to."""
    match event:
        case LinkEvent():
            name = _LINK_EVENT_NAMES[event.type]
            subject = partitioned_subject(LINK_EVENTS, partition_of(event.user_id))
            # On a lane of their own: somebody's import must not keep everybody's next link waiting.
            return name, f"{subject}.{BULK}" if event.bulk and not event.urgent else subject
        case FollowEvent():
            name = EventName.FOLLOWED if event.following else EventName.UNFOLLOWED
            return name, partitioned_subject(SOCIAL_GRAPH_EVENTS, partition_of(event.user_id))
        case LinkCheckedEvent():
            return EventName.LINK_CHECKED, f"{LINK_CHECK_EVENTS}.{BULK}" if event.bulk else LINK_CHECK_EVENTS


def time_of(event: Event) -> datetime:
    return event.checked_at if isinstance(event, LinkCheckedEvent) else event.timestamp


def write_message(event: Event, source: str, *, traceparent: str = "", request_id: str = "") -> Message:
    name, subject = describe(event)
    return Message(
        id=str(event.id),
        source=source,
        type=name,
        subject=subject,
        time=time_of(event),
        body=encode(event.to_wire()),
        traceparent=traceparent,
        request_id=request_id,
    )


def read_event(message: Message) -> Event:
    """
    Raises:
        InvalidArgument: the body is not what the type promises (``malformed_event``).
    """
    try:
        wire = decode(message.body)
        match message.type:
            case EventName.FOLLOWED | EventName.UNFOLLOWED:
                return FollowEvent.from_wire(wire)
            case EventName.LINK_CHECKED:
                return LinkCheckedEvent.from_wire(wire)
            case _:
                return LinkEvent.from_wire(wire)
    except (LookupError, TypeError, ValueError, InvalidArgument) as fault:
        raise _malformed(str(fault)) from None


def _malformed(what: str) -> InvalidArgument:
    return InvalidArgument(f"this is no event of ours: {what}", code="malformed_event")
