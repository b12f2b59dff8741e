"""``cmd/pin_images.py`` against a registry: a real HTTP server on loopback that speaks as public ones do."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pkg.images.pins import PINS_FILE, read_pins
from tests.loopback_server import served
from tests.unit.programs.command import run_command

PINS = """\
# Kept as it is.
images:
  - {name: python, newTag: "3.13-slim"}
  - {name: valkey/valkey, newTag: "9.0", digest: "sha256:%s"}
""" % ("0" * 64)
MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"
INDEX = f'{{"mediaType": "{MEDIA_TYPE}"}}'.encode()
DIGEST = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
IMAGES = {"library/python:3.13-slim", "valkey/valkey:9.0"}


@asynccontextmanager
async def registry(*, named: str = DIGEST, token: str = "anonymous", failing: bool = False) -> AsyncIterator[str]:
    """Gives anybody a token, and to whoever has one the index of an image."""

    async def manifests(http: Request) -> Response:
        if failing:
            return Response("down", status_code=503)
        name, tag = http.path_params["name"], http.path_params["tag"]
        if http.headers.get("Authorization") != f"Bearer {token}.{name}":
            realm = f'Bearer realm="{http.base_url}token",service="fake",scope="repository:{name}:pull"'
            return Response(status_code=401, headers={"WWW-Authenticate": realm})
        if f"{name}:{tag}" not in IMAGES:
            return JSONResponse({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status_code=404)
        assert MEDIA_TYPE in http.headers["Accept"]
        return Response(INDEX, headers={"Docker-Content-Digest": named}, media_type=MEDIA_TYPE)

    async def give_token(http: Request) -> Response:
        name = http.query_params["scope"].split(":")[1]
        assert http.query_params["service"] == "fake"
        return JSONResponse({"token": f"{token}.{name}"} if token else {})

    routes = [Route("/v2/{name:path}/manifests/{tag}", manifests), Route("/token", give_token)]
    async with served(Starlette(routes=routes)) as url:
        yield url


class PinsFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(PINS)

    def read(self) -> str:
        return self.path.read_text()

    def write(self, text: str) -> None:
        self.path.write_text(text)


@pytest.fixture
def pins(tmp_path: Path) -> PinsFile:
    return PinsFile(tmp_path / "kustomization.yaml")


async def pin(pins: PinsFile, *arguments: str) -> tuple[int, str, str]:
    return await asyncio.to_thread(run_command, "pin_images", "--file", str(pins.path), *arguments)


async def test_digests_are_asked_for_and_written_where_they_belong(pins: PinsFile) -> None:
    async with registry() as url:
        code, output, errors = await pin(pins, "--registry", url)
        assert (code, errors) == (0, "")
        assert output == f"python:3.13-slim is {DIGEST}\nvalkey/valkey:9.0 is {DIGEST}\n"
        written = pins.read()
        assert written == PINS.replace('"3.13-slim"', f'"3.13-slim", digest: "{DIGEST}"').replace(
            f"sha256:{'0' * 64}", DIGEST
        )
        _, output, _ = await pin(pins, "--registry", url, "--only", "python")
        assert output == f"python:3.13-slim is {DIGEST} (as before)\n"
    assert pins.read() == written


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"named": f"sha256:{'1' * 64}"}, "something changes its answers"),
        ({"token": ""}, "without a token"),
        ({"failing": True}, "answered 503; try again later"),
    ],
)
async def test_an_answer_that_is_none_changes_nothing(pins: PinsFile, fault: dict[str, str], told: str) -> None:
    async with registry(**fault) as url:  # type: ignore[arg-type]  # one switch at a time
        code, _, errors = await pin(pins, "--registry", url, "--only", "python")
    assert code == 1
    assert told in errors
    assert pins.read() == PINS


async def test_a_registry_that_is_away_and_a_tag_that_is_not_there(pins: PinsFile) -> None:
    code, _, errors = await pin(pins, "--registry", "http://127.0.0.1:1")
    assert code == 1
    assert "http://127.0.0.1:1/v2/library/python/manifests/3.13-slim cannot be reached" in errors
    pins.write(PINS.replace("3.13-slim", "3.99-slim"))
    async with registry() as url:
        code, _, errors = await pin(pins, "--registry", url)
    assert code == 1
    assert "python: the registry has no tag 3.99-slim" in errors


async def test_what_has_no_digest_is_named(pins: PinsFile) -> None:
    code, _, errors = await pin(pins, "--check")
    assert code == 1
    assert "no digest yet: python:3.13-slim; run python cmd/pin_images.py" in errors
    async with registry() as url:
        await pin(pins, "--registry", url)
    assert await pin(pins, "--check") == (0, "", "")


async def test_what_is_asked_wrongly_is_said(pins: PinsFile) -> None:
    code, _, errors = await pin(pins, "--only", "mysql")
    assert code == 1
    assert "--only mysql:" in errors
    pins.write("images: []\n")
    code, _, errors = await pin(pins, "--check")
    assert code == 1
    assert "there is no line like" in errors
    pins.write(PINS.replace("0" * 64, "short"))
    code, _, errors = await pin(pins, "--check")
    assert code == 1
    assert "the digest of valkey/valkey must be" in errors


def test_the_pins_of_the_system_are_read() -> None:
    assert {"python", "postgres", "valkey/valkey", "nats"} == read_pins(PINS_FILE).keys()
