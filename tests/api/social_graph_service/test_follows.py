"""The social graph service's wire."""

from typing import Any

import pytest

from pkg.object_model.types import MAX_BODY_BYTES
from tests.api.social_graph_service.conftest import GraphHouse

BOB_FOLLOWS_ALICE = {"followed": "alice", "follower": "bob"}


async def test_follow_and_unfollow_twice_each(house: GraphHouse) -> None:
    for _ in range(2):
        followed = await house.service.ok("POST", "/follow", actor=house.bob, json=BOB_FOLLOWS_ALICE)
        assert followed == {"State": "following", "err": ""}
    assert await house.service.ok("GET", "/followers/alice") == {
        "followers": {"bob": True},
        "NextPageToken": "",
        "err": "",
    }
    assert await house.service.ok("GET", "/following/bob") == {
        "following": {"alice": True},
        "NextPageToken": "",
        "err": "",
    }
    for _ in range(2):
        assert await house.service.ok("POST", "/unfollow", actor=house.bob, json=BOB_FOLLOWS_ALICE) == {"err": ""}
    assert (await house.service.ok("GET", "/followers/alice"))["followers"] == {}


async def test_the_original_go_client_sends_no_content_type(house: GraphHouse) -> None:
    body = b'{"followed":"alice","follower":"bob"}\n'
    assert (await house.service.call("POST", "/follow", actor=house.bob, body=body)).status == 200


async def test_counts_and_relationships_are_by_id(house: GraphHouse) -> None:
    await house.service.ok("POST", "/follow", actor=house.bob, json=BOB_FOLLOWS_ALICE)
    alice, bob = house.alice.user_id, house.bob.user_id
    assert await house.service.ok("GET", f"/counts/{alice}") == {
        "FollowerCount": 1,
        "FollowingCount": 0,
        "err": "",
    }
    for viewer, user, relationship in [
        (bob, alice, "following"),
        (alice, bob, "none"),
        (bob, bob, "self"),
    ]:
        assert await house.service.ok("GET", f"/relationships/{viewer}/{user}") == {
            "Relationship": relationship,
            "err": "",
        }


async def test_a_long_list_is_paged_newest_first(house: GraphHouse) -> None:
    for number in range(5):
        fan = await house.world.person(f"fan{number}")
        await house.service.ok("POST", "/follow", actor=fan, json={"followed": "alice", "follower": fan.name})
    seen: list[str] = []
    start = ""
    for _ in range(3):
        page = await house.service.ok("GET", "/followers/alice", query={"limit": "2", "start": start})
        seen += page["followers"]
        start = page["NextPageToken"]
    assert start == ""
    assert seen == ["fan4", "fan3", "fan2", "fan1", "fan0"]


async def test_follower_ids_are_strings_in_pages(house: GraphHouse) -> None:
    fans = [await house.world.person(f"fan{number}") for number in range(3)]
    for fan in fans:
        await house.service.ok("POST", "/follow", actor=fan, json={"followed": "alice", "follower": fan.name})
    path = f"/follower-ids/{house.alice.user_id}"
    first = await house.service.ok("GET", path, query={"limit": "2"}, caller="news-manager")
    assert first["ids"] == [str(fan.user_id) for fan in fans[:2]]
    rest = await house.service.ok("GET", path, query={"limit": "2", "start": first["NextPageToken"]})
    assert rest == {"ids": [str(fans[2].user_id)], "NextPageToken": "", "err": ""}
    assert (await house.service.ok("GET", "/follower-ids/1"))["ids"] == []


@pytest.mark.parametrize("path", ["/follow", "/unfollow"])
async def test_nobody_follows_in_anothers_name(house: GraphHouse, path: str) -> None:
    """In the original anybody could add any follower to themselves."""
    for actor in (house.alice, None):
        refused = await house.service.refused("POST", path, actor=actor, json=BOB_FOLLOWS_ALICE)
        assert refused == (403, "not_yours")
    assert (await house.service.ok("GET", "/followers/alice"))["followers"] == {}


async def test_what_cannot_be_followed(house: GraphHouse) -> None:
    oneself = {"followed": "bob", "follower": "bob"}
    assert await house.service.refused("POST", "/follow", actor=house.bob, json=oneself) == (
        400,
        "cannot_follow_yourself",
    )
    nobody = {"followed": "nobody", "follower": "bob"}
    assert await house.service.refused("POST", "/follow", actor=house.bob, json=nobody) == (
        404,
        "user_not_found",
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"alice"', 400),
        (b'{"followed":"alice"}', 400),
        (b'{"followed":["alice"],"follower":"bob"}', 400),
        (b'{"followed":"alice\\u0000","follower":"bob"}', 400),
        (b'{"followed":"\\ud800","follower":"bob"}', 400),
        (b'{"followed":"\xff","follower":"bob"}', 400),
        (b'{"followed":"' + b"a" * MAX_BODY_BYTES + b'","follower":"bob"}', 413),
    ],
)
@pytest.mark.parametrize("path", ["/follow", "/unfollow"])
async def test_a_bad_body_changes_nothing(house: GraphHouse, path: str, body: bytes, status: int) -> None:
    assert (await house.service.refused("POST", path, actor=house.bob, body=body))[0] == status
    assert (await house.service.ok("GET", "/following/bob"))["following"] == {}


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/followers/alice", "limit=0", (400, "invalid_limit")),
        ("/followers/alice", "limit=201", (400, "invalid_limit")),
        ("/followers/alice", "limit=x", (400, "invalid_argument")),
        ("/followers/alice", "limit=1&limit=2", (400, "conflicting_argument")),
        ("/followers/alice", "limit=1&start=nonsense!", (400, "invalid_start_token")),
        ("/followers/nobody", "", (404, "user_not_found")),
        ("/following/nobody", "", (404, "user_not_found")),
        ("/following/a%2Fb", "", (404, "user_not_found")),
        ("/follower-ids/alice", "", (400, "invalid_argument")),
        ("/follower-ids/1", "limit=10001", (400, "invalid_limit")),
        ("/follower-ids/1", "start=x", (400, "invalid_start_token")),
        ("/counts/alice", "", (400, "invalid_argument")),
        ("/counts/99999999999999999999", "", (400, "invalid_argument")),
        ("/relationships/1/x", "", (400, "invalid_argument")),
    ],
)
async def test_a_bad_question_is_told(house: GraphHouse, path: str, query: str, expected: tuple[int, str]) -> None:
    assert await house.service.refused("GET", path, query=query) == expected


async def test_counts_of_nobody_are_nothing(house: GraphHouse) -> None:
    counts: Any = await house.service.ok("GET", "/counts/1")
    assert (counts["FollowerCount"], counts["FollowingCount"]) == (0, 0)
