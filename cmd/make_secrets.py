#!/usr/bin/env python3
"""Makes the Secrets that the manifests in k8s/ name: random ones of 256 bits, the two ends of each the same.

Without --apply they are printed, all of them new, for a namespace that has none: keep them off disks and logs.

  python cmd/make_secrets.py --namespace delinkcious --apply
  python cmd/make_secrets.py --namespace delinkcious | kubectl create -f -

With --apply kubectl sends them to the cluster that it is set to, and makes the namespace if it is not there. Secrets
that are there stay as they are; those that are missing are made to fit them. So it may be run again, as after a new
version that has a service more.

With --references nothing is made: what is printed has the External Secrets Operator fetch each from a manager of
secrets outside the cluster.

  python cmd/make_secrets.py --references > k8s/components/external-secrets/secrets.yaml
"""

import argparse
import base64
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

import yaml  # noqa: E402  # after the line above, as the rest

from pkg.local_stack.secret_store import write_private  # noqa: E402
from pkg.provisioning.cluster_secrets import (  # noqa: E402
    GITHUB,
    VALKEY_LIST,
    Secrets,
    as_manifests,
    as_references,
    read_values,
    render_github,
    render_secrets,
)
from pkg.provisioning.kubectl import ask_kubectl  # noqa: E402
from pkg.runtime.mutual_auth import new_secret  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402

EPILOG = """\
Environment:
  GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET   of the OAuth app with which people log in; none made without them
  KUBECONFIG                               as kubectl knows it
"""


def namespace_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace: a-z, 0-9 and dashes in between")
    return text


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--namespace", type=namespace_name, metavar="N", help="where they belong")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output", metavar="FILE", default="-", help="where to write them, for your eyes only (0600); - prints them"
    )
    where.add_argument("--apply", action="store_true", help="send them to the cluster with kubectl")
    where.add_argument("--references", action="store_true", help="print where they come from, instead of any secret")
    parser.add_argument(
        "--update",
        action="store_true",
        help="with --apply: also write those anew that are there and lack something, as a list of users that lacks a"
        " service; their values stay",
    )
    parser.add_argument("--context", metavar="NAME", help="with --apply: which cluster, as kubectl calls it")
    arguments = parser.parse_args(words)
    if not arguments.apply and (arguments.update or arguments.context):
        parser.error("--update and --context belong to --apply")
    if bool(arguments.namespace) == arguments.references:
        parser.error("--namespace is needed, but for --references, which are for any")
    return arguments


def read_github(environment: Mapping[str, str]) -> Secrets:
    client_id, client_secret = environment.get("GITHUB_CLIENT_ID"), environment.get("GITHUB_CLIENT_SECRET")
    if bool(client_id) != bool(client_secret):
        raise StartError("of GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET one is not set; set both, or neither")
    return render_github(client_id, client_secret) if client_id and client_secret else {}


def make(existing: Secrets, environment: Mapping[str, str]) -> Secrets:
    try:
        values = read_values(existing)
    except (ValueError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise StartError(f"a Secret that is there cannot be used: {error}") from None
    made = render_secrets(lambda name: values.setdefault(name, (new_secret(),)))
    return {**made, **read_github(environment)}


def is_rotated(valkey_list: Mapping[str, str]) -> bool:
    return any(line.count(" #") > 1 for content in valkey_list.values() for line in content.splitlines())


class Cluster:
    def __init__(self, namespace: str, context: str | None) -> None:
        self._namespace = namespace
        self._ask = partial(ask_kubectl, context=context or "")

    def read(self) -> Secrets:
        answer = self._ask("--namespace", self._namespace, "get", "secrets", "--output", "json")
        return {
            secret["metadata"]["name"]: {
                key: base64.b64decode(content).decode("utf-8", "replace")
                for key, content in (secret.get("data") or {}).items()
            }
            for secret in json.loads(answer)["items"]
        }

    def make_namespace(self) -> None:
        """Unless it is there. Its labels come with the manifests."""
        if not self._ask("get", "namespace", self._namespace, "--ignore-not-found", "--output", "name").strip():
            self._send("apply", [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}])

    def create(self, manifests: list[dict[str, Any]]) -> None:
        # If somebody else was quicker it fails, and theirs stay.
        self._send("create", manifests)

    def replace(self, manifests: list[dict[str, Any]]) -> None:
        self._send("replace", manifests)

    def _send(self, verb: str, manifests: list[dict[str, Any]]) -> None:
        if manifests:
            self._ask(verb, "--filename", "-", content=yaml.safe_dump_all(manifests, sort_keys=False))


def apply(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    cluster = Cluster(arguments.namespace, arguments.context)
    cluster.make_namespace()
    existing = cluster.read()
    wanted = make(existing, environment)
    missing = wanted.keys() - existing.keys()
    cluster.create(as_manifests(wanted, arguments.namespace, missing))
    print(f"made: {', '.join(sorted(missing)) or 'none, all are there'}")
    behind = {name for name in wanted.keys() & existing.keys() if wanted[name] != existing[name]}
    if arguments.update:
        if VALKEY_LIST in behind and is_rotated(existing[VALKEY_LIST]):
            raise StartError(
                f"{VALKEY_LIST} holds two passwords of one user, of which no other Secret knows the second; finish that"
                " rotation first, as docs/secrets.md has it"
            )
        cluster.replace(as_manifests(wanted, arguments.namespace, behind))
        print(f"written anew: {', '.join(sorted(behind)) or 'none'}")
    elif behind:
        print(f"left as they are, though they lack something; see --update: {', '.join(sorted(behind))}")


def write(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    secrets = make({}, environment)
    text = yaml.safe_dump_all(as_manifests(secrets, arguments.namespace, secrets.keys()), sort_keys=False)
    if arguments.output == "-":
        print(text, end="")
        return
    path = Path(arguments.output)
    if path.exists():
        raise StartError(f"{path} is there; it may be all that knows the secrets of a cluster, so remove it yourself")
    try:
        write_private(path, text)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from None
    print(f"{path}: {len(secrets)} Secrets")


def print_references() -> None:
    print(f"# Written by `python cmd/{Path(__file__).name} --references`, and by nobody else.")
    names = render_secrets(lambda name: (name,)).keys() | {GITHUB}
    print(yaml.safe_dump_all(as_references(names), sort_keys=False), end="")


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    arguments = read_arguments(words)
    if arguments.references:
        print_references()
        return 0
    try:
        (apply if arguments.apply else write)(arguments, environment)
    except StartError as error:
        for fault in error.faults:
            print(f"make_secrets: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
