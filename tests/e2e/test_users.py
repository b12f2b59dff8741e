"""``cmd/users.py`` on a running system: people get in whom an operator lets in."""

import pytest

from pkg.user_manager.tokens import TICKET_PREFIX
from tests.e2e.client import api_client
from tests.e2e.stack import Stack
from tests.unit.programs.command import run_command


async def test_who_is_added_can_save_a_link_at_once(shared_stack: Stack) -> None:
    code, token, said = run_command("users", "--data", str(shared_stack.data), "add", "ursula")
    assert (code, said) == (0, "")
    async with api_client(shared_stack.gateway, token.strip()) as ursula:
        await ursula.expect("POST", "/v1/links", body={"url": "https://example.com/ursula", "title": "Mine"})
        assert (await ursula.expect("GET", "/v1/me"))["user"]["LinkCount"] == 1

    # Once more: the same user, a session more.
    code, again, said = run_command("users", "--data", str(shared_stack.data), "add", "ursula")
    assert (code, said) == (0, "")
    assert again != token
    async with api_client(shared_stack.gateway, again.strip()) as ursula:
        assert (await ursula.expect("GET", "/v1/me"))["user"]["LinkCount"] == 1


def test_a_ticket_is_for_those_who_are_there(shared_stack: Stack) -> None:
    run_command("users", "--data", str(shared_stack.data), "add", "ulrich")
    code, ticket, said = run_command("users", "--data", str(shared_stack.data), "ticket", "ulrich")
    assert (code, said) == (0, "")
    assert ticket.startswith(TICKET_PREFIX)
    code, out, said = run_command("users", "--data", str(shared_stack.data), "ticket", "nobody-of-this-name")
    assert (code, out) == (1, "")
    assert said.startswith("users: ")


def test_where_the_environment_says(shared_stack: Stack) -> None:
    port = shared_stack.ready["services"]["user-manager"].rpartition(":")[2]
    place = {"USER_MANAGER_SERVICE_HOST": "127.0.0.1", "USER_MANAGER_SERVICE_PORT": port}
    files = {
        name: str(shared_stack.data / "config" / name / "mutual-auth.yaml") for name in ("operator", "link-manager")
    }
    code, token, said = run_command("users", "add", "uma", **place, DELINKCIOUS_MUTUAL_AUTH_FILE=files["operator"])
    assert (code, said) == (0, "")
    assert len(token) > 40
    # Who may ask who somebody is, may not let anybody in.
    code, out, said = run_command("users", "add", "uma", **place, DELINKCIOUS_MUTUAL_AUTH_FILE=files["link-manager"])
    assert (code, out) == (1, "")
    assert "user-manager did not accept a call of operator" in said


@pytest.mark.parametrize(
    ("environment", "told"),
    [({}, "USER_MANAGER_SERVICE_HOST is not set"), ({"USER_MANAGER_SERVICE_HOST": "x"}, "mutual-auth.yaml")],
)
def test_what_is_missing_is_told(environment: dict[str, str], told: str) -> None:
    code, out, said = run_command("users", "add", "alice", **environment)
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert told in said
