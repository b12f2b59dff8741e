"""Opaque page tokens: a position in a keyset order, bound to what is being paged.

A token holds no secret and grants nothing: it only says where the next page begins. The scope (operation, whose,
every filter) is bound by a digest, so that a token of another list is refused rather than misread.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.types import MAX_PAGE_LIMIT

_DIGEST_BYTES = 9
#: A tag of 255 characters, casefolded (some become three) and escaped, and what is around it.
_MAX_TOKEN_CHARACTERS = 4_096
_INT64 = range(-(2**63), 2**63)

#: Made once: ``json.dumps`` makes one for each call that wants more than the defaults.
_ENCODE_POSITION = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_ENCODE_SCOPE = json.JSONEncoder(ensure_ascii=False).encode

type Position = tuple[int | str, ...]


def encode_page_token(scope: Sequence[object], position: Position) -> str:
    payload = _ENCODE_POSITION(position).encode()
    return base64.urlsafe_b64encode(_digest(scope) + payload).rstrip(b"=").decode()


def decode_page_token(token: str, scope: Sequence[object], shape: tuple[type[int] | type[str], ...]) -> Position | None:
    """The position, of the given shape; None for the empty token, which means the beginning.

    Raises:
        InvalidArgument: the token is damaged, or of a list with other filters.
    """
    if not token:
        return None
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise _invalid("is too long to be one of ours")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = json.loads(raw[_DIGEST_BYTES:])
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("is damaged") from None
    if not isinstance(position, list) or [type(part) for part in position] != list(shape):
        raise _invalid("is damaged")
    if any(isinstance(part, int) and part not in _INT64 for part in position):
        raise _invalid("is damaged")
    if any(isinstance(part, str) and not _is_storable(part) for part in position):
        raise _invalid("is damaged")
    if raw[:_DIGEST_BYTES] != _digest(scope):
        raise _invalid("belongs to a list with other filters")
    return tuple(position)


def check_page_limit(limit: int) -> int:
    """``limit`` itself. Raises InvalidArgument outside 1..MAX_PAGE_LIMIT."""
    if not 1 <= limit <= MAX_PAGE_LIMIT:
        raise InvalidArgument(f"limit must be between 1 and {MAX_PAGE_LIMIT}, not {limit}", code="invalid_limit")
    return limit


def _is_storable(text: str) -> bool:
    """Whether a database takes it: no NUL, no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _digest(scope: Sequence[object]) -> bytes:
    canonical = _ENCODE_SCOPE([str(part) for part in scope]).encode("utf-8", "surrogatepass")
    return hashlib.sha256(canonical).digest()[:_DIGEST_BYTES]


def _invalid(what: str) -> InvalidArgument:
    return InvalidArgument(f"start_token {what}; leave it out to begin at the first page", code="invalid_start_token")
