"""The mesh's AuthorizationPolicies, written from the tables that say who may call what.

``python -m tests.manifests.mesh`` writes them anew, after a change of ``tests/authorization/table.yaml`` or
``k8s/flows.yaml``; ``test_istio.py`` fails until that is done. Paths are templates, in which ``{*}`` is one segment:
https://istio.io/latest/docs/reference/config/security/authorization-policy/#Operation
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from pkg.runtime.access import ALLOWED_CALLERS, API_GATEWAY, LINK_CHECKER
from tests.manifests.objects import ROOT, Object, of_kind, workloads
from tests.manifests.renders import Variant, make_renders
from tests.manifests.test_flows import as_list

FILE: Final = ROOT / "k8s" / "components" / "istio" / "authorization_policies.yaml"
#: What brings more who call somebody of ours.
COMPONENTS: Final = ("backup", "nats-replicas", "valkey-replicas")
VARIANT: Final = Variant("minikube", COMPONENTS)
_TABLE: Final = ROOT / "tests" / "authorization" / "table.yaml"
_FLOWS: Final = ROOT / "k8s" / "flows.yaml"
_WIDTH: Final = 125
_BACKUP: Final = "-backup"

_HEAD: Final = """\
# Who may call what, by the identity of the caller's pod: the tables of who may do what once more, path by path, so that
# a call which should not be is refused before it reaches a service. What no policy allows is refused.
# Written by `python -m tests.manifests.mesh` from tests/authorization/table.yaml and k8s/flows.yaml.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: nothing
spec: {}
"""
_POLICY: Final = """\
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: %s
spec:
  selector:
    matchLabels: {svc: %s, app: %s}
  action: ALLOW
  rules:
"""
_METRICS: Final = """\
    # Prometheus, which has an identity of the mesh as well.
    - from:
        - source: {namespaces: [monitoring]}
      to:
        - operation: {methods: [GET], paths: [/metrics]}
"""
_PUBLIC: Final = """\
    # The public.
    - from:
        - source: {namespaces: [istio-ingress]}
"""


@dataclass(frozen=True, order=True)
class Call:
    caller: str
    method: str
    path: str


def calls_of(service: str, table: Mapping[str, Mapping[str, Any]] | None = None) -> set[Call]:
    """What callers may ask of an internal service, with paths as Istio writes them."""
    rows = (table or yaml.safe_load(_TABLE.read_text()))[service]
    return {
        Call(caller, "POST" if method == "gRPC" else method, re.sub(r"\{[^}]+\}", "{*}", path))
        for method, path, row in ((*operation.split(), row) for operation, row in rows.items())
        for caller in row["callers"]
    }


def accounts_of(name: str, objects: Iterable[Object]) -> str:
    """The account as which somebody of the list of flows calls."""
    for workload in workloads(objects):
        if re.fullmatch(rf"{name}(-(dev|\d+\..*))?", workload.name):
            return str(workload.spec["serviceAccountName"])
    if name.endswith((_BACKUP, "-restore")):
        # Of a component that this overlay need not have.
        return f"{name.rpartition('-')[0]}{_BACKUP}"
    raise LookupError(f"nobody is called {name}")


def render_policies(objects: list[Object]) -> str:
    """``objects``: of an overlay with ``COMPONENTS``, for labels, ports and accounts."""
    flows = [flow for flow in yaml.safe_load(_FLOWS.read_text()) if set(as_list(flow.get("with", []))) <= {*COMPONENTS}]
    found = {workload.name: workload for workload in workloads(objects)}
    text = _HEAD
    for service in (API_GATEWAY, LINK_CHECKER, *(name for name in ALLOWED_CALLERS if name != API_GATEWAY)):
        labels = found[service].labels
        text += _POLICY % (service, labels["svc"], labels["app"])
        if service == API_GATEWAY:
            text += _PUBLIC
            for caller in sorted(
                {caller for callers in _callers(flows, service, objects).values() for caller in callers}
            ):
                text += f"    - from:\n        - source: {{serviceAccounts: [{caller}]}}\n"
        elif service != LINK_CHECKER:
            text += "".join(_rules(calls_of(service)))
        text += _METRICS
    for store in (thing["metadata"]["name"] for thing in of_kind(objects, "StatefulSet")):
        workload = found[store]
        text += _POLICY % (store, workload.labels["svc"], workload.labels["app"])
        for port, callers in sorted(_callers(flows, store, objects).items()):
            text += _sources(sorted(callers))
            text += f'      to:\n        - operation: {{ports: ["{workload.ports[port][0]}"]}}\n'
    return text


def _callers(flows: list[dict[str, Any]], target: str, objects: list[Object]) -> dict[str, set[str]]:
    """The accounts of those who call somebody of ours, by the name of the port."""
    found: dict[str, set[str]] = {}
    for flow in flows:
        if flow["to"] == target:
            accounts = {accounts_of(name, objects) for name in {*as_list(flow["from"])} - {"ingress-controller"}}
            for port in flow["ports"]:
                found.setdefault(port, set()).update(accounts)
    return found


def _rules(calls: set[Call]) -> Iterator[str]:
    """Operations with the same callers are one rule."""
    callers: dict[tuple[str, str], set[str]] = {}
    for call in calls:
        callers.setdefault((call.method, call.path), set()).add(call.caller)
    for group in sorted({tuple(sorted(names)) for names in callers.values()}):
        own = sorted(operation for operation, names in callers.items() if tuple(sorted(names)) == group)
        yield _sources(group) + "      to:\n"
        for method in sorted({method for method, _ in own}):
            yield _operation(method, [path for other, path in own if other == method])


def _sources(accounts: Iterable[str]) -> str:
    accounts = list(accounts)
    line = f"    - from:\n        - source: {{serviceAccounts: [{', '.join(accounts)}]}}\n"
    if len(line) <= _WIDTH:
        return line
    return "    - from:\n        - source:\n            serviceAccounts:\n" + "".join(
        f"              - {account}\n" for account in accounts
    )


def _operation(method: str, paths: list[str]) -> str:
    quoted = [f'"{path}"' if "{" in path else path for path in paths]
    line = f"        - operation: {{methods: [{method}], paths: [{', '.join(quoted)}]}}\n"
    if len(line) <= _WIDTH:
        return line
    return f"        - operation:\n            methods: [{method}]\n            paths:\n" + "".join(
        f"              - {path}\n" for path in quoted
    )


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        FILE.write_text(render_policies(make_renders(Path(folder) / "house").of(VARIANT)))
