from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from fun.link_checker.host import create_app
from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.runtime.access import LINK_CHECK_FUNCTION, LINK_CHECKER
from pkg.runtime.settings import Mode
from tests.internal_service import InternalService, edge_secret
from tests.unit.link_checker.sites import Site, http_site


@dataclass(frozen=True)
class FunctionHouse:
    service: InternalService
    #: Its pages are named for the status that they answer.
    site: Site


def write_mutual_auth(folder: Path) -> Path:
    """The function's own file: it knows the dispatcher, and another caller who may do nothing."""
    callers = {}
    for caller in (LINK_CHECKER, "stranger"):
        secret = edge_secret(caller, LINK_CHECK_FUNCTION)
        callers[caller] = {"token": secret.token, "statement_key": secret.statement_key}
    path = folder / "mutual-auth.yaml"
    path.write_text(yaml.safe_dump({"accepts": callers}))
    path.chmod(0o600)
    return path


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[FunctionHouse]:
    async def serve(request: web.BaseRequest) -> web.Response:
        return web.Response(status=int(request.path.strip("/")))

    async with http_site(serve) as site:
        settings = LinkCheckFunctionSettings(
            mode=Mode.LOCAL, mutual_auth_file=write_mutual_auth(tmp_path), allowed=frozenset({site.place})
        )
        async with create_app(settings) as app:
            yield FunctionHouse(InternalService(LINK_CHECK_FUNCTION, app), site)
