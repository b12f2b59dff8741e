"""Hears whose feeds have changed, and has the streams that show them look again."""

from typing import Final

from prometheus_client import Counter

from pkg.events.announcements import NEWS_CHANGES, Announcements, read_news_change
from pkg.object_model.errors import InvalidArgument
from pkg.runtime.logs import get_logger
from svc.api_gateway_service.news_streams import NewsStreams

HEARD: Final = Counter(
    "delinkcious_news_changes_heard_total",
    "Announcements that feeds have changed, by what came of them: passed on, or unreadable.",
    ("outcome",),
)

_log = get_logger(__name__)


async def hear_news_changes(announcements: Announcements, streams: NewsStreams) -> None:
    """From now on. Whatever may have been missed, all streams look again."""
    passed_on, unreadable = (HEARD.labels(outcome) for outcome in ("passed_on", "unreadable"))

    def hear(body: bytes) -> None:
        try:
            streams.hear(read_news_change(body))
            passed_on.inc()
        except InvalidArgument as fault:
            unreadable.inc()
            _log.warning("an announcement cannot be read", reason=fault.message)

    await announcements.listen(NEWS_CHANGES, hear, streams.look_all)
