"""Entries, as tests need them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pkg.news_manager.entry_ids import make_entry_id
from pkg.news_manager.store import Beginning, Change, Entry, FollowOrder, LinkEnd, NewsStore, Share, Stretch
from pkg.object_model.types import LinkStatus, NewsEvent, NewsEventType

NOW = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
#: So that nothing is doubtful.
LONG_BEFORE = NOW - timedelta(hours=1)
ALICE, BOB, CAROL, DAVE = 2**62 + 7, 2**63 - 1, 9, 104_857_600_000_001


def entry(
    number: int, *, author_id: int = ALICE, link_id: int | None = None, version: int = 1, title: str = ""
) -> Entry:
    """Numbers are seconds: a greater one is newer. The link is the entry's own, unless one is named."""
    timestamp = NOW + timedelta(seconds=number)
    return Entry(
        author_id=author_id,
        link_id=number if link_id is None else link_id,
        event=NewsEvent(
            id=make_entry_id(timestamp, number, author_id),
            event_type=NewsEventType.LINK_ADDED if version == 1 else NewsEventType.LINK_UPDATED,
            username=f"user{author_id}",
            url=f"https://{number}.example/é?q=%20",
            timestamp=timestamp,
            title=title or f"Title {number} \U0001f600",
            description='a "quoted"\nline',
            tags=("zwei", "日本", "a/b"),
            status=LinkStatus.VALID,
            version=version,
        ),
    )


async def save(store: NewsStore, one: Entry) -> Change:
    (became,) = await store.change_entries([one], LONG_BEFORE)
    return became


async def end(store: NewsStore, author_id: int, link_id: int, version: int) -> int | None:
    """The id of the entry that ended."""
    (became,) = await store.change_entries(
        [LinkEnd(author_id=author_id, link_id=link_id, version=version)], LONG_BEFORE
    )
    return became.ended


async def open_feed(store: NewsStore, *reader_ids: int) -> None:
    """As if it had been read once before."""
    for reader_id in reader_ids:
        if await store.begin_feed(reader_id, "a test") is Beginning.BEGUN:
            assert await store.finish_feed(reader_id, "a test")


async def give(
    store: NewsStore, reader_id: int, author_id: int, order: FollowOrder, ids: Sequence[int | None], **share: bool
) -> None:
    """To who begins to follow."""
    known = [entry_id for entry_id in ids if entry_id is not None]
    await store.merge(reader_id, Share(author_id, known, timeline=share.get("timeline", False)), order)


async def publish(store: NewsStore, *entries: Entry, to: tuple[int, ...] = (BOB,)) -> None:
    await open_feed(store, *to)
    for one in entries:
        saved = await save(store, one)
        assert saved.current
        await store.push(one.author_id, [one.id], [] if saved.ended is None else [saved.ended], to)


async def titles(store: NewsStore, reader_id: int = BOB, after: int | None = None, limit: int = 2_000) -> list[str]:
    await open_feed(store, reader_id)
    return [one.event.title for one in await store.read_feed(reader_id, Stretch(below=after), limit)]


async def numbers(store: NewsStore, reader_id: int = BOB, after: int | None = None, limit: int = 2_000) -> list[int]:
    """Of the entries of a feed, as they are read."""
    await open_feed(store, reader_id)
    read = await store.read_feed(reader_id, Stretch(below=after), limit)
    return [round((one.event.timestamp - NOW).total_seconds()) for one in read]
