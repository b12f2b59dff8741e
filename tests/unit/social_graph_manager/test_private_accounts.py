"""Who has to be asked, who may be thrown out, and who is hidden from whom."""

from collections.abc import Awaitable, Callable

import pytest

from pkg.object_model.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, Unavailable
from pkg.object_model.events import FollowEvent
from pkg.object_model.types import (
    Actor,
    FollowCounts,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    NamePage,
    Relationship,
)
from tests.fakes import away
from tests.unit.social_graph_manager.house import ALICE, BOB, BOB_FOLLOWS_ALICE, CAROL, House, refusal

ALICE_FOLLOWS_BOB = FollowRequest(followed="bob", follower="Alice")
SOMEBODY = FollowRequest(followed="alice", follower="nobody")


@pytest.fixture
def private(house: House) -> House:
    """Alice's account is."""
    house.directory.private.add(ALICE.user_id)
    return house


async def told(house: House) -> list[tuple[str, str, bool]]:
    return [
        (event.follower, event.followed, event.following)
        for event in house.store.events
        if isinstance(event, FollowEvent)
    ]


async def incoming(house: House, actor: Actor = ALICE) -> list[str]:
    return (await house.graph.get_incoming_requests(actor, GetFollowRequest(username=actor.name))).names


async def outgoing(house: House, actor: Actor = BOB) -> list[str]:
    return (await house.graph.get_outgoing_requests(actor, GetFollowRequest(username=actor.name))).names


async def relationship(house: House, viewer: Actor, user: Actor) -> Relationship:
    return await house.graph.get_relationship(viewer, viewer.user_id, user.user_id)


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_a_private_account_is_asked(private: House) -> None:
    for _ in range(2):
        assert await private.graph.follow(BOB, BOB_FOLLOWS_ALICE) is FollowState.REQUESTED
    assert (await incoming(private), await outgoing(private)) == (["bob"], ["Alice"])
    assert await relationship(private, BOB, ALICE) is Relationship.REQUESTED
    assert await relationship(private, ALICE, BOB) is Relationship.NONE
    assert await private.graph.get_counts(None, ALICE.user_id) == FollowCounts(0, 0)
    assert await told(private) == [], "a request is nobody's news"


async def test_a_yes_is_a_follow_like_any_other(private: House) -> None:
    await private.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    for _ in range(2):
        await private.graph.accept_follow_request(ALICE, BOB_FOLLOWS_ALICE)
    assert await relationship(private, BOB, ALICE) is Relationship.FOLLOWING
    assert (await incoming(private), await outgoing(private)) == ([], [])
    assert await private.graph.follow(BOB, BOB_FOLLOWS_ALICE) is FollowState.FOLLOWING
    assert await told(private) == [("bob", "Alice", True)]


async def test_a_no_tells_nobody_and_may_be_asked_again(private: House) -> None:
    await private.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    for _ in range(2):
        await private.graph.reject_follow_request(ALICE, BOB_FOLLOWS_ALICE)
    assert await relationship(private, BOB, ALICE) is Relationship.NONE
    assert await refusal(private.graph.accept_follow_request(ALICE, BOB_FOLLOWS_ALICE), NotFound) == (
        "follow_request_not_found"
    )
    assert await private.graph.follow(BOB, BOB_FOLLOWS_ALICE) is FollowState.REQUESTED
    assert await told(private) == []


async def test_to_unfollow_takes_a_request_back(private: House) -> None:
    await private.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    await private.graph.unfollow(BOB, BOB_FOLLOWS_ALICE)
    assert await incoming(private) == []
    assert await refusal(private.graph.accept_follow_request(ALICE, BOB_FOLLOWS_ALICE), NotFound) == (
        "follow_request_not_found"
    )


async def test_followers_stay_when_an_account_becomes_private(house: House) -> None:
    await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    house.directory.private.add(ALICE.user_id)
    assert await house.graph.follow(BOB, BOB_FOLLOWS_ALICE) is FollowState.FOLLOWING
    assert await relationship(house, BOB, ALICE) is Relationship.FOLLOWING


async def test_requests_stay_when_an_account_becomes_public(private: House) -> None:
    """Nobody is let in by a switch; who asks once more needs no yes."""
    await private.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    private.directory.private.clear()
    assert await incoming(private) == ["bob"]
    assert await private.graph.follow(BOB, BOB_FOLLOWS_ALICE) is FollowState.FOLLOWING
    assert await incoming(private) == []


