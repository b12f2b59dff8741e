"""Which digest a tag of ours has, from a registry that wants to know who asks: a real HTTP server on loopback."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pkg.images.registry import find_digest, read_login
from pkg.runtime.start_error import StartError
from tests.loopback_server import served

MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = f'{{"mediaType": "{MEDIA_TYPE}"}}'.encode()
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
LOGIN = base64.b64encode(b"us:a password").decode()


@asynccontextmanager
async def registry(scheme: str) -> AsyncIterator[str]:
    """Gives its host; to those who are logged in it shows one tag, ``1``."""

    async def manifests(http: Request) -> Response:
        wanted = {"bearer": f"Bearer ours-{http.path_params['name']}", "basic": f"Basic {LOGIN}"}[scheme]
        if http.headers.get("Authorization") != wanted:
            realm = (
                f'Bearer realm="{http.base_url}token",service="fake"' if scheme == "bearer" else 'Basic realm="fake"'
            )
            return Response(status_code=401, headers={"WWW-Authenticate": realm})
        if http.path_params["tag"] != "1":
            return JSONResponse({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status_code=404)
        return Response(MANIFEST, headers={"Docker-Content-Digest": DIGEST}, media_type=MEDIA_TYPE)

    async def give_token(http: Request) -> Response:
        known = http.headers.get("Authorization") == f"Basic {LOGIN}"
        name = http.query_params["scope"].split(":")[1]
        return JSONResponse({"token": f"ours-{name}" if known else "nobody"})

    routes = [Route("/v2/{name:path}/manifests/{tag}", manifests), Route("/token", give_token)]
    async with served(Starlette(routes=routes)) as url:
        yield url.removeprefix("http://")


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_who_is_logged_in_is_told(scheme: str) -> None:
    async with registry(scheme) as host:
        name = f"{host}/we/delinkcious-user"
        assert await asyncio.to_thread(find_digest, name, "1", LOGIN) == DIGEST
        assert await asyncio.to_thread(find_digest, name, "2", LOGIN) is None


async def test_a_registry_may_answer_elsewhere_than_its_names_say() -> None:
    async with registry("bearer") as host:
        name = "hub.example/we/delinkcious-user"
        assert await asyncio.to_thread(find_digest, name, "1", LOGIN, f"http://{host}/") == DIGEST


async def test_a_page_for_people_is_no_image() -> None:
    """Where a name's host has a website in place of a registry: it says 200 to anything."""

    async def welcome(_: Request) -> Response:
        return Response("<h1>Welcome</h1>", media_type="text/html")

    async with served(Starlette(routes=[Route("/{path:path}", welcome)])) as url:
        with pytest.raises(StartError, match=r"answered with text/html, which is no image; .* give it with --registry"):
            await asyncio.to_thread(find_digest, f"{url.removeprefix('http://')}/we/delinkcious-user", "1")


async def test_who_may_not_see_is_not_told_that_there_is_nothing() -> None:
    async with registry("bearer") as host:
        name = f"{host}/we/delinkcious-user"
        for login in ("", base64.b64encode(b"us:wrong").decode()):
            with pytest.raises(StartError, match="answered 401; log in to that registry first"):
                await asyncio.to_thread(find_digest, name, "1", login)


@pytest.mark.parametrize("place", ["docker/config.json", "run/containers/auth.json", "named.json"])
def test_a_login_is_where_engines_keep_it(tmp_path: Path, place: str) -> None:
    environment = {
        "HOME": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "REGISTRY_AUTH_FILE": str(tmp_path / "named.json"),
    }
    assert read_login("ghcr.io", environment) == ""
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    # The second as Docker keeps that of its own registry.
    index = "index.hub.example"
    logins = {"ghcr.io": LOGIN, f"https://{index}/v1/": "hub", "index.quay.io": "another's"}
    file.write_text(json.dumps({"auths": {name: {"auth": login} for name, login in logins.items()}}))
    assert read_login("ghcr.io", environment) == LOGIN
    assert read_login("hub.example", environment) == "hub"
    assert read_login("quay.io", environment) == ""


KEEPER = """#!/bin/sh
[ "$1" = get ] && [ "$(cat)" = ghcr.io ] && echo '{"ServerURL": "ghcr.io", "Username": "us", "Secret": "a password"}'
"""


@pytest.mark.parametrize("kept", [{"credsStore": "kept"}, {"credHelpers": {"ghcr.io": "kept", "quay.io": "kept"}}])
def test_a_login_that_a_program_keeps_is_asked_for(tmp_path: Path, kept: dict[str, object]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"ghcr.io": {}}, **kept}))
    environment = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert read_login("ghcr.io", environment) == ""
    keeper = tmp_path / "docker-credential-kept"
    keeper.write_text(KEEPER)
    keeper.chmod(0o755)
    assert read_login("ghcr.io", environment) == LOGIN
    assert read_login("quay.io", environment) == ""
