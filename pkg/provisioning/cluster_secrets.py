"""The Secrets of a cluster, by the names and keys by which the manifests know them."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from pkg.provisioning.databases import DATABASES
from pkg.provisioning.mutual_auth import parties, render_mutual_auth
from pkg.provisioning.nats_users import PERMISSIONS, render_authorization
from pkg.provisioning.valkey_users import ADMINISTRATOR, RULES, render_access_list

#: Key of whatever is one password and nothing else.
PASSWORD: Final = "password"  # noqa: S105  # the name of one
MUTUAL_AUTH: Final = "mutual-auth.yaml"
NATS_AUTHORIZATION: Final = "authorization.conf"
VALKEY_USERS: Final = "users.acl"


def render_secrets(values_of: Callable[[str], tuple[str, ...]]) -> Mapping[str, Mapping[str, str]]:
    """Each Secret's keys with their values.

    ``values_of`` knows the values of a secret by its name, or makes one up at its first mention: one, or two while
    it is rotated.
    """

    def secret_of(name: str) -> str:
        return values_of(name)[0]

    secrets: dict[str, dict[str, str]] = {}
    for database in DATABASES:
        place = database.variable.lower().replace("_", "-")
        secrets |= {
            f"{place}-superuser": {PASSWORD: secret_of(f"{database.name}.superuser")},
            f"{place}-migrator": {PASSWORD: secret_of(database.migrator)},
            f"{place}-service": {PASSWORD: secret_of(database.service)},
        }

    def nats_password(user: str) -> str:
        return secret_of(f"nats.{user}")

    authorization = json.dumps(render_authorization(nats_password), indent=2)
    secrets |= {f"nats-{user}": {PASSWORD: nats_password(user)} for user in PERMISSIONS}
    secrets["nats-cluster-authorization"] = {NATS_AUTHORIZATION: f"authorization: {authorization}\n"}

    def valkey_password(user: str) -> str:
        return secret_of(f"valkey.{user}")

    # Nobody there may do everything: whoever runs the cluster changes the list itself.
    users = [user for user in RULES if user != ADMINISTRATOR]
    secrets |= {f"news-manager-redis-{user}": {PASSWORD: valkey_password(user)} for user in users}
    secrets["news-manager-redis-acl"] = {VALKEY_USERS: render_access_list(valkey_password, users)}

    for party in parties():
        name = f"{party.removesuffix('-manager')}-mutual-auth"
        secrets[name] = {MUTUAL_AUTH: render_mutual_auth(party, values_of)}
    return secrets
