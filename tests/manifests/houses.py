"""Overlays in a copy of all that is rendered, changed as an operator would."""

from pathlib import Path
from typing import Any, Final

import yaml

#: Components that patch the pods of others.
AFTER: Final = {"spread"}
LOCAL: dict[str, Any] = {"annotations": {"config.kubernetes.io/local-config": "true"}}


def overlay(house: Path, environment: str) -> Path:
    return house / "k8s" / "overlays" / environment


def switch_on(house: Path, environment: str, component: str, **colours: str) -> None:
    """Adds a component to an overlay, after all that gives names and versions; and tells it of colours.

    What changes pods wherever they come from is after it.
    """
    file = overlay(house, environment) / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    others: list[str] = content["components"]
    after = [place for place in others if Path(place).name in AFTER]
    content["components"] = [place for place in others if place not in after]
    content["components"] += [f"../../components/{component}", *after]
    if colours:
        literals = [f"{name}={value}" for name, value in colours.items()]
        content.setdefault("configMapGenerator", []).append({"name": "colours", "literals": literals, "options": LOCAL})
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def switch_off(house: Path, environment: str, component: str) -> None:
    file = overlay(house, environment) / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    content["components"].remove(f"../../components/{component}")
    file.write_text(yaml.safe_dump(content, sort_keys=False))
