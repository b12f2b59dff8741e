"""Entries as they follow from events, and from links of which no event is remembered: the same for the same version."""

from collections.abc import Sequence
from typing import Final

from pkg.news_manager.entry_ids import make_entry_id
from pkg.news_manager.store import Entry
from pkg.object_model.events import LinkEvent
from pkg.object_model.types import Actor, Link, NewsEvent, NewsEventType

#: An entry tells of a link and is not the link: what is longer is cut, so that feeds stay small whatever is saved.
MAX_DESCRIPTION_SHOWN: Final = 1_000
#: Characters, of all tags of an entry together.
MAX_TAGS_SHOWN: Final = 2_000

_ELLIPSIS: Final = "…"


def entry_of_event(event: LinkEvent) -> Entry:
    return Entry(
        author_id=event.user_id,
        link_id=event.link_id,
        event=NewsEvent(
            # Of the link, if it is about one: so the link alone gives the same id.
            id=make_entry_id(event.timestamp, event.link_id or event.id, event.user_id),
            event_type=NewsEventType(event.type),
            username=event.username,
            url=event.url,
            timestamp=event.timestamp,
            title=event.title,
            description=_excerpt(event.description),
            tags=_some_tags(event.tags),
            status=event.status,
            version=event.version,
            count=event.count,
        ),
    )


def entry_of_link(author: Actor, link: Link) -> Entry:
    return Entry(
        author_id=author.user_id,
        link_id=link.id,
        event=NewsEvent(
            id=make_entry_id(link.updated_at, link.id, author.user_id),
            event_type=(NewsEventType.LINK_ADDED if link.updated_at == link.created_at else NewsEventType.LINK_UPDATED),
            username=author.name,
            url=link.url,
            timestamp=link.updated_at,
            title=link.title,
            description=_excerpt(link.description),
            tags=_some_tags(link.tags),
            status=link.status,
            version=link.version,
        ),
    )


def _excerpt(text: str) -> str:
    return text if len(text) <= MAX_DESCRIPTION_SHOWN else text[: MAX_DESCRIPTION_SHOWN - 1] + _ELLIPSIS


def _some_tags(tags: Sequence[str]) -> tuple[str, ...]:
    room = MAX_TAGS_SHOWN
    shown = []
    for tag in tags:
        room -= len(tag)
        if room < 0:
            break
        shown.append(tag)
    return tuple(shown)
