"""What the gateway of the stack needs to let people in: a key of its own, and what a provider knows us by."""

from collections.abc import Mapping
from typing import Final

from pkg.local_stack.secret_store import SecretStore

BROWSER_KEY: Final = "browser-key"
#: What our environment may hold, as it is usual; the gateway is told of a file.
_GIVEN: Final = ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "OIDC_CLIENT_SECRET")


def identity_variables(store: SecretStore, environment: Mapping[str, str]) -> dict[str, str]:
    variables = {"BROWSER_KEY_FILE": str(store.path(BROWSER_KEY))}
    for name in _GIVEN:
        if value := environment.get(name):
            path = store.keep(name.lower().replace("_", "-"), value)
            variables[f"{name}_FILE"] = str(path)
    return variables
