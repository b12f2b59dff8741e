"""What one request carries through every layer without being handed on: its ids and its deadline."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple


class RequestContext(NamedTuple):
    # A tuple, because it is made with every request: a frozen dataclass costs five times as much.
    request_id: str
    #: Of our own span: what an outgoing call names as its parent.
    traceparent: str
    #: On the scale of ``time.monotonic()``; None where nobody waits.
    deadline: float | None = None


#: Where the request comes from; empty but at the edge, where the public comes in, and where the edge says so.
CLIENT_ADDRESS: Final[ContextVar[str]] = ContextVar("client_address", default="")
CURRENT_CONTEXT: Final[ContextVar[RequestContext | None]] = ContextVar("request_context", default=None)


def current_context() -> RequestContext | None:
    return CURRENT_CONTEXT.get()


@contextmanager
def use_context(context: RequestContext) -> Iterator[None]:
    token = CURRENT_CONTEXT.set(context)
    try:
        yield
    finally:
        CURRENT_CONTEXT.reset(token)
