"""The function over HTTP, as its one caller calls it, and in Nuclio's own form."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from fun.link_checker.handler import close, handler, prepare
from fun.link_checker.question import MAX_BATCH, MAX_REQUEST_BYTES
from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.runtime.access import LINK_CHECK_FUNCTION, LINK_CHECKER
from pkg.runtime.mutual_auth import new_secret, render_edge
from pkg.runtime.redis import RedisAddress
from pkg.runtime.settings import Mode, read_settings
from pkg.runtime.start_error import StartError
from tests.api.link_check_function.conftest import FunctionHouse, write_mutual_auth
from tests.internal_service import edge_secret

ROOT = Path(__file__).parents[3]


# --- the contract ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, ("valid", "ok", False)),
        (404, ("invalid", "not_found", False)),
        (503, ("pending", "server_error", True)),
        (403, ("pending", "forbidden", False)),
    ],
)
async def test_whatever_comes_of_a_link_is_a_200(
    house: FunctionHouse, status: int, verdict: tuple[str, str, bool]
) -> None:
    url = f"{house.site.url}/{status}"
    body = await house.service.ok("POST", "/", caller=LINK_CHECKER, json={"Username": "alice", "Url": url})
    assert body == {
        "Username": "alice",
        "Url": url,
        "Status": verdict[0],
        "Reason": verdict[1],
        "Transient": verdict[2],
        "MovedTo": "",
        "RetryAfter": None,
        "err": "",
    }


@pytest.mark.parametrize("url", ["http://127.0.0.1:22/", "http://169.254.169.254/latest/meta-data/", "no url at all"])
async def test_what_may_not_be_asked_is_a_200_as_well(house: FunctionHouse, url: str) -> None:
    body = await house.service.ok("POST", "/", caller=LINK_CHECKER, json={"Username": "alice", "Url": url})
    assert body["Status"] == "pending"
    assert body["Reason"] in {"address_not_allowed", "unsupported_url"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"Username": "alice"}',
        b'{"Url": "http://host.example/"}',
        b'{"Username": "alice", "Url": 7}',
        b'{"Username": "alice", "Url": ""}',
        b'{"Username": "", "Url": "http://host.example/"}',
        b'{"Username": null, "Url": null}',
        b'{"Username": "alice", "Url": "http://host.example/\\u0000"}',
    ],
)
async def test_bad_json_or_a_missing_field_is_a_400(house: FunctionHouse, body: bytes) -> None:
    status, code = await house.service.refused("POST", "/", caller=LINK_CHECKER, body=body)
    assert status == 400
    assert code in {"invalid_argument", "malformed_json"}
    assert house.site.asked == []


async def test_unknown_fields_are_for_another_version(house: FunctionHouse) -> None:
    request = {"Username": "alice", "Url": f"{house.site.url}/200", "Later": [1]}
    assert (await house.service.ok("POST", "/", caller=LINK_CHECKER, json=request))["Status"] == "valid"


async def test_a_request_has_a_bound(house: FunctionHouse) -> None:
    body = json.dumps({"Username": "alice", "Url": "a" * MAX_REQUEST_BYTES}).encode()
    assert await house.service.refused("POST", "/", caller=LINK_CHECKER, body=body) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("caller", "refusal"), [(None, (401, "caller_unknown")), ("stranger", (403, "caller_not_allowed"))]
)
async def test_only_the_dispatcher_may_call(house: FunctionHouse, caller: str | None, refusal: tuple[int, str]) -> None:
    request = {"Username": "alice", "Url": f"{house.site.url}/200"}
    assert await house.service.refused("POST", "/", caller=caller, json=request) == refusal
    assert house.site.asked == []


async def test_secrets_change_between_two_requests(house: FunctionHouse, tmp_path: Path) -> None:
    """Nobody looks in the background where the function is Nuclio's."""
    request = {"Username": "alice", "Url": f"{house.site.url}/200"}
    await house.service.ok("POST", "/", caller=LINK_CHECKER, json=request)
    other = render_edge([new_secret()], [new_secret()])
    (tmp_path / "mutual-auth.yaml").write_text(json.dumps({"accepts": {LINK_CHECKER: other}}))
    assert await house.service.refused("POST", "/", caller=LINK_CHECKER, json=request) == (401, "caller_unknown")
    write_mutual_auth(tmp_path)
    await house.service.ok("POST", "/", caller=LINK_CHECKER, json=request)


async def test_there_is_nothing_else(house: FunctionHouse) -> None:
    assert await house.service.refused("GET", "/", caller=LINK_CHECKER) == (405, "method_not_allowed")
    assert await house.service.refused("POST", "/check", caller=LINK_CHECKER) == (404, "no_such_path")
    assert (await house.service.call("GET", "/readyz")).status == 200


