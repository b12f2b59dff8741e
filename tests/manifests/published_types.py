"""Custom resources, held against the types that have been published of them: what those do not know is refused.

Their validators let unknown fields pass, so the TypeScript compiler looks: each object is a literal of its type, and a
literal may have no field that its type lacks (https://www.typescriptlang.org/docs/handbook/2/objects.html,
"Excess Property Checks"). A type is found by the apiVersion and kind of an object alone.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.manifests.objects import ROOT, Object, label
from tests.manifests.schemas import is_known, newest_versions

INSTALLED: Final = ROOT / ".venv-resource-types" / "node_modules"
_MODELS: Final = INSTALLED / "@kubernetes-models"
_COMPILER: Final = INSTALLED / ".bin" / "tsc"
#: Groups of which nobody has published types.
UNPUBLISHED: Final = ("nuclio.io",)
_FAULT: Final = re.compile(r"^resources\.ts\((\d+),\d+\): error TS\d+: (.*)$")


def custom_resources(objects: Iterable[Object]) -> list[Object]:
    """Those that Kubernetes itself does not know."""
    newest = newest_versions(1)[0]
    return [
        thing
        for thing in objects
        if not is_known(newest, thing["apiVersion"], thing["kind"])
        and thing["apiVersion"].partition("/")[0] not in UNPUBLISHED
    ]


def type_faults(objects: Iterable[Object], folder: Path) -> list[str]:
    """Of the custom resources among them. ``folder`` is an empty one; the compiler runs once, however many they are.

    Raises:
        AssertionError: the compiler found fault with something that is none of ours; with what it said.
    """
    lines: dict[str, Object] = {}
    faults: list[str] = []
    for thing in custom_resources(objects):
        if place := _find_type(thing["apiVersion"], thing["kind"]):
            name = f'import("{place}").I{thing["kind"]}'
            lines.setdefault(f"(): {name} => ({json.dumps(thing)}),", thing)
        else:
            faults.append(f"{label(thing)}: nobody has published a {thing['kind']} of {thing['apiVersion']}")
    return faults + list(_compile(lines, folder)) if lines else faults


def _find_type(api_version: str, kind: str) -> str | None:
    """The module that has it. Argo CD and Argo Rollouts share a group."""
    found = sorted(_MODELS.glob(f"*/{api_version}/{kind}.d.ts"))
    return f"@kubernetes-models/{found[0].relative_to(_MODELS).as_posix().removesuffix('.d.ts')}" if found else None


def _compile(lines: dict[str, Object], folder: Path) -> Iterator[str]:
    (folder / "node_modules").symlink_to(INSTALLED)
    (folder / "resources.ts").write_text("\n".join(["export default [", *lines, "];", ""]))
    done = subprocess.run(
        [str(_COMPILER), "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "resources.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    things = list(lines.values())
    found = [match for line in done.stdout.splitlines() if (match := _FAULT.match(line))]
    assert bool(done.returncode) == bool(found), done.stdout + done.stderr
    for match in found:
        yield f"{label(things[int(match[1]) - 2])}: {match[2]}"
