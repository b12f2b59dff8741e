"""The wire of what users do with their own account."""

from typing import Any

import pytest

from pkg.object_model.types import Actor
from pkg.runtime.access import OPERATOR
from pkg.runtime.context import CLIENT_ADDRESS
from tests.api.user_service.conftest import UserHouse

RECORD = {"Id", "Kind", "Name", "Scopes", "Client", "CreatedAt", "ExpiresAt", "LastUsedAt"}
GITHUB = {
    "Provider": "github",
    "Subject": "583231",
    "Login": "octocat",
    "DisplayName": "Octo",
    "Email": "o@mail.example",
}


async def test_a_newcomer_gets_a_ticket_and_logs_in_with_it(house: UserHouse) -> None:
    ticket = await house.service.ok("POST", "/admit", json=GITHUB)
    assert ticket.keys() == {"ticket", "user", "ExpiresAt", "err"}
    assert ticket["user"]["Name"] == "octocat"
    sent = {"Username": "octocat", "AuthToken": ticket["ticket"], "Client": "a browser"}
    session = await house.service.ok("POST", "/login", json=sent)
    assert session["user"] == ticket["user"]
    assert await house.service.refused("POST", "/login", json=sent) == (401, "invalid_ticket")
    user = (await house.service.ok("GET", "/users/octocat"))["user"]
    assert (user["DisplayName"], user["Email"]) == ("Octo", "o@mail.example")
    least = {"Provider": "oidc", "Subject": "1", "Login": "octocat"}
    assert (await house.service.ok("POST", "/admit", json=least))["user"]["Name"] == "octocat-2"


async def test_an_operator_lets_somebody_in(house: UserHouse) -> None:
    ticket = await house.service.ok("POST", "/tickets", caller=OPERATOR, json={"Username": "ALICE"})
    assert ticket["user"] == {"Id": str(house.alice.user_id), "Name": "alice"}
    refused = await house.service.refused("POST", "/tickets", caller=OPERATOR, json={"Username": "nobody"})
    assert refused == (404, "user_not_found")
    (event,) = (await house.service.ok("GET", "/audit", actor=house.alice))["events"]
    assert event["Type"] == "ticket_issued"


async def test_the_account_is_changed(house: UserHouse) -> None:
    sent = {"DisplayName": "Alice Ü", "Private": True, "Unknown": 1}
    user = (await house.service.ok("PUT", "/account", actor=house.alice, json=sent))["user"]
    assert (user["DisplayName"], user["Email"], user["Private"]) == ("Alice Ü", "alice@mail.example", True)
    assert (await house.service.ok("GET", "/users/alice"))["user"] == user
    assert (await house.service.ok("PUT", "/account", actor=house.alice, json={"Email": ""}))["user"]["Email"] == ""


async def test_sessions(house: UserHouse) -> None:
    for client in ("one", "two", "three"):
        await house.service.ok("POST", "/login", json={"Username": "alice", "AuthToken": "any", "Client": client})
    sessions = (await house.service.ok("GET", "/sessions", actor=house.alice))["sessions"]
    assert [session["Client"] for session in sessions] == ["three", "two", "one"]
    assert all(session.keys() == RECORD for session in sessions)
    assert (sessions[0]["Kind"], sessions[0]["Name"], sessions[0]["LastUsedAt"]) == ("session", "", None)
    assert sessions[0]["Scopes"] == ["links:read", "links:write", "social", "news", "account"]
    place = f"/sessions/{sessions[0]['Id']}"
    assert await house.service.ok("DELETE", place, actor=Actor(5, "bob")) == {"ended": False, "err": ""}
    assert await house.service.ok("DELETE", place, actor=house.alice) == {"ended": True, "err": ""}
    assert await house.service.ok("DELETE", place, actor=house.alice) == {"ended": False, "err": ""}
    kept = {"except": sessions[2]["Id"]}
    assert await house.service.ok("DELETE", "/sessions", actor=house.alice, query=kept) == {"ended": 1, "err": ""}
    assert await house.service.ok("DELETE", "/sessions", actor=house.alice) == {"ended": 1, "err": ""}
    assert await house.service.ok("GET", "/sessions", actor=house.alice) == {"sessions": [], "err": ""}


async def test_tokens(house: UserHouse) -> None:
    sent = {"Name": "laptop", "Scopes": ["news", "links:read"], "ExpiresInDays": 7}
    made = await house.service.ok("POST", "/tokens", actor=house.alice, json=sent)
    assert made.keys() == {"token", "record", "err"}
    record = made["record"]
    assert record.keys() == RECORD
    assert (record["Kind"], record["Name"], record["Scopes"]) == ("api_token", "laptop", ["links:read", "news"])
    listed = await house.service.call("GET", "/tokens", actor=house.alice)
    assert listed.json() == {"tokens": [record], "err": ""}
    assert made["token"].encode() not in listed.body
    assert (await house.service.refused("POST", "/tokens", actor=house.alice, json=sent))[1] == "token_name_taken"
    identity = await house.service.ok("POST", "/authenticate", json={"Token": made["token"]})
    assert (identity["token"]["Id"], identity["token"]["Scopes"]) == (record["Id"], ["links:read", "news"])
    place = f"/tokens/{record['Id']}"
    assert await house.service.ok("DELETE", place, actor=house.alice) == {"revoked": True, "err": ""}
    assert await house.service.refused("POST", "/authenticate", json={"Token": made["token"]}) == (401, "invalid_token")


