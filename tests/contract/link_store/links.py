"""Links for the store's suite, and what is done with them, with what a test does not care about filled in."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.link_manager.sql_store import SqlLinkStore
from pkg.link_manager.store import Audience, Candidate, ImportNews, ImportOutcome, LinkQuery, LinkStore, Once
from pkg.link_manager.urls import parse_url
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Link, LinkStatus, Visibility

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NO_LIMIT = 10**6

_EVENT_IDS: Iterator[int] = count(1)


def make_link(number: int, **changes: object) -> Link:
    """The higher the number, the newer."""
    values: dict[str, object] = {
        "id": number,
        "url": f"https://{number}.example/",
        "title": f"title {number}",
        "description": "",
        "status": LinkStatus.PENDING,
        "tags": (),
        "created_at": START + timedelta(seconds=number),
        "updated_at": START + timedelta(seconds=number),
        "visibility": Visibility.PUBLIC,
        "version": 0,
    }
    return Link(**(values | changes))  # type: ignore[arg-type]  # of whatever the test wants


def key(url: str) -> bytes:
    return parse_url(url).key


def event_of(user_id: int, event_type: LinkEventType, link: Link, **changes: object) -> LinkEvent:
    values: dict[str, object] = {
        "id": next(_EVENT_IDS),
        "type": event_type,
        "user_id": user_id,
        "username": f"user{user_id}",
        "timestamp": link.updated_at,
        "url": link.url,
        "link_id": link.id,
        "version": link.version,
        "title": link.title,
        "description": link.description,
        "tags": link.tags,
        "status": link.status,
        "visibility": link.visibility,
    }
    return LinkEvent(**(values | changes))  # type: ignore[arg-type]  # of whatever the test wants


async def add(store: LinkStore, user_id: int, link: Link, max_links: int = NO_LIMIT, once: Once | None = None) -> Link:
    event = event_of(user_id, LinkEventType.ADDED, link)
    return await store.add_link(user_id, key(link.url), link, max_links, event, once)


async def update(store: LinkStore, user_id: int, url: str, change: Callable[[Link], Link]) -> Link | None:
    return await store.change_link(
        user_id, key(url), change, lambda changed: event_of(user_id, LinkEventType.UPDATED, changed)
    )


async def delete(store: LinkStore, user_id: int, url: str) -> bool:
    return await store.delete_link(user_id, key(url), lambda gone: event_of(user_id, LinkEventType.DELETED, gone))


async def take_in(
    store: LinkStore,
    user_id: int,
    candidates: Sequence[Candidate],
    max_links: int,
    merge: Callable[[Link, Link], Link],
    once: Once | None = None,
) -> list[ImportOutcome]:
    """An import. The news of it count what is new."""

    def tell(outcome: ImportOutcome, link: Link) -> LinkEvent:
        new = outcome is ImportOutcome.IMPORTED
        return event_of(user_id, LinkEventType.ADDED if new else LinkEventType.UPDATED, link, bulk=True)

    def sum_up(outcomes: Sequence[ImportOutcome]) -> LinkEvent | None:
        new = outcomes.count(ImportOutcome.IMPORTED)
        return event_of(user_id, LinkEventType.IMPORTED, make_link(0), url="", count=new) if new else None

    return await store.import_links(user_id, candidates, max_links, merge, ImportNews(START, tell, sum_up), once)


async def events_of(store: LinkStore, user_id: int) -> list[LinkEvent]:
    """What was told of a user's links, in order."""
    if isinstance(store, MemoryLinkStore):
        told = [event for event in store.events if isinstance(event, LinkEvent)]
    else:
        assert isinstance(store, SqlLinkStore)
        rows = await store._pool.fetch("SELECT body FROM outbox ORDER BY partition, position")
        told = [LinkEvent.from_wire(json.loads(body)) for (body,) in rows]
    return [event for event in told if event.user_id == user_id]


def candidate(link: Link) -> Candidate:
    return Candidate(key(link.url), link)


def query(user_id: int, **filters: object) -> LinkQuery:
    values: dict[str, object] = {"user_id": user_id, "audience": Audience.OWNER, "limit": 100}
    return LinkQuery(**(values | filters))  # type: ignore[arg-type]  # of whatever the test wants


async def ids(store: LinkStore, user_id: int, **filters: object) -> list[int]:
    return [link.id for link, _ in await store.find_links(query(user_id, **filters))]


async def tags(store: LinkStore, user_id: int, audience: Audience = Audience.OWNER, prefix: str = "") -> dict[str, int]:
    found = await store.find_tags(user_id, audience, prefix, None, 1_000)
    return {tag.tag: tag.count for _, tag in found}


async def counts(store: LinkStore, user_id: int) -> Sequence[int]:
    """As the owner, a follower and a stranger see them."""
    return [
        await store.count_links(user_id, audience)
        for audience in (Audience.OWNER, Audience.FOLLOWER, Audience.STRANGER)
    ]
