"""The stack's own ``mutual-auth.yaml`` files."""

from pathlib import Path

from pkg.local_stack.secret_store import SecretStore, write_private
from pkg.provisioning.mutual_auth import parties, render_mutual_auth


def write_mutual_auth(folder: Path, store: SecretStore) -> dict[str, Path]:
    """Writes one file for each party; gives them by name."""
    files = {party: folder / party / "mutual-auth.yaml" for party in parties()}
    for party, file in files.items():
        write_private(file, render_mutual_auth(party, store.values))
    return files
