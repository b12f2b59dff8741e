"""What every request gets, whatever the application: ids, bounds, time, errors in our form, metrics, a log line."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, ClassVar

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pkg.object_model.errors import Conflict, DeadlineExceeded, NotFound, Unavailable
from pkg.runtime.context import current_context
from pkg.runtime.http_service import MAX_HEADERS, MAX_URL_BYTES, HttpService, build_http_service
from pkg.runtime.logs import logs_written_to
from pkg.runtime.settings import Mode, ServiceSettings
from tests.asgi_client import AsgiClient, AsgiResponse

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "layered"


class Doors:
    """A request that waits here, and the test that lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def wait(self) -> None:
        self.entered.set()
        await self.open.wait()


def build(
    *,
    doors: Doors | None = None,
    body_limit: Callable[[str], int] | int = 100,
    timeouts: Mapping[str, float] | None = None,
    readiness: Mapping[str, Any] | None = None,
    **settings: Any,
) -> HttpService:
    async def context(request: Request) -> Response:
        seen = current_context()
        assert seen is not None
        return JSONResponse({"request_id": seen.request_id, "traceparent": seen.traceparent})

    async def size(request: Request) -> Response:
        return JSONResponse({"bytes": len(await request.body())})

    async def pass_on(request: Request) -> Response:
        try:
            async with asyncio.timeout(0.01):
                await request.body()
                await asyncio.Event().wait()
        except TimeoutError:
            raise DeadlineExceeded("the callee did not answer in time") from None
        return JSONResponse({})

    async def wait(request: Request) -> Response:
        assert doors is not None
        await doors.wait()
        return JSONResponse({})

    async def raise_(request: Request) -> Response:
        raise {
            "conflict": Conflict("it is there already", code="link_exists"),
            "away": Unavailable("later", code="database_unavailable", retry_after=1.5),
            "bug": RuntimeError("the secret is hunter2"),
            "timeout": TimeoutError(),
            "http": HTTPException(415),
        }[request.path_params["what"]]

    async def stream(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one "
            if doors is not None:
                await doors.wait()
            if "broken" in request.query_params:
                raise NotFound("half of it is gone")
            yield b"two"

        return StreamingResponse(pieces(), media_type="text/plain")

    app = Starlette(
        routes=[
            Route("/context", context),
            Route("/size", size, methods=["POST"]),
            Route("/pass-on", pass_on, methods=["POST"]),
            Route("/wait", wait),
            Route("/raise/{what}", raise_),
            Route("/stream", stream),
        ]
    )
    return build_http_service(
        Settings(mode=Mode.LOCAL, **settings),
        app,
        readiness=readiness or {},
        body_limit=body_limit,
        timeouts=timeouts,
    )


async def request(service: HttpService, method: str, path: str, **options: Any) -> AsgiResponse:
    async with AsgiClient(service) as client:
        return await client.request(method, path, **options)


def refusal(response: AsgiResponse) -> tuple[int, str]:
    """Status and code, of an answer in our form."""
    body = response.json()
    assert body.keys() == {"err", "code", "request_id"}
    assert body["err"]
    assert body["request_id"] == response.headers["x-request-id"] != ""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.body))
    return response.status, body["code"]


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    written = io.BytesIO()
    with logs_written_to(written):
        yield lambda: [orjson.loads(line) for line in written.getvalue().splitlines()]


def counted(metric: str, service: HttpService, page: bytes, **labels: str) -> float:
    wanted = {"service": Settings.service_name, **labels}
    return sum(
        found.value
        for family in text_string_to_metric_families(page.decode())
        for found in family.samples
        if found.name == metric and wanted.items() <= found.labels.items()
    )


async def metrics(service: HttpService, metric: str, **labels: str) -> float:
    return counted(metric, service, (await request(service, "GET", "/metrics")).body, **labels)


