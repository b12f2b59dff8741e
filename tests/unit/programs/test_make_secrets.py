"""``cmd/make_secrets.py``: what it makes fits together, and what is there already stays."""

import base64
import json
import sys
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest
import yaml

from pkg.provisioning.mutual_auth import edges, parties
from pkg.provisioning.nats_users import PERMISSIONS
from pkg.runtime.access import API_GATEWAY, LINK_MANAGER
from pkg.runtime.mutual_auth import load_mutual_auth
from tests.manifests.schemas import newest_versions, schema_faults
from tests.unit.programs.command import run_command

make_secrets = partial(run_command, "make_secrets", "--namespace", "here")
type Secrets = Mapping[str, Mapping[str, str]]


def printed(*arguments: str, **environment: str) -> list[dict[str, Any]]:
    code, out, said = make_secrets(*arguments, **environment)
    assert (code, said) == (0, "")
    return list(yaml.safe_load_all(out))


def contents(manifests: list[dict[str, Any]]) -> Secrets:
    return {secret["metadata"]["name"]: secret["stringData"] for secret in manifests}


def nats_users(secrets: Secrets) -> dict[str, str]:
    text = secrets["nats-cluster-authorization"]["authorization.conf"].removeprefix("authorization: ")
    return {user["user"]: user["password"] for user in json.loads(text)["users"]}


def check_that_they_fit(secrets: Secrets, folder: Path) -> None:
    sides = {}
    for party in parties():
        file = folder / f"{party}.yaml"
        file.write_text(secrets[f"{party.removesuffix('-manager')}-mutual-auth"]["mutual-auth.yaml"])
        file.chmod(0o600)
        sides[party] = load_mutual_auth(file)
    for caller, callee in edges():
        assert sides[caller].presents[callee] == sides[callee].accepts[caller]
    assert nats_users(secrets) == {user: secrets[f"nats-{user}"]["password"] for user in PERMISSIONS}
    lines = secrets["news-manager-redis-acl"]["users.acl"].splitlines()
    digests = {line.split()[1]: line.split()[3] for line in lines[1:]}
    assert lines[0] == "user default on nopass resetkeys resetchannels -@all +ping"
    for user, digest in digests.items():
        password = secrets[f"news-manager-redis-{user}"]["password"]
        assert digest == f"#{sha256(password.encode()).hexdigest()}"
    assert digests.keys() >= {"news-manager", "replica", "sentinel"}
    for line in secrets["news-manager-redis-acl"]["sentinel.acl"].splitlines()[1:]:
        _, user, _, digest, *_ = line.split()
        assert digest == digests[user], "sentinels know the same passwords"


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return printed()


def test_what_is_printed_is_what_kubernetes_takes(manifests: list[dict[str, Any]], tmp_path: Path) -> None:
    assert schema_faults(manifests, newest_versions(1)[0]) == []
    assert {manifest["kind"] for manifest in manifests} == {"Secret"}
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {"here"}
    check_that_they_fit(contents(manifests), tmp_path)


def test_references_hold_no_secret_and_are_for_any_namespace(manifests: list[dict[str, Any]]) -> None:
    code, out, said = run_command("make_secrets", "--references")
    assert (code, said) == (0, "")
    references = list(yaml.safe_load_all(out))
    names = {manifest["metadata"]["name"] for manifest in manifests} | {"github-creds"}
    assert {reference["spec"]["target"]["name"] for reference in references} == names
    assert all("namespace" not in reference["metadata"] for reference in references)
    assert not any("password" in line or "token" in line for line in out.splitlines())
    assert run_command("make_secrets")[0] == run_command("make_secrets", "--references", "--namespace", "here")[0] == 2


def test_every_secret_is_long_and_like_no_other(manifests: list[dict[str, Any]]) -> None:
    first, second = contents(manifests), contents(printed())
    for name, content in first.items():
        assert content != second[name]
    passwords = [content["password"] for content in first.values() if "password" in content]
    assert len(set(passwords)) == len(passwords) > 10
    assert all(len(password) >= 43 for password in passwords)


def test_a_file_is_its_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "secrets.yaml"
    code, out, said = make_secrets("--output", str(file))
    assert (code, said) == (0, "")
    assert S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    assert before.count("kind: Secret") == int(out.split()[-2])
    code, out, said = make_secrets("--output", str(file))
    assert (code, out) == (1, "")
    assert "remove it yourself" in said
    assert file.read_text() == before


def test_github_is_the_environments(manifests: list[dict[str, Any]]) -> None:
    assert "github-creds" not in contents(manifests)
    given = {"GITHUB_CLIENT_ID": "an id", "GITHUB_CLIENT_SECRET": "its secret"}
    assert contents(printed(**given))["github-creds"] == {
        "github-client-id": "an id",
        "github-client-secret": "its secret",
    }
    code, out, said = make_secrets(GITHUB_CLIENT_ID="an id")
    assert (code, out) == (1, "")
    assert "set both" in said


@pytest.mark.parametrize("arguments", [["--update"], ["--context", "x"], ["--apply", "--output", "x"]])
def test_options_that_do_not_go_together(arguments: list[str]) -> None:
    assert make_secrets(*arguments)[0] == 2


def test_a_name_that_no_namespace_has() -> None:
    code, _, said = run_command("make_secrets", "--namespace", "Here; rm")
    assert code == 2
    assert "no name of a namespace" in said


