"""Calls of another service, over real sockets: repeated where that is safe, in time, and with errors that are ours."""

import asyncio
import io
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pkg.object_model.errors import (
    ERROR_KINDS,
    Conflict,
    DeadlineExceeded,
    DelinkciousError,
    Internal,
    InvalidArgument,
    TooLarge,
    Unavailable,
)
from pkg.object_model.types import Actor
from pkg.runtime.caller_auth import CALLER_REFUSAL_CODES, CallerAuth, EdgeCredentials
from pkg.runtime.context import RequestContext, use_context
from pkg.runtime.errors import error_response
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.logs import logs_written_to
from pkg.runtime.metrics import render_metrics
from pkg.runtime.mutual_auth import EdgeSecret, new_secret
from tests.fakes import FakeClock
from tests.loopback_server import served

CALLEE = "user-manager"
SECRET = EdgeSecret(new_secret(), new_secret())
ALICE = Actor(7, "alice")
TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"

type Answer = Callable[[Request], Awaitable[Response]]


class Callee:
    """Gives its answers one by one, the last again and again, and keeps what it was asked."""

    def __init__(self, *answers: Response | Answer) -> None:
        self._answers = list(answers)
        self.asked: list[Request] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.bodies.append(await request.body())
        self.asked.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        await (answer if isinstance(answer, Response) else await answer(request))(scope, receive, send)


class Switchboard:
    """One server for all tests here: it passes on to the callee of the moment."""

    url = ""
    callee: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.callee(scope, receive, send)


SWITCHBOARD = Switchboard()


@pytest.fixture(scope="module", autouse=True)
async def switchboard() -> AsyncIterator[None]:
    async with served(SWITCHBOARD) as SWITCHBOARD.url:
        yield


def ok(body: bytes = b'{"err":""}') -> Response:
    return Response(body, media_type="application/json")


def away(**options: Any) -> Response:
    return error_response(Unavailable("later", code="database_unavailable", **options), "r")


@asynccontextmanager
async def client(callee: Callee | str) -> AsyncIterator[ServiceHttpClient]:
    """Of a callee, or of whoever is at this address."""
    if isinstance(callee, Callee):
        SWITCHBOARD.callee = callee
    url = callee if isinstance(callee, str) else SWITCHBOARD.url
    async with HttpSession() as session:
        credentials = EdgeCredentials("link-manager", CALLEE, SECRET, FakeClock())
        yield ServiceHttpClient(session, url, credentials, timeout=10)


async def get(callee: Callee | str, *, repeatable: bool = True, method: str = "GET", **options: Any) -> bytes:
    async with client(callee) as http:
        return await http.request(method, "/users", actor=None, repeatable=repeatable, **options)


async def failure(callee: Callee | str, **options: Any) -> DelinkciousError:
    with pytest.raises(DelinkciousError) as raised:
        await get(callee, **options)
    return raised.value


