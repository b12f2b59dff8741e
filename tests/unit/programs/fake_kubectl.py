"""As much of kubectl as cmd/make_secrets.py uses, on a cluster that is a file: FILE WORD..."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import yaml

FILE = Path(sys.argv[1])


def main(words: list[str]) -> int:
    cluster = json.loads(FILE.read_text()) if FILE.exists() else {"namespaces": [], "secrets": {}}
    match words:
        case ["get", "namespace", name, "--ignore-not-found", "--output", "name"]:
            if name in cluster["namespaces"]:
                print(f"namespace/{name}")
        case ["--namespace", _, "get", "secrets", "--output", "json"]:
            items = [{"metadata": {"name": name}, "data": data} for name, data in cluster["secrets"].items()]
            print(json.dumps({"items": items}))
        case ["apply" | "create" | "replace" as verb, "--filename", "-"]:
            for thing in yaml.safe_load_all(sys.stdin):
                send(cluster, verb, thing)
            FILE.write_text(json.dumps(cluster))
        case _:
            sys.exit(f"error: unknown command {words}")
    return 0


def send(cluster: dict[str, Any], verb: str, thing: dict[str, Any]) -> None:
    name = thing["metadata"]["name"]
    if thing["kind"] == "Namespace":
        cluster["namespaces"].append(name)
        return
    if thing["metadata"]["namespace"] not in cluster["namespaces"]:
        sys.exit(f"Error from server (NotFound): namespaces {thing['metadata']['namespace']} not found")
    if verb == "create" and name in cluster["secrets"]:
        sys.exit(f"Error from server (AlreadyExists): secrets {name} already exists")
    cluster["secrets"][name] = {
        key: base64.b64encode(value.encode()).decode() for key, value in thing["stringData"].items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
