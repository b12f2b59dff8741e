"""Every overlay, as it is and with each component that it lacks, rendered once for all tests of a process."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.manifests.objects import OVERLAYS, ROOT, Object, render
from tests.manifests.resolved import resolve_pins, resolve_release

#: By name: ``minikube``, ``staging``, ``production``.
NAMES: Final = tuple(sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml")))
COMPONENTS: Final = tuple(sorted(path.parent.name for path in ROOT.glob("k8s/components/*/kustomization.yaml")))
#: Parts of what makes an overlay one of its kind; nobody switches them on.
PARTS: Final = frozenset({"pins", "pinned", "pinned-stores", "pinned-valkey", "release", "versions", "site"})
#: Held by tests of their own, and why.
APART: Final = {
    "argocd": "Argo CD's Applications add it; see test_argocd.py",
    "nuclio": "its pods are Nuclio's; see test_overlays.py",
    "blue-green": "it takes two releases and comes last; see test_release_steps.py",
    "canary": "it comes last, after autoscaling; see test_canary.py",
    "canary-track": "it takes a release of its own and comes last; see test_release_steps.py",
}
#: Overlay and component.
NOT_TOGETHER: Final = {
    ("production", "backup"): "who manages its databases backs them up",
    ("staging", "managed-postgres"): "it has databases of its own, and backs them up",
    ("minikube", "managed-postgres"): "nobody manages databases for it",
    ("staging", "managed-valkey"): "it has a Valkey of its own",
    ("minikube", "managed-valkey"): "nobody manages Valkey for it",
}
#: What takes the place of others: which ones, and what the ConfigMap `site` says of it.
INSTEAD: Final = {
    "managed-valkey": (
        ("valkey-replicas", "pinned-valkey"),
        ("valkey=feeds.valkey.example", "valkey-network=10.200.1.0/24"),
    ),
}


@dataclass(frozen=True)
class Variant:
    overlay: str
    added: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join([self.overlay, *self.added])

    @property
    def components(self) -> frozenset[str]:
        gone = {name for added in self.added for name in INSTEAD.get(added, ((), ()))[0]}
        return (components_of(self.overlay) | {*self.added}) - gone


def components_of(overlay: str) -> frozenset[str]:
    """The names of those that it has."""
    content = yaml.safe_load((OVERLAYS / overlay / "kustomization.yaml").read_text())
    return frozenset(Path(place).name for place in content["components"])


def variants() -> list[Variant]:
    """What somebody may apply: each overlay by itself, and with one more of the components."""
    found = [Variant(overlay) for overlay in NAMES]
    for overlay in NAMES:
        lacking = set(COMPONENTS) - PARTS - APART.keys() - components_of(overlay)
        found += [Variant(overlay, (name,)) for name in sorted(lacking) if (overlay, name) not in NOT_TOGETHER]
    return found


@dataclass
class Renders:
    """In a copy of the manifests in which digests of images are filled in."""

    house: Path
    _kept: dict[Variant, list[Object]] = field(default_factory=dict)

    def of(self, variant: Variant) -> list[Object]:
        """Do not change what is returned: others look at it too."""
        if variant not in self._kept:
            self._kept[variant] = render(self._write(variant))
        return self._kept[variant]

    def all(self) -> list[Object]:
        return [thing for variant in variants() for thing in self.of(variant)]

    def _write(self, variant: Variant) -> Path:
        own = self.house / "k8s" / "overlays" / variant.overlay
        if not variant.added:
            return own
        folder = own.with_name(str(variant))
        shutil.copytree(own, folder)
        file = folder / "kustomization.yaml"
        text = switched_on(file.read_text(), variant.added)
        for name in variant.added:
            text = put_in_place(text, *INSTEAD.get(name, ((), ())))
        file.write_text(text)
        return folder


def switched_on(overlay: str, components: Iterable[str]) -> str:
    """First in the list, as the README says: so that pins and versions are written to what they bring as well."""
    lines = "".join(f"\n  - ../../components/{name}" for name in components)
    written, count = re.subn(r"^components:$", f"components:{lines}", overlay, flags=re.MULTILINE)
    assert count == 1, "an overlay has a list of components"
    return written


def put_in_place(overlay: str, gone: Iterable[str], site: Iterable[str]) -> str:
    """Without these components, and with more said of the site."""
    for name in gone:
        overlay = overlay.replace(f"  - ../../components/{name}\n", "")
    for literal in site:
        overlay = overlay.replace("      - environment=", f"      - {literal}\n      - environment=")
    return overlay


def copy_house(folder: Path) -> Path:
    """All that is rendered."""
    for source in (ROOT / "k8s", *ROOT.glob("svc/*/k8s"), ROOT / "fun" / "link_checker"):
        shutil.copytree(source, folder / source.relative_to(ROOT), ignore=shutil.ignore_patterns("*.py*"))
    return folder


def make_renders(folder: Path) -> Renders:
    house = copy_house(folder)
    resolve_pins(house)
    for environment in (path.name for path in (house / "k8s" / "releases").iterdir()):
        resolve_release(house, environment)
    return Renders(house)


def hosts(objects: Iterable[Object]) -> set[str]:
    """Under which they are reached from outside."""
    found: set[Any] = set()
    for thing in objects:
        spec = thing.get("spec", {})
        match thing["kind"]:
            case "Ingress":
                found |= {rule.get("host") for rule in spec["rules"]}
            case "HTTPRoute":
                found |= set(spec.get("hostnames", []))
            case "Gateway":
                found |= {listener.get("hostname") for listener in spec.get("listeners", [])}
    return found - {None}
