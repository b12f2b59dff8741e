"""The Valkey that the stack starts: each user has the rights listed and no others, strangers none; data stays."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from stat import S_IMODE
from types import MappingProxyType
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from pkg.local_stack.ports import PortChooser
from pkg.local_stack.secret_store import SecretStore
from pkg.local_stack.valkey_server import ValkeyServer
from pkg.provisioning.valkey_users import ADMINISTRATOR, RULES
from tests.running_program import running

ROOT = Path(__file__).parents[3]


def build(folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> ValkeyServer:
    server = ValkeyServer(folder / "valkey", PortChooser().choose(0), SecretStore(folder / "secrets"), settings)
    server.initialise()
    return server


def connect(server: ValkeyServer, user: str, password: str | None = None) -> Redis:
    secret = server.password_file(user).read_text() if password is None else password
    client: Redis = Redis.from_url(server.url, username=user, password=secret, decode_responses=True)
    return client


async def ask(client: Redis, *command: str) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis's


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ValkeyServer]:
    folder = tmp_path_factory.mktemp("valkey")
    server = build(folder)
    async with running(server.program(), folder):
        yield server


ALLOWED = [
    ("news-manager", ["LPUSH", "feed:{17}:7", "1"]),
    ("news-manager", ["LRANGE", "feed:{17}:7", "0", "-1"]),
    ("news-manager", ["SET", "news:{17}:7", "body", "EX", "60"]),
    ("news-manager", ["EVAL", "return redis.call('LLEN', KEYS[1])", "1", "feed:{17}:7"]),
    ("news-manager", ["PING"]),
    ("api-gateway", ["CLIENT", "SETINFO", "LIB-NAME", "tests"]),
    ("api-gateway", ["SET", "limit:{1}:reads:7", "1", "PX", "60"]),
    ("api-gateway", ["EVAL", "return redis.call('TIME')", "1", "limit:{1}:reads:7"]),
    ("link-check-function", ["SET", "host:{1}:a", "1", "NX", "PX", "60000"]),
    ("link-check-function", ["SET", "host:{1}:a", "1", "IFEQ", "1", "PX", "1000"]),
    (ADMINISTRATOR, ["SET", "anything", "x"]),
    (ADMINISTRATOR, ["CONFIG", "GET", "maxmemory"]),
]
FORBIDDEN = [
    ("news-manager", ["SET", "limit:{1}:7", "0"]),
    ("news-manager", ["GET", "anything"]),
    ("news-manager", ["EVAL", "return redis.call('GET', KEYS[1])", "1", "limit:{1}:7"]),
    ("api-gateway", ["LRANGE", "feed:{17}:7", "0", "-1"]),
    ("api-gateway", ["MULTI"]),
    ("api-gateway", ["DEL", "limit:{1}:reads:7"]),
    ("api-gateway", ["SCRIPT", "FLUSH"]),
    ("link-check-function", ["SET", "feed:{17}:7", "1"]),
    ("link-check-function", ["GET", "host:{1}:a"]),
    ("link-check-function", ["DEL", "host:{1}:a"]),
    ("link-check-function", ["EVAL", "return 1", "0"]),
    *(
        (user, command)
        for user in ("news-manager", "api-gateway", "link-check-function")
        for command in (
            ["SCRIPT", "FLUSH"],
            ["FUNCTION", "LIST"],
            ["MULTI"],
            ["SELECT", "1"],
            ["SWAPDB", "0", "1"],
            ["INFO"],
            ["DBSIZE"],
            ["RANDOMKEY"],
            ["RENAME", "feed:{17}:7", "feed:{17}:8"],
            ["COPY", "feed:{17}:7", "feed:{17}:8"],
            ["DUMP", "feed:{17}:7"],
            ["RESTORE", "feed:{17}:7", "0", ""],
            ["MIGRATE", "127.0.0.1", "1", "feed:{17}:7", "0", "1"],
            ["SORT", "feed:{17}:7"],
            ["MONITOR"],
            ["SLOWLOG", "GET"],
            ["CLIENT", "LIST"],
            ["CLIENT", "NO-EVICT", "ON"],
            ["KEYS", "*"],
            ["FLUSHALL"],
            ["FLUSHDB"],
            ["CONFIG", "GET", "*"],
            ["CONFIG", "SET", "dir", "/"],
            ["ACL", "LIST"],
            ["SHUTDOWN", "NOSAVE"],
            ["MODULE", "LIST"],
            ["REPLICAOF", "NO", "ONE"],
            ["CLIENT", "KILL", "TYPE", "normal"],
            ["PUBLISH", "feed:1", "x"],
            ["SUBSCRIBE", "feed:1"],
        )
    ),
]


@pytest.mark.parametrize(("user", "command"), ALLOWED, ids=lambda value: value if isinstance(value, str) else value[0])
async def test_each_may_do_what_is_theirs(server: ValkeyServer, user: str, command: list[str]) -> None:
    async with connect(server, user) as client:
        assert await ask(client, *command) is not None


@pytest.mark.parametrize(
    ("user", "command"), FORBIDDEN, ids=lambda value: value if isinstance(value, str) else " ".join(value[:2])
)
async def test_nobody_may_do_more(server: ValkeyServer, user: str, command: list[str]) -> None:
    async with connect(server, user) as client:
        with pytest.raises(NoPermissionError):
            await ask(client, *command)


@pytest.mark.parametrize("user", ["news-manager", "api-gateway"])
@pytest.mark.parametrize("call", ["'FLUSHALL'", "'CONFIG', 'GET', '*'", "'SELECT', '1'", "'PUBLISH', 'x', 'y'"])
async def test_a_script_may_do_no_more(server: ValkeyServer, user: str, call: str) -> None:
    async with connect(server, user) as client:
        with pytest.raises(ResponseError, match=r"ACL failure in script|not allowed from script"):
            await ask(client, "EVAL", f"return redis.call({call})", "0")


@pytest.mark.parametrize("user", ["default", "news-manager", ADMINISTRATOR, "somebody"])
@pytest.mark.parametrize("password", ["", "wrong"])
async def test_strangers_get_nothing(server: ValkeyServer, user: str, password: str) -> None:
    async with connect(server, user, password) as client:
        with pytest.raises((AuthenticationError, NoPermissionError)):
            await ask(client, "GET", "feed:{17}:7")


@pytest.mark.parametrize("command", [["GET", "feed:{17}:7"], ["INFO"], ["ACL", "WHOAMI"], ["SUBSCRIBE", "x"]])
async def test_who_says_nothing_learns_whether_it_is_ready_and_no_more(
    server: ValkeyServer, command: list[str]
) -> None:
    async with Redis.from_url(server.url) as client:
        assert await ask(client, "PING")
        with pytest.raises(NoPermissionError):
            await ask(client, *command)


async def test_it_is_ready_when_its_data_is_loaded(tmp_path: Path) -> None:
    server = build(tmp_path)
    async with (
        running(server.program(), tmp_path),
        connect(server, "news-manager") as client,
        client.pipeline(transaction=False) as many,
    ):
        for number in range(5_000):
            many.lpush(f"feed:{{17}}:{number}", "42")
        await many.execute()
    server = build(tmp_path, {"key-load-delay": "200"})
    async with running(server.program(), tmp_path), connect(server, "news-manager") as client:
        assert await ask(client, "LLEN", "feed:{17}:4999") == 1


async def test_data_outlives_the_server(tmp_path: Path) -> None:
    server = build(tmp_path)
    async with running(server.program(), tmp_path), connect(server, "news-manager") as client:
        await ask(client, "LPUSH", "feed:{17}:7", "42")
    server.initialise()
    async with running(server.program(), tmp_path), connect(server, "news-manager") as client:
        assert await ask(client, "LRANGE", "feed:{17}:7", "0", "-1") == ["42"]


@pytest.mark.parametrize(
    ("user", "sources"),
    [
        (
            "news-manager",
            ["pkg/news_manager/redis_store.py", "pkg/news_manager/redis_scripts.py", "pkg/runtime/redis.py"],
        ),
        ("api-gateway", ["pkg/rate_limits/redis_store.py", "pkg/runtime/redis.py"]),
        ("link-check-function", ["pkg/link_checker/redis_host_leases.py"]),
    ],
)
def test_no_command_is_allowed_that_nobody_uses(user: str, sources: list[str]) -> None:
    """That all which are used are allowed is shown by the contract suites, who come as these users."""
    code = "".join((ROOT / source).read_text() for source in sources)
    #: What the client library says by itself.
    allowed = set(re.findall(r"\+(\S+)", RULES[user])) - {"ping", "client|setinfo"}
    assert [name for name in allowed if not re.search(rf"""["']{name.upper()}["']|\.{name}\(""", code)] == []
    assert "set" in allowed


def test_no_password_is_in_its_files(tmp_path: Path) -> None:
    server = build(tmp_path)
    for name in ("users.acl", "valkey.conf"):
        file = tmp_path / "valkey" / name
        assert S_IMODE(file.stat().st_mode) == 0o600
        assert server.password_file("news-manager").read_text() not in file.read_text()
