"""The floor: one raw ASGI process that runs the same statements on the same servers and does nothing else.

No authentication, no limits, no logs, no metrics, no second service. What it costs is what the whole path is measured
against. ``python -m tests.load.floor`` reads where the servers are from the environment, as the services do.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs

import asyncpg
import orjson
import uvicorn
import uvloop
from redis.asyncio import Redis

from pkg.link_manager.sql_store import SqlLinkStore, _find_statement, _shape
from pkg.link_manager.store import Audience, LinkQuery
from pkg.link_manager.urls import parse_url
from pkg.news_manager.entry_ids import group_of_entry, group_of_user
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.object_model.events import LinkEvent, LinkEventType
from pkg.object_model.types import Link, LinkStatus, Visibility
from pkg.object_model.wire import link_to_wire
from pkg.runtime.postgres import PostgresAddress, open_pool

PAGE: Final = 20
_HEADERS: Final = [(b"content-type", b"application/json")]
_JSON: Final = orjson.OPT_UTC_Z


class Floor:
    def __init__(self, pool: asyncpg.Pool, redis: Redis, owner_id: int, reader_id: int) -> None:
        self._pool = pool
        self._store = SqlLinkStore(pool)
        self._redis = redis
        self._owner_id = owner_id
        self._reader_id = reader_id
        self._ids = TimeOrderedIds(SystemClock())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            body = await self._add(scope)
        elif scope["path"].endswith("news"):
            body = await self._news()
        else:
            body = await self._page()
        headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _page(self) -> bytes:
        shape, values = _shape(LinkQuery(user_id=self._owner_id, audience=Audience.OWNER, limit=PAGE + 1))
        rows = await self._pool.fetch(_find_statement(shape), self._owner_id, *values, PAGE + 1)
        links = [
            {
                "Id": str(row["id"]),
                "Url": row["url"],
                "Title": row["title"],
                "Description": row["description"],
                "Status": row["status"],
                "Tags": dict.fromkeys(row["tags"], True),
                "CreatedAt": row["created_at"],
                "UpdatedAt": row["updated_at"],
                "Visibility": row["visibility"],
                "Version": row["version"],
                "StatusReason": row["status_reason"],
                "CheckedAt": row["checked_at"],
                "MovedTo": row["moved_to"],
                "ArchivedUrl": "",
            }
            for row in rows[:PAGE]
        ]
        return orjson.dumps({"links": links, "NextPageToken": "", "err": ""}, option=_JSON)

    async def _add(self, scope: Any) -> bytes:
        url = parse_url(parse_qs(scope["query_string"].decode())["url"][0])
        now = datetime.now(UTC)
        link = Link(
            id=self._ids.new_id(),
            url=url.text,
            title="bench",
            description="",
            status=LinkStatus.PENDING,
            tags=("bench", "load"),
            created_at=now,
            updated_at=now,
            visibility=Visibility.PUBLIC,
            version=0,
        )
        event = LinkEvent(
            id=self._ids.new_id(),
            type=LinkEventType.ADDED,
            user_id=self._owner_id,
            username="alice",
            timestamp=now,
            url=link.url,
            link_id=link.id,
            title=link.title,
            tags=link.tags,
        )
        added = await self._store.add_link(self._owner_id, url.key, link, 10_000_000, event)
        return orjson.dumps({"link": link_to_wire(added), "err": ""}, option=_JSON)

    async def _news(self) -> bytes:
        feed = f"feed:{{{group_of_user(self._reader_id)}}}:{self._reader_id}"
        ids = [int(found) for found in await cast(Awaitable[list[bytes]], self._redis.lrange(feed, 0, PAGE - 1))]
        keys = [f"news:entry:{{{group_of_entry(found)}}}:{found}" for found in ids]
        entries = [entry[entry.index(b"{") :] for entry in await self._redis.mget(keys)]
        return b'{"events":[%b],"NextPageToken":"","err":""}' % b",".join(entries)


async def serve(address: PostgresAddress, redis: Redis, owner_id: int, reader_id: int, listener: socket.socket) -> None:
    async with await open_pool(address, application_name="floor") as pool, redis:
        config = uvicorn.Config(
            Floor(pool, redis, owner_id, reader_id),
            http="httptools",
            access_log=False,
            log_level="error",
            lifespan="off",
            ws="none",
        )
        await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    environment = os.environ
    address = PostgresAddress(
        host=environment["LINK_DB_SERVICE_HOST"],
        port=int(environment["LINK_DB_SERVICE_PORT"]),
        database="link_manager",
        user="link_manager_service",
        password=Path(environment["LINK_DB_PASSWORD_FILE"]).read_text(encoding="utf-8").strip(),
    )
    redis = Redis.from_url(
        environment["REDIS_URL"],
        username="news-manager",
        password=Path(environment["NEWS_REDIS_PASSWORD_FILE"]).read_text(encoding="utf-8").strip(),
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        owner_id, reader_id = int(environment["FLOOR_OWNER_ID"]), int(environment["FLOOR_READER_ID"])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(address, redis, owner_id, reader_id, listener))


if __name__ == "__main__":
    main()