@pytest.mark.parametrize("actor", [BOB, CAROL, None])
async def test_nobody_answers_for_somebody_else(private: House, actor: Actor | None) -> None:
    await private.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    graph = private.graph
    for answer in (graph.accept_follow_request, graph.reject_follow_request, graph.kick_follower):
        assert await refusal(answer(actor, BOB_FOLLOWS_ALICE), PermissionDenied) == "not_yours"
    for read in (graph.get_incoming_requests, graph.get_blocked):
        assert await refusal(read(actor, GetFollowRequest(username="alice")), PermissionDenied) == "not_yours"
    assert await incoming(private) == ["bob"]


async def test_an_answer_to_nobody(house: House) -> None:
    graph = house.graph
    for answer in (graph.accept_follow_request, graph.reject_follow_request, graph.kick_follower):
        assert await refusal(answer(ALICE, SOMEBODY), NotFound) == "user_not_found"
    assert await refusal(graph.accept_follow_request(ALICE, BOB_FOLLOWS_ALICE), NotFound) == "follow_request_not_found"
    await graph.reject_follow_request(ALICE, BOB_FOLLOWS_ALICE)
    await graph.kick_follower(ALICE, BOB_FOLLOWS_ALICE)


async def test_who_is_kicked_follows_no_longer(house: House) -> None:
    await house.graph.follow(BOB, BOB_FOLLOWS_ALICE)
    await house.graph.kick_follower(ALICE, BOB_FOLLOWS_ALICE)
    assert (await house.followers()).names == []
    assert await told(house) == [("bob", "Alice", True), ("bob", "Alice", False)]


async def test_when_nobody_knows_whether_an_account_is_private_nobody_is_let_in(private: House) -> None:
    private.directory.fault = away("user-manager")
    await refusal(private.graph.follow(BOB, BOB_FOLLOWS_ALICE), Unavailable)
    private.directory.fault = None
    assert await private.graph.get_counts(None, BOB.user_id) == FollowCounts(0, 0)


# --- blocks -----------------------------------------------------------------------------------------------------------


async def test_a_block_hides_two_from_each_other(house: House) -> None:
    graph = house.graph
    await graph.follow(BOB, BOB_FOLLOWS_ALICE)
    await graph.follow(ALICE, ALICE_FOLLOWS_BOB)
    for _ in range(2):
        await graph.block(ALICE, "BOB")
    for one, other in ((ALICE, BOB), (BOB, ALICE)):
        assert await refusal(relationship(house, one, other), NotFound) == "user_not_found"
        for read in (graph.get_followers, graph.get_following):
            assert await refusal(read(one, GetFollowRequest(username=other.name)), NotFound) == "user_not_found"
    assert (await house.followers()).names == []
    assert (await graph.get_blocked(ALICE, GetFollowRequest(username="alice"))).names == ["bob"]
    assert (await graph.get_blocked(BOB, GetFollowRequest(username="bob"))).names == []
    assert sorted((await told(house))[2:]) == [("Alice", "bob", False), ("bob", "Alice", False)]


@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_who_is_blocked_cannot_tell_that_from_a_user_who_is_not_there(house: House, name: str) -> None:
    await house.graph.block(ALICE, "bob")
    graph = house.graph
    theirs, ours = FollowRequest(followed=name, follower="bob"), FollowRequest(followed="bob", follower=name)
    messages = set()
    for call in (
        graph.follow(BOB, theirs),
        graph.unfollow(BOB, theirs),
        graph.accept_follow_request(BOB, ours),
        graph.reject_follow_request(BOB, ours),
        graph.kick_follower(BOB, ours),
        graph.unblock(BOB, name),
        graph.get_followers(BOB, GetFollowRequest(username=name)),
    ):
        with pytest.raises(NotFound) as hidden:
            await call
        messages.add((hidden.value.code, hidden.value.message))
    assert messages == {("user_not_found", "there is no such user; check the name")}


async def test_who_blocks_is_told_why_they_cannot_follow(house: House) -> None:
    await house.graph.block(ALICE, "bob")
    assert await refusal(house.graph.follow(ALICE, ALICE_FOLLOWS_BOB), Conflict) == "user_blocked"
    await house.graph.unblock(ALICE, "bob")
    assert await house.graph.follow(ALICE, ALICE_FOLLOWS_BOB) is FollowState.FOLLOWING
    assert await house.graph.follow(BOB, BOB_FOLLOWS_ALICE) is FollowState.FOLLOWING


async def test_two_may_block_each_other(house: House) -> None:
    await house.graph.block(ALICE, "bob")
    await house.graph.block(BOB, "alice")
    await house.graph.unblock(ALICE, "bob")
    assert await refusal(relationship(house, ALICE, BOB), NotFound) == "user_not_found"
    await house.graph.unblock(BOB, "alice")
    assert await relationship(house, ALICE, BOB) is Relationship.NONE


