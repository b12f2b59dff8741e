"""Overlays in a copy of all that is rendered, changed as an operator would."""

from pathlib import Path
from typing import Any

import yaml

LOCAL: dict[str, Any] = {"annotations": {"config.kubernetes.io/local-config": "true"}}


def overlay(house: Path, environment: str) -> Path:
    return house / "k8s" / "overlays" / environment


def switch_on(house: Path, environment: str, component: str, **colours: str) -> None:
    """Adds a component to an overlay, last of all; and what it is told in a ConfigMap `colours`."""
    file = overlay(house, environment) / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    content.setdefault("components", []).append(f"../../components/{component}")
    if colours:
        literals = [f"{name}={value}" for name, value in colours.items()]
        content.setdefault("configMapGenerator", []).append({"name": "colours", "literals": literals, "options": LOCAL})
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def switch_off(house: Path, environment: str, component: str) -> None:
    file = overlay(house, environment) / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    content["components"].remove(f"../../components/{component}")
    file.write_text(yaml.safe_dump(content, sort_keys=False))
