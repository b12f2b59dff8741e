"""What people get from the link checker: a look when they ask for one, a new address for what moved, a copy of what is
gone."""

from dataclasses import replace
from typing import Any

import pytest

from pkg.link_manager.checks import LOOK_AGAIN_AFTER
from pkg.link_manager.imports import MAX_DESCRIPTION_LENGTH
from pkg.link_manager.manager import ADD_UP_BATCH, ADD_UP_BATCHES, LinkManager
from pkg.link_manager.memory_store import MemoryLinkStore
from pkg.link_manager.store import ASK_AGAIN_AFTER
from pkg.object_model.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, PreconditionFailed
from pkg.object_model.events import LinkEventType
from pkg.object_model.types import (
    Actor,
    AddLinkRequest,
    CheckLinkRequest,
    GetLinksRequest,
    Link,
    LinkReason,
    LinkStatus,
    MoveLinkRequest,
    Visibility,
)
from tests.fakes import FakeClock, FakeSocialGraph, FakeUserDirectory, SequentialIds
from tests.unit.link_manager.test_manager import ALICE, BOB, URL, World, world

#: The fixture is that of the manager's other tests.
__all__ = ["world"]

NEW = "https://new.example/"


async def ask(world: World, url: str = URL, actor: Actor | None = ALICE) -> Link:
    return await world.links.ask_for_check(actor, CheckLinkRequest(username="alice", url=url))


async def move(world: World, actor: Actor | None = ALICE, **fields: Any) -> Link:
    world.clock.advance()
    request = MoveLinkRequest.model_validate({"username": "alice", "url": URL} | fields)
    return await world.links.move_link(actor, request)


async def is_moved(world: World, to: str = NEW) -> None:
    await world.check(LinkStatus.VALID, reason=LinkReason.MOVED, moved_to=to)


async def all_links(world: World, actor: Actor = ALICE) -> list[Link]:
    return (await world.links.get_links(actor, GetLinksRequest(username="alice"))).links


# --- a look now -------------------------------------------------------------------------------------------------------


async def test_a_look_is_asked_for_in_front_of_those_that_nobody_waits_for(world: World) -> None:
    await world.add()
    await world.check(LinkStatus.VALID)
    world.clock.advance(3_600)
    link = await ask(world)
    assert (link.url, link.status) == (URL, LinkStatus.VALID)
    call = world.told[-1]
    assert (call.type, call.url, call.bulk, call.urgent) == (LinkEventType.UPDATED, URL, True, True)
    assert len(world.told) == 2
    # Nothing of the link is changed by it.
    assert (await all_links(world))[0] == link
    assert link.version == 1


async def test_nobody_asks_for_a_look_at_anothers_link(world: World) -> None:
    await world.add()
    for actor in (BOB, None):
        with pytest.raises(PermissionDenied):
            await ask(world, actor=actor)
    with pytest.raises(NotFound) as missing:
        await ask(world, "https://other.example/")
    assert missing.value.code == "link_not_found"
    with pytest.raises(NotFound):
        await world.links.ask_for_check(BOB, CheckLinkRequest(username="bob", url=URL))
    assert len(world.told) == 1


async def test_what_was_looked_at_a_moment_ago_is_not_again(world: World) -> None:
    await world.add()
    await world.check(LinkStatus.INVALID)
    world.clock.advance(LOOK_AGAIN_AFTER.total_seconds() - 1)
    assert (await ask(world)).status is LinkStatus.INVALID
    assert len(world.told) == 1
    world.clock.advance(1)
    await ask(world)
    assert len(world.told) == 2


async def test_what_somebody_asked_for_a_moment_ago_is_not_asked_for_again(world: World) -> None:
    """Whoever it was, and when it was saved too."""
    await world.add()
    await ask(world)
    assert len(world.told) == 1, "it was saved just now, and is being looked at"
    world.clock.advance(120)
    await world.links.add_link(BOB, AddLinkRequest(url=URL, username="bob"))
    await ask(world)
    await world.links.ask_for_check(BOB, CheckLinkRequest(username="bob", url=URL))
    assert [event.bulk for event in world.told] == [False, False, True]
    world.clock.advance(LOOK_AGAIN_AFTER.total_seconds())
    await world.links.ask_for_check(BOB, CheckLinkRequest(username="bob", url=URL))
    assert [event.user_id for event in world.told][3:] == [BOB.user_id]


async def test_a_site_that_asked_to_be_left_alone_is_left_alone(world: World) -> None:
    await world.add()
    await world.check(LinkStatus.PENDING, reason=LinkReason.RATE_LIMITED, transient=True, retry_after=7_200)
    world.clock.advance(7_199)
    await ask(world)
    assert len(world.told) == 1
    world.clock.advance(1)
    await ask(world)
    assert len(world.told) == 2


async def test_what_nobody_answers_is_asked_for_again_by_the_sweep(world: World) -> None:
    await world.add()
    await world.check(LinkStatus.VALID)
    world.clock.advance(3_600)
    await ask(world)
    world.clock.advance(ASK_AGAIN_AFTER.total_seconds() - 1)
    assert await world.links.ask_again() == 0
    world.clock.advance(1)
    assert await world.links.ask_again() == 1