async def test_what_cannot_be_blocked(house: House) -> None:
    assert await refusal(house.graph.block(ALICE, "ALICE"), InvalidArgument) == "cannot_block_yourself"
    assert await refusal(house.graph.block(ALICE, "nobody"), NotFound) == "user_not_found"
    assert await refusal(house.graph.block(None, "bob"), PermissionDenied) == "not_yours"
    assert await refusal(house.graph.unblock(ALICE, "nobody"), NotFound) == "user_not_found"
    assert await refusal(house.graph.unblock(None, "bob"), PermissionDenied) == "not_yours"
    await house.graph.unblock(ALICE, "bob")


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_those_who_are_hidden_are_left_out_of_the_lists_of_others(house: House) -> None:
    for fan in (BOB, CAROL):
        await house.graph.follow(fan, FollowRequest(followed="alice", follower=fan.name))
    dave = house.directory.add(Actor(4, "dave"))
    request = GetFollowRequest(username="alice")
    assert (await house.graph.get_followers(dave, request)).names == ["carol", "bob"]
    await house.graph.block(BOB, "dave")
    assert (await house.graph.get_followers(dave, request)).names == ["carol"]
    await house.graph.block(dave, "carol")
    assert (await house.graph.get_followers(dave, request)).names == []
    assert (await house.graph.get_followers(ALICE, request)).names == ["carol", "bob"]


async def test_the_lists_of_a_private_account_are_for_its_followers(house: House) -> None:
    graph, request = house.graph, GetFollowRequest(username="alice")
    await graph.follow(BOB, BOB_FOLLOWS_ALICE)
    await graph.follow(ALICE, FollowRequest(followed="carol", follower="alice"))
    house.directory.private.add(ALICE.user_id)
    lists: list[tuple[Callable[..., Awaitable[NamePage]], list[str]]] = [
        (graph.get_followers, ["bob"]),
        (graph.get_following, ["carol"]),
    ]
    for read, names in lists:
        for actor in (ALICE, BOB):
            assert (await read(actor, request)).names == names
        for stranger in (CAROL, None):
            assert await read(stranger, request) == NamePage([], "")


async def test_those_in_common_are_for_who_asks(house: House) -> None:
    """Of a private account its followers see them, and nobody whom it hides from; to be followed back is one's own."""
    graph, request = house.graph, GetFollowRequest(username="alice")
    dave = house.directory.add(Actor(4, "dave"))
    for follower, followed in ((BOB, "carol"), (BOB, "dave"), (CAROL, "alice"), (dave, "alice"), (dave, "bob")):
        house.clock.advance()
        await graph.follow(follower, FollowRequest(followed=followed, follower=follower.name))
    assert (await graph.get_mutuals(BOB, request)).names == ["dave", "carol"]
    assert (await graph.get_mutuals(BOB, GetFollowRequest(username="BOB"))).names == ["dave"]
    assert (await graph.get_mutuals(ALICE, request)).names == []
    assert await refusal(graph.get_mutuals(None, request), PermissionDenied) == "not_yours"
    first = await graph.get_mutuals(BOB, GetFollowRequest(username="alice", limit=1))
    rest = GetFollowRequest(username="alice", limit=1, start_token=first.next_page_token)
    assert (first.names, await graph.get_mutuals(BOB, rest)) == (["dave"], NamePage(["carol"], ""))
    assert await refusal(graph.get_mutuals(CAROL, rest), InvalidArgument) == "invalid_start_token"
    house.directory.private.add(ALICE.user_id)
    assert await graph.get_mutuals(BOB, request) == NamePage([], "")
    house.directory.private.clear()
    await graph.block(ALICE, "bob")
    assert await refusal(graph.get_mutuals(BOB, request), NotFound) == "user_not_found"


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_requests_and_blocks_in_pages(private: House, limit: int) -> None:
    fans = [private.directory.add(Actor(10 + number, f"fan{number}")) for number in range(3)]
    for fan in fans:
        await private.graph.follow(fan, FollowRequest(followed="alice", follower=fan.name))
    for read in (private.graph.get_incoming_requests, private.graph.get_blocked):
        names: list[str] = []
        token = ""
        for _ in range(-(-3 // limit)):
            page = await read(ALICE, GetFollowRequest(username="alice", limit=limit, start_token=token))
            names += page.names
            token = page.next_page_token
        assert (names, token) == (["fan2", "fan1", "fan0"], "")
        for fan in fans:
            private.clock.advance()
            await private.graph.block(ALICE, fan.name)
        assert await incoming(private) == []
