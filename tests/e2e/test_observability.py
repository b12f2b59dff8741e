"""What a running system tells about itself, service by service, and what it keeps to itself."""

import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.client import api_client, eventually
from tests.e2e.stack import Stack

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PRIVATE = ("confidential-host", "Confidential title", "confidential words", "confidential-tag", "confidential-search")


#: Whom one request of somebody's page goes to.
ASKED = ("api-gateway", "user-manager", "social-graph-manager", "link-manager")


def log_lines(stack: Stack, service: str) -> list[dict[str, Any]]:
    lines = (stack.data / "logs" / f"{service}.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


async def test_every_service_has_the_same_pages(shared_stack: Stack) -> None:
    async with aiohttp.ClientSession() as session:
        for name, address in shared_stack.ready["services"].items():
            for page in ("/livez", "/readyz", "/startupz", "/version", "/metrics"):
                async with session.get(address + page) as response:
                    assert response.status == 200, f"{name}{page}"
                    text = await response.text()
            if name in ASKED:
                assert "_seconds_bucket{" in text, f"{name} measures no request"


async def test_one_request_has_one_id_and_one_trace_in_every_log(shared_stack: Stack) -> None:
    headers = {"X-Request-ID": "followed-from-end-to-end", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    async with api_client(shared_stack.gateway, shared_stack.token("walter")) as walter:
        reply = await walter.call("GET", "/v1/users/wendy", headers=headers)
    assert reply.headers["X-Request-ID"] == headers["X-Request-ID"]

    def seen(service: str) -> list[dict[str, Any]]:
        return [line for line in log_lines(shared_stack, service) if line.get("request_id") == headers["X-Request-ID"]]

    async def everywhere() -> bool:
        return all(map(seen, ASKED))

    await eventually(everywhere, "each service has logged the request")
    for service in ASKED:
        assert {line["trace_id"] for line in seen(service)} == {TRACE}
        assert all(isinstance(line["status"], int) and line["ms"] > 0 for line in seen(service))


async def test_a_trace_goes_from_the_request_through_outbox_and_bus_into_the_feed(shared_stack: Stack) -> None:
    trace = "9c5f0d3e1b7a4c2e8d6f4a1b3c5d7e9f"
    headers = {"X-Request-ID": "from-a-save-to-the-feed", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with (
        api_client(shared_stack.gateway, shared_stack.token("walter")) as walter,
        api_client(shared_stack.gateway, shared_stack.token("wendy")) as wendy,
    ):
        await wendy.expect("POST", "/v1/following", params={"followed": "walter"})
        body = {"url": f"{shared_stack.ready['demo_site']}/ok/traced", "title": "Traced"}
        await walter.expect("POST", "/v1/links", body=body, headers=headers)

    def seen(service: str, **wanted: str) -> list[dict[str, Any]]:
        lines = [line for line in log_lines(shared_stack, service) if line.get("trace_id") == trace]
        assert {line["request_id"] for line in lines} <= {headers["X-Request-ID"]}
        return [line for line in lines if wanted.items() <= line.items()]

    async def everywhere() -> bool:
        return bool(
            seen("news-manager", event="an event is worked on", consumer="news")
            # Whom the feed writer asks for the followers.
            and seen("social-graph-manager", event="request")
            and seen("link-check-function", event="request")
            # The verdict, which is an event of its own.
            and seen("link-manager", event="an event is worked on", consumer="link-status")
        )

    await eventually(everywhere, "the trace is in the log of everybody who had a part in it")


async def test_no_log_holds_what_is_private(shared_stack: Stack) -> None:
    url = "https://confidential-host.example/page"
    async with api_client(shared_stack.gateway, shared_stack.token("walter")) as walter:
        link = {"url": url, "title": "Confidential title", "description": "confidential words", "visibility": "private"}
        await walter.expect("POST", "/v1/links", body={**link, "tags": ["confidential-tag"]})
        assert (await walter.call("POST", "/v1/links", body=link)).status == 409
        await walter.expect("GET", "/v1/links", params={"q": "confidential-search"})
        for pattern in ("confidential-search", "confidential-search["):
            await walter.call("GET", "/v1/links", params={"title_regex": pattern})
        await walter.expect("DELETE", "/v1/links", params={"url": url})
        await walter.call("GET", "/v1/links", headers={"X-Request-ID": "the-last-one"})

    async def written() -> bool:
        return any(line.get("request_id") == "the-last-one" for line in log_lines(shared_stack, "api-gateway"))

    await eventually(written, "the last request is in the log")
    files = sorted((shared_stack.data / "logs").iterdir())
    assert {file.stem for file in files} >= {*shared_stack.ready["services"], "postgres"}
    secrets = [path.read_text().strip() for path in files_below(shared_stack.data / "secrets")]
    assert secrets
    tokens = list(shared_stack.ready["tokens"].values())
    for file in files:
        text = file.read_text()
        assert [word for word in (*PRIVATE, *secrets, *tokens) if word in text] == [], file.name


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
