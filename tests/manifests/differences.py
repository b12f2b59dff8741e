"""What one render changes of another, in lines that a person reads: what a commit to Git does to a cluster."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tests.manifests.objects import Object, label, workloads

#: What Kustomize adds to the name of a ConfigMap that it made.
_HASH: Final = re.compile(r"-[2456789bcdfghkmt]{10}$")


def differences(before: Iterable[Object], after: Iterable[Object]) -> list[str]:
    """A line for each object that comes, goes, gets new pods or differs in a field; sorted."""
    old, new = _by_place(before), _by_place(after)
    lines = [f"+ {place}" for place in new.keys() - old.keys()]
    lines += [f"- {place}" for place in old.keys() - new.keys()]
    for place in old.keys() & new.keys():
        lines += [f"{place}: {line}" for line in _changes(old[place], new[place])]
    return sorted(lines)


def _by_place(objects: Iterable[Object]) -> dict[str, Object]:
    return {_HASH.sub("", label(thing)) if thing["kind"] == "ConfigMap" else label(thing): thing for thing in objects}


def _changes(old: Object, new: Object) -> Iterator[str]:
    before, after = workloads([old]), workloads([new])
    skipped: tuple[str, ...] = ("metadata.name",) if old["kind"] == "ConfigMap" else ()
    if before and after:
        skipped = ("metadata.labels.app.kubernetes.io/version", "spec.template", "spec.jobTemplate.spec.template")
        if before[0].template != after[0].template:
            images = [
                f", {_tag(one['image'])} -> {_tag(other['image'])}"
                for one, other in zip(before[0].containers, after[0].containers, strict=False)
                if one["image"] != other["image"]
            ]
            yield "new pods" + "".join(dict.fromkeys(images))
    for path in sorted({*_leaves(old), *_leaves(new)}):
        if not path.startswith(skipped or ("\0",)):
            was, is_now = _leaves(old).get(path), _leaves(new).get(path)
            if was != is_now:
                yield f"{path} {was} -> {is_now}"


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition(":")[2]


def _leaves(thing: Any, path: str = "") -> dict[str, Any]:
    if isinstance(thing, dict):
        items: Iterable[tuple[Any, Any]] = thing.items()
    elif isinstance(thing, list):
        items = enumerate(thing)
    else:
        return {path: thing}
    return {
        place: value
        for key, inner in items
        for place, value in _leaves(inner, f"{path}.{key}" if path else str(key)).items()
    }
