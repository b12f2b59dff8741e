"""Accounts are deleted while the service that sees to it is killed, at each step of it: nothing of them is left.

A step is held from outside, by a lock on a row that it has to take away or by a service that stands still; then the
user service is killed and started again, and what was held is let go. At the end every table of every database and
every key of Valkey is searched for the user's id and name, which is in everything that they ever wrote.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from pkg.link_manager.urls import parse_url
from pkg.local_stack.secret_store import SecretStore
from pkg.provisioning.databases import DATABASES
from pkg.provisioning.valkey_users import ADMINISTRATOR
from pkg.runtime.redis import RedisAddress, connect_redis
from pkg.runtime.secret import Secret
from pkg.user_manager.deletion_store import DeletionStep
from tests.e2e.client import ApiClient, api_client, eventually
from tests.e2e.stack import Stack, running_stack
from tests.valkey_contents import dump

WITNESS = "witness"
BLOCKED = "blocked"
#: By the step at which the user service is killed.
QUITTERS = {step: f"quitter{number}" for number, step in enumerate(DeletionStep)}
LINKS = 30
#: Some of the places in which there is something of everybody.
EVERYWHERE = {
    "link_manager.links",
    "link_manager.link_versions",
    "link_manager.link_checks",
    "link_manager.outbox",
    "social_graph_manager.followers",
    "social_graph_manager.outbox",
    "user_manager.users",
    "news entry",
    "news follow",
}
#: Seconds for a restart, a lease that ends with its connection, and what is put off.
DEADLINE = 120.0

#: Database, and a statement that locks a row which the step has to take away.
ROWS = {
    DeletionStep.SOCIAL_GRAPH: ("social_graph_manager", "SELECT FROM followers WHERE user_id = $1 FOR UPDATE"),
    DeletionStep.LINKS: ("link_manager", "SELECT FROM link_counts WHERE user_id = $1 FOR UPDATE"),
    DeletionStep.ACCOUNT: ("user_manager", "SELECT FROM users WHERE id = $1 FOR UPDATE"),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(
        tmp_path_factory.mktemp("deletion") / "data",
        users=[WITNESS, BLOCKED, *QUITTERS.values()],
        # At once: whatever is still on its way then has to come to nothing.
        environment={"ACCOUNT_DELETION_SETTLE": "0"},
    ) as running:
        yield running


@asynccontextmanager
async def connected(stack: Stack, database: str) -> AsyncIterator[asyncpg.Connection]:
    postgres = stack.ready["postgres"]
    connection = await asyncpg.connect(
        host=postgres["host"],
        port=postgres["port"],
        user=postgres["user"],
        database=database,
        password=SecretStore(stack.data / "secrets").get("postgres"),
    )
    try:
        yield connection
    finally:
        await connection.close()


# --- what there is of a user ----------------------------------------------------------------------------------------


async def live(client: ApiClient, witness: ApiClient, name: str) -> None:
    """Leaves something everywhere."""
    for number in range(LINKS):
        link = {"url": f"https://{name}.example/{number}", "title": f"{name} {number}", "tags": [name, f"t{number}"]}
        headers = {"Idempotency-Key": f"{name}-{number}"} if number % 2 else {}
        await client.expect("POST", "/v1/links", body=link, headers=headers)
    await client.expect("PUT", "/v1/links", body={"url": f"https://{name}.example/0", "title": f"{name} again"})
    await client.expect("DELETE", "/v1/links", body={"url": f"https://{name}.example/1"})
    file = f'<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DT><A HREF="https://{name}.example/file" PRIVATE="0">{name}</A>\n'
    await client.expect("POST", "/v1/import", data=file, headers={"Content-Type": "text/html"})
    await client.expect("POST", "/v1/following", body={"followed": WITNESS})
    await witness.expect("POST", "/v1/following", body={"followed": name})
    await witness.expect("POST", "/v1/links", body={"url": f"https://witness.example/{name[-1]}", "title": "mine"})
    await client.expect("POST", "/v1/blocks", body={"blocked": BLOCKED})


async def traces(stack: Stack, user_id: int, name: str) -> dict[str, int]:
    """Where anything is left of the user, and how much. ``news gone`` is to stay; a digest of the name is not found."""
    found: dict[str, int] = {}
    digests = [parse_url(f"https://{name}.example/{number}").key.hex() for number in range(LINKS)]
    patterns = [f"%{trace}%" for trace in (str(user_id), name, *digests)]
    for database in DATABASES:
        async with connected(stack, database.name) as connection:
            tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in tables:
                count = await connection.fetchval(
                    f"SELECT count(*) FROM {table} AS held WHERE held::text ILIKE ANY ($1::text[])", patterns
                )
                if count:
                    found[f"{database.name}.{table}"] = count
    place = urlsplit(stack.ready["redis"]["url"])
    assert place.hostname
    assert place.port
    password = Secret.of(SecretStore(stack.data / "secrets").get(f"valkey.{ADMINISTRATOR}"))
    async with connect_redis(RedisAddress(place.hostname, place.port, ADMINISTRATOR, password)) as redis:
        for key, content in (await dump(redis)).items():
            # How often they asked is forgotten within minutes.
            if not key.startswith("limit:") and any(trace in key + content for trace in (str(user_id), name)):
                kind = " ".join(key.split(":")[:2])
                found[kind] = found.get(kind, 0) + 1
    return found


# --- holding a step -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def standing_still(stack: Stack, service: str) -> AsyncIterator[None]:
    pid = stack.ready["pids"][service]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def locked(stack: Stack, step: DeletionStep, user_id: int) -> AsyncIterator[None]:
    database, statement = ROWS[step]
    async with connected(stack, database) as connection, connection.transaction():
        assert await connection.fetch(statement, user_id), "there is a row"
        yield


async def reached(stack: Stack, user_id: int, step: DeletionStep) -> None:
    async with connected(stack, "user_manager") as users:

        async def is_there() -> bool:
            found = await users.fetchval("SELECT step FROM account_deletions WHERE user_id = $1", user_id)
            return bool(found == step)

        await eventually(is_there, f"the deletion is at {step}", DEADLINE)


async def kill_user_service(stack: Stack) -> None:
    before = stack.ready["pids"]["user-manager"]
    os.kill(before, signal.SIGKILL)

    async def back() -> bool:
        return bool(stack.ready["pids"].get("user-manager") not in (None, before))

    await eventually(back, "the user service is started again", DEADLINE)


async def kill_at(stack: Stack, step: DeletionStep, client: ApiClient, user_id: int, name: str) -> None:
    async def delete() -> None:
        await client.expect("DELETE", "/v1/me", params={"confirm": name})

    async with AsyncExitStack() as held:
        match step:
            case DeletionStep.WAITING:
                await held.enter_async_context(standing_still(stack, "link-manager"))
                await delete()
            case DeletionStep.SOCIAL_GRAPH | DeletionStep.LINKS:
                await held.enter_async_context(locked(stack, step, user_id))
                await delete()
            case _:
                # What these two need is asked for before the first step as well, and may not be held yet.
                async with locked(stack, DeletionStep.LINKS, user_id):
                    await delete()
                    await reached(stack, user_id, DeletionStep.LINKS)
                    hold = (
                        standing_still(stack, "news-manager")
                        if step is DeletionStep.NEWS
                        else locked(stack, step, user_id)
                    )
                    await held.enter_async_context(hold)
        await reached(stack, user_id, step)
        await kill_user_service(stack)


# --- the drill ------------------------------------------------------------------------------------------------------


async def test_killed_at_each_step_nothing_is_left(stack: Stack) -> None:
    ids: dict[str, int] = {}
    async with AsyncExitStack() as exits:
        clients = {
            name: await exits.enter_async_context(api_client(stack.gateway, stack.token(name)))
            for name in (WITNESS, *QUITTERS.values())
        }
        witness = clients[WITNESS]
        async with connected(stack, "user_manager") as users:
            for name in clients:
                ids[name] = await users.fetchval("SELECT id FROM users WHERE name = $1", name)
            for step, name in QUITTERS.items():
                await live(clients[name], witness, name)
                before: dict[str, int] = {}

                async def is_everywhere(name: str = name, before: dict[str, int] = before) -> bool:
                    before.update(await traces(stack, ids[name], name))
                    return before.keys() >= EVERYWHERE

                await eventually(is_everywhere, f"{name} has left something everywhere", DEADLINE)
                await kill_at(stack, step, clients[name], ids[name], name)
                print(f"{name}: killed at {step}; before there was {before}")

                async def gone(name: str = name) -> bool:
                    return not await users.fetchval("SELECT true FROM users WHERE id = $1", ids[name])

                await eventually(gone, f"{name} is deleted, after a kill at {step}", DEADLINE)
                assert await traces(stack, ids[name], name) == {"news gone": 1}, step
        for step, name in QUITTERS.items():
            assert await traces(stack, ids[name], name) == {"news gone": 1}, f"{step}, later"
            assert (await clients[name].call("GET", "/v1/me")).status == 401
        assert len(await witness.all_links()) == len(QUITTERS), "nobody else has lost anything"
        assert (await witness.expect("GET", "/v1/following"))["following"] == {}
        assert (await witness.expect("GET", "/v1/followers"))["followers"] == {}
        assert (await witness.expect("GET", "/v1/news"))["events"] == []
        me = (await witness.expect("GET", "/v1/me"))["user"]
        assert (me["FollowerCount"], me["FollowingCount"]) == (0, 0)
