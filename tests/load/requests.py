"""A load generator that is cheap enough to run beside what it measures: raw HTTP/1.1 on kept-alive connections."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Run:
    requests: int
    seconds: float
    #: Seconds, sorted.
    latencies: list[float]
    failures: int

    @property
    def throughput(self) -> float:
        return self.requests / self.seconds

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def http_request(method: str, url: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lowered = head.lower()
    start = lowered.index(b"content-length:") + 15
    length = int(lowered[start : lowered.index(b"\r\n", start)])
    return status, await reader.readexactly(length)


async def load(url: str, request: Callable[[int], bytes], *, requests: int, connections: int = 32) -> Run:
    """Sends ``request(0)`` ... ``request(requests - 1)``, ``connections`` at a time."""
    parts = urlsplit(url)
    numbers = iter(range(requests))
    latencies: list[float] = []
    failures = 0

    async def connection() -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            for number in numbers:
                begun = time.perf_counter()
                status, _ = await _exchange(reader, writer, request(number))
                latencies.append(time.perf_counter() - begun)
                failures += status != 200
        finally:
            writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*[connection() for _ in range(connections)])
    return Run(requests, time.perf_counter() - begun, sorted(latencies), failures)
