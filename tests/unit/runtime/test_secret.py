"""A secret in a file of its own: one value, or two while it is rotated."""

from pathlib import Path

import pytest

from pkg.runtime.secret import Secret, read_secret
from pkg.runtime.start_error import StartError

OLD, NEW = "the old one, long enough", "the new one, long enough"


def test_one_value_or_two(tmp_path: Path) -> None:
    file = tmp_path / "password"
    for text, values in (
        (OLD, [OLD]),
        (f"\n {OLD} \r\n", [OLD]),
        (f"{OLD}\n{NEW}\n", [OLD, NEW]),
        (f"{NEW}\n\n{OLD}", [NEW, OLD]),
    ):
        file.write_text(text)
        assert read_secret(file) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("hunter2", "is a default or too short"),
        (f"{OLD}\nchangeme000000", "is a default or too short"),
        (f"{OLD}\n{NEW}\n{OLD}x", "holds more than a value and the one that follows it"),
    ],
)
def test_what_is_no_secret_is_not_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    with pytest.raises(StartError) as refused:
        read_secret(file)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "changeme" not in str(refused.value)


def test_it_is_read_when_it_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(OLD)
    secret = Secret.in_file(file)
    assert (secret.values(), secret.get_secret_value()) == ([OLD], OLD)
    file.write_text(f"{NEW}\n{OLD}")
    assert (secret.values(), secret.get_secret_value()) == ([NEW, OLD], NEW)


def test_a_file_that_becomes_wrong_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(OLD)
    secret = Secret.in_file(file)
    file.write_text("short")
    assert secret.values() == [OLD]
    file.unlink()
    assert secret.values() == [OLD]
    file.write_text(NEW)
    assert secret.values() == [NEW]


def test_one_that_has_no_file_stays() -> None:
    assert Secret.of("as it is").values() == ["as it is"]
    assert Secret.of("as it is").file is None


def test_it_shows_itself_to_nobody() -> None:
    assert OLD not in f"{Secret.of(OLD)!r} {Secret.of(OLD)}"