class FakeCluster:
    def __init__(self, folder: Path) -> None:
        self._file = folder / "cluster.json"
        kubectl = folder / "bin" / "kubectl"
        kubectl.parent.mkdir()
        program = Path(__file__).with_name("fake_kubectl.py")
        kubectl.write_text(f'#!/bin/sh\nexec {sys.executable} {program} {self._file} "$@"\n')
        kubectl.chmod(0o755)
        self._environment = {"PATH": str(kubectl.parent)}

    def apply(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        return make_secrets("--apply", *arguments, **self._environment, **environment)

    def secrets(self) -> dict[str, dict[str, str]]:
        stored = json.loads(self._file.read_text())["secrets"]
        return {
            name: {key: base64.b64decode(value).decode() for key, value in data.items()}
            for name, data in stored.items()
        }

    def store(self, secrets: Secrets) -> None:
        cluster = json.loads(self._file.read_text())
        cluster["secrets"] = {
            name: {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
            for name, content in secrets.items()
        }
        self._file.write_text(json.dumps(cluster))


@pytest.fixture
def cluster(tmp_path: Path) -> FakeCluster:
    return FakeCluster(tmp_path)


def test_a_second_time_changes_nothing(cluster: FakeCluster, tmp_path: Path) -> None:
    code, out, said = cluster.apply()
    assert (code, said) == (0, "")
    before = cluster.secrets()
    check_that_they_fit(before, tmp_path)
    assert all(name in out for name in before)
    assert cluster.apply() == (0, "made: none, all are there\n", "")
    assert cluster.apply("--update") == (0, "made: none, all are there\nwritten anew: none\n", "")
    assert cluster.secrets() == before


def test_what_is_missing_is_made_to_fit(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.apply()
    before = cluster.secrets()
    gone = {"nats-cluster-authorization", "link-mutual-auth", "news-manager-redis-acl", "user-db-service"}
    cluster.store({name: content for name, content in before.items() if name not in gone})
    code, out, _ = cluster.apply()
    assert (code, out) == (0, f"made: {', '.join(sorted(gone))}\n")
    after = cluster.secrets()
    check_that_they_fit(after, tmp_path)
    # What nothing else knows is new; the rest could be told from what was left.
    assert {name for name in before if before[name] != after[name]} == {"user-db-service"}


def test_lists_that_lack_a_service_are_left_until_told(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.apply()
    before = cluster.secrets()
    older = dict(before)
    callers = yaml.safe_load(before["link-mutual-auth"]["mutual-auth.yaml"])
    del callers["accepts"][API_GATEWAY]
    older["link-mutual-auth"] = {"mutual-auth.yaml": yaml.safe_dump(callers)}
    del older[f"nats-{LINK_MANAGER}"]
    cluster.store(older)

    _, out, _ = cluster.apply()
    assert "made: nats-link-manager\n" in out
    assert "link-mutual-auth, nats-cluster-authorization" in out
    assert cluster.secrets()["link-mutual-auth"] == older["link-mutual-auth"]

    _, out, _ = cluster.apply("--update")
    assert "written anew: link-mutual-auth, nats-cluster-authorization\n" in out
    check_that_they_fit(cluster.secrets(), tmp_path)
    assert cluster.secrets()["link-mutual-auth"] == before["link-mutual-auth"]


def test_two_values_stay_two(cluster: FakeCluster) -> None:
    cluster.apply()
    secrets = cluster.secrets()
    edge = yaml.safe_load(secrets["link-mutual-auth"]["mutual-auth.yaml"])
    token = edge["accepts"][API_GATEWAY]["token"]
    edge["accepts"][API_GATEWAY]["token"] = [token, "n" * 43]
    secrets["link-mutual-auth"] = {"mutual-auth.yaml": yaml.safe_dump(edge)}
    secrets["link-db-service"] = {"password": f"{'a' * 43}\n{'b' * 43}"}
    cluster.store(secrets)
    assert cluster.apply("--update")[0] == 0
    for name, side, peer in (("link", "accepts", API_GATEWAY), ("api-gateway", "presents", LINK_MANAGER)):
        told = yaml.safe_load(cluster.secrets()[f"{name}-mutual-auth"]["mutual-auth.yaml"])
        assert told[side][peer]["token"] == [token, "n" * 43]
    assert cluster.secrets()["link-db-service"] == secrets["link-db-service"]


def test_a_list_in_the_middle_of_a_rotation_is_left(cluster: FakeCluster) -> None:
    cluster.apply()
    secrets = cluster.secrets()
    listed = secrets["news-manager-redis-acl"]["users.acl"].replace("news-manager on ", f"news-manager on #{'0' * 64} ")
    secrets["news-manager-redis-acl"] = {"users.acl": listed}
    cluster.store(secrets)
    code, _, said = cluster.apply("--update")
    assert code == 1
    assert "finish that rotation first" in said
    assert cluster.secrets() == secrets


def test_a_secret_of_somebody_else_is_told_and_left(cluster: FakeCluster) -> None:
    cluster.apply()
    broken = cluster.secrets() | {"link-mutual-auth": {"mutual-auth.yaml": "accepts: [1"}}
    cluster.store(broken)
    code, out, said = cluster.apply("--update")
    assert (code, out) == (1, "")
    assert "cannot be used" in said
    assert cluster.secrets() == broken


def test_what_kubectl_says_is_told(cluster: FakeCluster, tmp_path: Path) -> None:
    code, out, said = cluster.apply("--context", "nowhere")
    assert (code, out) == (1, "")
    assert said.startswith("make_secrets: kubectl: error: unknown command")
    code, _, said = make_secrets("--apply", PATH=str(tmp_path))
    assert code == 1
    assert "there is no kubectl" in said
