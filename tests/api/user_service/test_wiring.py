"""The user service as its own ``app.py`` puts it together, on a real Postgres and a real NATS; and its sweep."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from pydantic import ValidationError

from pkg.clients.user_client import UserClient
from pkg.events.announcements import TOKEN_REVOCATIONS, read_revocation
from pkg.events.memory_bus import MemoryBus
from pkg.events.nats_bus import open_bus
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import Unavailable
from pkg.provisioning.databases import database_named
from pkg.runtime.access import (
    API_GATEWAY,
    LINK_MANAGER,
    NEWS_MANAGER,
    OPERATOR,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
)
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.logs import logs_written_to
from pkg.runtime.settings import Mode, read_settings
from pkg.runtime.start_error import StartError
from svc.user_service.app import create_app
from svc.user_service.events import announce_revocations, record_uses_for_ever
from svc.user_service.settings import UserServiceSettings
from svc.user_service.sweep import remove_what_is_over
from tests.conftest import TestNats, TestPostgres, running_nats
from tests.internal_service import InternalService, edge_secret
from tests.loopback_server import served

#: Seconds; what takes longer does not come.
DEADLINE = 20.0

type RunService = Callable[..., Any]


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110  # what is waited for is on the other side of a service
            await asyncio.sleep(0.01)


def test_no_nats_is_told_at_the_start() -> None:
    with pytest.raises(StartError) as refused:
        read_settings(UserServiceSettings, {})
    assert "NATS_CLUSTER_SERVICE_HOST is not set; set it" in refused.value.faults


def test_an_account_is_not_erased_while_a_request_may_still_write(settings: UserServiceSettings) -> None:
    told = settings.model_dump() | {"mode": Mode.PRODUCTION}
    with pytest.raises(ValidationError, match="ACCOUNT_DELETION_SETTLE must be longer"):
        UserServiceSettings(**told | {"stream_timeout": 150})
    assert UserServiceSettings(**told | {"stream_timeout": 149}).deletion_settle == 150


@pytest.fixture(scope="module")
async def own_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestNats]:
    """One that is stopped and started again."""
    async with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def settings(
    postgres: TestPostgres, user_pool: asyncpg.Pool, own_nats: TestNats, tmp_path: Path
) -> UserServiceSettings:
    database = database_named("user_manager")
    address = postgres.address(database, database.service)
    holders = (LINK_MANAGER, SOCIAL_GRAPH_MANAGER, NEWS_MANAGER)
    edges = {
        "accepts": {caller: _secrets(caller, USER_MANAGER) for caller in (API_GATEWAY, OPERATOR)},
        "presents": {callee: _secrets(USER_MANAGER, callee) for callee in holders},
    }
    nats = own_nats.server.address(USER_MANAGER)
    texts = {
        "mutual_auth_file": yaml.safe_dump(edges),
        "db_password": str(address.password),
        "nats_password": str(nats.password),
    }
    files: dict[str, Any] = {}
    for name, text in texts.items():
        files[name] = tmp_path / name
        files[name].write_text(text)
        files[name].chmod(0o600)
    return UserServiceSettings(
        mode=Mode.LOCAL,
        db_host=address.host,
        db_port=address.port,
        nats_host=nats.host,
        nats_port=nats.port,
        # Nobody leaves here.
        link_manager_host="127.0.0.1",
        social_graph_manager_host="127.0.0.1",
        news_manager_host="127.0.0.1",
        **files,
    )


def _secrets(caller: str, callee: str) -> dict[str, str]:
    secret = edge_secret(caller, callee)
    return {"token": secret.token, "statement_key": secret.statement_key}


@asynccontextmanager
async def running(settings: UserServiceSettings) -> AsyncIterator[InternalService]:
    async with create_app(settings) as app:
        yield InternalService(USER_MANAGER, app)


async def log_in(service: InternalService, name: str) -> Any:
    """The answer to a login of a user of this name, who is new."""
    await service.ok("POST", "/register", json={"Name": name})
    return await service.ok("POST", "/login", json={"Username": name, "AuthToken": "any"})


async def test_every_gateway_hears_who_has_logged_out(settings: UserServiceSettings, own_nats: TestNats) -> None:
    heard: list[bytes] = []
    address = own_nats.server.address(API_GATEWAY)
    async with running(settings) as service, open_bus(address, "tests") as bus:
        await bus.listen(TOKEN_REVOCATIONS, heard.append, lambda: None)
        session = await log_in(service, "tess")
        for _ in range(2):
            await service.ok("POST", "/logout", json={"Username": "tess", "Session": session["session"]})
        await eventually(lambda: bool(heard))
        assert [read_revocation(body) for body in heard] == [int(session["user"]["Id"])]


async def test_without_nats_people_go_on_logging_in_and_out(settings: UserServiceSettings, own_nats: TestNats) -> None:
    own_nats.stop()
    try:
        log = io.BytesIO()
        with logs_written_to(log):
            async with running(settings) as service:
                session = await log_in(service, "uma")
                await service.ok("POST", "/logout", json={"Username": "uma", "Session": session["session"]})
                refused = await service.refused("POST", "/authenticate", json={"Token": session["session"]})
                assert refused == (401, "invalid_token")
                ready = await service.call("GET", "/readyz", caller=None)
                assert ready.status == 200, ready.body
        assert b"gateways are not told" in log.getvalue()
        assert session["session"].encode() not in log.getvalue()
    finally:
        own_nats.start()


async def test_when_a_token_was_used_is_written_down_before_the_end(
    settings: UserServiceSettings, user_pool: asyncpg.Pool
) -> None:
    async with running(settings) as service:
        session = await log_in(service, "vera")
        identity = await service.ok("POST", "/authenticate", json={"Token": session["session"]})
        token_id = int(identity["token"]["Id"])
        assert await last_used(user_pool, token_id) is None
    assert await last_used(user_pool, token_id) is not None


async def last_used(pool: asyncpg.Pool, token_id: int) -> datetime | None:
    found: datetime | None = await pool.fetchval("SELECT last_used_at FROM tokens WHERE id = $1", token_id)
    return found


async def test_an_operator_lets_somebody_in_from_afar(settings: UserServiceSettings) -> None:
    credentials = EdgeCredentials(OPERATOR, USER_MANAGER, edge_secret(OPERATOR, USER_MANAGER), SystemClock())
    async with running(settings) as service, served(service.app) as url, HttpSession() as session:
        await service.ok("POST", "/register", json={"Name": "walt"})
        users = UserClient(ServiceHttpClient(session, url, credentials, timeout=10))
        ticket = await users.issue_ticket("walt")
        assert (await users.login("walt", ticket.ticket)).user == ticket.user


def working_for_ever() -> set[str]:
    """What services of this loop do unasked."""
    names = {getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()}
    return {name for name in names if name.endswith("_for_ever")}


async def test_a_version_that_nobody_promoted_deletes_nobody(settings: UserServiceSettings) -> None:
    async with running(settings):
        assert working_for_ever() == {"record_uses_for_ever", "delete_accounts_for_ever"}
    async with running(settings.model_copy(update={"consume": False})) as service:
        assert working_for_ever() == {"record_uses_for_ever"}
        assert await log_in(service, "zoe"), "it answers all the same"


# --- what is told and done unasked ------------------------------------------------------------------------------------


async def test_nobodys_logout_fails_because_nobody_can_be_told() -> None:
    bus = MemoryBus(SystemClock())
    heard: list[bytes] = []
    await bus.listen(TOKEN_REVOCATIONS, heard.append, lambda: None)
    on_revoked = announce_revocations(bus)
    bus.away = True
    await on_revoked(7)
    bus.away = False
    await on_revoked(8)
    assert [json.loads(body) for body in heard] == [{"UserId": "8"}]


async def test_uses_are_written_down_after_a_failure_and_once_more_at_the_end() -> None:
    outcomes: list[int | Exception] = [Unavailable("away"), 0, 5]
    done = asyncio.Event()
    calls = 0

    async def record_uses() -> int:
        nonlocal calls
        calls += 1
        if not outcomes:
            return 0
        outcome = outcomes.pop(0)
        if not outcomes:
            done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    recording = asyncio.create_task(record_uses_for_ever(record_uses, interval=0.001))
    async with asyncio.timeout(DEADLINE):
        await done.wait()
    assert not recording.done()
    before = calls
    recording.cancel()
    await asyncio.gather(recording, return_exceptions=True)
    assert recording.cancelled()
    assert calls > before


# --- the sweep --------------------------------------------------------------------------------------------------------


async def test_the_sweep_removes_what_is_over(settings: UserServiceSettings, user_pool: asyncpg.Pool) -> None:
    async with running(settings) as service:
        over, alive = [(await log_in(service, name))["session"] for name in ("xena", "yves")]
        await remove_what_is_over(settings)
        yesterday, long_ago = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) - timedelta(days=401)
        user_id: int = await user_pool.fetchval("SELECT id FROM users WHERE name_key = 'xena'")
        await user_pool.execute("UPDATE tokens SET expires_at = $2 WHERE user_id = $1", user_id, yesterday)
        await user_pool.execute("UPDATE audit_events SET happened_at = $2 WHERE user_id = $1", user_id, long_ago)
        assert await remove_what_is_over(settings) == 2
        assert await remove_what_is_over(settings) == 0
        for table in ("tokens", "audit_events"):
            assert await user_pool.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user_id) == 0
        await service.ok("POST", "/authenticate", json={"Token": alive})
        assert (await service.refused("POST", "/authenticate", json={"Token": over}))[0] == 401
