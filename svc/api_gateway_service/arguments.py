"""What an argument of the public API is: its name, its kind, what it means.

One description serves both sides: requests are read by it, and the documentation is made of it.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.types import parse_tag_set

type Schema = dict[str, Any]

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_INT64: Final = range(-(2**63), 2**63)
_SWITCH: Final = {"true": True, "false": False}


class Kind(Protocol):
    """How a value is written. Both readings raise InvalidArgument, and give equal values for the same thing said."""

    def read_text(self, name: str, text: str) -> object:
        """As a query or a form has it."""

    def read_json(self, name: str, value: object) -> object: ...
    def text_schema(self) -> Schema: ...
    def json_schema(self) -> Schema: ...


@dataclass(frozen=True, slots=True)
class Text:
    """``max_length`` is told, not checked: that is for the service whose rule it is."""

    max_length: int

    def read_text(self, name: str, text: str) -> str:
        return check_text(name, text)

    def read_json(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise wrong_type(name, "text")
        return check_text(name, value)

    def text_schema(self) -> Schema:
        return {"type": "string", "maxLength": self.max_length}

    def json_schema(self) -> Schema:
        return self.text_schema()


@dataclass(frozen=True, slots=True)
class Integer:
    """``minimum`` and ``maximum`` are told, not checked, like ``Text.max_length``."""

    minimum: int
    maximum: int
    default: int | None = None

    def read_text(self, name: str, text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise wrong_type(name, "a whole number")
        return int(text)

    def read_json(self, name: str, value: object) -> int:
        if type(value) is not int or value not in _INT64:
            raise wrong_type(name, "a whole number")
        return value

    def text_schema(self) -> Schema:
        schema: Schema = {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}
        return schema if self.default is None else schema | {"default": self.default}

    def json_schema(self) -> Schema:
        return self.text_schema()


@dataclass(frozen=True, slots=True)
class Switch:
    default: bool | None = False

    def read_text(self, name: str, text: str) -> bool:
        if text not in _SWITCH:
            raise wrong_type(name, "true or false")
        return _SWITCH[text]

    def read_json(self, name: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise wrong_type(name, "true or false")
        return value

    def text_schema(self) -> Schema:
        return {"type": "boolean"} if self.default is None else {"type": "boolean", "default": self.default}

    def json_schema(self) -> Schema:
        return self.text_schema()


@dataclass(frozen=True, slots=True)
class Choice[ChoiceT: StrEnum]:
    options: type[ChoiceT]
    default: ChoiceT | None = None

    def read_text(self, name: str, text: str) -> ChoiceT:
        try:
            return self.options(text)
        except ValueError:
            raise wrong_type(name, f"one of {', '.join(self.options)}") from None

    def read_json(self, name: str, value: object) -> ChoiceT:
        return self.read_text(name, value if isinstance(value, str) else "")

    def text_schema(self) -> Schema:
        schema: Schema = {"type": "string", "enum": [option.value for option in self.options]}
        return schema if self.default is None else schema | {"default": self.default.value}

    def json_schema(self) -> Schema:
        return self.text_schema()


@dataclass(frozen=True, slots=True)
class Choices[ChoiceT: StrEnum]:
    """Some of the options, each once: a list, or text separated by commas."""

    options: type[ChoiceT]

    def read_text(self, name: str, text: str) -> tuple[ChoiceT, ...]:
        return self._read(name, [part.strip() for part in text.split(",") if part.strip()])

    def read_json(self, name: str, value: object) -> tuple[ChoiceT, ...]:
        if isinstance(value, str):
            return self.read_text(name, value)
        if not isinstance(value, list):
            raise wrong_type(name, "a list, or text separated by commas")
        return self._read(name, value)

    def _read(self, name: str, values: list[object]) -> tuple[ChoiceT, ...]:
        chosen = {self.options(value) for value in values if isinstance(value, str) and value in self.options}
        if not all(value in chosen for value in values):
            raise wrong_type(name, f"some of {', '.join(self.options)}")
        # In the order of the options, so that the same set is the same value.
        return tuple(option for option in self.options if option in chosen)

    def text_schema(self) -> Schema:
        longest = len(",".join(self.options))
        return {"type": "string", "maxLength": longest, "description": "Separated by commas."}

    def json_schema(self) -> Schema:
        option = {"type": "string", "enum": [option.value for option in self.options]}
        return {"oneOf": [{"type": "array", "items": option, "maxItems": len(self.options)}, self.text_schema()]}


@dataclass(frozen=True, slots=True)
class Tags:
    """A set of tags in any of its three forms."""

    max_tags: int
    max_length: int

    def read_text(self, name: str, text: str) -> tuple[str, ...]:
        return self.read_json(name, text)

    def read_json(self, name: str, value: object) -> tuple[str, ...]:
        tags = parse_tag_set(value)
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise wrong_type(name, 'a list of text, text separated by commas, or a set like {"python": true}')
        return tuple(check_text(name, tag) for tag in tags)

    def text_schema(self) -> Schema:
        return {"type": "string", "description": "Separated by commas."}

    def json_schema(self) -> Schema:
        tag = {"type": "string", "maxLength": self.max_length}
        return {
            "oneOf": [
                {"type": "array", "items": tag, "maxItems": self.max_tags},
                self.text_schema(),
                {
                    "type": "object",
                    "description": "A set: what is true is in it.",
                    "additionalProperties": {"type": "boolean"},
                    "propertyNames": {"maxLength": self.max_length},
                },
            ]
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    name: str
    kind: Kind
    #: For people; ends with a full stop.
    description: str
    #: As it is written in a query.
    example: str
    required: bool = False
    #: Whether the empty text says something. Otherwise it is as good as nothing.
    keeps_empty: bool = False


def check_text(name: str, text: str) -> str:
    """``text`` itself.

    Raises:
        InvalidArgument: no store can keep it (``invalid_text``).
    """
    if "\x00" in text:
        raise InvalidArgument(f"{name} must not contain the character NUL; remove it", code="invalid_text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidArgument(
                f"{name} has half a character in it (a lone surrogate); remove it", code="invalid_text"
            ) from None
    return text


def wrong_type(name: str, wanted: str) -> InvalidArgument:
    return InvalidArgument(f"{name} must be {wanted}")


def unknown_argument(name: str, operation: str, known: Collection[str]) -> InvalidArgument:
    # Whatever a stranger sent as a name: short, and fit to be printed.
    shown = name[:64].encode("ascii", "backslashreplace").decode()
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return InvalidArgument(f"{shown!r} is no argument of {operation}; {takes}", code="unknown_argument")


def conflicting_argument(name: str) -> InvalidArgument:
    shown = name[:64].encode("ascii", "backslashreplace").decode()
    return InvalidArgument(f"{shown} is given twice, with different values; send it once", code="conflicting_argument")
