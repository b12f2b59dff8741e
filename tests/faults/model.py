"""What must be true of people, their links and their feeds, as far as the answers to their writes tell.

A write that was answered with 200 has happened, once. One that was not answered, or with a failure of the server, may
have happened or not: nobody touches what it was about until it has been looked at.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

#: Live links of a person. All of them come with a follow, which brings at most 20.
MAX_LIVE = 12
#: People whom one follows, so that a feed holds everything: 1,000 at most.
MAX_FOLLOWED = 40


class Saved(NamedTuple):
    """What somebody saved last. ``version`` is 0 where nobody was told."""

    title: str
    tags: frozenset[str]
    visibility: str
    version: int

    def is_what(self, link: Mapping[str, Any]) -> bool:
        """Whether a link of the API is this."""
        seen = (link["Title"], frozenset(link["Tags"]), link["Visibility"])
        return seen == self[:3] and self.version in {0, link["Version"]}


@dataclass(slots=True)
class Person:
    name: str
    token: str
    #: Whom they may follow.
    friends: tuple[str, ...] = ()
    #: By URL.
    links: dict[str, Saved] = field(default_factory=dict)
    #: What may be, of those that an unanswered write was about.
    unsure_links: dict[str, tuple[Saved | None, Saved | None]] = field(default_factory=dict)
    following: set[str] = field(default_factory=set)
    unsure_following: set[str] = field(default_factory=set)

    def visible_links(self) -> Iterator[tuple[str, Saved]]:
        """Those that followers see."""
        return ((url, saved) for url, saved in self.links.items() if saved.visibility != "private")


class FeedKey(NamedTuple):
    author: str
    url: str


class World:
    def __init__(self, people: Iterable[Person]) -> None:
        self.people = {person.name: person for person in people}

    def feed_of(self, reader: Person) -> dict[FeedKey, Saved]:
        """Exactly what their feed must hold."""
        return {
            FeedKey(author, url): saved
            for author in reader.following
            for url, saved in self.people[author].visible_links()
        }


def read_friends(path: Path, people: int, chance: random.Random) -> dict[str, tuple[str, ...]]:
    """By name, of so many people of a social graph: whom each may follow. They are neighbours, from one on."""
    neighbours: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        one, other = line.split()
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    chosen = [chance.choice(sorted(neighbours))]
    for person in chosen:
        chosen += [other for other in neighbours[person] if other not in chosen][: people - len(chosen)]
        if len(chosen) >= people:
            break
    among = frozenset(chosen)
    return {
        f"reed{person}": tuple(f"reed{other}" for other in chance.sample(found, min(MAX_FOLLOWED, len(found))))
        for person in chosen
        if (found := [other for other in dict.fromkeys(neighbours[person]) if other in among and other != person])
    }
