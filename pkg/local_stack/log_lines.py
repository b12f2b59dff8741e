"""Lines of output: cut out of what programs write, and made readable for people."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

#: Bytes. A longer line is shown cut: nobody reads it, and a program must not fill our memory.
MAX_LINE: Final = 16_384
_CUT: Final = " ... (cut)"

#: Keys that every line of a service has, and that are shown in another way or not at all.
_FRAME: Final = frozenset({"time", "level", "service", "event"})
_POSTGRES: Final = re.compile(r"(DEBUG\d?|INFO|LOG|NOTICE|WARNING|ERROR|FATAL|PANIC): ")
#: What whoever asks too early is told, as our own probes are; the log calls it fatal.
_POSTGRES_NOT_YET: Final = re.compile(r"FATAL: +the database system is (starting up|not yet accepting|shutting down)")
#: Advice for a server that strangers can reach, or that holds more than memory. Ours hears nobody but this machine.
_ADVICE: Final = re.compile(r"Plaintext passwords detected|WARNING Memory overcommit must be enabled")
_POSTGRES_MORE: Final = re.compile(r"(DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION): |\t")
_NATS: Final = re.compile(r"\[\d+\] \S+ \S+ \[(TRC|DBG|INF|WRN|ERR|FTL)\] (.*)")
_VALKEY: Final = re.compile(r"\d+:(?:[MCSX] .{10,30}? ([-.*#])|signal-handler \(\d+\)) (.*)")


class Level(IntEnum):
    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


_LEVELS: Final[Mapping[str, Level]] = {
    **{level.name.lower(): level for level in Level},
    "critical": Level.ERROR,
    "LOG": Level.INFO,
    "INFO": Level.INFO,
    "NOTICE": Level.INFO,
    "WARNING": Level.WARNING,
    "ERROR": Level.ERROR,
    "FATAL": Level.ERROR,
    "PANIC": Level.ERROR,
    "TRC": Level.DEBUG,
    "DBG": Level.DEBUG,
    "INF": Level.INFO,
    "WRN": Level.WARNING,
    "ERR": Level.ERROR,
    "FTL": Level.ERROR,
    ".": Level.DEBUG,
    "-": Level.INFO,
    "*": Level.INFO,
    "#": Level.WARNING,
}


class LineSplitter:
    """Bytes in, lines out, however they were cut on the way."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[str]:
        *ended, rest = (self._rest + chunk).split(b"\n")
        lines = []
        for line in ended:
            if not self._skipping:
                lines.append(self._text(line))
            self._skipping = False
        if len(rest) > self._max_line:
            if not self._skipping:
                lines.append(self._text(rest))
            self._skipping = True
        self._rest = b"" if self._skipping else rest
        return lines

    def end(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [self._text(rest)] if rest and not self._skipping else []

    def _text(self, line: bytes) -> str:
        text = line[: self._max_line].decode(errors="replace").rstrip("\r")
        return text + _CUT if len(line) > self._max_line else text


@dataclass(frozen=True, slots=True)
class LogLine:
    level: Level
    text: str


class LogReader:
    """Understands the lines of one program, one after the other: a line may belong to the one before it."""

    def __init__(self) -> None:
        self._level = Level.INFO

    def read(self, line: str) -> LogLine:
        """What nobody can make sense of (a traceback, a message of the interpreter) counts as a warning."""
        found = _service_line(line) or _server_line(line)
        if found is None and _POSTGRES_MORE.match(line):
            found = LogLine(self._level, printable(line))
        if found is None:
            return LogLine(Level.WARNING, printable(line))
        self._level = found.level
        return found


def printable(text: str) -> str:
    """Without what would move a terminal's cursor or change its colours."""
    text = text.expandtabs(4)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _service_line(line: str) -> LogLine | None:
    if not line.startswith("{"):
        return None
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    level = _LEVELS.get(str(values.get("level")), Level.INFO)
    words = [f"{level.name:<7}", printable(str(values.get("event", "")))]
    words += [f"{printable(name)}={_value(value)}" for name, value in values.items() if name not in _FRAME]
    return LogLine(level, " ".join(words))


def _value(value: object) -> str:
    if isinstance(value, str) and value and value.isprintable() and not set(value) & set(' "='):
        return value
    return printable(json.dumps(value, ensure_ascii=False))


def _server_line(line: str) -> LogLine | None:
    if found := _POSTGRES.match(line):
        level = Level.INFO if _POSTGRES_NOT_YET.match(line) else _LEVELS.get(found[1], Level.DEBUG)
        return LogLine(level, f"{level.name:<7} {printable(line[found.end() :].strip())}")
    if found := _NATS.match(line) or _VALKEY.match(line):
        level = Level.INFO if _ADVICE.match(found[2]) else _LEVELS[found[1] or "INFO"]
        return LogLine(level, f"{level.name:<7} {printable(found[2])}")
    return None