async def test_the_audit_log(house: UserHouse) -> None:
    for number in range(3):
        sent = {"Type": "user_blocked", "Detail": str(number), "Client": "a browser"}
        assert await house.service.ok("POST", "/audit", actor=house.alice, json=sent) == {"err": ""}
    page = await house.service.ok("GET", "/audit", actor=house.alice, query={"limit": "2"})
    assert page.keys() == {"events", "NextPageToken", "err"}
    event = page["events"][0]
    assert event.keys() == {"Id", "Type", "Timestamp", "Detail", "Client", "Address"}
    assert (event["Type"], event["Detail"], event["Client"]) == ("user_blocked", "2", "a browser")
    assert event["Address"] == ""
    more = {"limit": "2", "start": page["NextPageToken"]}
    rest = await house.service.ok("GET", "/audit", actor=house.alice, query=more)
    assert ([event["Detail"] for event in rest["events"]], rest["NextPageToken"]) == (["0"], "")
    assert (await house.service.ok("GET", "/audit", actor=Actor(5, "bob")))["events"] == []


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("", ""),
        ("elsewhere", ""),
        ("203.0.113.7, 198.51.100.1", ""),
        ("1" * 5_000, ""),
        ("<b>", ""),
    ],
)
async def test_the_log_says_from_where_as_the_caller_does(house: UserHouse, told: str, kept: str) -> None:
    headers = {"Delinkcious-Client-Address": told}
    await house.service.ok("PUT", "/account", actor=house.alice, json={"DisplayName": "A"}, headers=headers)
    await house.service.ok("PUT", "/account", actor=house.alice, json={"DisplayName": "B"})
    events = (await house.service.ok("GET", "/audit", actor=house.alice))["events"]
    assert [event["Address"] for event in events if event["Type"] == "account_changed"] == ["", kept]
    assert CLIENT_ADDRESS.get() == ""


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("PUT", "/account", {"Private": True}),
        ("GET", "/sessions", None),
        ("DELETE", "/sessions", None),
        ("DELETE", "/sessions/1", None),
        ("GET", "/tokens", None),
        ("POST", "/tokens", {"Name": "x", "Scopes": ["news"]}),
        ("DELETE", "/tokens/1", None),
        ("GET", "/audit", None),
        ("POST", "/audit", {"Type": "login"}),
    ],
)
async def test_an_account_is_its_users_alone(house: UserHouse, method: str, path: str, sent: Any) -> None:
    options = {} if sent is None else {"json": sent}
    assert await house.service.refused(method, path, **options) == (403, "not_yours")


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/admit", {"Provider": "github", "Subject": "1"}),
        ("POST", "/admit", GITHUB | {"Subject": 1}),
        ("POST", "/admit", GITHUB | {"Subject": ""}),
        ("POST", "/admit", GITHUB | {"Provider": "local"}),
        ("PUT", "/account", {}),
        ("PUT", "/account", {"Private": "yes"}),
        ("PUT", "/account", {"Email": "nonsense"}),
        ("PUT", "/account", {"DisplayName": "a\x00"}),
        ("DELETE", "/sessions/x", None),
        ("DELETE", "/sessions?except=x", None),
        ("DELETE", f"/tokens/{'9' * 19}", None),
        ("POST", "/tokens", {"Name": "x"}),
        ("POST", "/tokens", {"Name": "x", "Scopes": []}),
        ("POST", "/tokens", {"Name": "x", "Scopes": "news"}),
        ("POST", "/tokens", {"Name": "x", "Scopes": ["all"]}),
        ("POST", "/tokens", {"Name": "x", "Scopes": ["news"], "ExpiresInDays": 367}),
        ("POST", "/tokens", {"Name": "x", "Scopes": ["news"], "ExpiresInDays": "7"}),
        ("POST", "/audit", {"Type": "nonsense"}),
        ("POST", "/audit", {"Type": "login", "Detail": 3}),
        ("GET", "/audit?limit=0", None),
        ("GET", "/audit?start=x", None),
    ],
)
async def test_what_is_wrong_is_told(house: UserHouse, method: str, path: str, sent: Any) -> None:
    place, _, query = path.partition("?")
    options = {} if sent is None else {"json": sent}
    status, _ = await house.service.refused(method, place, actor=house.alice, query=query, **options)
    assert status == 400


async def test_the_account_is_deleted(house: UserHouse) -> None:
    refused = await house.service.refused("DELETE", "/account", actor=house.alice, query={"confirm": "bob"})
    assert refused == (400, "not_confirmed")
    assert (await house.service.refused("DELETE", "/account", actor=house.alice))[0] == 400
    for _ in range(2):
        done = await house.service.ok("DELETE", "/account", actor=house.alice, query={"confirm": "alice"})
        assert done == {"err": ""}
    assert await house.service.refused("GET", "/users/alice") == (404, "user_not_found")
