"""The user service's wire."""

from typing import Any

import pytest

from pkg.object_model.types import MAX_BODY_BYTES
from tests.api.user_service.conftest import UserHouse


async def log_in(house: UserHouse) -> str:
    session = await house.service.ok("POST", "/login", json={"Username": "alice", "AuthToken": "any"})
    token: str = session["session"]
    return token


async def test_register(house: UserHouse) -> None:
    """``DisplayName`` is ours; the original's clients send ``Email`` and ``Name``."""
    sent = {"Email": "carol@mail.example", "Name": "carol"}
    user = (await house.service.ok("POST", "/register", json=sent))["user"]
    assert user.keys() == {"Id", "Name", "DisplayName", "Email", "Private", "CreatedAt"}
    assert user["Id"].isdigit()
    assert (user["Name"], user["Email"], user["Private"]) == ("carol", "carol@mail.example", False)
    assert user["CreatedAt"].endswith("Z")
    assert await house.service.ok("GET", "/users/carol") == {"user": user, "err": ""}
    status, _ = await house.service.refused("POST", "/register", json=sent | {"Name": "CAROL"})
    assert status == 409


async def test_log_in_be_known_and_log_out(house: UserHouse) -> None:
    session = await house.service.ok("POST", "/login", json={"Username": "alice", "AuthToken": "any"})
    assert session.keys() == {"session", "user", "ExpiresAt", "err"}
    assert session["user"] == {"Id": str(house.alice.user_id), "Name": "alice"}
    token = session["session"]

    identity = await house.service.ok("POST", "/authenticate", json={"Token": token})
    assert identity.keys() == {"user", "token", "err"}
    assert identity["user"] == session["user"]
    assert identity["token"].keys() == {"Id", "Name", "Kind", "Scopes", "ExpiresAt"}
    assert identity["token"]["Kind"] == "session"
    assert token not in str(identity)

    other = await log_in(house)
    assert await house.service.ok("POST", "/logout", json={"Username": "alice", "Session": token}) == {"err": ""}
    assert (await house.service.refused("POST", "/authenticate", json={"Token": token}))[0] == 401
    # The original's would have deleted the user.
    await house.service.ok("POST", "/authenticate", json={"Token": other})
    await house.service.ok("GET", "/users/alice")


@pytest.mark.parametrize("token", ["", "x", "a" * 10_000, "é", "' or 1=1"])
async def test_a_token_that_nobody_was_given(house: UserHouse, token: str) -> None:
    status, _ = await house.service.refused("POST", "/authenticate", json={"Token": token})
    assert status == 401


async def test_look_up_by_name_and_by_id(house: UserHouse) -> None:
    found = await house.service.ok("POST", "/users/find", json={"Names": ["ALICE", "nobody", "a/b", ""]})
    assert found == {"users": {"ALICE": {"Id": str(house.alice.user_id), "Name": "alice", "Private": False}}, "err": ""}
    ids = [str(house.alice.user_id), "1", "9" * 19]
    found = await house.service.ok("POST", "/users/names", json={"Ids": ids})
    assert found == {"names": {str(house.alice.user_id): "alice"}, "err": ""}
    assert await house.service.ok("POST", "/users/find", json={"Names": []}) == {"users": {}, "err": ""}


@pytest.mark.parametrize("name", ["nobody", "a/b", "a%2Fb", "%00", "%ff", "é", ""])
async def test_a_name_that_is_nobodys(house: UserHouse, name: str) -> None:
    status, _ = await house.service.refused("GET", f"/users/{name}")
    assert status in (400, 404)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/register", {"Name": "dave", "Email": 3}),
        ("/register", {"Email": "dave@mail.example"}),
        ("/register", {"Name": "dave\x00"}),
        ("/register", {"Name": "dave!"}),
        ("/register", {"Name": "d" * 40}),
        ("/login", {"Username": "alice"}),
        ("/login", {"Username": "alice", "AuthToken": ["x"]}),
        ("/logout", {"Username": "alice"}),
        ("/authenticate", {}),
        ("/authenticate", {"Token": None}),
        ("/users/find", {"Names": "alice"}),
        ("/users/find", {"Names": ["a"] * 1_001}),
        ("/users/find", {"Names": ["a\x00"]}),
        ("/users/names", {"Ids": [1]}),
        ("/users/names", {"Ids": ["x"]}),
        ("/users/names", {"Ids": ["1"] * 1_001}),
    ],
)
async def test_a_bad_body_is_told(house: UserHouse, path: str, sent: dict[str, Any]) -> None:
    status, _ = await house.service.refused("POST", path, json=sent)
    assert status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"Name":"\xff"}', 400),
        (b'{"Name":"\\udc00"}', 400),
        (b'{"Name":"' + b"a" * MAX_BODY_BYTES + b'"}', 413),
    ],
)
@pytest.mark.parametrize("path", ["/register", "/login", "/logout", "/authenticate", "/users/find", "/users/names"])
async def test_what_is_no_request_is_told(house: UserHouse, path: str, body: bytes, status: int) -> None:
    assert (await house.service.refused("POST", path, body=body))[0] == status


async def test_login_of_nobody(house: UserHouse) -> None:
    status, _ = await house.service.refused("POST", "/login", json={"Username": "nobody", "AuthToken": "any"})
    assert status in (401, 404)
