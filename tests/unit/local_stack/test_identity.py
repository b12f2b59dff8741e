"""What the stack's gateway is told of those who log in."""

from pathlib import Path
from stat import S_IMODE

from pkg.local_stack.identity import identity_variables
from pkg.local_stack.secret_store import SecretStore


def test_secrets_of_the_environment_become_files(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    alone = identity_variables(store, {"GITHUB_CLIENT_ID": ""})
    assert alone.keys() == {"BROWSER_KEY_FILE"}
    assert Path(alone["BROWSER_KEY_FILE"]).read_text() == store.get("browser-key")
    given = {"GITHUB_CLIENT_ID": "Iv1.0123456789abcdef", "GITHUB_CLIENT_SECRET": "of the app", "PATH": "/bin"}
    variables = identity_variables(store, given)
    assert variables.keys() == {"BROWSER_KEY_FILE", "GITHUB_CLIENT_ID_FILE", "GITHUB_CLIENT_SECRET_FILE"}
    path = Path(variables["GITHUB_CLIENT_SECRET_FILE"])
    assert (path.read_text(), S_IMODE(path.stat().st_mode)) == ("of the app", 0o600)
    identity_variables(store, given | {"GITHUB_CLIENT_SECRET": "another"})
    assert path.read_text() == "another"
