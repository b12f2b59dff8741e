"""News in the memory of one process. Nothing here waits, so each method is one step for everybody else."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pkg.news_manager.store import (
    BUILDING,
    DOUBT,
    FOLLOW_MEMORY,
    GONE_MEMORY,
    LEAVING,
    LIFETIME,
    MAX_FEED_LENGTH,
    Beginning,
    Change,
    Entry,
    EntryJson,
    FeedNotBuiltError,
    FollowOrder,
    LinkEnd,
    NewsStore,
    Share,
    Stretch,
    Timeline,
)
from pkg.object_model import erasure
from pkg.object_model.clock import Clock
from pkg.object_model.wire import Wire, news_event_to_wire


@dataclass(slots=True)
class _Kept[T]:
    value: T
    until: datetime


class _Expiring[KeyT, T]:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[KeyT, _Kept[T]] = {}

    def get(self, key: KeyT) -> T | None:
        kept = self._kept.get(key)
        if kept is not None and kept.until <= self._clock.now():
            del self._kept[key]
            return None
        return kept.value if kept is not None else None

    def put(self, key: KeyT, value: T, lifetime: timedelta) -> None:
        self._kept[key] = _Kept(value, self._clock.now() + lifetime)

    def pop(self, key: KeyT) -> None:
        self._kept.pop(key, None)

    def visit(self, change: Callable[[T], object]) -> None:
        for kept in self._kept.values():
            change(kept.value)

    def erase(self, unwanted: Callable[[KeyT, T], bool]) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if not unwanted(key, kept.value)}


@dataclass(frozen=True, slots=True)
class _LinkEntry:
    #: Twice the version, and one less for what an event of this version may replace.
    rank: int
    #: None: the link has ended.
    entry_id: int | None


@dataclass(slots=True)
class _Feed:
    #: None when it is built.
    builder: str | None
    #: Newest first.
    ids: list[int] = field(default_factory=list)
    #: By author, how far it has come in their timeline.
    seen: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Timeline:
    """What has come into it, the latest last."""

    ids: list[int] = field(default_factory=list)
    #: Another number after each that comes, never one of before.
    count: int = 0


class MemoryNewsStore(NewsStore):
    def __init__(
        self,
        clock: Clock,
        *,
        max_length: int = MAX_FEED_LENGTH,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._max_length = max_length
        self._lifetime = lifetime
        self._entries: _Expiring[int, Entry] = _Expiring(clock)
        #: By author and link.
        self._links: _Expiring[tuple[int, int], _LinkEntry] = _Expiring(clock)
        #: When it was begun to remember them.
        self._since: datetime | None = None
        self._feeds: _Expiring[int, _Feed] = _Expiring(clock)
        self._timelines: _Expiring[int, _Timeline] = _Expiring(clock)
        self._noted = 0
        self._open: _Expiring[int, Timeline] = _Expiring(clock)
        self._progress: _Expiring[tuple[int, int], str] = _Expiring(clock)
        #: By follower and author.
        self._follows: _Expiring[tuple[int, int], FollowOrder] = _Expiring(clock)
        self._left: _Expiring[tuple[int, int], bool] = _Expiring(clock)
        self._gone: _Expiring[int, bool] = _Expiring(clock)

    async def change_entries(
        self, changes: Sequence[Entry | LinkEnd], now: datetime, *, certain: bool = False
    ) -> list[Change]:
        self._since = self._since or now
        certain_from = None if certain else self._since + DOUBT
        return [self._change_entry(change, certain_from) for change in changes]

    async def find_or_save_entries(self, entries: Sequence[Entry]) -> list[int | None]:
        return [self._find_or_save(entry) for entry in entries]

    async def push(
        self, author_id: int, entry_ids: Collection[int], replaced: Sequence[int], follower_ids: Sequence[int]
    ) -> None:
        for follower_id in follower_ids:
            feed = self._feed_of_follower(follower_id, author_id)
            if feed is not None:
                self._change(feed, add=entry_ids, remove=replaced)

    async def find_progress(self, author_id: int, entry_ids: Collection[int]) -> str:
        places = {self._progress.get((author_id, entry_id)) for entry_id in entry_ids}
        return (places.pop() or "") if len(places) == 1 else ""

    async def keep_progress(self, author_id: int, entry_ids: Collection[int], place: str) -> None:
        for entry_id in entry_ids:
            if place:
                self._progress.put((author_id, entry_id), place, LEAVING)
            else:
                self._progress.pop((author_id, entry_id))

    async def set_following(self, follower_id: int, author_id: int, order: FollowOrder, following: bool) -> bool:
        if self._gone.get(follower_id) or self._gone.get(author_id):
            return False
        pair = follower_id, author_id
        known = self._follows.get(pair)
        if known is not None and known > order:
            return False
        self._follows.put(pair, order, FOLLOW_MEMORY)
        if following:
            self._left.pop(pair)
        else:
            self._left.put(pair, True, LEAVING)
            feed = self._feeds.get(follower_id)
            if feed is not None:
                feed.seen.pop(author_id, None)
        return True

    async def merge(self, follower_id: int, share: Share, order: FollowOrder) -> None:
        feed = self._feeds.get(follower_id)
        if feed is not None and self._follows.get((follower_id, share.author_id)) == order:
            self._give(feed, share)

    async def drop_author(self, follower_id: int, author_id: int, order: FollowOrder) -> None:
        feed = self._feeds.get(follower_id)
        if feed is None or self._follows.get((follower_id, author_id)) != order:
            return
        entries = [self._entries.get(entry_id) for entry_id in feed.ids]
        feed.ids = [entry.id for entry in entries if entry is not None and entry.author_id != author_id]

    async def read_feed(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[Entry]:
        feed = self._feeds.get(reader_id)
        if feed is None or feed.builder is not None:
            raise FeedNotBuiltError
        self._feeds.put(reader_id, feed, self._lifetime)
        above, below, oldest = stretch
        if below is None:
            self._take(feed)
        ids = (
            entry_id
            for entry_id in feed.ids
            if (above is None or entry_id > above) and (below is None or entry_id < below)
        )
        entries = _without_repeats(entry for entry_id in ids if (entry := self._entries.get(entry_id)) is not None)
        return entries[-limit:] if oldest else entries[:limit]

    async def read_feed_json(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[EntryJson]:
        entries = await self.read_feed(reader_id, stretch, limit)
        return [EntryJson(entry.id, _encode(news_event_to_wire(entry.event))) for entry in entries]

    async def has_feed(self, reader_id: int) -> bool:
        return self._feeds.get(reader_id) is not None

    async def begin_feed(self, reader_id: int, builder: str) -> Beginning:
        if self._gone.get(reader_id):
            return Beginning.GONE
        feed = self._feeds.get(reader_id)
        if feed is not None:
            return Beginning.BUILT if feed.builder is None else Beginning.BUSY
        self._feeds.put(reader_id, _Feed(builder), BUILDING)
        return Beginning.BEGUN

    async def fill_feed(self, reader_id: int, builder: str, shares: Sequence[Share]) -> bool:
        feed = self._feeds.get(reader_id)
        if feed is None or feed.builder != builder:
            return False
        self._feeds.put(reader_id, feed, BUILDING)
        for share in shares:
            if not self._left.get((reader_id, share.author_id)):
                self._give(feed, share)
        return True

    async def finish_feed(self, reader_id: int, builder: str) -> bool:
        feed = self._feeds.get(reader_id)
        if feed is None or feed.builder != builder:
            return False
        feed.builder = None
        self._feeds.put(reader_id, feed, self._lifetime)
        return True

    async def abandon_feed(self, reader_id: int, builder: str) -> None:
        feed = self._feeds.get(reader_id)
        if feed is not None and feed.builder == builder:
            self._feeds.pop(reader_id)

    async def find_timelines(self, author_ids: Collection[int]) -> Mapping[int, Timeline]:
        return {author_id: found for author_id in author_ids if (found := self._open.get(author_id)) is not None}

    async def open_timeline(self, author_id: int) -> None:
        if self._open.get(author_id) is None and not self._gone.get(author_id):
            self._open.put(author_id, Timeline(""), self._lifetime)

    async def note_in_timeline(self, author_id: int, entry_ids: Collection[int]) -> bool:
        opened = self._open.get(author_id)
        if opened is None:
            return False
        timeline = self._timelines.get(author_id) or _Timeline()
        new = sorted({*entry_ids}.difference(timeline.ids))
        timeline.ids = [*timeline.ids, *new][-self._max_length :]
        self._noted += len(new)
        timeline.count = self._noted
        self._timelines.put(author_id, timeline, self._lifetime)
        self._open.put(author_id, opened, self._lifetime)
        return True

    async def join_timeline(self, author_id: int, follower_ids: Sequence[int]) -> None:
        for follower_id in follower_ids:
            feed = self._feed_of_follower(follower_id, author_id)
            if feed is not None:
                feed.seen.setdefault(author_id, 0)

    async def keep_untold(self, author_id: int, place: str | None) -> None:
        if self._open.get(author_id) is not None:
            self._open.put(author_id, Timeline(place), self._lifetime)

    async def close_timeline(self, author_id: int) -> None:
        self._open.pop(author_id)

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        self._gone.put(user_id, True, GONE_MEMORY)
        for mine in (self._feeds, self._timelines, self._open):
            mine.pop(user_id)
        self._feeds.visit(lambda feed: feed.seen.pop(user_id, None))
        self._progress.erase(lambda progress, _: progress[0] == user_id)
        self._entries.erase(lambda _id, entry: entry.author_id == user_id)
        self._links.erase(lambda link, _: link[0] == user_id)
        self._follows.erase(lambda pair, _: user_id in pair)
        self._left.erase(lambda pair, _: user_id in pair)
        return None

    def _change_entry(self, change: Entry | LinkEnd, certain_from: datetime | None) -> Change:
        if self._gone.get(change.author_id):
            return Change(False, None)
        return self._end(change) if isinstance(change, LinkEnd) else self._save(change, certain_from)

    def _save(self, entry: Entry, certain_from: datetime | None) -> Change:
        if not entry.link_id:
            self._entries.put(entry.id, entry, self._lifetime)
            return Change(True, None)
        rank = 2 * entry.event.version
        known = self._links.get((entry.author_id, entry.link_id))
        if known is not None and known.rank >= rank:
            return Change(known.entry_id == entry.id, None)
        if certain_from is not None and (known is None or known.rank % 2) and entry.event.timestamp < certain_from:
            return Change(False, None, doubtful=True)
        self._put(entry, rank)
        if known is None or known.entry_id is None or known.entry_id == entry.id:
            return Change(True, None)
        self._entries.pop(known.entry_id)
        return Change(True, known.entry_id)

    def _end(self, end: LinkEnd) -> Change:
        link = end.author_id, end.link_id
        known = self._links.get(link)
        if known is not None and known.rank > 2 * end.version:
            return Change(False, None)
        self._links.put(link, _LinkEntry(2 * end.version, None), self._lifetime)
        if known is None or known.entry_id is None:
            return Change(True, None)
        self._entries.pop(known.entry_id)
        return Change(True, known.entry_id)

    def _put(self, entry: Entry, rank: int) -> None:
        self._links.put((entry.author_id, entry.link_id), _LinkEntry(rank, entry.id), self._lifetime)
        self._entries.put(entry.id, entry, self._lifetime)

    def _find_or_save(self, entry: Entry) -> int | None:
        if self._gone.get(entry.author_id):
            return None
        known = self._links.get((entry.author_id, entry.link_id))
        if known is not None:
            return known.entry_id
        self._put(entry, 2 * entry.event.version - 1)
        return entry.id

    def _feed_of_follower(self, follower_id: int, author_id: int) -> _Feed | None:
        if self._left.get((follower_id, author_id)) or self._gone.get(follower_id):
            return None
        return self._feeds.get(follower_id)

    def _give(self, feed: _Feed, share: Share) -> None:
        if share.timeline:
            feed.seen.setdefault(share.author_id, 0)
        self._change(feed, add=share.entry_ids)

    def _take(self, feed: _Feed) -> None:
        for author_id, seen in feed.seen.items():
            timeline = self._timelines.get(author_id)
            if timeline is not None and timeline.count != seen:
                self._change(feed, add=timeline.ids)
                feed.seen[author_id] = timeline.count

    def _change(self, feed: _Feed, *, add: Collection[int], remove: Sequence[int] = ()) -> None:
        feed.ids = sorted({*feed.ids, *add}.difference(remove), reverse=True)[: self._max_length]


def _encode(wire: Wire) -> bytes:
    """As ``pkg.runtime.json`` does, which is not for a store of the manager's own package."""
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":"), default=_time).encode()


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def _without_repeats(entries: Iterable[Entry]) -> list[Entry]:
    """The newest of each author's URL: a link saved anew may be known before the end of the one before is told."""
    once: dict[tuple[int, str, int], Entry] = {}
    for entry in entries:
        url = entry.event.url
        once.setdefault((entry.author_id, url, 0 if url else entry.id), entry)
    return list(once.values())
