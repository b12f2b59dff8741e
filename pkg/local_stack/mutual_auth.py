"""Each service's ``mutual-auth.yaml``, from the table of who may call what."""

from pathlib import Path

import yaml

from pkg.local_stack.secret_store import SecretStore, write_private
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


def write_mutual_auth(folder: Path, store: SecretStore) -> dict[str, Path]:
    """Writes one file for each party, with the secrets of its own edges alone; gives them by name."""
    parties = {party for edge in edges() for party in edge}
    files = {}
    for party in sorted(parties):
        content = {
            "accepts": {caller: _edge(store, caller, callee) for caller, callee in edges() if callee == party},
            "presents": {callee: _edge(store, caller, callee) for caller, callee in edges() if caller == party},
        }
        files[party] = folder / party / "mutual-auth.yaml"
        write_private(files[party], yaml.safe_dump(content, sort_keys=True))
    return files


def _edge(store: SecretStore, caller: str, callee: str) -> dict[str, str]:
    edge = f"{caller}.{callee}"
    return {"token": store.get(f"{edge}.token"), "statement_key": store.get(f"{edge}.statement-key")}
