"""Each party's ``mutual-auth.yaml``, from the table of who may call what."""

from collections.abc import Callable

import yaml

from pkg.runtime.access import ALLOWED_CALLERS
from pkg.runtime.mutual_auth import render_edge


def edges() -> list[tuple[str, str]]:
    """Every (caller, callee) between which the table allows anything, sorted."""
    return sorted(
        {
            (caller, callee)
            for callee, operations in ALLOWED_CALLERS.items()
            for callers in operations.values()
            for caller in callers
        }
    )


def parties() -> list[str]:
    """Whoever is at an end of an edge, sorted."""
    return sorted({party for edge in edges() for party in edge})


def render_mutual_auth(party: str, values_of: Callable[[str], tuple[str, ...]]) -> str:
    """The file's content, with the secrets of the party's own edges alone.

    ``values_of`` knows ``<caller>.<callee>.token`` and ``<caller>.<callee>.statement-key``: the value of each, or two
    while it is rotated.
    """
    content = {
        "accepts": {caller: _edge(values_of, caller, callee) for caller, callee in edges() if callee == party},
        "presents": {callee: _edge(values_of, caller, callee) for caller, callee in edges() if caller == party},
    }
    return str(yaml.safe_dump(content, sort_keys=True))


def _edge(values_of: Callable[[str], tuple[str, ...]], caller: str, callee: str) -> dict[str, str | list[str]]:
    edge = f"{caller}.{callee}"
    return render_edge(values_of(f"{edge}.token"), values_of(f"{edge}.statement-key"))
