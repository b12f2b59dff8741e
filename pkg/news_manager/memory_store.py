"""News in the memory of one process. Nothing here waits, so each method is one step for everybody else."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pkg.news_manager.store import (
    FOLLOW_MEMORY,
    GONE_MEMORY,
    LEAVING,
    LIFETIME,
    MAX_FEED_LENGTH,
    Change,
    Entry,
    EntryJson,
    FollowOrder,
    LinkEnd,
    NewsStore,
    Stretch,
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
    #: Newest first.
    ids: list[int] = field(default_factory=list)


class MemoryNewsStore(NewsStore):
    def __init__(self, clock: Clock, *, max_length: int = MAX_FEED_LENGTH, lifetime: timedelta = LIFETIME) -> None:
        self._max_length = max_length
        self._lifetime = lifetime
        self._entries: _Expiring[int, Entry] = _Expiring(clock)
        #: By author and link.
        self._links: _Expiring[tuple[int, int], _LinkEntry] = _Expiring(clock)
        self._feeds: _Expiring[int, _Feed] = _Expiring(clock)
        #: By follower and author.
        self._follows: _Expiring[tuple[int, int], FollowOrder] = _Expiring(clock)
        self._left: _Expiring[tuple[int, int], bool] = _Expiring(clock)
        self._gone: _Expiring[int, bool] = _Expiring(clock)

    async def change_entries(self, changes: Sequence[Entry | LinkEnd]) -> list[Change]:
        return [self._change_entry(change) for change in changes]

    async def find_or_save_entries(self, entries: Sequence[Entry]) -> list[int]:
        found = []
        for entry in entries:
            if self._gone.get(entry.author_id):
                continue
            known = self._links.get((entry.author_id, entry.link_id))
            if known is None:
                self._put(entry, 2 * entry.event.version - 1)
                found.append(entry.id)
            elif known.entry_id is not None:
                found.append(known.entry_id)
        return found

    async def push(
        self, author_id: int, entry_ids: Collection[int], replaced: Sequence[int], follower_ids: Sequence[int]
    ) -> None:
        for follower_id in follower_ids:
            if not (self._left.get((follower_id, author_id)) or self._gone.get(follower_id)):
                self._change(follower_id, add=entry_ids, remove=replaced)

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
        return True

    async def merge(self, follower_id: int, author_id: int, order: FollowOrder, entry_ids: Sequence[int]) -> None:
        if self._follows.get((follower_id, author_id)) == order and entry_ids:
            self._change(follower_id, add=entry_ids)

    async def drop_author(self, follower_id: int, author_id: int, order: FollowOrder) -> None:
        feed = self._feeds.get(follower_id)
        if feed is None or self._follows.get((follower_id, author_id)) != order:
            return
        entries = [self._entries.get(entry_id) for entry_id in feed.ids]
        feed.ids = [entry.id for entry in entries if entry is not None and entry.author_id != author_id]

    async def read_feed(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[Entry]:
        feed = self._feeds.get(reader_id) or _Feed()
        above, below, oldest = stretch
        ids = (
            entry_id
            for entry_id in feed.ids
            if (above is None or entry_id > above) and (below is None or entry_id < below)
        )
        entries = [entry for entry_id in ids if (entry := self._entries.get(entry_id)) is not None]
        return entries[-limit:] if oldest else entries[:limit]

    async def read_feed_json(self, reader_id: int, stretch: Stretch, limit: int) -> Sequence[EntryJson]:
        entries = await self.read_feed(reader_id, stretch, limit)
        return [EntryJson(entry.id, _encode(news_event_to_wire(entry.event))) for entry in entries]

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        self._gone.put(user_id, True, GONE_MEMORY)
        self._feeds.pop(user_id)
        self._entries.erase(lambda _id, entry: entry.author_id == user_id)
        self._links.erase(lambda link, _: link[0] == user_id)
        self._follows.erase(lambda pair, _: user_id in pair)
        self._left.erase(lambda pair, _: user_id in pair)
        return None

    def _change_entry(self, change: Entry | LinkEnd) -> Change:
        if self._gone.get(change.author_id):
            return Change(False, None)
        return self._end(change) if isinstance(change, LinkEnd) else self._save(change)

    def _save(self, entry: Entry) -> Change:
        if not entry.link_id:
            self._entries.put(entry.id, entry, self._lifetime)
            return Change(True, None)
        rank = 2 * entry.event.version
        known = self._links.get((entry.author_id, entry.link_id))
        if known is not None and known.rank >= rank:
            return Change(known.entry_id == entry.id, None)
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

    def _change(self, reader_id: int, *, add: Collection[int], remove: Sequence[int] = ()) -> None:
        feed = self._feeds.get(reader_id) or _Feed()
        feed.ids = sorted({*feed.ids, *add}.difference(remove), reverse=True)[: self._max_length]
        self._feeds.put(reader_id, feed, self._lifetime)


def _encode(wire: Wire) -> bytes:
    """As ``pkg.runtime.json`` does, which is not for a store of the manager's own package."""
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":"), default=_time).encode()


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
