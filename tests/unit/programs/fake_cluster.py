"""As much of kubectl, helm and minikube as cmd/bootstrap_cluster.py uses; the cluster is a folder: FOLDER TOOL WORD...

Answers have the shape of the tools' own: Helm 3.19, Minikube 1.37, kubectl 1.34.
"""

import json
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1])


def read(name: str, default: str) -> str:
    file = FOLDER / name
    return file.read_text() if file.exists() else default


def install(name: str, words: list[str]) -> None:
    if read("broken", "") == name:
        print(f'Release "{name}" does not exist. Installing it now.')
        sys.exit("Error: context deadline exceeded")
    options = dict(zip(words[::2], words[1::2], strict=False))
    release = {"name": name, "namespace": options["--namespace"], "revision": "1", "status": "deployed"}
    release |= {"chart": f"{name}-{options['--version']}", "app_version": "1"}
    releases = [one for one in json.loads(read("releases", "[]")) if one["name"] != name]
    (FOLDER / "releases").write_text(json.dumps([*releases, release]))
    (FOLDER / f"values-{name}").write_text(sys.stdin.read())


def main(tool: str, words: list[str]) -> None:
    with (FOLDER / "asked").open("a") as asked:
        print(json.dumps([tool, *words]), file=asked)
    match [tool, *words]:
        case ["kubectl", "config", "current-context"]:
            context = read("context", "")
            if not context:
                sys.exit("error: current-context is not set")
            print(context)
        case ["kubectl", "--context", _, "get", "--raw", "/readyz"]:
            if (FOLDER / "down").exists():
                sys.exit(
                    "The connection to the server 127.0.0.1:32769 was refused - did you specify the right host or port?"
                )
            print("ok", end="")
        case ["minikube", "--profile", _, "addons", "list", "--output", "json"]:
            names = ("ingress", "metrics-server", "storage-provisioner")
            on = read("addons", "storage-provisioner").split()
            listed = {
                name: {"Profile": "minikube", "Status": "enabled" if name in on else "disabled"} for name in names
            }
            print(json.dumps(listed))
        case ["helm", "--kube-context", _, "list", "--all-namespaces", "--all", "--output", "json"]:
            print(read("releases", "[]"))
        case ["helm", "--kube-context", _, "upgrade", "--install", name, same, *rest] if name == same:
            rest.remove("--create-namespace")
            rest.remove("--wait")
            install(name, rest)
        case _:
            sys.exit(f"unknown command {tool} {words}")


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3:])
