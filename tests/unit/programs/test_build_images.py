"""``cmd/build_images.py`` with an engine that only writes down what it is told to do.

What is built for real is looked at by ``tests/images``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pkg.images.catalogue import IMAGES
from pkg.images.pins import choose_base
from pkg.runtime.start_error import StartError
from tests.unit.programs.command import run_command

ENGINE = """#!{python}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
with (folder / "asked").open("a") as asked:
    print(json.dumps(sys.argv[1:]), file=asked)
match sys.argv[1:]:
    case ["info", *rest]:
        print("overlay")
    case ["image", "inspect", *_, reference]:
        print((folder / "sizes" / reference.replace("/", "_")).read_text())
    case ["build", *_]:
        if (folder / "broken").exists():
            sys.exit("no space left on device")
    case ["run", *_]:
        print(json.dumps({{"python": [["Asyncpg", "0.32.0"]], "debian": [["libc6", "2.41-12", "amd64"]]}}))
"""


class FakeEngine:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "sizes").mkdir()
        program = folder / "podman"
        program.write_text(ENGINE.format(python=sys.executable))
        program.chmod(0o755)

    def has(self, reference: str, size: int) -> None:
        (self._folder / "sizes" / reference.replace("/", "_")).write_text(str(size))

    def breaks(self) -> None:
        (self._folder / "broken").touch()

    def asked(self, what: str) -> list[list[str]]:
        asked = [json.loads(line) for line in (self._folder / "asked").read_text().splitlines()]
        return [words for words in asked if words[0] == what]

    def build(self, *arguments: str) -> tuple[int, str, str]:
        return run_command(
            "build_images",
            *("--engine", "podman", "--base", "base:1", "--materials", str(self._folder / "materials")),
            *arguments,
            PATH=f"{self._folder}:{os.environ['PATH']}",
            SOURCE_DATE_EPOCH="1700000000",
        )

    def bill(self, name: str) -> Any:
        return json.loads((self._folder / "materials" / f"delinkcious-{name}.cdx.json").read_text())


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    engine = FakeEngine(tmp_path)
    engine.has("base:1", 150_000_000)
    return engine


def test_an_image_is_built_measured_and_described(engine: FakeEngine) -> None:
    engine.has("example.org/me/delinkcious-user:7", 206_500_000)
    code, output, errors = engine.build("--only", "user", "--prefix", "example.org/me/", "--tag", "7")
    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == "base: base:1, 150.0 MB"
    assert output.splitlines()[-1].startswith("example.org/me/delinkcious-user:7: 56.5 MB over the base")

    (words,) = engine.asked("build")
    told = set(words)
    assert {"--target", "service", "--timestamp=1700000000", "BASE=base:1", "REQUIREMENTS=user-service"} <= told
    assert {"CODE=svc/user_service", "MODULE=svc.user_service"} <= told
    assert "org.opencontainers.image.created=2023-11-14T22:13:20Z" in told
    labels = {word.partition("=")[0] for word in words if word.startswith("org.opencontainers.image.")}
    assert {name.rpartition(".")[2] for name in labels} == {
        *("title", "description", "version", "revision", "created", "source", "name")
    }


def test_the_bill_names_the_image_and_what_is_in_it_and_is_the_same_each_time(engine: FakeEngine) -> None:
    engine.has("delinkcious-link:dev", 200_000_000)
    engine.build("--only", "link")
    bill = engine.bill("link")
    assert bill["metadata"]["component"]["name"] == "delinkcious-link"
    assert sorted(component["purl"] for component in bill["components"]) == [
        "pkg:deb/debian/libc6@2.41-12?arch=amd64",
        "pkg:pypi/asyncpg@0.32.0",
    ]
    engine.build("--only", "link")
    assert engine.bill("link") == bill


def test_one_that_is_too_large_is_a_fault(engine: FakeEngine) -> None:
    engine.has("delinkcious-link:dev", 250_000_001)
    engine.has("delinkcious-user:dev", 250_000_000)
    code, output, errors = engine.build("--only", "user", "--only", "link")
    assert code == 1
    assert "delinkcious-user:dev: 100.0 MB over the base" in output
    assert errors == "build_images: link: 100.0 MB over its base; at most 100\n"


def test_what_the_engine_says_of_a_failure_is_shown(engine: FakeEngine) -> None:
    engine.breaks()
    code, _, errors = engine.build("--only", "news")
    assert code == 1
    assert "build_images: delinkcious-news:dev: cannot be built:\nno space left on device" in errors


def test_without_an_engine_it_is_said_what_to_do(tmp_path: Path) -> None:
    code, _, errors = run_command("build_images", "--base", "base:1", PATH=str(tmp_path))
    assert code == 1
    assert errors == (
        "build_images: docker, podman, buildah: none can be used; install one and see that `docker info` works\n"
    )


def test_a_release_stands_on_a_digest(tmp_path: Path) -> None:
    file = tmp_path / "pins.yaml"
    file.write_text('  - {name: python, newTag: "3.13"}\n')
    assert choose_base(None, release=False, file=file) == "docker.io/library/python:3.13"
    assert choose_base("mine:1", release=True, file=file) == "mine:1"
    with pytest.raises(StartError, match=r"has no digest; run python cmd/pin_images\.py"):
        choose_base(None, release=True, file=file)
    digest = f"sha256:{'a' * 64}"
    file.write_text(f'  - {{name: python, newTag: "3.13", digest: "{digest}"}}\n')
    assert choose_base(None, release=True, file=file) == f"docker.io/library/python@{digest}"


def test_the_catalogue_is_what_there_is() -> None:
    root = Path(__file__).parents[3]
    for image in IMAGES:
        assert (root / "requirements" / f"{image.requirements}.txt").is_file()
        assert (root / image.code).is_dir()
        assert (
            not image.module
            or (root / image.module.replace(".", "/")).with_suffix(".py").exists()
            or (root / image.module.replace(".", "/") / "__main__.py").exists()
        )
    deployables = {f"svc/{path.name}" for path in (root / "svc").glob("*_service")} | {"fun/link_checker", "cmd"}
    assert deployables <= {image.code for image in IMAGES}
    manifests = subprocess.run(
        ["git", "-C", str(root), "grep", "-hoE", "image: delinkcious-[a-z-]+", "--", "*.yaml"],
        capture_output=True,
        text=True,
        check=True,
    )
    named = {line.removeprefix("image: ") for line in manifests.stdout.split("\n") if line}
    assert named == {image.repository for image in IMAGES if image.name != "troubleshooting"}