# --- many at once ---------------------------------------------------------------------------------------------------


def many(house: FunctionHouse) -> list[dict[str, Any]]:
    """The second cannot be asked for."""
    urls = [f"{house.site.url}/200", "", f"{house.site.url}/404"]
    return [{"Username": "alice", "Url": url} for url in urls]


def heads(answers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(answer.get("Status", answer.get("code", "")), answer["err"]) for answer in answers]


SAID_OF_MANY = [("valid", ""), ("invalid_argument", "Url is empty; send it"), ("invalid", "")]


async def test_a_list_is_answered_by_a_list(house: FunctionHouse) -> None:
    reply = await house.service.call("POST", "/", caller=LINK_CHECKER, json=many(house))
    assert (reply.status, heads(reply.json())) == (200, SAID_OF_MANY)
    assert reply.json()[0]["Url"] == many(house)[0]["Url"]


async def test_an_object_is_answered_by_an_object(house: FunctionHouse) -> None:
    body = await house.service.ok("POST", "/", caller=LINK_CHECKER, json={"Checks": many(house)})
    assert heads(body["checks"]) == SAID_OF_MANY


async def test_lines_have_their_places(house: FunctionHouse) -> None:
    asked = {"Checks": many(house), "Lines": True}
    reply = await house.service.call("POST", "/", caller=LINK_CHECKER, json=asked)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-ndjson")
    lines = sorted(map(json.loads, reply.body.splitlines()), key=lambda line: int(line["Index"]))
    assert [line["Index"] for line in lines] == [0, 1, 2]
    assert heads(lines) == SAID_OF_MANY


@pytest.mark.parametrize("wrap", [lambda checks: checks, lambda checks: {"Checks": checks}])
@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
async def test_there_are_not_too_many_and_not_none(
    house: FunctionHouse, wrap: Callable[[list[dict[str, Any]]], Any], count: int
) -> None:
    refused = await house.service.refused("POST", "/", caller=LINK_CHECKER, json=wrap(many(house)[:1] * count))
    assert refused == (400, "invalid_argument")
    assert house.site.asked == []


@pytest.mark.parametrize("asked", [{"Checks": {}}, {"Checks": None}, {"Checks": "x", "Lines": True}])
async def test_what_is_no_list_of_checks(house: FunctionHouse, asked: Any) -> None:
    assert await house.service.refused("POST", "/", caller=LINK_CHECKER, json=asked) == (400, "invalid_argument")


@pytest.mark.parametrize("lines", [True, False])
async def test_many_are_for_the_dispatcher_alone_too(house: FunctionHouse, lines: bool) -> None:
    asked = {"Checks": many(house), "Lines": lines}
    refused = await house.service.refused("POST", "/", caller="stranger", json=asked)
    assert refused == (403, "caller_not_allowed")
    assert house.site.asked == []


# --- settings -------------------------------------------------------------------------------------------------------


def environment(folder: Path, **variables: str) -> dict[str, str]:
    return {"DELINKCIOUS_MUTUAL_AUTH_FILE": str(write_mutual_auth(folder)), **variables}


def test_allowed_places_come_from_the_environment(tmp_path: Path) -> None:
    settings = read_settings(
        LinkCheckFunctionSettings, environment(tmp_path, LINK_CHECKER_ALLOWED="127.0.0.1:8091, demo-site:80")
    )
    assert settings.allowed == {("127.0.0.1", 8091), ("demo-site", 80)}
    assert read_settings(LinkCheckFunctionSettings, environment(tmp_path)).allowed == frozenset()


def test_ports_come_from_the_environment(tmp_path: Path) -> None:
    settings = read_settings(LinkCheckFunctionSettings, environment(tmp_path, LINK_CHECKER_PORTS="8080, 8443,"))
    assert settings.ports == {8080, 8443}


