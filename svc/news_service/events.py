"""What the news service does about events."""

from collections.abc import Iterable, Sequence

from pkg.events.announcements import NEWS_CHANGES, Announcer, NewsChange, write_news_change
from pkg.events.consumer import Handle
from pkg.events.messages import Message, read_event
from pkg.events.metrics import ANNOUNCEMENTS
from pkg.news_manager.feed_writer import FeedWriter
from pkg.object_model.errors import DelinkciousError
from pkg.object_model.events import Event, FollowEvent, LinkEvent
from pkg.runtime.logs import get_logger

_log = get_logger(__name__)


def write_feeds(writer: FeedWriter, announcer: Announcer) -> Handle:
    """Once feeds are written it is told whose they are, once for all events of a run: those who show them look again.

    Whoever does not hear of it, since NATS is away, looks by itself within two minutes: no event waits for that.
    """
    sent, lost = (ANNOUNCEMENTS.labels(NEWS_CHANGES, outcome) for outcome in ("sent", "lost"))

    async def handle(messages: Sequence[Message]) -> None:
        events = [read_event(message) for message in messages]
        await writer.handle(events)
        change = change_of(events)
        if not any(change):
            return
        try:
            await announcer.announce(NEWS_CHANGES, write_news_change(change))
            sent.inc()
        except DelinkciousError as error:
            lost.inc()
            _log.warning("it is not told that feeds have changed", code=error.code)

    return handle


def change_of(events: Iterable[Event]) -> NewsChange:
    """Whose feeds may be others than before these events. What comes of an import one by one changes none."""
    authors, readers = set(), set()
    for event in events:
        match event:
            case LinkEvent() if not event.bulk:
                authors.add(event.user_id)
            case FollowEvent():
                readers.add(event.follower_id)
            case _:
                pass
    return NewsChange(frozenset(authors), frozenset(readers))
