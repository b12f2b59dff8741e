"""Each party's ``mutual-auth.yaml``, from the table of who may call what."""

from collections.abc import Callable

import yaml

from pkg.runtime.access import ALLOWED_CALLERS


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


def render_mutual_auth(party: str, secret_of: Callable[[str], str]) -> str:
    """The file's content, with the secrets of the party's own edges alone.

    ``secret_of`` knows ``<caller>.<callee>.token`` and ``<caller>.<callee>.statement-key``.
    """
    content = {
        "accepts": {caller: _edge(secret_of, caller, callee) for caller, callee in edges() if callee == party},
        "presents": {callee: _edge(secret_of, caller, callee) for caller, callee in edges() if caller == party},
    }
    return str(yaml.safe_dump(content, sort_keys=True))


def _edge(secret_of: Callable[[str], str], caller: str, callee: str) -> dict[str, str]:
    edge = f"{caller}.{callee}"
    return {"token": secret_of(f"{edge}.token"), "statement_key": secret_of(f"{edge}.statement-key")}
