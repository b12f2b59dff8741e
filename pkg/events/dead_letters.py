"""Events that could not be worked on: kept with the reason, for somebody to look at and to send again."""

from typing import Final

from pkg.events.bus import Delivery
from pkg.events.messages import DEAD_LETTERS, DEDUPLICATION_HEADER, Message
from pkg.object_model.clock import SystemClock

REASON_HEADER: Final = "Delinkcious-Dead-Letter-Reason"
SUBJECT_HEADER: Final = "Delinkcious-Dead-Letter-Subject"
CONSUMER_HEADER: Final = "Delinkcious-Dead-Letter-Consumer"
ATTEMPTS_HEADER: Final = "Delinkcious-Dead-Letter-Attempts"

_MAX_REASON: Final = 500


def dead_letter(delivery: Delivery, consumer: str, reason: str) -> Message:
    """The message as it came, with why, where and for whom it failed in its headers."""
    original = dict(delivery.headers)
    event_id = original.get("ce-id", "")
    return Message(
        id=event_id,
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
