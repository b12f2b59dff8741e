"""``cmd/promote.py`` in a repository of its own, against a small staging on loopback."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pkg.images.catalogue import IMAGES
from pkg.images.releases import PRODUCTION, STAGING, read_release, write_release
from pkg.images.smoke_evidence import RECORD
from tests.manifests.resolved import release
from tests.unit.link_checker.sites import http_site
from tests.unit.programs.checkouts import Repository, make_repository

ASKED = "--context staging --namespace delinkcious-staging get pods --output json"
PLACES = ("pkg", "cmd", "pyproject.toml", "k8s/releases")
COMMIT = "0123456789ab0123456789ab0123456789ab0123"


class House:
    """A repository in which staging runs something that production does not."""

    def __init__(self, repository: Repository, programs: Path) -> None:
        self.repository = repository
        self._pods = programs / "pods.json"
        self._path = f"{programs}:{os.environ['PATH']}"
        kubectl = programs / "kubectl"
        kubectl.write_text(f'#!/bin/sh\n[ "$*" = "{ASKED}" ] && cat {self._pods}\n')
        kubectl.chmod(0o755)
        self.runs(pods())

    def runs(self, pods: list[dict[str, Any]]) -> None:
        """In staging."""
        self._pods.write_text(json.dumps({"items": pods}))

    async def promote(self, *arguments: str, answer: str = "", token: str = "a-token") -> tuple[int, str, str]:
        program = self.repository.root / "cmd" / "promote.py"
        if "--staging-url" in arguments:
            arguments = (*arguments, "--staging-context", "staging")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(program), *arguments],
            env={"PATH": self._path, "DELINKCIOUS_TOKEN": token},
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    async def refused(self, *arguments: str, **more: Any) -> str:
        before = self.head
        code, _, errors = await self.promote(*arguments, **more)
        assert code == 1
        assert (self.head, self.production) == (before, {})
        return errors

    @property
    def head(self) -> str:
        return self.repository.git("rev-parse", "HEAD")

    @property
    def production(self) -> Any:
        return read_release(self.repository.root / PRODUCTION)

    def last_commit(self) -> tuple[str, list[str]]:
        """Its first line, and its files."""
        return (
            self.repository.git("log", "-1", "--format=%s"),
            self.repository.git("show", "--name-only", "--format=").split(),
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    repository = make_repository(tmp_path / "repository", PLACES)
    write_release(repository.root / STAGING, release())
    write_release(repository.root / PRODUCTION, {})
    repository.commit("what staging runs")
    (tmp_path / "bin").mkdir()
    return House(repository, tmp_path / "bin")


def pod(name: str, *images: str, phase: str = "Running", ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"image": image} for image in images]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def pods() -> list[dict[str, Any]]:
    """As they should be: one of each of ours that serves, and some of others."""
    ours = [pod(f"{image.name}-1", release()[image.name].reference) for image in IMAGES if image.module]
    return [*ours, pod("link-db-0", "docker.io/library/postgres:18.1"), pod("nats-0", "nats:2.12@sha256:00")]


@asynccontextmanager
async def staging(*, commit: str = COMMIT, broken: bool = False) -> AsyncIterator[str]:
    """Says which version it is, and keeps links."""
    links: dict[str, dict[str, Any]] = {}

    async def serve(request: web.BaseRequest) -> web.Response:
        if request.path == "/version":
            return web.json_response({"commit": commit})
        if request.headers.get("Access-Token") != "a-token":
            return web.json_response({"err": "who are you?"}, status=401)
        body = await request.json() if request.body_exists else {}
        arguments = {**request.query, **body}
        match request.method:
            case "POST":
                link = {
                    "Url": arguments["url"],
                    "Title": arguments["title"],
                    "Status": "invalid" if broken else "valid",
                }
                links[arguments["url"]] = {**link, "Description": "", "Tags": {}}
            case "PUT":
                links[arguments["url"]] |= {"Description": arguments["description"], "Tags": arguments["add_tags"]}
            case "DELETE":
                links.pop(arguments["url"], None)
            case _:
                return web.json_response({"links": list(links.values()), "NextPageToken": ""})
        return web.json_response({"err": ""})

    async with http_site(serve) as site:
        yield site.url


async def test_what_has_passed_is_promoted_as_a_commit_that_was_shown_and_agreed_to(house: House) -> None:
    async with staging() as url:
        assert "nothing is promoted" in await house_refusal_after_test(house, url, answer="n\n")
        # It was written down, so that it need not be run again.
        assert house.last_commit() == ("Staging has passed its smoke test [skip ci]", [str(RECORD)])
    code, output, errors = await house.promote(answer="y\n")
    assert (code, errors) == (0, "")
    assert f"+++ {PRODUCTION}" in output
    assert "user: none -> 0.1.2-0123456789ab" in output
    assert "smoke test: passed on" in output
    assert house.production == release()
    assert house.last_commit() == ("Production runs what staging runs [skip ci]", [str(PRODUCTION)])
    assert house.repository.git("status", "--porcelain") == ""
    code, output, _ = await house.promote()
    assert (code, output) == (0, "production runs what staging runs; there is nothing to promote\n")


async def house_refusal_after_test(house: House, url: str, *, answer: str) -> str:
    code, output, errors = await house.promote("--staging-url", url, answer=answer)
    assert code == 1
    assert "smoke test: passed" in output
    assert house.production == {}
    return errors


async def test_a_pipeline_records_and_promotes_without_questions(house: House) -> None:
    async with staging() as url:
        code, _, errors = await house.promote("--record", "--staging-url", url)
    assert (code, errors) == (0, "")
    assert house.production == {}
    assert (await house.promote("--yes"))[0] == 0
    assert house.production == release()


async def test_what_passed_is_these_images_and_no_others(house: House) -> None:
    async with staging() as url:
        await house.promote("--record", "--staging-url", url)
    user = replace(release()["user"], digest=f"sha256:{'f' * 64}")
    write_release(house.repository.root / STAGING, {**release(), "user": user})
    house.repository.commit("another build")
    assert "is not known to have passed on these images; name --staging-url" in await house.refused("--yes")


async def test_nothing_is_promoted_that_was_not_seen_to_work(house: House) -> None:
    assert "is not known to have passed on these images" in await house.refused("--yes")
    async with staging(broken=True) as url:
        assert "the smoke test has not passed" in await house.refused("--yes", "--staging-url", url)
    async with staging(commit="fedcba9876543210") as url:
        errors = await house.refused("--yes", "--staging-url", url)
        assert f"{url} runs the gateway of fedcba987654, and not of 0123456789ab; wait for Argo CD" in errors
    async with staging() as url:
        assert "the smoke test has not passed" in await house.refused("--yes", "--staging-url", url, token="wrong")
        assert "set DELINKCIOUS_TOKEN" in await house.refused("--yes", "--staging-url", url, token="")
    assert "does not say which version runs" in await house.refused("--yes", "--staging-url", "http://127.0.0.1:1")
    assert "must begin with http" in await house.refused("--yes", "--staging-url", "file:///etc/passwd")


async def test_every_pod_is_of_what_is_promoted(house: House) -> None:
    """A service that lags behind would be seen by the smoke test or not at all."""
    old = release()["user"].reference.replace("@sha256:0123", "@sha256:ffff")
    operations = release()["operations"].reference.replace("@sha256:0123", "@sha256:ffff")
    others = [one for one in pods() if one["metadata"]["name"] != "user-1"]
    async with staging() as url:
        for running, told in (
            ([*pods(), pod("user-2", old)], "user-2 runs another user than 0.1.2-0123456789ab"),
            ([*pods(), pod("job-1", "busybox", operations)], "job-1 runs another operations than"),
            ([*others, pod("user-1", release()["user"].reference.partition("@")[0])], "user-1 runs another user"),
            ([*others, pod("user-1", release()["user"].reference, ready=False)], "no pod of user is ready"),
            (others, "no pod of user is ready"),
        ):
            house.runs(running)
            errors = await house.refused("--yes", "--staging-url", url)
            assert told in errors
            assert "delinkcious-staging is not what is to be promoted; wait for Argo CD" in errors
        # What is over runs no more.
        house.runs([*pods(), pod("user-0", old, phase="Failed", ready=False)])
        assert (await house.promote("--yes", "--staging-url", url))[0] == 0
    assert house.production == release()


async def test_a_cluster_that_cannot_be_asked_is_no_evidence(house: House) -> None:
    async with staging() as url:
        errors = await house.refused("--yes", "--staging-url", url, "--staging-namespace", "elsewhere")
        assert "promote: kubectl: 1" in errors
    code, _, errors = await house.promote("--staging-context", "staging")
    assert code == 2
    assert "--staging-url and --staging-context belong together" in errors


async def test_a_dry_run_and_a_tree_with_changes_write_nothing(house: House) -> None:
    code, output, _ = await house.promote("--dry-run")
    assert code == 0
    assert "smoke test: not known to have passed on these images" in output
    assert "link: none -> 0.1.1-0123456789ab" in output
    assert house.production == {}
    house.repository.append("pyproject.toml")
    assert "pyproject.toml: changed and not committed" in await house.refused("--yes")


async def test_a_file_that_was_changed_by_hand_is_not_copied(house: House) -> None:
    file = house.repository.root / STAGING
    file.write_text(file.read_text().replace("@", "").replace('digest: "sha256:', 'digest: "sha1:', 1))
    house.repository.commit("by hand")
    code, _, errors = await house.promote("--yes")
    assert code == 1
    assert "is no image of ours by digest; take it out" in errors
    write_release(file, {})
    house.repository.commit("nothing")
    assert "staging runs nothing yet" in await house.refused("--yes")
