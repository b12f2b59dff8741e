"""``docs/operations.md`` has an answer to every alert, and what it names is there."""

import re
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "operations.md").read_text()


def python_text(*folders: str) -> str:
    return "\n".join(path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def test_every_alert_has_an_answer() -> None:
    rules = yaml.safe_load((ROOT / "k8s/components/monitoring/alerts.yaml").read_text())
    alerts = {rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"]}
    assert set(re.findall(r"^\| `(Delinkcious\w+)` \|", PAGE, re.MULTILINE)) == alerts


def test_what_it_has_people_run_is_there() -> None:
    programs = set(re.findall(r"cmd/\w+\.py", PAGE))
    assert len(programs) >= 5
    assert {program for program in programs if not (ROOT / program).is_file()} == set()
    options = set(re.findall(r" (--[a-z-]+)", " ".join(re.findall(r"cmd/\w+\.py[^\n`]*", PAGE)))) - {"--help"}
    source = python_text("cmd")
    assert {option for option in options if f'"{option}"' not in source} == set()


def test_its_metrics_and_settings_are_there() -> None:
    source = python_text("pkg", "svc", "fun")
    names = set(re.findall(r"`(delinkcious_\w+|[A-Z]+_[A-Z_]+)`", PAGE))
    assert len(names) >= 3
    assert {name for name in names if name not in source} == set()


def test_its_links_lead_somewhere() -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", PAGE)]
    assert [target for target in targets if target and not (ROOT / "docs" / target).exists()] == []
