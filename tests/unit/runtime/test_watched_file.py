"""Files that change while the process runs, however they are replaced."""

import asyncio
import io
import json
import os
from pathlib import Path

import pytest

from pkg.runtime.logs import logs_written_to
from pkg.runtime.metrics import SECRET_FILE_FAULTS, SECRET_FILE_MODIFIED, render_metrics
from pkg.runtime.start_error import StartError
from pkg.runtime.watched_file import WatchedFile, watch_files
from tests.metric_values import value_of

DEADLINE = 10.0


def read(path: Path) -> str:
    try:
        content = path.read_text()
    except OSError:
        raise StartError(f"{path} is missing") from None
    if "wrong" in content:
        raise StartError(f"{path} is wrong")
    return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("first")
    return path


def faults(path: Path) -> float:
    return value_of(SECRET_FILE_FAULTS.labels(str(path)))


def test_what_cannot_be_used_is_told_at_once(path: Path) -> None:
    path.write_text("wrong")
    with pytest.raises(StartError):
        WatchedFile(path, read)


def test_each_change_is_told_once(path: Path) -> None:
    told: list[str] = []
    file = WatchedFile(path, read)
    file.on_change(told.append)
    file.look()
    path.write_text("second")
    file.look()
    file.look()
    assert (file.content, told) == ("second", ["second"])


def test_one_of_the_same_size_and_time_is_another(path: Path) -> None:
    file = WatchedFile(path, read)
    before = path.stat()
    replacement = path.with_name("replacement")
    replacement.write_text("later")
    os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
    replacement.replace(path)
    file.look()
    assert file.content == "later"


def test_links_are_followed_as_kubernetes_turns_them(tmp_path: Path) -> None:
    """A volume holds ``file -> ..data/file`` and ``..data -> ..<time>``; with each change ``..data`` is replaced."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "file").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "file").symlink_to("..data/file")
    file = WatchedFile(tmp_path / "file", read)
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    file.look()
    assert file.content == "..2"


def test_a_new_version_that_is_wrong_changes_nothing_and_is_told_once(path: Path) -> None:
    told: list[str] = []
    file = WatchedFile(path, read)
    file.on_change(told.append)
    written = io.BytesIO()
    with logs_written_to(written):
        path.write_text("wrong")
        file.look()
        file.look()
        assert (file.content, faults(path)) == ("first", 1)
        path.unlink()
        file.look()
        assert (file.content, faults(path)) == ("first", 2)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["error", "error"]
    path.write_text("second")
    file.look()
    assert (file.content, told) == ("second", ["second"])


def test_metrics_say_which_version_is_used(path: Path) -> None:
    file = WatchedFile(path, read)
    gauge = SECRET_FILE_MODIFIED.labels(str(path))
    os.utime(path, (1_000, 1_000))
    file.look()
    assert value_of(gauge) == 1_000
    path.write_text("wrong")
    file.look()
    assert value_of(gauge) == 1_000
    assert f'delinkcious_secret_file_faults_total{{file="{path}"}} 1.0' in render_metrics().decode()


async def test_all_are_looked_at_again_and_again(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.write_text("first")
    files = [WatchedFile(path, read) for path in paths]
    watching = asyncio.create_task(watch_files(files, interval=0.01))
    try:
        for content in ("second", "third"):
            for path in paths:
                path.write_text(content)
            async with asyncio.timeout(DEADLINE):
                while any(file.content != content for file in files):  # noqa: ASYNC110  # it is a poll that is tested
                    await asyncio.sleep(0.01)
    finally:
        watching.cancel()