async def test_looks_that_people_ask_for_bring_no_death_forward(world: World) -> None:
    """A site that is down for an hour is not dead, however often somebody wants to know."""
    await world.add()
    await world.check(LinkStatus.VALID)
    for _ in range(60):
        world.clock.advance(61)
        await ask(world)
        await world.check(LinkStatus.PENDING, reason=LinkReason.SERVER_ERROR, transient=True)
    assert (await all_links(world))[0].status is LinkStatus.VALID
    assert len(world.told) == 61


# --- a new address ----------------------------------------------------------------------------------------------------


async def test_a_link_moves_to_where_its_page_is(world: World) -> None:
    added = await world.add(title="A", description="d", tags=("x", "y"), visibility=Visibility.FOLLOWERS)
    await is_moved(world)
    moved = await move(world, url="HTTPS://A.example")
    assert moved == replace(added, url=NEW, version=2, updated_at=world.clock.time)
    assert await all_links(world) == [moved]
    change, call = world.told[1:]
    assert (change.type, change.link_id, change.version, change.url, change.bulk) == (
        LinkEventType.UPDATED,
        added.id,
        2,
        NEW,
        False,
    )
    assert (call.type, call.url, call.bulk, call.urgent) == (LinkEventType.UPDATED, NEW, True, True)
    await world.check(LinkStatus.VALID, url=NEW, reason=LinkReason.OK)
    assert [(link.status, link.status_reason) for link in await all_links(world)] == [(LinkStatus.VALID, "ok")]
    with pytest.raises(NotFound):
        await move(world)


async def test_a_move_whose_answer_was_lost_is_answered_again(world: World) -> None:
    await world.add()
    await is_moved(world)
    moved = await move(world, idempotency_key="k")
    told = len(world.told)
    assert await move(world, idempotency_key="k") == moved
    assert (len(world.told), len(await all_links(world))) == (told, 1)
    for other in ({"url": NEW}, {"if_version": 1}):
        with pytest.raises(Conflict) as refusal:
            await move(world, idempotency_key="k", **other)
        assert refusal.value.code == "idempotency_key_reused"
    with pytest.raises(NotFound):
        await move(world, idempotency_key="another")


async def test_what_could_not_be_done_is_no_answer_to_keep(world: World) -> None:
    await world.add()
    with pytest.raises(Conflict):
        await move(world, idempotency_key="k")
    await is_moved(world)
    assert (await move(world, idempotency_key="k")).url == NEW


async def test_what_is_known_of_the_new_address_is_not_looked_at(world: World) -> None:
    await world.add()
    await is_moved(world)
    await world.links.add_link(BOB, AddLinkRequest(url=NEW, username="bob"))
    await world.check(LinkStatus.VALID, url=NEW, reason=LinkReason.OK)
    moved = await move(world)
    assert (moved.status, moved.status_reason) == (LinkStatus.VALID, "ok")
    assert [event.bulk for event in world.told] == [False, False, False]


@pytest.mark.parametrize("to", ["", "https://u:p@new.example/", "https://new.example/" + "a" * 2_048])
async def test_what_has_no_new_address_stays(world: World, to: str) -> None:
    await world.add()
    await is_moved(world, to)
    with pytest.raises(Conflict) as refused:
        await move(world)
    assert refused.value.code == "link_not_moved"
    assert [link.url for link in await all_links(world)] == [URL]
    assert len(world.told) == 1


async def test_only_the_owner_moves_a_link_and_only_at_the_version_seen(world: World) -> None:
    await world.add()
    await is_moved(world)
    for actor in (BOB, None):
        with pytest.raises(PermissionDenied):
            await move(world, actor)
    with pytest.raises(PreconditionFailed) as stale:
        await move(world, if_version=2)
    assert stale.value.code == "version_mismatch"
    assert len(world.told) == 1
    assert (await move(world, if_version=1)).version == 2


async def test_a_link_that_is_there_is_taken_in(world: World) -> None:
    await world.add(NEW, title="B", description="about B", tags=("y", "z"), visibility=Visibility.FOLLOWERS)
    kept = await world.add(title="A", description="about A", tags=("x", "Y"))
    await is_moved(world)
    moved = await move(world)
    assert await all_links(world) == [moved]
    assert (moved.id, moved.created_at, moved.title, moved.tags) == (kept.id, kept.created_at, "A", ("x", "Y", "z"))
    assert moved.description == "about A\n\nB\n\nabout B"
    assert moved.visibility is Visibility.FOLLOWERS
    ended, change, call = world.told[2:]
    assert (ended.type, ended.url, ended.version) == (LinkEventType.DELETED, NEW, 2)
    assert (change.type, change.url, change.visibility) == (LinkEventType.UPDATED, NEW, Visibility.FOLLOWERS)
    assert change.version == moved.version > ended.version
    assert call.bulk


