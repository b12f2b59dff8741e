"""JSON, in and out, in one place: fast, UTC with ``Z``, strict."""

from typing import Any, Final

import orjson

from pkg.object_model.errors import InvalidArgument

_OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def encode(value: object) -> bytes:
    """Compact UTF-8. Times become RFC 3339; one without a zone is taken for UTC."""
    return orjson.dumps(value, option=_OPTIONS)


def decode(content: bytes | bytearray | memoryview | str) -> Any:  # noqa: ANN401  # JSON is of any shape
    """
    Raises:
        InvalidArgument: it is not JSON (``malformed_json``); the message says where, and quotes nothing.
    """
    if not content:
        raise InvalidArgument("the body is empty; send a JSON object", code="malformed_json")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidArgument(f"the body is not valid JSON ({where})", code="malformed_json") from None
