"""Answers that a client may have already, by their entity tags (RFC 9110, 8.8.3 and 13.1.2)."""

from hashlib import sha256
from typing import Final

from starlette.responses import Response

from svc.api_gateway_service.readers import JSON

_DIGITS: Final = 24


def answer_unless_known(content: bytes, if_none_match: str) -> Response:
    """``content``, or a 304 without it if one of the tags that the client shows is its tag.

    The tag is of the bytes themselves, which are there: nothing is encoded for it, and 304 means the same to the byte.
    """
    tag = f'"{sha256(content).hexdigest()[:_DIGITS]}"'
    headers = {"ETag": tag}
    if if_none_match and _names(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=JSON, headers=headers)


def _names(if_none_match: str, tag: str) -> bool:
    """Weak tags count: what they say of the bytes is more than the client asks."""
    return any(shown.strip().removeprefix("W/") in (tag, "*") for shown in if_none_match.split(","))
