"""Query strings, forms and JSON as they came: names and values, or a refusal that says what is wrong with the form."""

import json
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from pkg.object_model.errors import InvalidArgument
from svc.api_gateway_service.arguments import conflicting_argument

#: In one place. More than any operation takes; the bound keeps hostile input cheap.
MAX_ARGUMENTS: Final = 100


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """
    Raises:
        InvalidArgument: it is not percent-encoded UTF-8 (``malformed_query``), or has too many parameters.
    """
    return _parse_pairs(raw, "the query string", "malformed_query")


def parse_form(raw: bytes) -> list[tuple[str, str]]:
    """Raises as ``parse_query`` does, but for the code ``malformed_form``."""
    return _parse_pairs(raw, "the form", "malformed_form")


def _parse_pairs(raw: bytes, what: str, code: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_ARGUMENTS)
    except UnicodeDecodeError:
        raise InvalidArgument(f"{what} must be percent-encoded UTF-8", code=code) from None
    except ValueError:
        raise too_many_arguments(what) from None


def parse_json(raw: bytes) -> dict[str, Any]:
    """
    Raises:
        InvalidArgument: it is no JSON object in UTF-8, or too deep a one (``malformed_json``); it says one thing twice
            (``conflicting_argument``), which other readers of JSON would settle in silence.
    """
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_as_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise InvalidArgument("the body must be JSON in UTF-8", code="malformed_json") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidArgument(f"the body is not valid JSON ({where})", code="malformed_json") from None
    except RecursionError:
        raise InvalidArgument("the body is nested too deep; send a flat JSON object", code="malformed_json") from None
    except ValueError:
        raise InvalidArgument("the body has a number that is too long to be read", code="malformed_json") from None
    if not isinstance(value, dict):
        raise InvalidArgument("the body must be a JSON object, in braces", code="malformed_json")
    return value


def too_many_arguments(what: str) -> InvalidArgument:
    return InvalidArgument(f"{what} has more than {MAX_ARGUMENTS} arguments; send fewer", code="too_many_arguments")


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        for name, value in pairs:
            if found[name] != value:
                raise conflicting_argument(name)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidArgument(f"the body is not valid JSON ({name} is no number of JSON)", code="malformed_json")
