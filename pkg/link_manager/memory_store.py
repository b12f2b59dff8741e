"""Links in memory: for tests, and for whoever wants to try the manager without a database.

Nothing in it awaits, so that every method is atomic.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import nlargest
from typing import Final

from pkg.link_manager.checks import Check, unknown
from pkg.link_manager.store import (
    ASK_AGAIN_AFTER,
    MAX_SHARED_DESCRIPTION,
    AnsweredBeforeError,
    Audience,
    Candidate,
    DueCheck,
    FoundLink,
    ImportNews,
    ImportOutcome,
    LinkQuery,
    LinkStore,
    Move,
    Once,
    Place,
    idempotency_key_reused,
    link_exists,
    link_limit_reached,
    pause_after,
)
from pkg.link_manager.tags import tag_key
from pkg.link_manager.words import index_words, score
from pkg.object_model import erasure
from pkg.object_model.events import Event, LinkEvent
from pkg.object_model.types import Link, LinkHistory, LinkStatus, SharedLink, StatusCount, TagCount

_STATUSES: Final = tuple(LinkStatus)


@dataclass(slots=True)
class _Shelf:
    """What one user has."""

    links: dict[bytes, Link] = field(default_factory=dict)
    #: Of deleted links as well.
    versions: dict[bytes, int] = field(default_factory=dict)
    #: When those were added of whose URL nothing is known.
    unscheduled: dict[bytes, datetime] = field(default_factory=dict)
    #: By key of the tag, as first written.
    tags: dict[str, str] = field(default_factory=dict)
    answers: dict[bytes, tuple[bytes, datetime, str]] = field(default_factory=dict)

    def put(self, url_key: bytes, link: Link) -> None:
        self.links[url_key] = link
        self.versions[url_key] = link.version
        for tag in link.tags:
            self.tags.setdefault(tag_key(tag), tag)

    def add(self, url_key: bytes, link: Link, now: datetime, known: Check | None) -> Link:
        added = replace(link, version=self.versions.get(url_key, 0) + 1)
        if known is None:
            self.unscheduled[url_key] = now
        else:
            added = _show(known, added)
        self.put(url_key, added)
        return added

    def remove(self, url_key: bytes) -> None:
        self.versions[url_key] = self.links.pop(url_key).version + 1
        self.unscheduled.pop(url_key, None)
        self.forget_unused_tags()

    def forget_unused_tags(self) -> None:
        used = {tag_key(tag) for link in self.links.values() for tag in link.tags}
        self.tags = {key: tag for key, tag in self.tags.items() if key in used}

    def seen_by(self, audience: Audience) -> Iterator[Link]:
        return (link for link in self.links.values() if audience.sees(link.visibility))


class MemoryLinkStore(LinkStore):
    def __init__(self, events: list[Event] | None = None) -> None:
        #: What was told, in order.
        self.events: list[Event] = [] if events is None else events
        self._shelves: dict[int, _Shelf] = defaultdict(_Shelf)
        self._checks: dict[bytes, Check] = {}
        #: How often a look was asked for since the last answer.
        self._unanswered: dict[bytes, int] = defaultdict(int)
        self._sweeping = False

    async def find_links(self, query: LinkQuery) -> list[FoundLink]:
        found = [
            FoundLink(link, score(index_words(link), query.words) if query.words else 0)
            for link in self._shelves[query.user_id].seen_by(query.audience)
            if _matches(link, query)
        ]
        found = [row for row in found if row.score or not query.words]
        found.sort(key=_place, reverse=True)
        if query.after is not None:
            found = [row for row in found if _place(row) < query.after]
        return found[: query.limit]

    async def find_shared(self, user_ids: Sequence[int], limit: int, changed_after: datetime) -> list[SharedLink]:
        return [
            SharedLink(user_id, replace(link, description=link.description[:MAX_SHARED_DESCRIPTION]))
            for user_id in user_ids
            if user_id in self._shelves
            for link in nlargest(
                limit,
                (one for one in self._shelves[user_id].seen_by(Audience.FOLLOWER) if one.updated_at >= changed_after),
                key=lambda link: (link.updated_at, link.id),
            )
        ]

    async def read_oldest_first(
        self, user_id: int, audience: Audience, after: tuple[datetime, int] | None, limit: int
    ) -> list[Link]:
        links = sorted(self._shelves[user_id].seen_by(audience), key=lambda link: (link.created_at, link.id))
        return [link for link in links if after is None or (link.created_at, link.id) > after][:limit]

    async def find_tags(
        self, user_id: int, audience: Audience, prefix: str, after: str | None, limit: int
    ) -> list[tuple[str, TagCount]]:
        shelf = self._shelves[user_id]
        counts: dict[str, int] = defaultdict(int)
        for link in shelf.seen_by(audience):
            for tag in link.tags:
                counts[tag_key(tag)] += 1
        keys = sorted(key for key in counts if key.startswith(prefix) and (after is None or key > after))
        return [(key, TagCount(shelf.tags[key], counts[key])) for key in keys[:limit]]

    async def count_links(self, user_id: int, audience: Audience) -> int:
        return sum(1 for _ in self._shelves[user_id].seen_by(audience))

    async def count_statuses(self, user_id: int) -> list[StatusCount]:
        links = self._shelves[user_id].links.values()
        counts = Counter((_STATUSES.index(link.status), link.status_reason) for link in links)
        return [StatusCount(_STATUSES[number], reason, count) for (number, reason), count in sorted(counts.items())]

    async def find_history(self, user_id: int, url_key: bytes) -> LinkHistory | None:
        link = self._shelves[user_id].links.get(url_key)
        known = self._checks.get(url_key)
        return None if link is None else LinkHistory(link, list(reversed(known.history if known else ())))

    async def add_link(
        self, user_id: int, url_key: bytes, link: Link, max_links: int, event: LinkEvent, once: Once | None = None
    ) -> Link:
        shelf = self._shelves[user_id]
        _check_not_answered(shelf, once)
        if url_key in shelf.links:
            raise link_exists()
        if len(shelf.links) >= max_links:
            raise link_limit_reached(max_links)
        added = shelf.add(url_key, link, event.timestamp, self._checks.get(url_key))
        _keep_answer(shelf, once, added)
        self.events.append(replace(event, version=added.version, status=added.status))
        return added

    async def change_link(
        self, user_id: int, url_key: bytes, change: Callable[[Link], Link], tell: Callable[[Link], LinkEvent]
    ) -> Link | None:
        shelf = self._shelves[user_id]
        link = shelf.links.get(url_key)
        if link is None:
            return None
        changed = change(link)
        if changed != link:
            event = tell(changed)
            shelf.put(url_key, changed)
            shelf.forget_unused_tags()
            self.events.append(event)
        return changed

    async def delete_link(self, user_id: int, url_key: bytes, tell: Callable[[Link], LinkEvent]) -> bool:
        shelf = self._shelves[user_id]
        link = shelf.links.get(url_key)
        if link is None:
            return False
        event = tell(replace(link, version=link.version + 1))
        shelf.remove(url_key)
        self.events.append(event)
        return True

    async def move_link(self, user_id: int, url_key: bytes, move: Move, once: Once | None = None) -> Link | None:
        shelf = self._shelves[user_id]
        link = shelf.links.get(url_key)
        if link is None:
            return None
        _check_not_answered(shelf, once)
        place = move.find_place(link)
        other = shelf.links.get(place.key) if place.key != url_key else None
        merged = move.merge(link, place, other)
        ended = replace(other, version=other.version + 1) if other else None
        greatest = max(link.version, shelf.versions.get(place.key, 0), ended.version if ended else 0)
        known = self._checks.get(place.key)
        moved = _show(known or unknown(merged.updated_at), replace(merged, version=greatest + 1, checked_at=None))
        events = move.tell(moved, ended)
        if ended:
            shelf.remove(place.key)
        del shelf.links[url_key]
        shelf.versions[url_key] = link.version + 1
        shelf.unscheduled.pop(url_key, None)
        if known is None:
            shelf.unscheduled[place.key] = moved.updated_at
        shelf.put(place.key, moved)
        shelf.forget_unused_tags()
        self.events += events
        _keep_answer(shelf, once, moved)
        return moved

    async def import_links(
        self,
        user_id: int,
        candidates: Sequence[Candidate],
        max_links: int,
        merge: Callable[[Link, Link], Link],
        news: ImportNews,
        once: Once | None = None,
    ) -> list[ImportOutcome]:
        shelf = self._shelves[user_id]
        _check_not_answered(shelf, once)
        outcomes = []
        for candidate in candidates:
            outcome = _import(shelf, candidate, max_links, merge, news.now, self._checks.get(candidate.url_key))
            if outcome in (ImportOutcome.IMPORTED, ImportOutcome.MERGED):
                self.events.append(news.of_link(outcome, shelf.links[candidate.url_key]))
            outcomes.append(outcome)
        if summary := news.of_all(outcomes):
            self.events.append(summary)
        _keep_answer(shelf, once, outcomes)
        return outcomes

    # --- checks -------------------------------------------------------------------------------------------------------

    async def keep_check(self, url_key: bytes, at: datetime, weigh: Callable[[Check], Check | None]) -> bool:
        check = weigh(self._checks.get(url_key) or unknown(at))
        shelves = [shelf for shelf in self._shelves.values() if url_key in shelf.links]
        if check is None or not shelves:
            return False
        self._checks[url_key] = check
        self._unanswered.pop(url_key, None)
        for shelf in shelves:
            shelf.links[url_key] = _show(check, shelf.links[url_key])
            shelf.unscheduled.pop(url_key, None)
        return True

    @asynccontextmanager
    async def sweep_alone(self) -> AsyncIterator[bool]:
        if self._sweeping:
            yield False
            return
        self._sweeping = True
        try:
            yield True
        finally:
            self._sweeping = False

    async def schedule_late(self, asked_before: datetime, now: datetime, limit: int) -> int:
        late = sorted(
            (added_at, user_id, url_key)
            for user_id, shelf in self._shelves.items()
            for url_key, added_at in shelf.unscheduled.items()
            if added_at < asked_before
        )[:limit]
        for _, user_id, url_key in late:
            shelf = self._shelves[user_id]
            del shelf.unscheduled[url_key]
            known = self._checks.setdefault(url_key, unknown(now))
            shelf.links[url_key] = _show(known, shelf.links[url_key])
        return len(late)

    async def find_due(self, now: datetime, limit: int) -> list[DueCheck]:
        due = sorted((check.next_at, url_key) for url_key, check in self._checks.items() if check.next_at <= now)
        return [DueCheck(url_key, self._first_owner(url_key)) for _, url_key in due[:limit]]

    def _first_owner(self, url_key: bytes) -> int | None:
        return min((user_id for user_id, shelf in self._shelves.items() if url_key in shelf.links), default=None)

    async def ask_for_one(
        self,
        user_id: int,
        url_key: bytes,
        now: datetime,
        wanted: Callable[[Check, datetime | None], bool],
        tell: Callable[[Link], LinkEvent],
    ) -> Link | None:
        shelf = self._shelves[user_id]
        link = shelf.links.get(url_key)
        if link is None:
            return None
        check, asked_at = self._checks.get(url_key), shelf.unscheduled.get(url_key)
        if check is not None:
            times = self._unanswered.get(url_key, 0)
            asked_at = check.next_at - pause_after(times - 1) if times else None
        check = check or unknown(now)
        if wanted(check, asked_at):
            event = tell(link)
            self._checks[url_key] = replace(check, next_at=now + ASK_AGAIN_AFTER)
            self._unanswered[url_key] = 1
            self.events.append(event)
        return link

    async def ask_for(
        self, due: Sequence[DueCheck], now: datetime, tell: Callable[[int, Link], LinkEvent | None]
    ) -> int:
        told: list[LinkEvent] = []
        for url_key, user_id in due:
            check = self._checks.get(url_key)
            if check is None or check.next_at > now:
                continue
            if self._first_owner(url_key) is None:
                del self._checks[url_key]
                continue
            self._checks[url_key] = replace(check, next_at=now + pause_after(self._unanswered[url_key]))
            self._unanswered[url_key] += 1
            link = self._shelves[user_id].links.get(url_key) if user_id is not None else None
            if user_id is not None and link is not None and (event := tell(user_id, link)):
                told.append(event)
        self.events += told
        return len(told)

    async def add_up_statuses(self, limit: int) -> int:
        """It has no counts."""
        return 0

    async def recall_answer(self, user_id: int, once: Once) -> str | None:
        kept = self._shelves[user_id].answers.get(once.key)
        if kept is None or kept[1] < once.not_before:
            return None
        fingerprint, _, answer = kept
        if fingerprint != once.fingerprint:
            raise idempotency_key_reused()
        return answer

    async def erase_user(self, user_id: int, after: erasure.Place) -> erasure.Place | None:
        shelf = self._shelves.pop(user_id, _Shelf())
        for url_key in shelf.versions:
            if not any(url_key in other.links for other in self._shelves.values()):
                self._checks.pop(url_key, None)
        self.events[:] = [event for event in self.events if event.user_id != user_id]
        return None


def _show(known: Check, link: Link) -> Link:
    return replace(
        link,
        status=known.status,
        status_reason=known.reason,
        checked_at=known.checked_at or link.checked_at,
        moved_to=known.moved_to,
    )


def _import(
    shelf: _Shelf,
    candidate: Candidate,
    max_links: int,
    merge: Callable[[Link, Link], Link],
    now: datetime,
    known: Check | None,
) -> ImportOutcome:
    present = shelf.links.get(candidate.url_key)
    if present is not None:
        merged = merge(present, candidate.link)
        if merged == present:
            return ImportOutcome.UNCHANGED
        shelf.put(candidate.url_key, merged)
        return ImportOutcome.MERGED
    if len(shelf.links) >= max_links:
        return ImportOutcome.LIMIT_REACHED
    shelf.add(candidate.url_key, candidate.link, now, known)
    return ImportOutcome.IMPORTED


def _matches(link: Link, query: LinkQuery) -> bool:
    return (
        (query.visibility is None or link.visibility is query.visibility)
        and (query.status is None or link.status is query.status)
        and (query.status_reason is None or link.status_reason == query.status_reason)
        and (query.tag_key is None or any(tag_key(tag) == query.tag_key for tag in link.tags))
        and (query.url is None or query.url.matches(link.url))
        and (query.title is None or query.title.matches(link.title))
        and (query.description is None or query.description.matches(link.description))
    )


def _place(found: FoundLink) -> Place:
    return Place(found.score, found.link.created_at, found.link.id)


def _check_not_answered(shelf: _Shelf, once: Once | None) -> None:
    if once is not None:
        kept = shelf.answers.get(once.key)
        if kept is not None and kept[1] >= once.not_before:
            raise AnsweredBeforeError


def _keep_answer(shelf: _Shelf, once: Once | None, result: object) -> None:
    if once is not None:
        shelf.answers = {key: kept for key, kept in shelf.answers.items() if kept[1] >= once.not_before}
        shelf.answers[once.key] = once.fingerprint, once.now, once.encode(result)
