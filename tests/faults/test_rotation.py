"""Every secret of a running stack gets a new value while people use it: no request fails, and no old value is left."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from redis.exceptions import AuthenticationError

from pkg.clients.user_client import UserClient
from pkg.events.nats_bus import open_bus
from pkg.events.operator import nats_of_stack
from pkg.local_stack.data_folder import DataFolder
from pkg.local_stack.secret_store import SecretStore
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import Internal
from pkg.provisioning.databases import DATABASES, connect
from pkg.provisioning.nats_users import PERMISSIONS
from pkg.provisioning.valkey_users import RULES
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.mutual_auth import EdgeSecret, load_mutual_auth
from pkg.runtime.postgres import PostgresAddress
from pkg.runtime.redis import RedisAddress, ask, connect_redis
from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import ROOT, Stack, running_stack

PEOPLE = 6
#: Where the first rotation is killed.
CUT_AT = "postgres, step 2 of 3"
DEADLINE = 300.0


@pytest.fixture(scope="module")
def rotated_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("rotation") / "data", users=["alice", "bob"]) as stack:
        yield stack


class Load:
    """People who save, list and read all the time, and what they were answered."""

    def __init__(self, alice: ApiClient, bob: ApiClient, site: str) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.saved: set[str] = set()
        self._alice = alice
        self._bob = bob
        self._site = site
        self._enough = asyncio.Event()

    async def run(self) -> None:
        await asyncio.gather(*(self._use(person) for person in range(PEOPLE)))

    def stop(self) -> None:
        self._enough.set()

    async def _use(self, person: int) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            url = f"{self._site}/ok/{person}/{number}"
            if await self._call(self._alice, "POST", "/v1/links", body={"url": url, "title": "rotation"}):
                self.saved.add(url)
            for client, path in (
                (self._alice, "/v1/links"),
                (self._alice, "/v1/me"),
                (self._alice, "/v1/followers"),
                (self._bob, "/v1/news"),
                (self._bob, "/v1/users/alice"),
            ):
                await self._call(client, "GET", path)
            await asyncio.sleep(0.05)

    async def _call(self, client: ApiClient, method: str, path: str, **arguments: Any) -> bool:
        reply = await client.call(method, path, **arguments)
        self.answers[reply.status] += 1
        if reply.status != 200:
            self.failures.append(f"{method} {path}: {reply.status} {reply.content!r}")
        return reply.status == 200


async def rotate(data: Path, *, until: str = "") -> tuple[int, str]:
    """Runs the program, or kills it as soon as it says ``until``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "cmd/rotate_secrets.py",
        "--data",
        str(data),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(DEADLINE):
        async for line in process.stdout:
            said += line.decode()
            if until and until in said:
                process.send_signal(signal.SIGKILL)
                break
        return await process.wait(), said


def store_of(stack: Stack) -> SecretStore:
    return SecretStore(DataFolder(stack.data).secrets)


def names_in(store: SecretStore) -> list[str]:
    return sorted(path.name for path in store.path("postgres").parent.iterdir())


async def test_every_secret_changes_and_no_request_fails(rotated_stack: Stack) -> None:
    stack = rotated_stack
    store = store_of(stack)
    old = {name: store.get(name) for name in names_in(store)}
    async with (
        api_client(stack.gateway, stack.token("alice")) as alice,
        api_client(stack.gateway, stack.token("bob")) as bob,
    ):
        await bob.expect("POST", "/v1/following", params={"followed": "alice"})
        load = Load(alice, bob, stack.ready["demo_site"])
        using = asyncio.create_task(load.run())
        try:
            assert (await rotate(stack.data, until=CUT_AT))[0] == -signal.SIGKILL
            code, said = await rotate(stack.data)
            assert code == 0, said
            # It began with what was left.
            assert said.startswith("postgres, step 1 of 3")
            served = load.answers.total()

            async def goes_on() -> bool:
                return load.answers.total() > served + 100

            await eventually(goes_on, "requests are answered after it")
        finally:
            load.stop()
            await using
        print(f"{load.answers.total()} requests while {len(old)} secrets were rotated")
        assert load.failures == []
        assert load.answers.total() > 500

        async def told() -> bool:
            return load.saved <= {link["Url"] for link in await news(bob)}

        await eventually(told, "everything that was saved is in the news", 120)
    assert [name for name, value in old.items() if value in store.values(name)] == []
    assert all(len(store.values(name)) == 1 for name in old)
    await assert_old_edges_are_refused(stack, old)
    assert_old_roles_are_refused(stack, store, old)
    await assert_old_nats_users_are_refused(stack, old)
    await assert_old_valkey_users_are_refused(stack, old)


async def news(reader: ApiClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        params = {"limit": "200", **({"start_token": token} if token else {})}
        page = await reader.expect("GET", "/v1/news", params=params)
        found += page["events"]
        token = page["NextPageToken"]
        if not token:
            return found


async def assert_old_edges_are_refused(stack: Stack, old: dict[str, str]) -> None:
    edge = "api-gateway.user-manager"
    before = EdgeSecret(old[f"{edge}.token"], old[f"{edge}.statement-key"])
    file = DataFolder(stack.data).config / "api-gateway" / "mutual-auth.yaml"
    after = load_mutual_auth(file).presents["user-manager"]
    async with HttpSession() as session:

        async def find(secret: EdgeSecret) -> None:
            credentials = EdgeCredentials("api-gateway", "user-manager", secret, SystemClock())
            client = ServiceHttpClient(session, stack.ready["services"]["user-manager"], credentials)
            await UserClient(client).find_users(["alice"])

        await find(after)
        with pytest.raises(Internal) as refused:
            await find(before)
        assert refused.value.code == "upstream_refused"


def assert_old_roles_are_refused(stack: Stack, store: SecretStore, old: dict[str, str]) -> None:
    postgres = stack.ready["postgres"]
    superuser = PostgresAddress(postgres["host"], postgres["port"], "postgres", "postgres", store.get("postgres"))
    roles = [
        replace(superuser, database=database.name, user=role, password=store.get(role))
        for database in DATABASES
        for role in (database.migrator, database.service)
    ]
    for address in (superuser, *roles):
        connect(address).close()
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            connect(replace(address, password=old[address.user]))


async def assert_old_nats_users_are_refused(stack: Stack, old: dict[str, str]) -> None:
    administrator = nats_of_stack(stack.ready)
    for user in PERMISSIONS:
        async with open_bus(replace(administrator, user=user, password=old[f"nats.{user}"]), "tests") as bus:
            assert bus.refused, user


async def assert_old_valkey_users_are_refused(stack: Stack, old: dict[str, str]) -> None:
    place = urlsplit(stack.ready["redis"]["url"])
    assert place.hostname is not None
    assert place.port is not None
    for user in RULES:
        address = RedisAddress(place.hostname, place.port, user, old[f"valkey.{user}"])
        async with connect_redis(address) as redis:
            with pytest.raises(AuthenticationError):
                await ask(redis, "PING")
