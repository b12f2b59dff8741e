"""What Argo CD is told: each environment comes about whole, in order, by projects that may do that and nothing else.

Argo CD is not here. What its ApplicationSet makes is made by hand, and rendered as its repository server would: the
overlay, with an Application's own components and patches (https://argo-cd.readthedocs.io/en/stable/user-guide/kustomize/).
"""

import shutil
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.manifests.objects import ROOT, Object, find, label, of_kind, render
from tests.manifests.published_types import INSTALLED, type_faults
from tests.manifests.renders import Renders, Variant

FOLDER: Final = ROOT / "k8s" / "argocd"
ENVIRONMENTS: Final = ("staging", "production")
HOOK: Final = "argocd.argoproj.io/hook"
WAVE: Final = "argocd.argoproj.io/sync-wave"
SERVER: Final = "https://kubernetes.default.svc"


@pytest.fixture(scope="module")
def told() -> list[Object]:
    return render(FOLDER)


def applications(told: list[Object]) -> list[Object]:
    """What the ApplicationSet makes: its template, once for each pair of its two lists."""
    spec = find(told, "ApplicationSet/delinkcious")["spec"]
    [generator] = spec["generators"]
    lists = [inner["list"]["elements"] for inner in generator["matrix"]["generators"]]
    return [_filled(spec["template"], {**first, **second}) for first, second in product(*lists)]


def _filled(template: Object, values: dict[str, str]) -> Object:
    text = yaml.safe_dump(template)
    for name, value in values.items():
        text = text.replace(f"{{{{.{name}}}}}", value)
    assert "{{" not in text
    filled: Object = yaml.safe_load(text)
    return filled


@pytest.fixture(scope="module")
def rendered(told: list[Object], renders: Renders) -> dict[str, list[Object]]:
    """What each Application brings about, by its name."""
    return {
        application["metadata"]["name"]: render(_write(renders.house, application))
        for application in applications(told)
    }


def _write(house: Path, application: Object) -> Path:
    source = application["spec"]["source"]
    own = house / source["path"]
    folder = own.with_name(application["metadata"]["name"])
    shutil.copytree(own, folder)
    return _add(folder, source["kustomize"]["components"], source["kustomize"]["patches"])


