"""``python -m svc.link_service.sweep`` as a CronJob runs it: a process of its own, beside a user service."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import yaml

from pkg.link_manager.manager import LinkManager
from pkg.link_manager.sql_store import SqlLinkStore
from pkg.link_manager.urls import parse_url
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.object_model.types import AddLinkRequest
from pkg.provisioning.databases import database_named
from pkg.runtime.access import LINK_MANAGER, SOCIAL_GRAPH_MANAGER, USER_MANAGER
from pkg.runtime.mutual_auth import render_edge
from svc.user_service.routes import build_app
from tests.conftest import TestPostgres
from tests.internal_service import edge_secret, serve
from tests.loopback_server import served
from tests.memory_world import SteppedClock, build_world

ROOT = Path(__file__).parents[3]
#: Seconds for one run.
DEADLINE = 60.0
DATABASE = database_named("link_manager")
URL = "https://waits-for-a-verdict.example/"


@dataclass(frozen=True)
class Sweep:
    environment: dict[str, str]

    async def run(self, **changes: str) -> tuple[int, dict[str, Any]]:
        """Exit code, and the last line of its log."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "svc.link_service.sweep"),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **self.environment, **changes},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(DEADLINE):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, json.loads(output.splitlines()[-1])


@pytest.fixture
async def sweep(postgres: TestPostgres, link_pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[Sweep]:
    """With a link that has waited since the beginning of the year."""
    world = build_world()
    owner = await world.person("olga")
    ids = TimeOrderedIds(SystemClock())
    links = LinkManager(SqlLinkStore(link_pool), world.users, world.graph, SteppedClock(), ids)
    await links.add_link(owner, AddLinkRequest(url=URL, username=owner.name))

    users = serve(USER_MANAGER, lambda caller_auth: build_app(world.users, caller_auth))
    address = postgres.address(DATABASE, DATABASE.service)
    secrets = {callee: edge_secret(LINK_MANAGER, callee) for callee in (USER_MANAGER, SOCIAL_GRAPH_MANAGER)}
    presents = {callee: render_edge(secret.tokens, secret.statement_keys) for callee, secret in secrets.items()}
    mutual_auth_file, password_file = tmp_path / "mutual-auth.yaml", tmp_path / "password"
    mutual_auth_file.write_text(yaml.safe_dump({"presents": presents}))
    mutual_auth_file.chmod(0o600)
    password_file.write_text(postgres.secrets.get(DATABASE.service))
    async with served(users.app) as base_url:
        place = urlsplit(base_url)
        yield Sweep(
            {
                "DELINKCIOUS_MUTUAL_AUTH_FILE": str(mutual_auth_file),
                "LINK_DB_SERVICE_HOST": address.host,
                "LINK_DB_SERVICE_PORT": str(address.port),
                "LINK_DB_PASSWORD_FILE": str(password_file),
                "USER_MANAGER_SERVICE_HOST": str(place.hostname),
                "USER_MANAGER_SERVICE_PORT": str(place.port),
                "SOCIAL_GRAPH_MANAGER_SERVICE_HOST": "127.0.0.1",
            }
        )
    # With its counts, which others hold against the rows.
    token = await links.erase_user(owner.user_id, "")
    while token:
        token = await links.erase_user(owner.user_id, token)
    await link_pool.execute("DELETE FROM link_checks WHERE url_key = $1", parse_url(URL).key)


async def count_asked(pool: asyncpg.Pool) -> int:
    """How often the world was told of the link."""
    return int(await pool.fetchval("SELECT count(*) FROM outbox WHERE body LIKE '%' || $1 || '%'", URL))


async def test_a_link_that_waits_is_asked_for_once_more(sweep: Sweep, link_pool: asyncpg.Pool) -> None:
    before = await count_asked(link_pool)
    code, line = await sweep.run()
    assert (code, line["event"]) == (0, "swept")
    assert line["links"] >= 1
    assert await count_asked(link_pool) == before + 1
    # It has been asked for just now.
    assert (await sweep.run())[0] == 0
    assert await count_asked(link_pool) == before + 1


async def test_without_a_user_service_it_fails_and_says_so(sweep: Sweep, link_pool: asyncpg.Pool) -> None:
    before = await count_asked(link_pool)
    code, line = await sweep.run(USER_MANAGER_SERVICE_PORT="1")
    assert (code, line["level"]) == (1, "error")
    assert await count_asked(link_pool) == before


async def test_what_is_not_set_is_told() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "svc.link_service.sweep"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE):
        _, told = await process.communicate()
    assert process.returncode == os.EX_CONFIG
    assert b"LINK_DB_SERVICE_HOST is not set" in told
