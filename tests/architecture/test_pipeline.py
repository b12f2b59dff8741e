"""CircleCI's file: what would be refused there is refused here, and what it runs is what there is."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.programs.checkouts import Repository, make_repository

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".circleci" / "config.yml"
PARAMETER = re.compile(r"<< *[^<>]+ *>>")
#: What CircleCI's own machine brings.
BUILT_IN = {"checkout", "add_ssh_keys"}


def config() -> Any:
    return yaml.safe_load(FILE.read_text())


def schema_faults(path: Path) -> str:
    """By the published schema, which the program has with it."""
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [str(program), "--builtin-schema", "vendor.circle-ci", str(path)], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode else ""


def steps(about: Any) -> Iterator[Any]:
    for thing in [*about["jobs"].values(), *about["commands"].values()]:
        yield from thing["steps"]


def commands(about: Any) -> Iterator[str]:
    """What is given to a shell."""
    for step in steps(about):
        if isinstance(step, dict) and "run" in step:
            yield step["run"]["command"]


def flow(about: Any) -> dict[str, dict[str, Any]]:
    """Each job of the workflow, with what is said of it there."""
    listed = about["workflows"]["deliver"]["jobs"]
    return {name: said for one in listed for name, said in (one.items() if isinstance(one, dict) else [(one, {})])}


def before(jobs: dict[str, dict[str, Any]], name: str) -> set[str]:
    """All that has to be done first."""
    direct = set(jobs[name].get("requires", []))
    return direct | {earlier for one in direct for earlier in before(jobs, one)}


def test_it_is_what_circleci_reads(tmp_path: Path) -> None:
    assert schema_faults(FILE) == ""
    for right, wrong in (
        ("only: main", "solely: main"),
        ("version: 2.1", "version: 3"),
        ("steps:", "step:"),
    ):
        spoilt = tmp_path / "config.yml"
        spoilt.write_text(FILE.read_text().replace(right, wrong))
        assert schema_faults(spoilt), wrong


def test_whatever_is_named_is_there() -> None:
    about = config()
    jobs = flow(about)
    assert set(jobs) | {"drills"} == about["jobs"].keys()
    for name, said in jobs.items():
        assert set(said.get("requires", [])) <= jobs.keys(), name
    for step in steps(about):
        called = step if isinstance(step, str) else next(iter(step))
        known = {"run", "restore_cache", "save_cache", "store_test_results", "store_artifacts"}
        known |= {"persist_to_workspace", "attach_workspace", *BUILT_IN, *about["commands"]}
        assert called in known
    text = FILE.read_text()
    for locked in re.findall(r'checksum "([^"]+)"', text):
        assert (ROOT / locked).is_file()
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= verbs
    for script in re.findall(r"(?:\./build\.sh|\.ci/\w+)", text):
        assert (ROOT / script).is_file()
    for step in steps(about):
        paths = step.get("unless-nothing-changed", {}).get("paths", "") if isinstance(step, dict) else ""
        assert all((ROOT / path).exists() for path in paths.split()), paths


def test_images_are_published_by_main_alone_after_everything_else() -> None:
    jobs = flow(config())
    assert before(jobs, "publish") == {"check", "test", "images-test", "images", "scan"}
    assert jobs["publish"]["filters"]["branches"]["only"] == "main"
    assert jobs["publish"]["serial-group"]
    # Credentials are given to nobody else.
    assert [name for name, said in jobs.items() if "context" in said] == ["publish"]
    pushing = [name for name, job in config()["jobs"].items() if "--push" in str(job)]
    assert pushing == ["publish"]


def test_no_secret_is_shown() -> None:
    about = config()
    for command in commands(about):
        assert "set -x" not in command
        # Arguments of programs are seen by whoever lists them.
        assert not re.search(r"--password[= ](?!-stdin)", command)
        assert "$REGISTRY_PASSWORD" not in command
    assert re.search(r"printenv REGISTRY_PASSWORD \| docker login .*--password-stdin", FILE.read_text())


def test_its_commands_are_sound_shell(tmp_path: Path) -> None:
    assert len(list(commands(config()))) > 10
    for number, command in enumerate(commands(config())):
        script = tmp_path / f"{number}.sh"
        script.write_text(f"#!/bin/bash\nset -eo pipefail\n{PARAMETER.sub('word', command)}\n")
        assert shell_faults(script) == ""
    spoilt = tmp_path / "spoilt.sh"
    spoilt.write_text("#!/bin/bash\nrm -r $1\n")
    assert "SC2086" in shell_faults(spoilt)


def shell_faults(script: Path) -> str:
    program = Path(sys.executable).with_name("shellcheck")
    # A parameter is one word here, and may be several there.
    done = subprocess.run(
        [str(program), "--exclude=SC2043,SC2050", str(script)], capture_output=True, text=True, check=False
    )
    return done.stdout


def test_results_and_artefacts_are_kept() -> None:
    jobs = config()["jobs"]
    for name in ("test", "drills", "images-test"):
        assert "junitxml=test-results/" in str(jobs[name])
        assert {"store_test_results": {"path": "test-results"}} in jobs[name]["steps"]
    for name, place in (("images", "build/materials"), ("scan", "build/scans")):
        assert {"store_artifacts": {"path": place}} in jobs[name]["steps"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = make_repository(tmp_path_factory.mktemp("pipeline"), [".ci", "pyproject.toml"])
    (repository.root / "docs").mkdir()
    repository.append("docs/page.md")
    repository.commit("a page")
    return repository


@pytest.mark.parametrize(
    ("since", "paths", "changed"),
    [
        ("HEAD~1", ["docs"], True),
        ("HEAD~1", ["pkg", "pyproject.toml", ".ci"], False),
        ("HEAD~1", ["pkg", "docs/page.md"], True),
        # Nobody knows: a new branch, and no main to compare with.
        ("", ["pkg"], True),
        ("0123456789012345678901234567890123456789", ["pkg"], True),
    ],
)
def test_what_has_not_changed_is_passed_over(
    repository: Repository, since: str, paths: list[str], changed: bool
) -> None:
    done = subprocess.run([".ci/changed", since, *paths], cwd=repository.root, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0 if changed else 1, b"")
