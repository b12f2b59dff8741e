"""What open streams of news cost: ``python -m tests.load.news_streams``.

Memory of the gateway for each that is idle, and processor time of gateway and news service a save: with none open, with
many whose readers follow somebody else, and with some whose readers follow the author.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import uvloop

from tests.e2e.client import ApiClient, api_client
from tests.e2e.stack import Stack, running_stack
from tests.load.processor_time import processor_seconds

_SAVES: Final = 100
#: Seconds between two saves: each is a look of its own.
_APART: Final = 0.25
#: Seconds for which nothing happens.
_IDLE: Final = 60
_WATCHED: Final = ("api-gateway", "news-manager")


class Watch:
    def __init__(self, stack: Stack) -> None:
        self._pids: dict[str, int] = stack.ready["pids"]

    def seconds(self) -> float:
        return processor_seconds([self._pids[name] for name in _WATCHED])

    def gateway_kib(self) -> int:
        status = Path(f"/proc/{self._pids['api-gateway']}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


async def measure(author: ApiClient, watch: Watch, name: str) -> None:
    """Beyond what the streams cost anyway."""
    before = watch.seconds()
    await asyncio.sleep(_IDLE)
    idle = (watch.seconds() - before) / _IDLE
    began, before = time.monotonic(), watch.seconds()
    for _ in range(_SAVES):
        await author.expect("POST", "/v1/links", body={"url": f"https://{time.time_ns()}.example/", "title": "x"})
        await asyncio.sleep(_APART)
    spent = watch.seconds() - before - idle * (time.monotonic() - began)
    print(f"{name:<40} {spent / _SAVES * 1e6:>8,.0f} µs a save, {idle * 1e6:>8,.0f} µs a second", flush=True)


async def run(stack: Stack, idle: int, woken: int) -> None:
    watch = Watch(stack)
    session = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0), trust_env=False
    )
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(session)
        author, follower = [
            await opened.enter_async_context(api_client(stack.gateway, stack.token(name))) for name in ("alice", "bob")
        ]
        await follower.expect("POST", "/v1/following", params={"followed": "alice"})

        async def open_streams(name: str, count: int) -> None:
            for _ in range(count):
                response = await session.get(
                    f"{stack.gateway}/v1/news/stream", headers={"Access-Token": stack.token(name)}
                )
                opened.callback(response.close)
                if response.status != HTTPStatus.OK:
                    raise SystemExit(f"a stream was refused: {await response.text()}")
                await response.content.readany()

        await open_streams("carol", 20)
        await measure(author, watch, "20 streams, of nobody who follows")
        before = watch.gateway_kib()
        await open_streams("carol", idle)
        print(f"{'each stream that is idle':<40} {(watch.gateway_kib() - before) / idle:>8,.1f} KiB", flush=True)
        await measure(author, watch, f"{idle + 20} streams, of nobody who follows")
        await open_streams("bob", woken)
        await measure(author, watch, f"and {woken} of somebody who follows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=500, help="streams (%(default)s)")
    parser.add_argument("--woken", type=int, default=10, help="streams (%(default)s)")
    options = parser.parse_args()
    environment = {"NEWS_STREAMS_OF_USER": "1000"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder) / "data", users=["alice", "bob", "carol"], environment=environment) as stack,
    ):
        uvloop.run(run(stack, options.idle, options.woken))


if __name__ == "__main__":
    main()
