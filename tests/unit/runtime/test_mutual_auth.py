"""The file of one service's edges: what it may hold, and what stops the start."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from pkg.runtime.logs import logs_written_to
from pkg.runtime.mutual_auth import EdgeSecret, load_mutual_auth, new_secret, render_edge
from pkg.runtime.start_error import StartError

CALLEE = "user-manager"


def edge(**changes: Any) -> dict[str, Any]:
    return {"token": new_secret(), "statement_key": new_secret()} | changes


def write(folder: Path, content: object) -> Path:
    path = folder / "mutual-auth.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)
    return path


def fault(path: Path) -> str:
    with pytest.raises(StartError) as refused:
        load_mutual_auth(path)
    (line,) = refused.value.faults
    assert "\n" not in line
    assert str(path) in line
    return line


def test_a_file_is_read(tmp_path: Path) -> None:
    gateway, users = edge(), edge()
    found = load_mutual_auth(write(tmp_path, {"accepts": {"api-gateway": gateway}, "presents": {CALLEE: users}}))
    assert found.accepts == {"api-gateway": EdgeSecret(**gateway)}
    assert found.presents == {CALLEE: EdgeSecret(**users)}
    assert load_mutual_auth(write(tmp_path, {"presents": {CALLEE: users}, "accepts": None})).accepts == {}


def test_a_secret_that_is_rotated_has_two_values(tmp_path: Path) -> None:
    tokens, keys = [new_secret(), new_secret()], [new_secret(), new_secret()]
    path = write(
        tmp_path,
        {"accepts": {"a": render_edge(tokens, keys), "b": render_edge(tokens_of_b := [new_secret()], [new_secret()])}},
    )
    found = load_mutual_auth(path).accepts
    assert (found["a"].tokens, found["a"].statement_keys) == (tokens, keys)
    assert (found["a"].token, found["a"].statement_key) == (tokens[0], keys[0])
    assert found["b"].tokens == tokens_of_b
    assert not any(secret in repr(found) for secret in tokens + keys)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("{}", "is empty"),
        ("a: b: c", "not valid YAML (line 1)"),
        ("accepts: 2001-99-99", "not valid YAML"),
        ("accepts: !!python/object:os.system {}", "not valid YAML"),
        ({"accept": {}}, "has accept, which nothing reads"),
        ({"accepts": []}, "accepts must map names"),
        ({"accepts": {"a": "secret"}}, "accepts.a must hold token and statement_key"),
        ({"accepts": {"a": edge(token=None)}}, "accepts.a.token is missing"),
        ({"presents": {"a": edge(statement_key="")}}, "presents.a.statement_key is missing"),
        ({"accepts": {"a": edge(token="x9" * 15 + "x")}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token="123")}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token="a" * 64)}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token="123" * 20)}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token="é" + new_secret())}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token=new_secret() + " " + new_secret())}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token=new_secret() * 20)}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token=12345678901234567890123456789012)}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token=[])}}, "accepts.a.token must be one secret, or two"),
        (
            {"accepts": {"a": edge(token=[new_secret() for _ in range(3)])}},
            "accepts.a.token must be one secret, or two",
        ),
        ({"accepts": {"a": edge(token=[new_secret(), "123"])}}, "accepts.a.token is not a secret"),
        ({"accepts": {"a": edge(token=[new_secret(), ""])}}, "accepts.a.token is missing"),
    ],
)
def test_a_file_that_protects_nothing_stops_the_start(tmp_path: Path, content: object, said: str) -> None:
    assert said in fault(write(tmp_path, content))


def test_a_secret_is_used_once(tmp_path: Path) -> None:
    same = new_secret()
    for content in (
        {"accepts": {"a": edge(token=same, statement_key=same)}},
        {"accepts": {"a": edge(token=same), "b": edge(token=same)}},
        {"accepts": {"a": edge(token=same)}, "presents": {"b": edge(statement_key=same)}},
        {"accepts": {"a": edge(token=[same, same])}},
        {"accepts": {"a": edge(token=[new_secret(), same], statement_key=same)}},
    ):
        assert "a secret is used twice" in fault(write(tmp_path, content))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in fault(tmp_path / "missing.yaml")
    assert "Is a directory" in fault(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8" in fault(binary)


def test_no_secret_is_told_in_a_fault(tmp_path: Path) -> None:
    assert "hunter2" not in fault(write(tmp_path, {"accepts": {"a": edge(token="hunter2")}}))
    assert "hunter2" not in fault(write(tmp_path, "accepts: {a: {token: hunter2"))


def test_a_file_for_everybody_is_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path, {"accepts": {"a": edge()}})
    written = io.BytesIO()
    with logs_written_to(written):
        load_mutual_auth(path)
        assert written.getvalue() == b""
        path.chmod(0o644)
        load_mutual_auth(path)
    assert json.loads(written.getvalue())["level"] == "warning"


def test_secrets_are_random() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(secret) for secret in made} == {43}
