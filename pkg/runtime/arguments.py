"""What a caller sent, as the request that an operation takes: strictly typed, or refused by name.

``InvalidArgument`` says which field it is and what to do. Fields that nobody knows are ignored, so that a newer
caller can talk to an older service.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, get_args
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ValidationError

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.wire_requests import QueryNames

#: More pairs than any operation has arguments; the bound keeps a hostile query cheap.
MAX_QUERY_PAIRS: Final = 100

_INT64: Final = range(-(2**63), 2**63)
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_SWITCH: Final = {"true": True, "false": False}
_WORDS: Final[dict[type, str]] = {bool: "true or false", int: "a whole number"}


def read_object[RequestT: BaseModel](model: type[RequestT], sent: object) -> RequestT:
    """``sent``, decoded JSON, as a request.

    Raises:
        InvalidArgument: not an object; a field is missing, of another type, or cannot be stored.
    """
    if not isinstance(sent, dict):
        raise InvalidArgument("the body must be a JSON object, in braces")
    names = {field: about.alias or field for field, about in model.model_fields.items()}
    for field, kinds in _exact_kinds(model).items():
        value = sent.get(names[field])
        if value is not None and type(value) not in kinds:
            raise _refused(names[field], f"must be {_WORDS[kinds[0]]}, not {_kind(value)}")
    return _validated(model, sent, names, by_field_name=False)


def read_query[RequestT: BaseModel](model: type[RequestT], sent: Mapping[str, str], names: QueryNames) -> RequestT:
    """``sent``, query and path parameters, as a request whose fields have the given names there.

    Raises:
        InvalidArgument: a parameter is missing, of another type, or cannot be stored.
    """
    values: dict[str, Any] = {}
    exact = _exact_kinds(model)
    for field, name in names.items():
        if name in sent:
            values[field] = _parsed(name, sent[name], exact.get(field))
    return _validated(model, values, names, by_field_name=True)


def parse_query(raw: bytes, wanted: Iterable[str]) -> dict[str, str]:
    """The parameters of a query string.

    Raises:
        InvalidArgument: it is not (percent-encoded) UTF-8, has too many pairs, or says one of ``wanted`` twice with
            different values.
    """
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_PAIRS)
    except UnicodeDecodeError:
        raise InvalidArgument("the query string must be percent-encoded UTF-8", code="malformed_query") from None
    except ValueError:
        raise InvalidArgument(
            f"the query string has more than {MAX_QUERY_PAIRS} parameters", code="malformed_query"
        ) from None
    query: dict[str, str] = {}
    for name, value in pairs:
        if query.setdefault(name, value) != value and name in wanted:
            raise InvalidArgument(
                f"{name} is given twice, with different values; send it once", code="conflicting_argument"
            )
    return query


def _validated[RequestT: BaseModel](
    model: type[RequestT], values: Mapping[str, Any], names: Mapping[str, str], *, by_field_name: bool
) -> RequestT:
    try:
        # One spelling each: a field that could be sent under two names could be sent twice.
        request = model.model_validate(values, by_alias=not by_field_name, by_name=by_field_name)
    except ValidationError as invalid:
        raise _explained(invalid, model, names) from None
    for field, name in names.items():
        _check_storable(name, getattr(request, field))
    return request


def _check_storable(name: str, value: object) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise _refused(name, "must not contain the character NUL; remove it")
    elif isinstance(value, int):
        if value not in _INT64:
            raise _refused(name, "must be a whole number of at most 64 bits")
    elif isinstance(value, tuple):
        for part in value:
            _check_storable(name, part)


@cache
def _exact_kinds(model: type[BaseModel]) -> dict[str, tuple[type, ...]]:
    """The fields of a bare number or switch: pydantic would also take "3" for 3 and "yes" for true."""
    exact: dict[str, tuple[type, ...]] = {}
    for field, about in model.model_fields.items():
        options = get_args(about.annotation) or (about.annotation,)
        kinds = tuple(kind for kind in _WORDS if kind in options)
        if kinds:
            exact[field] = kinds
    return exact


def _parsed(name: str, text: str, kinds: tuple[type, ...] | None) -> object:
    if kinds is None:
        return text
    if bool in kinds:
        if text not in _SWITCH:
            raise _refused(name, f"must be {_WORDS[bool]}")
        return _SWITCH[text]
    if not _INTEGER.fullmatch(text):
        raise _refused(name, f"must be {_WORDS[int]}")
    return int(text)


def _explained(invalid: ValidationError, model: type[BaseModel], names: Mapping[str, str]) -> InvalidArgument:
    first = invalid.errors(include_url=False, include_input=False)[0]
    place = str(first["loc"][0])
    field = next((field for field, about in model.model_fields.items() if about.alias == place), place)
    match first["type"]:
        case "missing":
            why = "is missing; send it"
        case "string_type" if len(first["loc"]) > 1:
            why = "must hold text only"
        case "string_type":
            why = "must be text"
        case "enum":
            why = f"must be one of {first['ctx']['expected']}".replace("'", "")
        case "tuple_type" if _reads_tags(model, field):
            why = 'must be a set like {"python": true}, a list of text, or text separated by commas'
        case "tuple_type":
            why = "must be a list of text"
        case "too_long":
            why = f"must have at most {first['ctx']['max_length']} entries; ask in parts"
        case _:
            why = f"is not what it should be: {first['msg']}"
    return _refused(names[field], why)


def _reads_tags(model: type[BaseModel], field: str) -> bool:
    return any(isinstance(part, BeforeValidator) for part in model.model_fields[field].metadata)


def _refused(name: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{name} {why}")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "a switch"
        case str():
            return "text"
        case int() | float():
            return "another number"
        case list():
            return "a list"
        case _:
            return "an object"
