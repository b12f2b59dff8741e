"""Events that could not be worked on, with the reason in their headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkg.events.bus import Delivery
from pkg.events.messages import DEAD_LETTERS, DEDUPLICATION_HEADER, Message
from pkg.object_model.clock import SystemClock

HEADER_PREFIX: Final = "Delinkcious-Dead-Letter-"
REASON_HEADER: Final = f"{HEADER_PREFIX}Reason"
SUBJECT_HEADER: Final = f"{HEADER_PREFIX}Subject"
CONSUMER_HEADER: Final = f"{HEADER_PREFIX}Consumer"
ATTEMPTS_HEADER: Final = f"{HEADER_PREFIX}Attempts"

_MAX_REASON: Final = 500


def dead_letter(delivery: Delivery, consumer: str, reason: str) -> Message:
    """The message as it came, with why, where and for whom it failed in its headers."""
    original = dict(delivery.headers)
    return Message(
        id=original.get("ce-id", ""),
        source=original.get("ce-source", ""),
        type=original.get("ce-type", ""),
        subject=f"{DEAD_LETTERS}.{consumer}",
        time=SystemClock().now(),
        body=delivery.body,
        extra_headers={
            **original,
            # Of this delivery: the same event may die again after it was sent again.
            DEDUPLICATION_HEADER: f"{consumer}.{delivery.sequence}",
            REASON_HEADER: reason[:_MAX_REASON],
            SUBJECT_HEADER: delivery.subject,
            CONSUMER_HEADER: consumer,
            ATTEMPTS_HEADER: str(delivery.attempt),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    id: int
    #: When it was kept.
    time: datetime
    headers: Mapping[str, str]
    body: bytes

    @property
    def consumer(self) -> str:
        return self.headers.get(CONSUMER_HEADER, "")

    @property
    def subject(self) -> str:
        """Where it was before."""
        return self.headers.get(SUBJECT_HEADER, "")

    @property
    def reason(self) -> str:
        return self.headers.get(REASON_HEADER, "")

    @property
    def attempts(self) -> int:
        text = self.headers.get(ATTEMPTS_HEADER, "")
        return int(text) if text.isdecimal() else 0

    @property
    def type(self) -> str:
        return self.headers.get("ce-type", "")

    @property
    def event_id(self) -> str:
        return self.headers.get("ce-id", "")
