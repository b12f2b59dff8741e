"""A software bill of materials for an image (https://cyclonedx.org): what is in it, found out by looking into it."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from pkg.images.engine import Engine

#: Runs in the image: its own Python knows its libraries, Debian's database its packages.
_INVENTORY: Final = """
import importlib.metadata, json, os, subprocess
installed = importlib.metadata.distributions()
python = [(about.metadata["Name"], about.version) for about in installed]
listed = subprocess.run(
    ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\\n"],
    stdout=subprocess.PIPE, text=True, check=True,
).stdout
print(json.dumps({"python": python, "debian": [line.split() for line in listed.splitlines()]}))
"""


def describe(engine: Engine, reference: str, labels: Mapping[str, str]) -> str:
    """The bill as JSON. The same image has the same bill.

    Raises:
        StartError: the image's own Python cannot be asked.
    """
    inventory = json.loads(engine.run_python(reference, _INVENTORY))
    name, version = labels["org.opencontainers.image.title"], labels["org.opencontainers.image.version"]
    subject = Component(type=ComponentType.CONTAINER, name=name, version=version, bom_ref=name)
    components = list(_components(inventory))
    bom = Bom(components=components)
    bom.metadata.component = subject
    bom.metadata.timestamp = datetime.fromisoformat(labels["org.opencontainers.image.created"])
    content = sorted(str(component.purl) for component in components)
    bom.serial_number = uuid5(NAMESPACE_URL, f"{name} {version} {' '.join(content)}")
    bom.register_dependency(subject, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _components(inventory: dict[str, Any]) -> Iterable[Component]:
    for name, version in inventory["python"]:
        yield _component(PackageURL("pypi", name=name.lower().replace("_", "-"), version=version))
    for name, version, architecture in inventory["debian"]:
        yield _component(PackageURL("deb", "debian", name, version, {"arch": architecture}))


def _component(url: PackageURL) -> Component:
    return Component(type=ComponentType.LIBRARY, name=url.name, version=url.version, purl=url, bom_ref=url.to_string())