# --- ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["r-1", "A.b_9-", "x" * 128])
async def test_a_request_id_is_taken_and_given_back(given: str) -> None:
    response = await request(build(), "GET", "/context", headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given == response.json()["request_id"]


@pytest.mark.parametrize("given", [None, "", "x" * 129, 'a"b', "a b", "a\nb", "\xe9", "a\x00"])
async def test_a_request_id_that_is_none_is_made_anew(given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    first = await request(build(), "GET", "/context", headers=headers)
    second = await request(build(), "GET", "/context", headers=headers)
    made = first.headers["x-request-id"]
    assert len(made) == 32
    assert made == first.json()["request_id"]
    assert made != second.headers["x-request-id"]


async def test_the_trace_goes_on() -> None:
    sent = f"00-{TRACE}-00f067aa0ba902b7-01"
    seen = (await request(build(), "GET", "/context", headers={"traceparent": sent})).json()["traceparent"]
    assert seen.startswith(f"00-{TRACE}-")
    assert seen != sent
    begun = (await request(build(), "GET", "/context", headers={"traceparent": "nonsense"})).json()["traceparent"]
    assert begun.startswith("00-")
    assert begun.endswith("-00")


# --- bounds ---------------------------------------------------------------------------------------------------------


async def chunks(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


async def test_a_body_up_to_the_limit() -> None:
    assert (await request(build(), "POST", "/size", body=b"x" * 100)).json() == {"bytes": 100}
    assert (await request(build(), "POST", "/size", body=chunks(50, 50))).json() == {"bytes": 100}


@pytest.mark.parametrize("length", ["101", "9" * 30, "0101"])
async def test_a_body_that_says_it_is_too_large_is_not_read(length: str) -> None:
    body = chunks(1)
    response = await request(build(), "POST", "/size", body=body, headers={"Content-Length": length})
    assert refusal(response) == (413, "body_too_large")
    assert await anext(body) == b"x"


async def test_a_body_that_turns_out_too_large() -> None:
    read: list[int] = []

    async def many() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            read.append(60)
            yield b"x" * 60

    assert refusal(await request(build(), "POST", "/size", body=many())) == (413, "body_too_large")
    assert len(read) == 2


async def test_the_limit_of_a_body_goes_by_path() -> None:
    service = build(body_limit=lambda path: 1_000 if path == "/size" else 0)
    assert (await request(service, "POST", "/size", body=b"x" * 1_000)).status == 200
    assert refusal(await request(service, "POST", "/other", body=b"x"))[0] == 413


async def test_no_application_hides_that_a_body_is_too_large() -> None:
    async def forgiving(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(Exception):  # as some frameworks do
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all is well"})

    service = build_http_service(Settings(mode=Mode.LOCAL), forgiving, readiness={}, body_limit=10)
    assert refusal(await request(service, "POST", "/", body=chunks(20))) == (413, "body_too_large")


async def test_what_an_application_makes_of_it_is_no_fault_of_ours(log: Callable[[], list[dict[str, Any]]]) -> None:
    async def confused(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
        except Exception as error:
            raise RuntimeError("the body cannot be parsed") from error

    service = build_http_service(Settings(mode=Mode.LOCAL), confused, readiness={}, body_limit=10)
    assert refusal(await request(service, "POST", "/", body=chunks(20))) == (413, "body_too_large")
    assert [line["event"] for line in log()] == ["request"]


async def test_the_head_is_bounded() -> None:
    service = build()
    assert refusal(await request(service, "GET", "/context", query="q=" + "x" * MAX_URL_BYTES)) == (414, "url_too_long")
    assert refusal(await request(service, "GET", "/" + "x" * MAX_URL_BYTES)) == (414, "url_too_long")
    many = [(f"x-{number}", "") for number in range(MAX_HEADERS + 1)]
    assert refusal(await request(service, "GET", "/context", headers=many)) == (431, "headers_too_large")
    assert refusal(await request(service, "GET", "/context", headers={"x": "x" * 33_000})) == (431, "headers_too_large")
    assert refusal(await request(service, "GET", "/\ufffd")) == (400, "malformed_path")


async def test_more_than_it_can_do_at_once_is_shed() -> None:
    doors = Doors()
    service = build(doors=doors, max_concurrent_requests=1)
    before = await metrics(service, "delinkcious_http_requests_shed_total")
    first = asyncio.create_task(request(service, "GET", "/wait"))
    await doors.entered.wait()
    assert await metrics(service, "delinkcious_http_requests_in_flight") == 1
    shed = await request(service, "GET", "/context")
    assert refusal(shed) == (503, "overloaded")
    assert shed.headers["retry-after"] == "1"
    # Whoever watches the service is not shed.
    assert (await request(service, "GET", "/livez")).status == 200
    assert await metrics(service, "delinkcious_http_requests_shed_total") == before + 1
    doors.open.set()
    assert (await first).status == 200
    assert (await request(service, "GET", "/context")).status == 200
    assert await metrics(service, "delinkcious_http_requests_in_flight") == 0


# --- time -----------------------------------------------------------------------------------------------------------


async def test_a_request_has_its_time() -> None:
    service = build(doors=Doors(), request_timeout=0.02)
    assert refusal(await request(service, "GET", "/wait")) == (504, "deadline_exceeded")


async def never_whole() -> AsyncIterator[bytes]:
    yield b"begun"
    await asyncio.Event().wait()


@pytest.mark.parametrize("path", ["/size", "/pass-on"])
async def test_a_body_that_does_not_come_is_its_senders_fault(path: str) -> None:
    response = await request(build(request_timeout=0.02), "POST", path, body=never_whole())
    assert refusal(response) == (408, "body_too_slow")


async def test_who_has_sent_everything_is_not_blamed() -> None:
    response = await request(build(), "POST", "/pass-on", body=b"all of it")
    assert refusal(response) == (504, "deadline_exceeded")


async def test_a_caller_may_have_less_time() -> None:
    service = build(doors=Doors(), request_timeout=60)
    for sent in ("20", "0"):
        response = await request(service, "GET", "/wait", headers={"X-Request-Timeout-Ms": sent})
        assert refusal(response) == (504, "deadline_exceeded")


@pytest.mark.parametrize("sent", ["60000", "999999999", "9999999999", "-5", "1.5", "soon", ""])
async def test_a_caller_cannot_have_more(sent: str) -> None:
    service = build(doors=Doors(), request_timeout=0.02)
    response = await request(service, "GET", "/wait", headers={"X-Request-Timeout-Ms": sent})
    assert refusal(response) == (504, "deadline_exceeded")


async def test_a_path_may_have_a_time_of_its_own() -> None:
    service = build(doors=Doors(), request_timeout=60, timeouts={"/wait": 0.02})
    assert refusal(await request(service, "GET", "/wait")) == (504, "deadline_exceeded")


async def test_the_deadline_is_what_calls_of_others_see() -> None:
    seen: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        context = current_context()
        assert context is not None
        assert context.deadline is not None
        seen.append(context.deadline - asyncio.get_running_loop().time())
        await Response()(scope, receive, send)

    service = build_http_service(Settings(mode=Mode.LOCAL, request_timeout=5), app, readiness={})
    await request(service, "GET", "/")
    await request(service, "GET", "/", headers={"X-Request-Timeout-Ms": "1000"})
    assert [round(left) for left in seen] == [5, 1]


async def test_a_stream_has_more_time_once_it_has_begun() -> None:
    doors = Doors()
    service = build(doors=doors, request_timeout=0.2, stream_timeout=30)
    answer = asyncio.create_task(request(service, "GET", "/stream"))
    await doors.entered.wait()
    done, _ = await asyncio.wait([answer], timeout=0.4)
    assert not done
    doors.open.set()
    response = await answer
    assert (response.status, response.body, response.complete) == (200, b"one two", True)


@pytest.mark.parametrize(
    ("settings", "headers"),
    [({"stream_timeout": 0.05}, {}), ({"stream_timeout": 60}, {"X-Request-Timeout-Ms": "200"})],
    ids=["ours", "the caller's"],
)
async def test_a_stream_that_takes_too_long_is_broken_off(
    log: Callable[[], list[dict[str, Any]]], settings: dict[str, Any], headers: dict[str, str]
) -> None:
    service = build(doors=Doors(), **settings)
    response = await request(service, "GET", "/stream", headers=headers)
    assert (response.status, response.complete) == (200, False)
    assert log()[-1]["incomplete"] is True


async def test_what_goes_on_for_ever_takes_no_room_and_is_no_slow_request(
    log: Callable[[], list[dict[str, Any]]],
) -> None:
    doors = Doors()
    service = build(doors=doors, max_concurrent_requests=1)
    service.streams = frozenset({"/stream"})
    name = "delinkcious_http_request_duration_seconds_sum"
    before = await metrics(service, name, route="/stream")
    answers = []
    for _ in range(2):
        doors.entered.clear()
        answers.append(asyncio.create_task(request(service, "GET", "/stream")))
        await doors.entered.wait()
    assert await metrics(service, "delinkcious_http_requests_in_flight") == 0
    assert (await request(service, "GET", "/context")).status == 200
    going_on, _ = await asyncio.wait(answers, timeout=0.25)
    assert not going_on
    doors.open.set()
    assert [(await answer).body for answer in answers] == [b"one two"] * 2
    assert service.in_flight == 0
    assert await metrics(service, "delinkcious_http_requests_in_flight") == 0
    assert await metrics(service, name, route="/stream") - before < 0.2
    told = [(line["event"], line["route"]) for line in log() if line["route"] == "/stream"]
    assert told == [("request", "/stream")] * 2 + [("stream", "/stream")] * 2
    assert log()[-1]["seconds"] >= 0.2


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "no_such_path"),
        ("DELETE", "/context", 405, "method_not_allowed"),
        ("GET", "/raise/conflict", 409, "link_exists"),
        ("GET", "/raise/away", 503, "database_unavailable"),
        ("GET", "/raise/http", 415, "unsupported_media_type"),
        ("GET", "/raise/timeout", 500, "internal"),
    ],
)
async def test_every_failure_has_our_form(method: str, path: str, status: int, code: str) -> None:
    response = await request(build(), method, path)
    assert refusal(response) == (status, code)
    if status == 405:
        assert "GET" in response.headers["allow"]
    if status == 503:
        assert response.headers["retry-after"] == "2"


async def test_what_nobody_foresaw_is_told_without_details_and_logged_once(
    log: Callable[[], list[dict[str, Any]]],
) -> None:
    response = await request(build(), "GET", "/raise/bug")
    assert refusal(response) == (500, "internal")
    assert b"hunter2" not in response.body
    assert b"RuntimeError" not in response.body
    errors = [line for line in log() if line["level"] == "error"]
    assert [error["event"] for error in errors] == ["unexpected error"]
    assert errors[0]["exception"][0]["type"] == "builtins.RuntimeError"
    assert errors[0]["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("where", ["before", "after"])
async def test_an_application_without_handlers_is_answered_for(where: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if where == "before":
            raise Conflict("no", code="link_exists")

    service = build_http_service(Settings(mode=Mode.LOCAL), app, readiness={})
    expected = (409, "link_exists") if where == "before" else (500, "internal")
    assert refusal(await request(service, "GET", "/")) == expected


async def test_an_answer_that_breaks_off_is_left_incomplete(log: Callable[[], list[dict[str, Any]]]) -> None:
    response = await request(build(), "GET", "/stream", query="broken=1")
    assert (response.status, response.body, response.complete) == (200, b"one ", False)
    assert log()[-1]["incomplete"] is True


async def test_a_client_that_leaves_is_499_in_the_log(log: Callable[[], list[dict[str, Any]]]) -> None:
    service = build()
    before = await metrics(service, "delinkcious_http_requests_total", status="499")
    await request(service, "POST", "/size", body=chunks(10, 10), disconnect_after=1)
    await request(build(doors=Doors()), "GET", "/stream", disconnect_after=1)
    assert [line["status"] for line in log()] == [499, 499]
    assert await metrics(service, "delinkcious_http_requests_total", status="499") == before + 2


# --- the log line ---------------------------------------------------------------------------------------------------


async def test_a_request_is_one_line_without_its_arguments(log: Callable[[], list[dict[str, Any]]]) -> None:
    headers = {"X-Request-ID": "r-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-00", "Access-Token": "hunter2"}
    await request(build(), "GET", "/context", query="q=hunter2", headers=headers)
    (line,) = log()
    assert (line["event"], line["method"], line["status"]) == ("request", "GET", 200)
    assert (line["request_id"], line["trace_id"]) == ("r-1", TRACE)
    assert line["ms"] >= 0
    assert "hunter2" not in str(line)


async def test_latency_is_measured_in_seconds() -> None:
    """The original's was wrong by a factor of a trillion."""
    service = build(doors=Doors(), request_timeout=0.02)
    name = "delinkcious_http_request_duration_seconds_sum"
    before = await metrics(service, name, route="/wait")
    await request(service, "GET", "/wait")
    assert 0.02 <= await metrics(service, name, route="/wait") - before < 10


async def test_a_path_that_no_route_took_is_not_written_down(log: Callable[[], list[dict[str, Any]]]) -> None:
    await request(build(), "GET", "/hunter2")
    assert log()[0]["route"] == "unmatched"
    assert "hunter2" not in str(log())


# --- pages ----------------------------------------------------------------------------------------------------------


async def test_pages() -> None:
    service = build(commit="abc123")
    for path in ("/livez", "/startupz", "/readyz"):
        response = await request(service, "GET", path)
        assert (response.status, response.json()["err"]) == (200, ""), path
        assert response.headers["cache-control"] == "no-store"
    version = (await request(service, "GET", "/version")).json()
    assert (version["service"], version["commit"], version["err"]) == ("layered", "abc123", "")
    assert version["version"]
    assert (await request(service, "GET", "/metrics")).headers["content-type"].startswith("text/plain")
    assert (await request(service, "HEAD", "/livez")).body == b""
    wrong = await request(service, "POST", "/livez")
    assert (wrong.status, wrong.json()["code"], wrong.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD")


async def test_readiness_names_what_is_missing() -> None:
    async def away() -> None:
        raise Unavailable("10.0.0.5 is away", code="database_unavailable")

    async def there() -> None:
        pass

    response = await request(build(readiness={"database": away, "users": there}), "GET", "/readyz")
    assert response.status == 503
    assert response.json() == {
        "ready": False,
        "dependencies": {"database": "database_unavailable", "users": "ok"},
        "err": "not ready (database: database_unavailable)",
    }


async def test_pages_are_not_in_the_log(log: Callable[[], list[dict[str, Any]]]) -> None:
    service = build()
    await request(service, "GET", "/livez")
    await request(service, "GET", "/metrics")
    assert log() == []


async def test_draining_fails_readiness_and_sends_everybody_elsewhere() -> None:
    doors = Doors()
    service = build(doors=doors)
    assert "connection" not in (await request(service, "GET", "/context")).headers
    waiting = asyncio.create_task(request(service, "GET", "/wait"))
    await doors.entered.wait()
    service.begin_drain()
    ready = await request(service, "GET", "/readyz")
    assert (ready.status, ready.json()["err"]) == (503, "shutting down")
    assert (await request(service, "GET", "/livez")).status == 200
    doors.open.set()
    for response in (await waiting, await request(service, "GET", "/context"), await request(service, "GET", "/no")):
        assert response.headers["connection"] == "close"


async def test_a_request_cancelled_while_draining_is_told_to_try_again() -> None:
    doors = Doors()
    service = build(doors=doors)
    waiting = asyncio.create_task(request(service, "GET", "/wait"))
    await doors.entered.wait()
    service.begin_drain()
    waiting.cancel()
    assert refusal(await waiting) == (503, "shutting_down")


async def test_other_protocols_are_declined() -> None:
    service = build()
    sent: list[Any] = []
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await service({"type": "lifespan"}, receive, send)
    await service({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
