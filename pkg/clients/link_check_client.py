"""The link check function from afar."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from pkg.clients.reply import read_reply
from pkg.object_model import interfaces
from pkg.object_model.errors import ERROR_KINDS, DelinkciousError, Internal
from pkg.object_model.types import CheckLinkRequest, Verdict
from pkg.object_model.wire import verdict_from_wire
from pkg.runtime.access import LINK_CHECK_FUNCTION
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.json import encode

#: Bytes of what is said of one link.
MAX_LINE_BYTES: Final = 64 * 1024


class LinkCheckClient(interfaces.LinkBatchChecker):
    def __init__(self, http: ServiceHttpClient, *, timeout: float) -> None:
        """``timeout``, in seconds, is longer than the function may take: it is the one to say what took so long."""
        self._http = http
        self._timeout = timeout

    async def check_link(self, request: CheckLinkRequest) -> Verdict:
        # Not repeated here: whoever asks has the patience to ask again later.
        body = await self._http.request(
            "POST", "/", actor=None, body=encode(request.to_wire()), repeatable=False, timeout=self._timeout
        )
        return read_reply(LINK_CHECK_FUNCTION, body, verdict_from_wire)

    async def check_links(
        self, requests: Sequence[CheckLinkRequest]
    ) -> AsyncIterator[tuple[int, Verdict | DelinkciousError]]:
        body = encode({"Checks": [request.to_wire() for request in requests], "Lines": True})
        pieces = self._http.stream("POST", "/", actor=None, body=body, timeout=self._timeout)
        async with aclosing(pieces):
            async for line in _split(pieces):
                place, said = read_reply(LINK_CHECK_FUNCTION, line, _read_line)
                if place not in range(len(requests)):
                    raise _unreadable()
                yield place, said


async def _split(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise _unreadable()
        for line in lines:
            yield line
    if rest:
        raise _unreadable()


def _read_line(wire: Mapping[str, Any]) -> tuple[int, Verdict | DelinkciousError]:
    if wire["err"]:
        return wire["Index"], ERROR_KINDS[wire["kind"]](wire["err"], code=wire["code"])
    return wire["Index"], verdict_from_wire(wire)


def _unreadable() -> Internal:
    return Internal(f"{LINK_CHECK_FUNCTION} gave an answer that we cannot read", code="bad_upstream_reply")
