"""One JSON object a line, with the request's ids and without anybody's data."""

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pkg.object_model.errors import NotFound
from pkg.runtime.context import RequestContext, use_context
from pkg.runtime.logs import configure_logs, describe_exception, get_logger, logs_written_to, write_event

TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    written = io.BytesIO()
    with logs_written_to(written, "info"):
        yield written


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line(stream: io.BytesIO) -> None:
    get_logger("pkg.x").info("saved", user_id=5, tags=("a", "b"))
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    line.pop("service")
    assert line == {"level": "info", "event": "saved", "logger": "pkg.x", "user_id": 5, "tags": ["a", "b"]}


def test_the_ids_of_the_request(stream: io.BytesIO) -> None:
    with use_context(RequestContext("r-1", TRACEPARENT)):
        get_logger("x").warning("odd")
        write_event("info", "request", {"status": 200})
    get_logger("x").info("later")
    odd, request, later = lines(stream)
    assert (odd["request_id"], odd["trace_id"]) == ("r-1", "a" * 32)
    assert (request["request_id"], request["status"]) == ("r-1", 200)
    assert "request_id" not in later


def test_below_the_level_nothing_is_written(stream: io.BytesIO) -> None:
    get_logger("x").debug("chatter")
    write_event("debug", "chatter", {})
    assert lines(stream) == []


def test_what_cannot_be_json_still_makes_a_line(stream: io.BytesIO) -> None:
    get_logger("x").info("odd", value=object(), count=2**70)
    (line,) = lines(stream)
    assert line["event"] == "odd"


def test_an_exception_has_its_frames_and_causes(stream: io.BytesIO) -> None:
    def save() -> None:
        try:
            Path("/nowhere").read_text()
        except FileNotFoundError as missing:
            raise RuntimeError("could not save") from missing

    try:
        save()
    except RuntimeError:
        get_logger("x").exception("failed")
    (line,) = lines(stream)
    outer, cause = line["exception"]
    assert (outer["type"], outer["message"]) == ("builtins.RuntimeError", "could not save")
    assert (cause["type"], cause["message"]) == (
        "builtins.FileNotFoundError",
        "[Errno 2] No such file or directory: '/nowhere'",
    )
    assert outer["frames"][-1].endswith(" save")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("invalid title 'my secret'"),
        KeyError("my secret"),
        UnicodeDecodeError("utf-8", b"my secret", 0, 1, "bad"),
        NotFound("there is no link my secret"),
    ],
)
def test_messages_that_quote_data_are_left_out(error: Exception) -> None:
    assert "secret" not in str(describe_exception(error))


def test_a_long_chain_and_a_long_message_are_bounded() -> None:
    error: Exception = RuntimeError("x" * 100_000)
    for _ in range(100):
        outer = RuntimeError("y" * 100_000)
        outer.__cause__ = error
        error = outer
    assert len(str(describe_exception(error))) < 10_000


def test_lines_of_libraries_have_the_same_form() -> None:
    written = io.BytesIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logs("link-manager", "info", written)
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("asyncio").error("Task failed\nfuture: <Task args=('my secret',)>")
        logging.getLogger("uvicorn.error").info("Started")
        logging.getLogger("uvicorn.access").info("GET /links?title=secret")
        # A broken format string must not end the process; it prints to standard error.
        logging.getLogger("some.library").error("no %s of this")
    finally:
        root.handlers[:], level = before[0], before[1]
        root.setLevel(level)
        configure_logs("", "info", None)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        logging.captureWarnings(False)
    invalid, task, last = lines(written)
    assert (invalid["service"], invalid["level"], invalid["logger"]) == ("link-manager", "warning", "uvicorn.error")
    assert invalid["event"] == "Invalid HTTP request received."
    assert task["event"] == "Task failed"
    assert last["event"] == "no %s of this"
    assert b"secret" not in written.getvalue()


def test_lines_are_flushed_together_and_soon(tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def told(level: str) -> float:
        """How often one looks until the line is there."""
        before = path.read_bytes()
        write_event(level, "event", {})
        looks = 0
        while path.read_bytes() == before:
            assert looks < 10_000, "never flushed"
            looks += 1
            await asyncio.sleep(0.001)
        return looks

    with path.open("wb") as written, logs_written_to(written, "info"):
        write_event("info", "no loop runs", {})
        assert path.read_bytes().count(b"\n") == 1
        for _ in range(2):  # a second loop does not rely on the first
            assert asyncio.run(told("info")) > 0
            assert asyncio.run(told("warning")) == 0
