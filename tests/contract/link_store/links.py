"""Links for the store's suite, with what a test does not care about filled in."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pkg.link_manager.store import Audience, Candidate, LinkQuery, LinkStore
from pkg.link_manager.urls import parse_url
from pkg.object_model.types import Link, LinkStatus, Visibility

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NO_LIMIT = 10**6


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


async def add(store: LinkStore, user_id: int, link: Link, max_links: int = NO_LIMIT) -> Link:
    return await store.add_link(user_id, key(link.url), link, max_links)


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
    return [await store.count_links(user_id, audience) for audience in Audience]
