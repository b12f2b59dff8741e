"""The Secrets of a cluster, by the names and keys by which the manifests know them."""

import hmac
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import yaml

from pkg.events.operator import ADMINISTRATOR as NATS_ADMINISTRATOR
from pkg.provisioning.databases import DATABASES
from pkg.provisioning.mutual_auth import parties, render_mutual_auth
from pkg.provisioning.nats_users import PERMISSIONS, render_authorization, render_routes
from pkg.provisioning.valkey_users import ADMINISTRATOR, OWN_RULES, RULES, SENTINEL_RULES, render_access_list
from pkg.runtime.access import API_GATEWAY

#: Secret -> key -> content.
type Secrets = Mapping[str, Mapping[str, str]]

GITHUB: Final = "github-creds"
GITHUB_CLIENT_ID: Final = "github-client-id"
GITHUB_CLIENT_SECRET: Final = "github-client-secret"  # noqa: S105  # the name of one, as the next ones
NATS_LIST: Final = "nats-cluster-authorization"
#: As the pods of a StatefulSet are called.
NATS_SERVERS: Final = tuple(f"nats-cluster-{number}.nats-cluster:6222" for number in range(3))
_ROUTES: Final = "routes.conf"
VALKEY_LIST: Final = "news-manager-redis-acl"
_PASSWORD: Final = "password"  # noqa: S105
_MUTUAL_AUTH: Final = "mutual-auth.yaml"
#: Nobody in Valkey may do everything: whoever runs the cluster changes the list itself.
_VALKEY_RULES: Final = {user: rules for user, rules in {**RULES, **OWN_RULES}.items() if user != ADMINISTRATOR}


def _list_single_values() -> Iterator[tuple[str, str]]:
    for database in DATABASES:
        place = database.variable.lower().replace("_", "-")
        yield f"{place}-superuser", f"{database.name}.superuser"
        yield f"{place}-migrator", database.migrator
        yield f"{place}-service", database.service
    yield from ((f"nats-{user}", f"nats.{user}") for user in PERMISSIONS)
    yield from ((f"news-manager-redis-{user}", f"valkey.{user}") for user in _VALKEY_RULES)
    #: Seals what browsers keep.
    yield f"{API_GATEWAY}-browser-key", f"{API_GATEWAY}.browser-key"


#: Secrets that hold one thing, and what that is called where it is made up.
_SINGLE_VALUES: Final = dict(_list_single_values())
_MUTUAL_AUTH_SECRETS: Final = {f"{party.removesuffix('-manager')}-mutual-auth": party for party in parties()}


def render_secrets(values_of: Callable[[str], tuple[str, ...]]) -> Secrets:
    """All but GitHub's, which nobody can make up.

    ``values_of`` knows the values of a secret by its name, or makes one up at its first mention: one, or two while
    it is rotated.
    """
    secrets = {name: {_PASSWORD: "\n".join(values_of(value))} for name, value in _SINGLE_VALUES.items()}
    authorization = json.dumps(render_authorization(lambda user: values_of(f"nats.{user}")[0]), indent=2)
    secrets[NATS_LIST] = {
        "authorization.conf": f"authorization: {authorization}\n",
        # For a cluster of several.
        _ROUTES: render_routes(_routes_password(values_of(f"nats.{NATS_ADMINISTRATOR}")[0]), NATS_SERVERS),
    }
    secrets[VALKEY_LIST] = {
        "users.acl": render_access_list(lambda user: values_of(f"valkey.{user}"), _VALKEY_RULES),
        # For the sentinels of several.
        "sentinel.acl": render_access_list(lambda user: values_of(f"valkey.{user}"), SENTINEL_RULES),
    }
    for name, party in _MUTUAL_AUTH_SECRETS.items():
        secrets[name] = {_MUTUAL_AUTH: render_mutual_auth(party, values_of)}
    return secrets


def _routes_password(administrators: str) -> str:
    """Of the servers among each other. Who may do everything in NATS may know it, and nobody has to keep it."""
    return hmac.digest(administrators.encode(), b"routes", "sha256").hex()


def render_github(client_id: str, client_secret: str) -> Secrets:
    return {GITHUB: {GITHUB_CLIENT_ID: client_id, GITHUB_CLIENT_SECRET: client_secret}}


def read_values(secrets: Secrets) -> dict[str, tuple[str, ...]]:
    """What ``values_of`` must know so that these come out as they are, as far as they are here.

    Raises:
        ValueError: one does not hold what its name says.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in _SINGLE_VALUES.keys() & secrets.keys():
        found[_SINGLE_VALUES[name]] = tuple(secrets[name].get(_PASSWORD, "").split())
    for name in sorted(_MUTUAL_AUTH_SECRETS.keys() & secrets.keys()):
        for value, known in _read_edges(
            _MUTUAL_AUTH_SECRETS[name], yaml.safe_load(secrets[name].get(_MUTUAL_AUTH, ""))
        ):
            # While a secret is rotated, one end of its edge knows both values before the other does.
            found[value] = max(found.get(value, ()), known, key=len)
    for value, known in found.items():
        if not known or not all(known):
            raise ValueError(f"the Secret of {value} is empty")
    return found


def _read_edges(party: str, content: Any) -> Iterator[tuple[str, tuple[str, ...]]]:  # noqa: ANN401  # YAML
    edges = chain(
        ((f"{caller}.{party}", secrets) for caller, secrets in (content or {}).get("accepts", {}).items()),
        ((f"{party}.{callee}", secrets) for callee, secrets in (content or {}).get("presents", {}).items()),
    )
    for edge, secrets in edges:
        yield f"{edge}.token", _as_tuple(secrets["token"])
        yield f"{edge}.statement-key", _as_tuple(secrets["statement_key"])


def _as_tuple(values: str | Sequence[str]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)


def as_manifests(secrets: Secrets, namespace: str, names: Collection[str]) -> list[dict[str, Any]]:
    """The objects of Kubernetes for those of these names."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"app.kubernetes.io/part-of": "delinkcious"},
            },
            "type": "Opaque",
            "stringData": dict(secrets[name]),
        }
        for name in sorted(names)
    ]


def as_references(names: Collection[str]) -> list[dict[str, Any]]:
    """Objects of the External Secrets Operator, which make the Secrets of these names of what a manager of secrets
    outside the cluster has under ``ENVIRONMENT/NAME``, key by key. An overlay puts in the environment."""
    return [
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "delinkcious"}},
            "spec": {
                "secretStoreRef": {"kind": "SecretStore", "name": "delinkcious"},
                # As often as services look whether a secret has changed, or nearly.
                "refreshInterval": "1m",
                # What is there stays, whatever becomes of the store or of this object.
                "target": {"name": name, "creationPolicy": "Orphan", "deletionPolicy": "Retain"},
                "dataFrom": [{"extract": {"key": f"ENVIRONMENT/{name}"}}],
            },
        }
        for name in sorted(names)
    ]
