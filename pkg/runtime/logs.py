"""Logs: one JSON object a line on standard output, with the request's ids.

What is logged is chosen word by word. Query strings, tokens, titles, descriptions and URLs never are; nor is
the message of an exception that is likely to quote somebody's data (see ``describe_exception``).
"""

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import orjson
import structlog

from pkg.object_model.errors import DelinkciousError
from pkg.runtime.context import CURRENT_CONTEXT

_LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
#: Seconds for which a line below a warning may wait for others.
_FLUSH_DELAY: Final = 0.02
_MAX_FRAMES: Final = 30
_MAX_CHAIN: Final = 5
_MAX_MESSAGE: Final = 300
#: Whose errors quote the values that they were given.
_QUOTING_PACKAGES: Final = frozenset({"asyncpg", "sqlalchemy", "psycopg2", "pydantic", "pydantic_core", "yarl"})


class _Sink:
    """Where the lines go. One a process; ``configure_logs`` aims it."""

    def __init__(self) -> None:
        self.stream: BinaryIO | None = None
        self.threshold = _LEVELS["info"]
        self.service = ""
        #: The one that has been asked to flush; one that ended meanwhile never will.
        self._flushing_loop: asyncio.AbstractEventLoop | None = None

    def write(self, line: bytes, *, urgent: bool) -> None:
        stream = self.stream or sys.stdout.buffer
        stream.write(line)
        if urgent or not self._flush_soon():
            stream.flush()

    def _flush_soon(self) -> bool:
        """Whether it will be done: to ask the system for every line costs more than to make the line."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._flushing_loop is not loop:
            self._flushing_loop = loop
            loop.call_later(_FLUSH_DELAY, self._flush)
        return True

    def _flush(self) -> None:
        self._flushing_loop = None
        (self.stream or sys.stdout.buffer).flush()


_SINK: Final = _Sink()


def write_event(level: str, event: str, values: Mapping[str, object]) -> None:
    """One line, past structlog: for the line that every request writes."""
    if _LEVELS[level] < _SINK.threshold:
        return
    _write(level, event, values)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger with ``debug``, ``info``, ``warning`` and ``error``; keyword arguments become keys."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _SINK,  # never called: _emit writes
        processors=[_emit],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        context_class=dict,
        cache_logger_on_first_use=True,
    ).bind(logger=name)
    return logger


def configure_logs(service: str, level: str = "info", stream: BinaryIO | None = None) -> None:
    """Aims all lines, those of libraries included, at ``stream``; standard output by default."""
    _SINK.service = service
    _SINK.threshold = _LEVELS[level.lower()]
    _SINK.stream = stream
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler()]
    # Libraries tell stories at INFO; theirs are wanted only when somebody looks for a fault.
    root.setLevel(logging.DEBUG if _SINK.threshold <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = name != "uvicorn.access"
        # Not NOTSET: uvicorn compares the number itself, and takes 0 for "trace every connection".
        library.setLevel(root.level)


@contextmanager
def logs_written_to(stream: BinaryIO, level: str = "debug") -> Iterator[None]:
    """For tests: our own lines into ``stream`` while the block runs."""
    before = _SINK.stream, _SINK.threshold
    _SINK.stream, _SINK.threshold = stream, _LEVELS[level]
    try:
        yield
    finally:
        _SINK.stream, _SINK.threshold = before


def describe_exception(error: BaseException) -> list[dict[str, object]]:
    """An exception and its causes, outermost first: type, message and frames (file, line, function).

    The message is left out where the type is one that quotes what it was given (a key, a row, an input): such
    a value can be a private title.
    """
    chain: list[dict[str, object]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _MAX_CHAIN:
        kind = type(current)
        entry: dict[str, object] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
        if not _quotes_data(current):
            entry["message"] = str(current)[:_MAX_MESSAGE]
        frames = traceback.extract_tb(current.__traceback__)[-_MAX_FRAMES:]
        entry["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        chain.append(entry)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _quotes_data(error: BaseException) -> bool:
    if isinstance(error, DelinkciousError | ValueError | LookupError):
        return True
    return type(error).__module__.partition(".")[0] in _QUOTING_PACKAGES


def _emit(logger: object, method: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    level = "error" if method == "exception" else method
    if _LEVELS.get(level, 20) >= _SINK.threshold:
        event = values.pop("event", "")
        failure = values.pop("exc_info", None)
        if failure:
            error = failure if isinstance(failure, BaseException) else sys.exc_info()[1]
            if error is not None:
                values["exception"] = describe_exception(error)
        _write(level, str(event), values)
    # structlog's own last step would write; the line is written already.
    raise structlog.DropEvent


def _write(level: str, event: str, values: Mapping[str, object]) -> None:
    now = datetime.now(UTC)
    context = CURRENT_CONTEXT.get()
    line: dict[str, object]
    if context is None:
        line = {"time": now, "level": level, "service": _SINK.service, "event": event, **values}
    else:
        line = {
            "time": now,
            "level": level,
            "service": _SINK.service,
            "event": event,
            "request_id": context.request_id,
            "trace_id": context.traceparent[3:35],
            **values,
        }
    _SINK.write(_line_of(line), urgent=_LEVELS[level] >= _LEVELS["warning"])


def _line_of(line: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(line, default=str, option=_LINE_OPTIONS)
    except TypeError:
        # A number of more than 64 bits, half a surrogate: rare, and a line all the same.
        return json.dumps({**line, "time": datetime.now(UTC).isoformat()}, default=str, skipkeys=True).encode() + b"\n"


_LINE_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class _LibraryHandler(logging.Handler):
    """Brings what libraries log into the same form. Not on the path of a request."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            values: dict[str, object] = {"logger": record.name}
            if record.exc_info and record.exc_info[1] is not None:
                values["exception"] = describe_exception(record.exc_info[1])
            level = record.levelname.lower()
            _write(level if level in _LEVELS else "info", _first_line(record.getMessage()), values)
        except Exception:  # noqa: BLE001  # a line that cannot be written must not end what it tells of
            self.handleError(record)


def _first_line(message: str) -> str:
    """asyncio's next lines are the repr of a task with all its arguments."""
    return message.strip().partition("\n")[0]