def _add(folder: Path, components: list[str], patches: list[Any]) -> Path:
    file = folder / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    content["components"] = [*content.get("components", []), *components]
    content["patches"] = [*content.get("patches", []), *patches]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def of_environment(rendered: dict[str, list[Object]], environment: str) -> dict[str, list[Object]]:
    prefix = f"delinkcious-{environment}-"
    return {name.removeprefix(prefix): objects for name, objects in rendered.items() if name.startswith(prefix)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_its_applications_are_the_whole_environment_once(
    rendered: dict[str, list[Object]], renders: Renders, environment: str
) -> None:
    parts = of_environment(rendered, environment)
    found = Counter(label(thing) for objects in parts.values() for thing in objects)
    assert found == Counter(label(thing) for thing in renders.of(Variant(environment)))
    assert all(parts.values()), "a part without anything would be refused"
    # But for what is said to Argo CD, they are as they are without it.
    plain = {label(thing): thing for thing in renders.of(Variant(environment))}
    for thing in (thing for objects in parts.values() for thing in objects):
        assert thing.get("spec") == plain[label(thing)].get("spec"), label(thing)
        assert thing.get("data") == plain[label(thing)].get("data"), label(thing)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_schema_is_migrated_before_its_service_is_touched(
    rendered: dict[str, list[Object]], environment: str
) -> None:
    parts = of_environment(rendered, environment)
    hooks = {
        part: [(label(job).rpartition("/")[2], job["metadata"]["annotations"][HOOK]) for job in of_kind(objects, "Job")]
        for part, objects in parts.items()
    }
    kinds = {part: {(name.split("-0.")[0], phase) for name, phase in found} for part, found in hooks.items() if found}
    assert kinds == {
        "platform": {("events-provisioning", "Sync")},
        "link": {("link-db-schema", "PreSync")},
        "user": {("user-db-schema", "PreSync")},
        "social-graph": {("social-graph-db-schema", "PreSync")},
    }
    for part in kinds:
        assert part == "platform" or of_kind(parts[part], "Deployment"), part
    # What a Job needs is of the platform: its own part comes after it.
    needed = {"ServiceAccount/link-db-schema", "NetworkPolicy/link-db-schema"}
    # Production's database is somebody else's.
    needed |= {"StatefulSet/link-db"} if environment == "staging" else set()
    assert needed <= {label(thing) for thing in parts["platform"]}
    # First the roles and the database, then its tables, in one pod.
    job = find(parts["link"], "Job/link-db-schema")["spec"]["template"]["spec"]
    assert [one["name"] for one in (*job["initContainers"], *job["containers"])] == ["provision", "migrate"]
    assert "--patience" in job["initContainers"][0]["args"], "its database may be on its way"


def wave(thing: Object) -> int:
    return int(thing["metadata"].get("annotations", {}).get(WAVE, 0))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_somebody_needs_is_there_before(rendered: dict[str, list[Object]], environment: str) -> None:
    for objects in of_environment(rendered, environment).values():
        first = {"ServiceAccount", "ConfigMap", "NetworkPolicy", "Service", "ExternalSecret", "SecretStore"}
        before = [wave(thing) for thing in objects if thing["kind"] in first]
        pods = [wave(thing) for thing in of_kind(objects, "Deployment", "StatefulSet")]
        after = [wave(thing) for thing in of_kind(objects, "Ingress", "HorizontalPodAutoscaler", "CronJob")]
        assert max(before) < min(pods)
        assert not after or max(pods) < min(after)
    platform = of_environment(rendered, environment)["platform"]
    assert {wave(thing) for thing in of_kind(platform, "Namespace")} == {min(wave(thing) for thing in platform)}
    assert {wave(thing) for thing in of_kind(platform, "StatefulSet")} == {-1}
    assert [wave(job) for job in of_kind(platform, "Job")] == [0], "after NATS"


def test_what_has_data_is_never_pruned(rendered: dict[str, list[Object]]) -> None:
    kept = [
        thing
        for objects in rendered.values()
        for thing in of_kind(objects, "StatefulSet", "Namespace", "PersistentVolumeClaim")
    ]
    assert kept
    for thing in kept:
        assert thing["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false", label(thing)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_project_may_do_what_its_environment_needs_and_no_more(
    told: list[Object], renders: Renders, environment: str
) -> None:
    spec = find(told, f"AppProject/delinkcious-{environment}")["spec"]
    objects = renders.of(Variant(environment))
    needed = {(thing["apiVersion"].rpartition("/")[0], thing["kind"]) for thing in objects} - {("", "Namespace")}
    given = {(item["group"], item["kind"]) for item in spec["namespaceResourceWhitelist"]}
    assert given == needed, f"k8s/argocd/projects.yaml has another list of kinds than {environment}"
    namespace = of_kind(objects, "Namespace")[0]["metadata"]["name"]
    assert spec["clusterResourceWhitelist"] == [{"group": "", "kind": "Namespace", "name": namespace}]
    assert spec["destinations"] == [{"server": SERVER, "namespace": namespace}]


def test_nothing_is_anybodys(told: list[Object]) -> None:
    """No wildcard, no other repository, and no credentials."""
    projects = {project["metadata"]["name"]: project["spec"] for project in of_kind(told, "AppProject")}
    assert projects.keys() == {"delinkcious", *(f"delinkcious-{name}" for name in ENVIRONMENTS)}
    assert "*" not in yaml.safe_dump(list(projects.values()))
    kinds = {item["kind"] for item in projects["delinkcious"]["namespaceResourceWhitelist"]}
    assert kinds == {thing["kind"] for thing in told}
    repositories = {repository for spec in projects.values() for repository in spec["sourceRepos"]}
    repositories |= {application["spec"]["source"]["repoURL"] for application in applications(told)}
    repositories.add(find(told, "Application/delinkcious")["spec"]["source"]["repoURL"])
    [repository] = repositories
    assert repository.startswith("https://")
    assert "@" not in repository
    assert {thing["kind"] for thing in told} == {"AppProject", "Application", "ApplicationSet"}
    assert {thing["metadata"]["namespace"] for thing in told} == {"argocd"}


def test_each_application_is_where_its_project_lets_it(told: list[Object]) -> None:
    made = applications(told)
    assert len({application["metadata"]["name"] for application in made}) == len(made)
    for application in [*made, find(told, "Application/delinkcious")]:
        spec = application["spec"]
        project = find(told, f"AppProject/{spec['project']}")["spec"]
        assert spec["destination"] in project["destinations"]
        assert spec["source"]["repoURL"] in project["sourceRepos"]
        assert (ROOT / spec["source"]["path"] / "kustomization.yaml").is_file()
        assert spec["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True, "allowEmpty": False}
        assert spec["syncPolicy"]["retry"]["limit"] > 0
    paths = {
        application["metadata"]["labels"]["environment"]: application["spec"]["source"]["path"] for application in made
    }
    assert paths == {name: f"k8s/overlays/{name}" for name in ENVIRONMENTS}, "no two environments follow one path"


def test_an_autoscaler_is_not_undone(told: list[Object], renders: Renders) -> None:
    scaled = {
        scaler["spec"]["scaleTargetRef"]["name"]
        for scaler in of_kind(renders.of(Variant("production")), "HorizontalPodAutoscaler")
    }
    for application in applications(told):
        ignored = application["spec"]["ignoreDifferences"]
        assert {entry["name"] for entry in ignored} == scaled
        assert all(entry["jsonPointers"] == ["/spec/replicas"] for entry in ignored)
        assert "RespectIgnoreDifferences=true" in application["spec"]["syncPolicy"]["syncOptions"]


@pytest.mark.skipif(
    not INSTALLED.exists(), reason="the published types are not here; `make resource-types` installs them (needs npm)"
)
def test_argo_cd_knows_all_of_it(told: list[Object], tmp_path: Path) -> None:
    made = [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", **application}
        for application in applications(told)[:1]
    ]
    assert type_faults([*told, *made], tmp_path) == []