@asynccontextmanager
async def speaking(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that says whatever it likes."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


# --- what is sent ---------------------------------------------------------------------------------------------------


async def test_ids_and_statements_go_along() -> None:
    callee = Callee(ok())
    context = RequestContext("r-1", TRACEPARENT, time.monotonic() + 5)
    async with client(callee) as http:
        with use_context(context):
            await http.request(
                "POST", "/users", actor=ALICE, params={"q": "ä b&c"}, body=b"{}", repeatable=False, timeout=60
            )
    (asked,) = callee.asked
    headers = asked.headers
    assert (headers["x-request-id"], headers["traceparent"]) == ("r-1", TRACEPARENT)
    assert 3_000 < int(headers["x-request-timeout-ms"]) <= 5_000
    assert headers["content-type"] == "application/json"
    assert asked.query_params["q"] == "ä b&c"
    auth = CallerAuth(CALLEE, {"link-manager": SECRET}, FakeClock())
    call = auth.authorize(headers, "users.find")
    assert (call.caller, call.actor) == ("link-manager", ALICE)


async def test_nothing_is_said_of_a_user_or_a_request_that_is_not_there() -> None:
    callee = Callee(ok())
    assert await get(callee) == b'{"err":""}'
    headers = callee.asked[0].headers
    assert not {"x-request-id", "traceparent", "delinkcious-user-statement", "cookie"} & set(headers)


async def test_arguments_that_no_service_takes_are_refused_here() -> None:
    callee = Callee(ok())
    error = await failure(callee, params={"q": "x" * 20_000})
    assert (type(error), error.code) == (InvalidArgument, "url_too_long")
    assert callee.asked == []


# --- what is repeated -----------------------------------------------------------------------------------------------


async def test_what_may_be_repeated_is() -> None:
    callee = Callee(away(), Response(status_code=502), ok())
    before = counted("delinkcious_outgoing_retries_total")
    assert await get(callee, body=b"abc") == b'{"err":""}'
    assert callee.bodies == [b"abc"] * 3
    assert counted("delinkcious_outgoing_retries_total") == before + 2


async def test_three_times_and_no_more() -> None:
    callee = Callee(away())
    error = await failure(callee)
    assert (type(error), error.code, error.message) == (Unavailable, "database_unavailable", "later")
    assert len(callee.asked) == 3


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_what_may_not_be_repeated_is_not(method: str) -> None:
    callee = Callee(away(), ok())
    assert isinstance(await failure(callee, repeatable=False, method=method), Unavailable)
    assert len(callee.asked) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_broken_connection_is_no_reason_to_repeat_a_write(method: str) -> None:
    """HTTP lets a client repeat a PUT whose connection broke; it may have happened all the same."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if len(asked) > 1:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with speaking(talk) as url, client(url) as http:
        await http.request("GET", "/", actor=None, repeatable=False)
        with pytest.raises(Unavailable):
            await http.request(method, "/", actor=None, repeatable=False)
    assert len(asked) == 2


async def test_a_body_that_can_be_read_once_is_sent_once() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    callee = Callee(away(), ok())
    assert isinstance(await failure(callee, body=pieces(), method="PUT"), Unavailable)
    assert callee.bodies == [b"ab"]


async def test_only_what_may_pass_is_repeated() -> None:
    for answer in (error_response(Conflict("no", code="link_exists"), "r"), Response(status_code=500)):
        callee = Callee(answer, ok())
        await failure(callee)
        assert len(callee.asked) == 1


@pytest.mark.parametrize("answer", [away(retry_after=1), Response(status_code=503, headers={"Retry-After": "1"})])
async def test_a_callee_that_asks_for_a_pause_gets_it(answer: Response) -> None:
    began = time.monotonic()
    assert await get(Callee(answer, ok()))
    assert time.monotonic() - began >= 1


async def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    callee = Callee(away(retry_after=60))
    began = time.monotonic()
    error = await failure(callee)
    assert error.retry_after == 60
    assert time.monotonic() - began < 5
    assert len(callee.asked) == 1


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9", "999999", "", "\xb2"])
async def test_another_form_of_retry_after_is_none(header: str) -> None:
    callee = Callee(Response(status_code=503, headers={"Retry-After": header}), ok())
    assert await get(callee)


# --- time -----------------------------------------------------------------------------------------------------------


async def slow(request: Request) -> Response:
    await asyncio.Event().wait()
    return ok()


async def test_who_does_not_answer_in_time() -> None:
    callee = Callee(slow)
    error = await failure(callee, timeout=0.1)
    assert (type(error), error.code) == (DeadlineExceeded, "deadline_exceeded")
    assert CALLEE in error.message
    assert len(callee.asked) == 1


async def test_a_body_that_came_too_late_for_the_callee_is_late_for_us() -> None:
    callee = Callee(Response(b'{"err":"too slow","code":"body_too_slow"}', status_code=408))
    assert isinstance(await failure(callee), DeadlineExceeded)


async def test_the_request_that_is_served_bounds_the_call() -> None:
    with use_context(RequestContext("r", TRACEPARENT, time.monotonic() + 0.1)):
        assert isinstance(await failure(Callee(slow), timeout=60), DeadlineExceeded)
    callee = Callee(ok())
    with use_context(RequestContext("r", TRACEPARENT, time.monotonic())):
        assert isinstance(await failure(callee), DeadlineExceeded)
    assert callee.asked == []


# --- what went wrong ------------------------------------------------------------------------------------------------


async def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert (type(error), error.code, error.retry_after) == (Unavailable, "user_manager_unavailable", 1)


@pytest.mark.parametrize("kind", sorted(set(ERROR_KINDS) - {"unavailable", "internal"}))
async def test_an_error_arrives_as_it_was_raised(kind: str) -> None:
    raised = ERROR_KINDS[kind]("what is wrong, ä", code="some_code")
    error = await failure(Callee(error_response(raised, "r")))
    assert (type(error), error.code, error.message) == (type(raised), raised.code, raised.message)


@pytest.mark.parametrize("code", sorted(CALLER_REFUSAL_CODES))
@pytest.mark.parametrize("kind", ["unauthenticated", "permission_denied"])
async def test_a_refusal_of_us_is_not_the_users(kind: str, code: str) -> None:
    error = await failure(Callee(error_response(ERROR_KINDS[kind]("no", code=code), "r")))
    assert (type(error), error.code) == (Internal, "upstream_refused")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Response("<html>", status_code=404), "bad_upstream_reply"),
        (Response(status_code=302, headers={"Location": "http://127.0.0.1:1/"}), "bad_upstream_reply"),
        (Response('{"err": "x"}', status_code=400), "bad_upstream_reply"),
        (Response('["x"]', status_code=400), "bad_upstream_reply"),
        (Response('{"err": 1, "code": 2}', status_code=400), "bad_upstream_reply"),
        (Response('{"err": "x", "code": "no_such_path"}', status_code=404), "bad_upstream_reply"),
        (Response('{"err": "x", "code": "method_not_allowed"}', status_code=405), "bad_upstream_reply"),
        (Response(status_code=204), "bad_upstream_reply"),
        (Response(status_code=401), "upstream_refused"),
        (Response(status_code=403), "upstream_refused"),
        (Response("broken", status_code=500), "bad_upstream_reply"),
        (Response('{"err": "x", "code": "internal"}', status_code=500), "internal"),
    ],
)
async def test_an_answer_out_of_contract_is_our_fault(answer: Response, code: str) -> None:
    error = await failure(Callee(answer))
    assert (type(error), error.code) == (Internal, code)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b""])
async def test_who_does_not_speak_http_cannot_be_reached(garbage: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(garbage)
        await writer.drain()

    async with speaking(talk) as url:
        error = await failure(url)
    assert (type(error), error.code) == (Unavailable, "user_manager_unavailable")


@pytest.mark.parametrize("length_told", [True, False])
async def test_an_answer_is_read_up_to_a_limit(length_told: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 1_000
            await asyncio.sleep(0)

    answer = ok(b"x" * 1_001) if length_told else StreamingResponse(pieces())
    error = await failure(Callee(answer), max_response_bytes=1_000)
    assert (type(error), error.code) == (Internal, "bad_upstream_reply")
    assert len(await get(Callee(ok(b"x" * 1_000)), max_response_bytes=1_000)) == 1_000


async def test_the_words_of_an_error_are_bounded() -> None:
    error = await failure(Callee(error_response(Conflict("x" * 50_000, code="c"), "r")))
    assert len(error.message) == 2_000


async def test_an_upload_that_breaks_off_says_why() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        raise TooLarge("more than you may")

    error = await failure(Callee(ok()), body=pieces(), method="POST", repeatable=False)
    assert (type(error), error.message) == (TooLarge, "more than you may")


async def test_nothing_private_is_logged() -> None:
    written = io.BytesIO()
    with logs_written_to(written):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            await failure(f"http://127.0.0.1:{unused.getsockname()[1]}", params={"q": "hunter2"})
        await failure(Callee(Response(status_code=401)), params={"q": "hunter2"})
    lines = [orjson.loads(line) for line in written.getvalue().splitlines()]
    assert {line["event"] for line in lines} == {"a service cannot be reached", "a service does not let us in"}
    assert b"hunter2" not in written.getvalue()
    assert SECRET.token.encode() not in written.getvalue()


# --- streams --------------------------------------------------------------------------------------------------------


def stream_of(*pieces: bytes | BaseException) -> Answer:
    async def content() -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def answer(request: Request) -> Response:
        return StreamingResponse(content())

    return answer


async def read(http: ServiceHttpClient, **options: Any) -> bytes:
    return b"".join([piece async for piece in http.stream("GET", "/export", actor=ALICE, **options)])


async def test_a_stream() -> None:
    async with client(Callee(stream_of(b"one ", b"two"))) as http:
        assert await read(http) == b"one two"


async def test_a_stream_that_is_refused() -> None:
    async with client(Callee(error_response(Conflict("no", code="link_exists"), "r"))) as http:
        with pytest.raises(Conflict, match="no"):
            await read(http)


@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\none", b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"])
async def test_half_a_stream_is_no_stream(head: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + head)
        await writer.drain()

    async with speaking(talk) as url, client(url) as http:
        stream = http.stream("GET", "/export", actor=None)
        assert await anext(stream) == b"one"
        with pytest.raises(Unavailable):
            await anext(stream)


async def test_a_stream_that_stops_coming() -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    async def answer(request: Request) -> Response:
        return StreamingResponse(content())

    async with client(Callee(answer)) as http:
        stream = http.stream("GET", "/export", actor=None, timeout=2.0)
        assert await anext(stream) == b"one"
        with pytest.raises(DeadlineExceeded):
            await anext(stream)


async def test_the_request_that_is_served_bounds_only_the_beginning_of_a_stream() -> None:
    go_on = asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield b"one"
        await go_on.wait()
        yield b"two"

    async def answer(request: Request) -> Response:
        return StreamingResponse(content())

    deadline = time.monotonic() + 0.3
    async with client(Callee(answer)) as http:
        with use_context(RequestContext("r", TRACEPARENT, deadline)):
            stream = http.stream("GET", "/export", actor=None)
            assert await anext(stream) == b"one"
            asyncio.get_running_loop().call_later(deadline - time.monotonic() + 0.05, go_on.set)
            assert await anext(stream) == b"two"


async def test_a_stream_that_nobody_reads_to_its_end_is_closed() -> None:
    async with client(Callee(stream_of(*[b"x" * 100_000] * 100))) as http:
        stream = http.stream("GET", "/export", actor=None)
        await anext(stream)
        await stream.aclose()
        assert await read(http)


# --- counting -------------------------------------------------------------------------------------------------------


def counted(metric: str, **labels: str) -> float:
    wanted = {"callee": CALLEE, **labels}
    return sum(
        sample.value
        for family in text_string_to_metric_families(render_metrics().decode())
        for sample in family.samples
        if sample.name == metric and wanted.items() <= sample.labels.items()
    )


async def test_outcomes_are_counted_by_kind() -> None:
    metric = "delinkcious_outgoing_calls_total"
    before = {kind: counted(metric, outcome=kind) for kind in ("ok", "conflict", "internal")}
    await get(Callee(ok()))
    await failure(Callee(error_response(Conflict("no"), "r")))
    await failure(Callee(Response("x", status_code=404)))
    assert {kind: counted(metric, outcome=kind) - before[kind] for kind in before} == dict.fromkeys(before, 1)
