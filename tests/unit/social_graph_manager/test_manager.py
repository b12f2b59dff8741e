"""The rules of who follows whom, on a store in memory and a directory that is a fake."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from pkg.object_model.errors import DelinkciousError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from pkg.object_model.events import FollowEvent
from pkg.object_model.paging import encode_page_token
from pkg.object_model.types import (
    MAX_WHOLE_MAP,
    Actor,
    FollowCounts,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    IdPage,
    NamePage,
    Relationship,
    UserPage,
)
from tests.fakes import away
from tests.unit.social_graph_manager.house import ALICE, BOB, BOB_FOLLOWS_ALICE, CAROL, House, refusal

NOTHING = FollowCounts(0, 0)


# --- following ------------------------------------------------------------------------------------------------------


async def test_a_follow_and_its_end_each_twice(house: House) -> None:
    for _ in range(2):
        assert await house.graph.follow(BOB, BOB_FOLLOWS_ALICE) is FollowState.FOLLOWING
        assert (await house.followers()).names == ["bob"]
        assert (await house.graph.get_following(None, GetFollowRequest(username="bob"))).names == ["Alice"]
        assert await house.graph.get_counts(None, ALICE.user_id) == FollowCounts(followers=1, following=0)
        assert await house.graph.get_counts(None, BOB.user_id) == FollowCounts(followers=0, following=1)
    for _ in range(2):
        await house.graph.unfollow(BOB, BOB_FOLLOWS_ALICE)
        assert (await house.followers()).names == []
        assert await house.graph.get_counts(None, ALICE.user_id) == NOTHING


async def test_names_have_no_case(house: House) -> None:
    await house.graph.follow(BOB, FollowRequest(followed="ALICE", follower="BOB"))
    assert (await house.followers(username="aLiCe")).names == ["bob"]


@pytest.mark.parametrize("actor", [ALICE, CAROL, None])
async def test_nobody_follows_in_anothers_name(house: House, actor: Actor | None) -> None:
    """In the original anybody could add any follower to themselves."""
    assert await refusal(house.graph.follow(actor, BOB_FOLLOWS_ALICE), PermissionDenied) == "not_yours"
    assert await house.graph.get_counts(None, ALICE.user_id) == NOTHING
    await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    assert await refusal(house.graph.unfollow(actor, BOB_FOLLOWS_ALICE), PermissionDenied) == "not_yours"
    assert (await house.followers()).names == ["bob"]


async def test_nobody_follows_themselves(house: House) -> None:
    for name in ("bob", "BOB"):
        oneself = FollowRequest(followed=name, follower="bob")
        assert await refusal(house.graph.follow(BOB, oneself), InvalidArgument) == "cannot_follow_yourself"
        await house.graph.unfollow(BOB, oneself)
    assert house.directory.asked == 0
    house.directory.rename("bob", "robert")
    renamed = FollowRequest(followed="robert", follower="bob")
    assert await refusal(house.graph.follow(BOB, renamed), InvalidArgument) == "cannot_follow_yourself"
    assert await house.graph.get_counts(None, BOB.user_id) == NOTHING


async def test_somebody_who_is_not_there(house: House) -> None:
    nobody = FollowRequest(followed="nobody", follower="bob")
    assert await refusal(house.graph.follow(BOB, nobody), NotFound) == "user_not_found"
    assert await refusal(house.graph.unfollow(BOB, nobody), NotFound) == "user_not_found"
    assert house.directory.asked == 2
    for name in ("", "a b", "a/b", "é", "a\x00", "x" * 100_000):
        impossible = FollowRequest(followed=name, follower="bob")
        assert await refusal(house.graph.follow(BOB, impossible), NotFound) == "user_not_found"
        assert await refusal(house.followers(username=name), NotFound) == "user_not_found"
    assert house.directory.asked == 2, "what cannot be a name is nobody's"


async def test_the_actors_own_name_is_not_asked_for(house: House) -> None:
    await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    assert house.directory.asked == 1
    await house.graph.get_followers(BOB, GetFollowRequest(username="BOB"))
    assert house.directory.asked == 1, "and there are no followers to be named"
    await house.graph.get_following(BOB, GetFollowRequest(username="bob"))
    assert house.directory.asked == 2


async def test_a_directory_that_is_away(house: House) -> None:
    house.directory.fault = away("user-manager")
    await refusal(house.graph.follow(BOB, BOB_FOLLOWS_ALICE), Unavailable)
    await refusal(house.followers(), Unavailable)
    assert await house.graph.get_counts(None, ALICE.user_id) == NOTHING
    assert await house.graph.get_relationship(None, BOB.user_id, ALICE.user_id) is Relationship.NONE


async def test_relationships_have_a_direction(house: House) -> None:
    await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    for viewer, user, relationship in [
        (BOB, ALICE, Relationship.FOLLOWING),
        (ALICE, BOB, Relationship.NONE),
        (ALICE, ALICE, Relationship.SELF),
        (CAROL, ALICE, Relationship.NONE),
    ]:
        assert await house.graph.get_relationship(viewer, viewer.user_id, user.user_id) is relationship


# --- lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 9, 10, 11, 200])
async def test_pages_hold_everybody_once_and_none_is_empty(house: House, limit: int) -> None:
    fans = await house.add_fans(10)
    names: list[str] = []
    token = ""
    for _ in range(-(-10 // limit)):
        page = await house.followers(limit=limit, start_token=token)
        assert 1 <= len(page.names) <= limit
        names += page.names
        token = page.next_page_token
    assert token == ""
    assert names == fans


async def test_without_a_limit_it_is_the_whole_list(house: House) -> None:
    fans = await house.add_fans(500)
    assert await house.followers() == NamePage(fans, "")


async def test_a_whole_list_has_a_bound(house: House) -> None:
    await house.add_fans(MAX_WHOLE_MAP)
    assert len((await house.followers()).names) == MAX_WHOLE_MAP
    await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    with pytest.raises(InvalidArgument, match="limit") as refused:
        await house.followers()
    assert refused.value.code == "limit_required"
    assert (await house.followers(limit=1)).names == ["fan9999"]


async def test_who_has_no_name_any_more_is_left_out(house: House) -> None:
    await house.add_fans(2)
    await house.let_follow(999, house.clock.time + timedelta(days=1))
    first = await house.followers(limit=2)
    assert first.names == ["fan1"]
    assert (await house.followers(limit=2, start_token=first.next_page_token)).names == ["fan0"]


async def test_names_are_those_of_today(house: House) -> None:
    await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    house.directory.rename("bob", "robert")
    assert (await house.followers()).names == ["robert"]


async def test_a_token_belongs_to_one_list(house: House) -> None:
    await house.add_fans(3)
    token = (await house.followers(limit=1)).next_page_token
    reads: list[tuple[Callable[..., Awaitable[NamePage]], str]] = [
        (house.graph.get_followers, "bob"),
        (house.graph.get_following, "alice"),
    ]
    for read, name in reads:
        request = GetFollowRequest(username=name, limit=1, start_token=token)
        assert await refusal(read(None, request), InvalidArgument) == "invalid_start_token"
    assert (await house.followers(limit=2, start_token=token)).names == ["fan1", "fan0"]


@pytest.mark.parametrize(
    "token",
    [
        "?",
        "AAAA",
        "x" * 10_000,
        encode_page_token(("followers", ALICE.user_id), ()),
        encode_page_token(("followers", ALICE.user_id), ("1", 1)),
        encode_page_token(("followers", ALICE.user_id), (2**63 - 1, 1)),
        encode_page_token(("followers", ALICE.user_id), (-(2**63), 1)),
        encode_page_token(("followers", ALICE.user_id), (1, 2**63)),
    ],
)
async def test_a_token_that_is_none(house: House, token: str) -> None:
    assert await refusal(house.followers(limit=1, start_token=token), InvalidArgument) == "invalid_start_token"


@pytest.mark.parametrize("limit", [0, -1, 201, 2**63])
async def test_a_limit_out_of_bounds(house: House, limit: int) -> None:
    assert await refusal(house.followers(limit=limit), InvalidArgument) == "invalid_limit"


async def test_a_token_without_a_limit_is_told(house: House) -> None:
    """Not the rest of the list, which was not asked for, nor the whole, which is another answer."""
    await house.add_fans(3)
    token = (await house.followers(limit=1)).next_page_token
    assert await refusal(house.followers(start_token=token), InvalidArgument) == "limit_required"


async def test_times_are_kept_to_the_microsecond(house: House) -> None:
    """The original cut them to seconds, and rows came twice."""
    house.clock.time = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    house.clock.step = timedelta(microseconds=1)
    for follower in (BOB, CAROL):
        await house.graph.follow(follower, FollowRequest(followed="alice", follower=follower.name))
    first = await house.followers(limit=1)
    second = await house.followers(limit=1, start_token=first.next_page_token)
    assert first.names + second.names == ["carol", "bob"]


# --- what is told, and who hears it -----------------------------------------------------------------------------------


async def test_a_follow_and_its_end_are_told_once(house: House) -> None:
    began = house.clock.time
    await house.graph.follow(BOB, FollowRequest(followed="ALICE", follower="BOB"))
    house.clock.advance()
    for _ in range(2):
        await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    for _ in range(2):
        await house.graph.unfollow(BOB, BOB_FOLLOWS_ALICE)
    followed, ended = house.store.events
    assert isinstance(followed, FollowEvent)
    assert isinstance(ended, FollowEvent)
    assert (followed.following, followed.timestamp) == (True, began)
    assert (ended.following, ended.timestamp) == (False, house.clock.time)
    assert followed.id != ended.id
    for event in (followed, ended):
        assert (event.user_id, event.follower, event.followed_id, event.followed) == (2, "bob", 1, "Alice")


async def test_what_is_refused_is_not_told(house: House) -> None:
    for actor, request in (
        (ALICE, BOB_FOLLOWS_ALICE),
        (BOB, FollowRequest(followed="bob", follower="bob")),
        (BOB, FollowRequest(followed="nobody", follower="bob")),
    ):
        await refusal(house.graph.follow(actor, request), DelinkciousError)
    assert house.store.events == []


@pytest.mark.parametrize("limit", [1, 3, 9, 10, 11, 10_000])
async def test_all_followers_by_id(house: House, limit: int) -> None:
    await house.add_fans(10)
    house.directory.fault = away("user-manager")
    found: list[int] = []
    token = ""
    for _ in range(-(-10 // limit)):
        page = await house.graph.get_follower_ids(ALICE.user_id, token, limit)
        assert 1 <= len(page.user_ids) <= limit
        found += page.user_ids
        token = page.next_page_token
    assert (found, token) == ([100 + count for count in range(10)], "")
    assert await house.graph.get_follower_ids(BOB.user_id, "", limit) == IdPage([], "")


@pytest.mark.parametrize("limit", [1, 2, 3, 1_000])
async def test_all_whom_somebody_follows(house: House, limit: int) -> None:
    await house.graph.follow(CAROL, FollowRequest(followed="alice", follower="carol"))
    await house.graph.follow(CAROL, FollowRequest(followed="bob", follower="carol"))
    found: list[Actor] = []
    token = ""
    for _ in range(-(-2 // limit)):
        page = await house.graph.get_followed(CAROL.user_id, token, limit)
        found += page.users
        token = page.next_page_token
    assert (found, token) == ([ALICE, BOB], "")
    assert await house.graph.get_followed(ALICE.user_id, "", limit) == UserPage([], "")
    house.directory.remove("alice")
    assert (await house.graph.get_followed(CAROL.user_id, "", 2)).users == [BOB]
    for wrong in (0, 1_001):
        assert await refusal(house.graph.get_followed(1, "", wrong), InvalidArgument) == "invalid_limit"
    token = (await house.graph.get_followed(CAROL.user_id, "", 1)).next_page_token
    assert await refusal(house.graph.get_followed(BOB.user_id, token, 1), InvalidArgument) == "invalid_start_token"


async def test_a_question_for_ids_that_makes_no_sense(house: House) -> None:
    await house.add_fans(3)
    for limit in (0, -1, 10_001):
        assert await refusal(house.graph.get_follower_ids(1, "", limit), InvalidArgument) == "invalid_limit"
    token = (await house.graph.get_follower_ids(1, "", 2)).next_page_token
    for other in ("?", (await house.followers(limit=1)).next_page_token):
        assert await refusal(house.graph.get_follower_ids(1, other, 2), InvalidArgument) == "invalid_start_token"
    assert await refusal(house.graph.get_follower_ids(2, token, 2), InvalidArgument) == "invalid_start_token"
