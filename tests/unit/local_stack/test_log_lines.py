"""Output of programs, cut into lines and made readable."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.local_stack.console import Console, LogFile
from pkg.local_stack.log_lines import Level, LineSplitter, LogReader, printable


@given(st.lists(st.text(alphabet="ab é", max_size=8), max_size=8), st.integers(1, 5))
def test_lines_are_the_same_however_they_arrive(lines: list[str], size: int) -> None:
    sent = "".join(line + "\n" for line in lines).encode()
    splitter = LineSplitter()
    arrived = [line for i in range(0, len(sent), size) for line in splitter.feed(sent[i : i + size])]
    assert arrived + splitter.end() == lines


def test_a_last_line_without_an_end_is_a_line() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed(b"o") == []
    assert splitter.end() == ["two"]
    assert splitter.end() == []


def test_an_endless_line_is_cut_once_and_not_kept() -> None:
    splitter = LineSplitter(max_line=10)
    shown = [line for _ in range(100) for line in splitter.feed(b"x" * 7)]
    assert shown == ["x" * 10 + " ... (cut)"]
    assert splitter.feed(b"still the same line\nnext\n") == ["next"]
    assert len(splitter._rest) == 0


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (
            json.dumps(
                {"time": "t", "level": "info", "service": "s", "event": "request", "status": 200, "path": "/a b"}
            ),
            Level.INFO,
            'INFO    request status=200 path="/a b"',
        ),
        (
            json.dumps({"level": "error", "event": "failed", "more": {"a": [1]}}),
            Level.ERROR,
            'ERROR   failed more={"a": [1]}',
        ),
        ("LOG:  database system is ready", Level.INFO, "INFO    database system is ready"),
        ("FATAL:  out of memory", Level.ERROR, "ERROR   out of memory"),
        ("FATAL:  the database system is starting up", Level.INFO, "INFO    the database system is starting up"),
        ("[12] 2026/01/02 10:11:12.123456 [INF] Server is ready", Level.INFO, "INFO    Server is ready"),
        ("[12] 2026/01/02 10:11:12.123456 [ERR] no", Level.ERROR, "ERROR   no"),
        ("12:M 02 Jan 2026 10:11:12.123 * Ready", Level.INFO, "INFO    Ready"),
        ("12:M 02 Jan 2026 10:11:12.123 # Memory", Level.WARNING, "WARNING Memory"),
        (
            "[12] 2026/01/02 10:11:12.1 [WRN] Plaintext passwords detected",
            Level.INFO,
            "INFO    Plaintext passwords detected",
        ),
        (
            "12:M 02 Jan 2026 10:11:12.123 # WARNING Memory overcommit must be enabled!",
            Level.INFO,
            "INFO    WARNING Memory overcommit must be enabled!",
        ),
        ("12:signal-handler (1700000000) Received SIGTERM", Level.INFO, "INFO    Received SIGTERM"),
        ("Traceback (most recent call last):", Level.WARNING, "Traceback (most recent call last):"),
        ('{"level": "info", broken', Level.WARNING, '{"level": "info", broken'),
    ],
)
def test_each_program_speaks_its_own_way(line: str, level: Level, text: str) -> None:
    read = LogReader().read(line)
    assert (read.level, read.text) == (level, text)


def test_a_continued_line_weighs_as_much_as_its_beginning() -> None:
    reader = LogReader()
    assert reader.read("ERROR:  duplicate key").level is Level.ERROR
    assert reader.read("DETAIL:  Key exists").level is Level.ERROR
    assert reader.read("LOG:  calm").level is Level.INFO
    assert reader.read("DETAIL:  still calm").level is Level.INFO


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[2Jgone",
        json.dumps({"level": "info", "event": "\x1b]0;x\x07", "path": "\x1b[31m", "\x1b": 1, "deep": ["\x9b"]}),
    ],
)
def test_nothing_in_a_log_moves_the_terminal(line: str) -> None:
    assert LogReader().read(line).text.isprintable()
    assert printable("plain é 漢") == "plain é 漢"


def shown(folder: Path, *, quiet: bool = False, coloured: bool = False) -> list[str]:
    stream = io.StringIO()
    with Console(stream, folder, ["nats", "postgres"], quiet=quiet, coloured=coloured) as console:
        console.log("nats", "[1] 2026/01/02 10:11:12.1 [INF] calm")
        console.log("postgres", "ERROR:  bad")
        console.log("nats", "")
        console.say("just so")
        console.say("nats died\n  of age", Level.ERROR)
        console.show("ready: here")
    return stream.getvalue().splitlines()


def test_lines_are_prefixed_with_padded_names_and_the_file_has_them_as_they_came(tmp_path: Path) -> None:
    assert shown(tmp_path) == [
        "nats     | INFO    calm",
        "postgres | ERROR   bad",
        "up       | just so",
        "up       | nats died",
        "up       |   of age",
        "ready: here",
    ]
    assert (tmp_path / "nats.log").read_text() == "[1] 2026/01/02 10:11:12.1 [INF] calm\n\n"
    assert (tmp_path / "nats.log").stat().st_mode & 0o777 == 0o600


def test_quiet_leaves_the_warnings_and_what_was_asked_for(tmp_path: Path) -> None:
    assert shown(tmp_path, quiet=True) == [
        "postgres | ERROR   bad",
        "up       | nats died",
        "up       |   of age",
        "ready: here",
    ]
    assert "calm" in (tmp_path / "nats.log").read_text()


def test_colours_only_where_asked_for(tmp_path: Path) -> None:
    assert not any("\x1b" in line for line in shown(tmp_path))
    coloured = shown(tmp_path, coloured=True)
    assert coloured[0].startswith("\x1b[")
    assert "nats     |" in coloured[0]
    assert coloured[0].split("nats")[0] != coloured[1].split("postgres")[0]


def test_a_log_file_is_turned_over_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("yesterday\n")
    file = LogFile(path, limit=25)
    for number in range(6):
        file.write(f"line {number}")
    file.close()
    assert path.read_text() == "line 3\nline 4\nline 5\n"
    assert (tmp_path / "x.log.1").read_text() == "yesterday\nline 0\nline 1\nline 2\n"


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_terminal_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    with Console(Closed(), tmp_path, ["nats"]) as console:
        for number in range(5):
            console.log("nats", f"line {number}")
    assert len((tmp_path / "nats.log").read_text().splitlines()) == 5
