"""The link check function from afar."""

from pkg.clients.reply import read_reply
from pkg.object_model import interfaces
from pkg.object_model.types import CheckLinkRequest, Verdict
from pkg.object_model.wire import verdict_from_wire
from pkg.runtime.access import LINK_CHECK_FUNCTION
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.json import encode


class LinkCheckClient(interfaces.LinkChecker):
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
