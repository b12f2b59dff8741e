"""The floor: one raw ASGI process that runs the same SQL on the same database and does nothing else.

No authentication, no limits, no logs, no metrics, no second service. What it costs is what the whole path is measured
against. ``python -m tests.load.floor`` reads where the database is from the environment, as the link service does.
"""

import asyncio
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import asyncpg
import orjson
import uvicorn
import uvloop

from pkg.link_manager.sql_store import _ADD, _find_statement, _link_values, _read_link, _search_vector, _shape
from pkg.link_manager.store import Audience, LinkQuery
from pkg.link_manager.urls import parse_url
from pkg.object_model.clock import SystemClock, TimeOrderedIds
from pkg.object_model.types import Link, LinkPage, LinkStatus, Visibility
from pkg.object_model.wire import link_page_to_wire, link_to_wire
from pkg.runtime.postgres import PostgresAddress, open_pool

PAGE = 20
_HEADERS = [(b"content-type", b"application/json")]


class Floor:
    def __init__(self, pool: asyncpg.Pool, user_id: int) -> None:
        self._pool = pool
        self._user_id = user_id
        self._ids = TimeOrderedIds(SystemClock())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await (self._page() if scope["method"] == "GET" else self._add(scope))
        headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _page(self) -> bytes:
        query = LinkQuery(user_id=self._user_id, audience=Audience.OWNER, limit=PAGE + 1)
        shape, values = _shape(query)
        rows = await self._pool.fetch(_find_statement(shape), self._user_id, *values, PAGE + 1)
        return orjson.dumps(link_page_to_wire(LinkPage([_read_link(row) for row in rows[:PAGE]], "")))

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
            version=1,
        )
        values = (*_link_values(link), _search_vector(link), url.key, list(link.tags), 10_000_000)
        await self._pool.fetchval(_ADD, self._user_id, *values)
        return orjson.dumps({"link": link_to_wire(link), "err": ""})


async def serve(address: PostgresAddress, user_id: int, listener: socket.socket) -> None:
    async with await open_pool(address, application_name="floor") as pool:
        config = uvicorn.Config(
            Floor(pool, user_id), http="httptools", access_log=False, log_level="error", lifespan="off", ws="none"
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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(address, int(environment["FLOOR_USER_ID"]), listener))


if __name__ == "__main__":
    main()
