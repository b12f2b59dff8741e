"""Reading what a service answered."""

from collections.abc import Callable
from typing import Any

from pkg.object_model.errors import DelinkciousError, Internal
from pkg.runtime.json import decode


def read_reply[T](service: str, body: bytes, read: Callable[[dict[str, Any]], T]) -> T:
    """``body``, a JSON object, through ``read``.

    Raises:
        Internal: the service answered something else than its contract (``bad_upstream_reply``). An end user who
            sent nothing wrong must not be told that their JSON is malformed.
    """
    try:
        return read(decode(body))
    except (DelinkciousError, LookupError, TypeError, ValueError, AttributeError):
        raise Internal(f"{service} gave an answer that we cannot read", code="bad_upstream_reply") from None
