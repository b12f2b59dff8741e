"""What the news service does about events."""

from collections.abc import Sequence

from pkg.events.consumer import Handle
from pkg.events.messages import Message, read_event
from pkg.news_manager.feed_writer import FeedWriter


def write_feeds(writer: FeedWriter) -> Handle:
    async def handle(messages: Sequence[Message]) -> None:
        await writer.handle([read_event(message) for message in messages])

    return handle