def test_leases_of_hosts_are_kept_where_the_environment_says(tmp_path: Path) -> None:
    assert read_settings(LinkCheckFunctionSettings, environment(tmp_path)).redis is None
    password = tmp_path / "password"
    password.write_text("a-password-of-our-own")
    password.chmod(0o600)
    where = {"LINK_CHECKER_REDIS_SERVICE_HOST": "store", "LINK_CHECKER_REDIS_PASSWORD_FILE": str(password)}
    address = read_settings(LinkCheckFunctionSettings, environment(tmp_path, **where)).redis
    assert isinstance(address, RedisAddress)
    assert (address.host, address.port, address.user, address.tls) == ("store", 6379, "link-check-function", False)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LINK_CHECKER_ALLOWED", "demo-site"),
        ("LINK_CHECKER_ALLOWED", "*:80, x"),
        ("LINK_CHECKER_PORTS", "0"),
        ("LINK_CHECKER_PORTS", "8080, http"),
        ("LINK_CHECKER_CONTACT", "a) b\r\nX-Header: c"),
    ],
)
def test_a_wrong_setting_stops_the_start(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(StartError) as stopped:
        read_settings(LinkCheckFunctionSettings, environment(tmp_path, **{variable: value}))
    assert variable in str(stopped.value)


# --- Nuclio ---------------------------------------------------------------------------------------------------------


class NuclioResponse(SimpleNamespace):
    status_code: int
    body: str


async def invoke(folder: Path, body: object, headers: dict[Any, Any]) -> tuple[int, Any]:
    context = SimpleNamespace(user_data=SimpleNamespace(), Response=NuclioResponse)
    prepare(context, LinkCheckFunctionSettings(mode=Mode.LOCAL, mutual_auth_file=write_mutual_auth(folder)))
    try:
        response = await handler(context, SimpleNamespace(body=body, headers=headers))
    finally:
        await close(context)
    return response.status_code, json.loads(response.body)


TOKEN = edge_secret(LINK_CHECKER, LINK_CHECK_FUNCTION).token
REQUEST = {"Username": "alice", "Url": "http://10.0.0.1/"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (REQUEST, {"Delinkcious-Caller-Token": TOKEN}),
        (json.dumps(REQUEST).encode(), {"Delinkcious-Caller-Token": TOKEN.encode()}),
        (json.dumps(REQUEST), {b"delinkcious-caller-token": TOKEN.encode()}),
    ],
    ids=["decoded", "bytes", "text"],
)
async def test_an_event_in_each_of_its_forms(tmp_path: Path, body: object, headers: dict[Any, Any]) -> None:
    status, answer = await invoke(tmp_path, body, headers)
    assert (status, answer["Reason"]) == (200, "address_not_allowed")


async def test_errors_have_our_form_there_too(tmp_path: Path) -> None:
    sent = {"Delinkcious-Caller-Token": TOKEN, "X-Request-Id": "r-1"}
    assert await invoke(tmp_path, b"{", sent) == (
        400,
        {"err": "the body is not valid JSON (line 1, column 2)", "code": "malformed_json", "request_id": "r-1"},
    )
    status, answer = await invoke(tmp_path, REQUEST, {})
    assert (status, answer["code"]) == (401, "caller_unknown")
    assert answer["request_id"], "one is made where none was sent"
    status, answer = await invoke(tmp_path, b" " * (MAX_REQUEST_BYTES + 1), sent)
    assert (status, answer["code"]) == (413, "body_too_large")


WORKER = """
import asyncio, types
from fun.link_checker.handler import handler, init_context
context = types.SimpleNamespace(user_data=types.SimpleNamespace(), Response=types.SimpleNamespace)
init_context(context)
event = types.SimpleNamespace(body={"Username": "alice", "Url": "http://10.0.0.1/"}, headers={})
async def work():
    print((await handler(context, event)).body)
    await context.user_data.checker.close()
asyncio.run(work())
"""


def run_worker(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [sys.executable, "-c", WORKER], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_a_worker_is_configured_by_its_environment(tmp_path: Path) -> None:
    done = run_worker(DELINKCIOUS_MODE="local", DELINKCIOUS_MUTUAL_AUTH="false")
    assert json.loads(done.stdout)["Reason"] == "address_not_allowed", done.stderr


def test_a_worker_without_its_secrets_does_not_start(tmp_path: Path) -> None:
    done = run_worker(DELINKCIOUS_MUTUAL_AUTH_FILE=str(tmp_path / "nowhere.yaml"))
    assert done.returncode != 0
    assert "cannot read the mutual authentication file" in done.stderr


def test_function_yaml_names_what_is_here() -> None:
    function = yaml.safe_load((ROOT / "fun" / "link_checker" / "function.yaml").read_text())
    module, name = function["spec"]["handler"].split(":")
    assert (module, name) == (handler.__module__, handler.__name__)
    assert function["metadata"]["name"] == LINK_CHECKER
    # Nothing of NATS or a database.
    assert {row["name"] for row in function["spec"]["env"]} == {
        "DELINKCIOUS_MUTUAL_AUTH_FILE",
        "LINK_CHECKER_REDIS_SERVICE_HOST",
        "LINK_CHECKER_REDIS_PASSWORD_FILE",
    }
