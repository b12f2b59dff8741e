"""``build.sh`` in a repository of its own, with an engine whose images are files.

With a real engine and a real registry it is run by ``tests/images``.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pkg.images.catalogue import IMAGES
from pkg.images.engine import native_platform
from pkg.images.releases import STAGING, Built, read_release, write_release
from tests.image_registry import Registry, registry
from tests.unit.programs.checkouts import Repository, make_repository

PLACES = (
    *("pkg", "svc", "fun", "pb", "cmd", "requirements", "k8s/releases", "k8s/components/pins"),
    *("pyproject.toml", "Dockerfile", ".dockerignore"),
)
EVERY = {image.name for image in IMAGES}
CLIENT = "pkg/clients/link_check_client.py"


class Workshop:
    """A repository, and an engine on the PATH that is a fake one."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.registry = registry
        self.prefix = f"{registry.address}/we"
        self.repository = Repository(folder / "repository")
        self._folder = folder
        engine = folder / "bin" / "podman"
        program = Path(__file__).with_name("fake_engine.py")
        engine.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(program), str(folder)])} "$@"\n')
        engine.chmod(0o755)

    @classmethod
    def made(cls, folder: Path, registry: Registry) -> "Workshop":
        for name in ("here", "bin"):
            (folder / name).mkdir()
        (folder / "here" / "base:1").write_text("{}")
        make_repository(folder / "repository", PLACES)
        return cls(folder, registry)

    def build(self, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, str(self.repository.root / "cmd" / "build_changed.py"), *arguments],
            env={"PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def make(self, *arguments: str) -> str:
        """What it says; it must succeed."""
        code, output, errors = self.build("--engine", "podman", "--base", "base:1", *arguments)
        assert (code, errors) == (0, ""), errors
        return output

    def push(self, *arguments: str) -> str:
        return self.make("--push", "--prefix", self.prefix, *arguments)

    def refuse(self, *arguments: str) -> str:
        code, _, errors = self.build("--engine", "podman", "--base", "base:1", *arguments)
        assert code != 0
        return errors

    def built(self) -> set[str]:
        """The names of images that were built since somebody asked."""
        file = self._folder / "built"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        words = [word for line in lines for word in json.loads(line)]
        titles = [word.partition("=")[2] for word in words if word.startswith("org.opencontainers.image.title=")]
        return {title.removeprefix("delinkcious-") for title in titles}

    def published(self) -> dict[str, str]:
        """Digests by name and tag."""
        return {
            f"{self.registry.address}/{name}:{tag}": digest
            for name in self.registry.manifests
            for tag, digest in self.registry.tags(name).items()
        }

    def forget(self) -> None:
        """As another machine, which has built nothing."""
        for path in (self._folder / "here").glob("*delinkcious*"):
            path.unlink()

    def say_pushed_here(self) -> None:
        """As if the registry of now were the one that everything was pushed to; the number of commits is as it was."""
        moved = {
            name: replace(built, name=f"{self.prefix}/delinkcious-{name}") for name, built in self.release().items()
        }
        write_release(self.repository.root / STAGING, moved)
        self.repository.git("commit", "--quiet", "--all", "--amend", "--no-edit")

    def release(self) -> dict[str, Built]:
        return read_release(self.repository.root / STAGING)

    def put(self, reference: str, source: str) -> None:
        """An image of that name on this machine."""
        self._place(reference).write_text(json.dumps({"delinkcious.source": source}))

    def put_into_registry(self, reference: str, source: str) -> None:
        name, _, tag = reference.removeprefix(f"{self.registry.address}/").rpartition(":")
        content = json.dumps({"delinkcious.source": source}).encode()
        self.registry.manifests[name] = {tag: ("application/vnd.oci.image.manifest.v1+json", content)}

    def remove(self, reference: str) -> None:
        self._place(reference).unlink()

    def _place(self, reference: str) -> Path:
        return self._folder / "here" / reference.replace("/", "%")

    def deny(self, part: str) -> None:
        (self._folder / "denied").write_text(part)

    def allow(self) -> None:
        (self._folder / "denied").unlink()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything was built and pushed once."""
    folder = tmp_path_factory.mktemp("first")
    with registry() as there:
        workshop = Workshop.made(folder, there)
        workshop.push()
        assert workshop.built() == EVERY == workshop.release().keys()
        names = {f"{workshop.prefix}/delinkcious-{name}" for name in EVERY}
        assert {built.name for built in workshop.release().values()} == names
        assert {built.digest for built in workshop.release().values()} == set(workshop.published().values())
        assert "Staging runs 0.1.1-" in workshop.repository.git("log", "-1", "--format=%s")
    return folder


@pytest.fixture
def workshop(first: Path, tmp_path: Path) -> Iterator[Workshop]:
    with registry() as there:
        workshop = Workshop(Path(shutil.copytree(first, tmp_path / "workshop", symlinks=True)), there)
        workshop.say_pushed_here()
        yield workshop


def test_what_has_not_changed_is_left_alone(workshop: Workshop) -> None:
    workshop.forget()
    # The commit of digests is a new one, and the files that no image has do not count.
    workshop.repository.append("cmd/build_changed.py")
    workshop.repository.append("k8s/components/pins/kustomization.yaml")
    workshop.repository.commit("nothing that is in an image")
    before = workshop.repository.git("rev-parse", "HEAD")
    assert set(workshop.push().splitlines()) == {
        f"{name}: as {built.tag}" for name, built in workshop.release().items()
    }
    assert workshop.built() == set()
    assert workshop.repository.git("rev-parse", "HEAD") == before


def test_what_has_changed_is_built_pushed_and_recorded(workshop: Workshop) -> None:
    workshop.forget()
    before = workshop.release()
    workshop.repository.append(CLIENT)
    commit = workshop.repository.commit("a change")
    assert f"link-checker: 0.1.3-{commit[:12]}, since {before['link-checker'].tag}: {CLIENT}\n" in workshop.make(
        "--dry-run"
    )
    assert workshop.built() == set()
    workshop.push()
    assert workshop.built() == {"link-checker"}
    after = workshop.release()
    new = after.pop("link-checker")
    old = before.pop("link-checker")
    assert after == before
    assert new.tag == f"0.1.3-{commit[:12]}"
    assert new.digest != old.digest
    assert workshop.published() == {f"{workshop.prefix}/delinkcious-link-checker:{new.tag}": new.digest}
    assert workshop.repository.git("show", "--name-only", "--format=%s") == (
        f"Staging runs {new.tag} of link-checker [skip ci]\n\n{STAGING}"
    )


def test_what_is_wanted_elsewhere_is_pushed_there(workshop: Workshop) -> None:
    workshop.forget()
    elsewhere = f"{workshop.registry.address}/others"
    before = workshop.release()
    arguments = ("--push", "--prefix", f"{elsewhere}/", "--only", "user", "--only", "news")
    assert f"user: {before['user'].tag.partition('-')[0][:-1]}2-" in (told := workshop.make(*arguments, "--dry-run"))
    assert f", until now {workshop.prefix}/delinkcious-user\n" in told
    workshop.make(*arguments)
    assert workshop.built() == {"user", "news"}
    after = workshop.release()
    assert {name for name, built in after.items() if built != before[name]} == {"user", "news"}
    assert after["user"].name == f"{elsewhere}/delinkcious-user"
    assert workshop.published() == {
        f"{after[name].name}:{after[name].tag}": after[name].digest for name in ("user", "news")
    }
    # There they are left alone; so they are by those who want them nowhere.
    assert workshop.make(*arguments) == f"news: as {after['news'].tag}\nuser: as {after['user'].tag}\n"
    assert workshop.make("--only", "user") == f"user: as {after['user'].tag}\n"


def test_without_push_nothing_is_written_and_nothing_is_built_twice(workshop: Workshop) -> None:
    workshop.repository.append(CLIENT)
    commit = workshop.repository.commit("a change")
    workshop.make()
    assert workshop.built() == {"link-checker"}
    workshop.repository.append("README.md", "Hello")
    workshop.repository.commit("another one")
    output = workshop.make()
    assert f"delinkcious-link-checker:0.1.3-{commit[:12]}: is here already" in output
    assert workshop.built() == set()
    assert workshop.repository.git("status", "--porcelain") == ""


def test_a_tag_never_moves(workshop: Workshop) -> None:
    workshop.repository.append(CLIENT)
    workshop.repository.commit("a change")
    tag = f"0.1.3-{workshop.repository.git('rev-parse', 'HEAD')[:12]}"
    reference = f"{workshop.prefix}/delinkcious-link-checker:{tag}"
    fault = f"build.sh: {reference}: is there with other content, and a tag never moves"
    workshop.put(reference, "another")
    assert fault in workshop.refuse("--push", "--prefix", workshop.prefix)
    assert workshop.published() == {}
    workshop.remove(reference)

    workshop.put_into_registry(reference, "another")
    before = workshop.published()
    assert fault in workshop.refuse("--push", "--prefix", workshop.prefix)
    assert workshop.published() == before
    assert workshop.built() == set()
    assert workshop.repository.git("status", "--porcelain") == ""


def test_a_push_that_broke_off_is_taken_up_again(workshop: Workshop) -> None:
    for service in ("api_gateway", "news"):
        workshop.repository.append(f"svc/{service}_service/app.py")
    workshop.repository.commit("a change")
    before = workshop.release()
    workshop.deny("delinkcious-news")
    assert "requested access to the resource is denied" in workshop.refuse("--push", "--prefix", workshop.prefix)
    assert workshop.release() == before
    assert workshop.built() == {"api-gateway", "news"}

    workshop.allow()
    workshop.forget()
    assert "delinkcious-api-gateway" in "".join(workshop.published())
    output = workshop.push()
    assert workshop.built() == {"news"}
    assert "is published already" in output
    assert {name for name, built in workshop.release().items() if built != before[name]} == {"api-gateway", "news"}


def test_a_registry_is_asked_where_it_answers(workshop: Workshop) -> None:
    """The fake engine pushes to where the name says; who looks before that is sent elsewhere."""
    workshop.repository.append(CLIENT)
    workshop.repository.commit("a change")
    elsewhere = "http://127.0.0.1:1/there"
    errors = workshop.refuse("--push", "--prefix", workshop.prefix, "--registry", elsewhere)
    assert f"{elsewhere}/v2/we/delinkcious-link-checker/manifests/" in errors
    assert workshop.built() == set()


def test_images_of_several_processors_have_one_name(workshop: Workshop) -> None:
    assert "can be pushed alone; add --push" in workshop.refuse("--platform", "linux/amd64")
    # They are others than those for one.
    errors = workshop.refuse("--push", "--prefix", workshop.prefix, "--platform", f"{native_platform()},linux/none")
    assert "--platform linux/none: podman cannot build for it; it needs an emulator" in errors
    workshop.push("--only", "user", "--platform", native_platform())
    built = workshop.release()["user"]
    assert workshop.published() == {f"{workshop.prefix}/delinkcious-user:{built.tag}": built.digest}
    assert workshop.make("--only", "user") != f"user: as {built.tag}\n"


def test_what_must_not_be_pushed_is_refused(workshop: Workshop) -> None:
    repository = workshop.repository
    workshop.repository.append(CLIENT)
    assert f"{CLIENT}: changed and not committed" in workshop.refuse()
    assert "to which registry?" in workshop.refuse("--push")

    repository.git("switch", "--quiet", "--create", "feature")
    repository.commit("a change")
    assert "images are pushed from main, and this is feature" in workshop.refuse("--push", "--prefix", workshop.prefix)

    # What staging has is newer than this.
    workshop.push("--branch", "feature")
    repository.git("switch", "--quiet", "main")
    repository.git("checkout", "--quiet", "feature", "--", str(STAGING))
    repository.commit("digests without their commit")
    assert "was built from a commit that is not here; pull first" in workshop.refuse(
        "--push", "--prefix", workshop.prefix
    )
    assert workshop.built() == {"link-checker"}


def test_commits_that_were_not_fetched_are_not_counted(workshop: Workshop, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    url = workshop.repository.root.as_uri()
    subprocess.run(["git", "clone", "--quiet", "--depth=1", url, str(clone)], check=True)
    shallow = subprocess.run(
        [sys.executable, str(clone / "cmd" / "build_changed.py"), "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert shallow.returncode == 1
    assert "run git fetch --unshallow" in shallow.stderr


def test_the_script_is_the_program() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([str(root / "build.sh"), "--help"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "usage: build.sh" in done.stdout
    assert "--dry-run" in done.stdout
