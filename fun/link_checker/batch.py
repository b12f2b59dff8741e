"""``python -m fun.link_checker.batch [FILE]`` looks at the URLs of a file, or of its standard input, one a line.

For each there is a line of JSON on the standard output, in the order in which they are known: what the function would
answer, without a user. Empty lines and those that begin with ``#`` are passed over.

It ends with 0 when there is a verdict on each, with 75 (EX_TEMPFAIL) when one is missing: because its turn at its site
did not come, or because it was told to stop (SIGTERM, SIGINT). Then it begins no more looks, and gives those that are
under way the time that they need. A file that cannot be read is 66 (EX_NOINPUT), one that is too long 65 (EX_DATAERR).
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

from yarl import URL

from fun.link_checker.settings import LookSettings
from fun.link_checker.wiring import close_checker, open_checker
from pkg.link_checker.checker import MAX_CHECKS
from pkg.link_checker.host_slots import OwnHostSlots
from pkg.object_model.errors import DelinkciousError, Unavailable
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import CheckLinkRequest, Verdict
from pkg.object_model.wire import verdict_to_wire
from pkg.runtime.json import encode
from pkg.runtime.logs import configure_logs, get_logger
from pkg.runtime.mutual_auth import MutualAuth
from pkg.runtime.settings import load_settings

#: Bytes of a batch: more than 100,000 URLs.
MAX_BYTES: Final = 16 * 1024 * 1024
#: Looks at pages of one host that are begun at once: they wait for each other, and a look has ten seconds.
MAX_OF_ONE_HOST: Final = 3
#: Times that a URL is tried whose turn did not come.
ATTEMPTS: Final = 5

_log = get_logger(__name__)


class LinkCheckBatchSettings(LookSettings):
    service_name: ClassVar[str] = "link-check-batch"

    def _read_mutual_auth(self, path: Path) -> MutualAuth:
        # Nobody calls it, and it calls no service.
        return MutualAuth({}, {})


async def look_at_all(
    urls: Sequence[str], checker: LinkChecker, tell: Callable[[bytes], None], stopped: asyncio.Event
) -> bool:
    """Whether there is a verdict on each. ``tell`` gets a line of JSON for each that was tried."""
    slots, hosts = asyncio.Semaphore(MAX_CHECKS), OwnHostSlots(MAX_OF_ONE_HOST)
    missing = False

    async def look(url: str) -> None:
        nonlocal missing
        try:
            async with hosts.slot(_host_of(url)):
                if stopped.is_set():
                    missing = True
                    return
                request = CheckLinkRequest(username="", url=url)
                said = verdict_to_wire(request, await _check(checker, request, stopped))
                del said["Username"]
        except DelinkciousError as fault:
            missing = True
            said = {"Url": url, "err": fault.message, "code": fault.code, "kind": fault.kind}
        finally:
            slots.release()
        tell(encode(said) + b"\n")

    async with asyncio.TaskGroup() as looks:
        for url in urls:
            await slots.acquire()
            if stopped.is_set():
                missing = True
                break
            looks.create_task(look(url))
    return not missing


async def _check(checker: LinkChecker, request: CheckLinkRequest, stopped: asyncio.Event) -> Verdict:
    """Raises Unavailable if the turn of its host did not come."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await checker.check_link(request)
        except Unavailable:
            if stopped.is_set():
                raise
    return await checker.check_link(request)


def _host_of(url: str) -> str:
    try:
        return URL(url).raw_host or ""
    except ValueError:
        return ""


def read_urls(content: bytes) -> list[str]:
    lines = (line.strip() for line in content.decode("utf-8", errors="replace").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


async def run(settings: LinkCheckBatchSettings, urls: Sequence[str]) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopped.set)

    def tell(line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    checker, leases = open_checker(settings)
    try:
        complete = await look_at_all(urls, checker, tell, stopped)
    finally:
        await close_checker(checker, leases)
    return os.EX_OK if complete else os.EX_TEMPFAIL


def main() -> int:
    parser = argparse.ArgumentParser(description="Looks at the URLs of a file, one a line.")
    parser.add_argument("file", nargs="?", default="-", help="by default, or as -, the standard input")
    place = parser.parse_args().file
    settings = load_settings(LinkCheckBatchSettings)
    configure_logs(settings.service_name, settings.log_level, sys.stderr.buffer)
    try:
        with sys.stdin.buffer if place == "-" else Path(place).open("rb") as source:
            content = source.read(MAX_BYTES + 1)
    except OSError as fault:
        _log.error("the batch cannot be read", reason=str(fault))
        return os.EX_NOINPUT
    if len(content) > MAX_BYTES:
        _log.error("the batch is too long; split it", max_bytes=MAX_BYTES)
        return os.EX_DATAERR
    return asyncio.run(run(settings, read_urls(content)))


if __name__ == "__main__":
    sys.exit(main())