@pytest.mark.parametrize(
    ("this", "that", "title", "description"),
    [
        (("A", "d"), ("A", "d"), "A", "d"),
        (("A", "d"), ("A", ""), "A", "d"),
        (("A", ""), ("", "d"), "A", "d"),
        (("", ""), ("B", "e"), "B", "e"),
        (("", "B"), ("B", "e"), "B", "B\n\ne"),
        (("A", "d"), ("d", "A"), "A", "d"),
        (("A", ""), ("B", ""), "A", "B"),
    ],
)
async def test_nothing_is_lost_or_said_twice(
    world: World, this: tuple[str, str], that: tuple[str, str], title: str, description: str
) -> None:
    await world.add(NEW, title=that[0], description=that[1])
    await world.add(title=this[0], description=this[1])
    await is_moved(world)
    moved = await move(world)
    assert (moved.title, moved.description) == (title, description)


@pytest.mark.parametrize(
    ("this", "that", "both"),
    [
        (Visibility.PUBLIC, Visibility.PRIVATE, Visibility.PRIVATE),
        (Visibility.PRIVATE, Visibility.PUBLIC, Visibility.PRIVATE),
        (Visibility.FOLLOWERS, Visibility.PUBLIC, Visibility.FOLLOWERS),
        (Visibility.PUBLIC, Visibility.PUBLIC, Visibility.PUBLIC),
    ],
)
async def test_nobody_sees_more_than_before(world: World, this: Visibility, that: Visibility, both: Visibility) -> None:
    await world.add(NEW, visibility=that)
    await world.add(visibility=this)
    await is_moved(world)
    assert (await move(world)).visibility is both


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tags": tuple(f"t{number}" for number in range(60))}, "too_many_tags"),
        ({"description": "b" * (MAX_DESCRIPTION_LENGTH - 10)}, "description_too_long"),
    ],
)
async def test_what_would_not_fit_is_left_to_the_owner(world: World, fields: dict[str, Any], code: str) -> None:
    await world.add(NEW, **fields)
    await world.add(tags=tuple(f"u{number}" for number in range(60)), description="a" * 20)
    await is_moved(world)
    before = await all_links(world)
    with pytest.raises(InvalidArgument) as refused:
        await move(world)
    assert refused.value.code == code
    assert [link.url for link in await all_links(world)] == [link.url for link in before]


# --- a copy -----------------------------------------------------------------------------------------------------------


async def test_a_dead_link_alone_has_the_address_of_a_copy(world: World) -> None:
    await world.add()
    for status, copy in (
        (LinkStatus.VALID, ""),
        (LinkStatus.INVALID, f"https://web.archive.org/web/{URL}"),
    ):
        world.clock.advance(7_200)
        await world.check(status, reason=LinkReason.NOT_FOUND)
        world.clock.advance(7_200)
        await world.check(status, reason=LinkReason.NOT_FOUND)
        changed = await world.update(title=f"is {status}")
        history = await world.links.get_link_history(ALICE, "alice", URL)
        for link in (changed, history.link, await ask(world), *await all_links(world)):
            assert link.archived_url == copy
    added = await world.links.add_link(BOB, AddLinkRequest(url=URL, username="bob", idempotency_key="k"))
    again = await world.links.add_link(BOB, AddLinkRequest(url=URL, username="bob", idempotency_key="k"))
    assert added == again
    assert added.archived_url


async def test_without_an_archive_there_is_none() -> None:
    users = FakeUserDirectory([ALICE])
    clock = FakeClock()
    links = LinkManager(MemoryLinkStore(), users, FakeSocialGraph(users), clock, SequentialIds(), archive_template="")
    apart = World(links, users, FakeSocialGraph(users), clock, MemoryLinkStore())
    await apart.add()
    await apart.check(LinkStatus.INVALID, reason=LinkReason.GONE)
    (link,) = await all_links(apart)
    assert (link.status, link.archived_url) == (LinkStatus.INVALID, "")


# --- how they are -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", [BOB, None])
async def test_how_links_are_is_their_owners_affair(world: World, actor: Actor | None) -> None:
    await world.add()
    for refused in (
        world.links.count_statuses(actor, "alice"),
        world.links.get_link_history(actor, "alice", URL),
    ):
        with pytest.raises(PermissionDenied) as denied:
            await refused
        assert denied.value.code == "not_yours"


async def test_the_sweep_adds_up_what_changed_a_bounded_part_at_a_time(world: World) -> None:
    class Busy(MemoryLinkStore):
        """Always has more."""

        def __init__(self) -> None:
            super().__init__()
            self.asked: list[int] = []

        async def add_up_statuses(self, limit: int) -> int:
            self.asked.append(limit)
            return limit

    store = Busy()
    links = LinkManager(store, world.users, world.graph, world.clock, SequentialIds())
    await links.ask_again()
    assert store.asked == [ADD_UP_BATCH] * ADD_UP_BATCHES
    async with store.sweep_alone():
        await links.ask_again()
    assert len(store.asked) == ADD_UP_BATCHES
