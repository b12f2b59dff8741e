"""Secrets are random, made once, and their owner's alone."""

from pathlib import Path
from stat import S_IMODE

from pkg.local_stack.mutual_auth import write_mutual_auth
from pkg.local_stack.secret_store import SecretStore, write_private
from pkg.provisioning.mutual_auth import edges
from pkg.runtime.access import ALLOWED_CALLERS, API_GATEWAY, LINK_MANAGER, NEWS_MANAGER, OPERATOR, USER_MANAGER
from pkg.runtime.mutual_auth import load_mutual_auth


def mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "secrets")
    first = store.get("one")
    assert len(first) >= 32
    assert store.get("one") == first == SecretStore(tmp_path / "secrets").get("one")
    assert store.get("two") != first
    assert SecretStore(tmp_path / "others").get("one") != first


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    path = SecretStore(folder).path("one")
    assert (mode(folder), mode(path)) == (0o700, 0o600)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    write_private(path, "old")
    path.chmod(0o644)
    # What a write that was cut short left behind.
    (tmp_path / "made" / ".file.partial").write_text("half")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_each_edge_has_secrets_of_its_own_at_both_ends(tmp_path: Path) -> None:
    files = write_mutual_auth(tmp_path / "config", SecretStore(tmp_path / "secrets"))
    sides = {party: load_mutual_auth(file) for party, file in files.items()}
    secrets = []
    for caller, callee in edges():
        secret = sides[callee].accepts[caller]
        assert sides[caller].presents[callee] == secret
        secrets += [secret.token, secret.statement_key]
    assert len(set(secrets)) == len(secrets)
    assert all(mode(file) == 0o600 for file in files.values())
    assert set(sides[LINK_MANAGER].accepts) == {API_GATEWAY, NEWS_MANAGER, USER_MANAGER}
    assert sides[OPERATOR].accepts == {}
    for callee, operations in ALLOWED_CALLERS.items():
        callers = frozenset().union(*operations.values())
        assert callee not in sides or set(sides[callee].accepts) == callers


def test_a_second_start_finds_the_same(tmp_path: Path) -> None:
    first = write_mutual_auth(tmp_path / "config", SecretStore(tmp_path / "secrets"))[USER_MANAGER].read_text()
    second = write_mutual_auth(tmp_path / "config", SecretStore(tmp_path / "secrets"))[USER_MANAGER].read_text()
    assert first == second
