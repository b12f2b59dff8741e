"""Forms of several parts (RFC 7578), read as they come: a large file in one never has to be held."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pkg.object_model.errors import InvalidArgument
from svc.api_gateway_service.arguments import wrong_type
from svc.api_gateway_service.bodies import MAX_ARGUMENTS, too_many_arguments

MULTIPART: Final = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class PartHead:
    name: str
    #: None for a plain field.
    file_name: str | None


async def read_parts(content_type: str, stream: AsyncIterator[bytes]) -> AsyncIterator[PartHead | bytes]:
    """Each part's head, followed by its content in pieces.

    Raises:
        InvalidArgument: it is malformed or cut off (``malformed_form``), or has too many parts.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise _malformed("its Content-Type names no boundary")
    events = _Events()
    try:
        parser = MultipartParser(boundary, events.callbacks())  # type: ignore[arg-type]  # a dict of all its callbacks
        async for chunk in stream:
            if chunk:
                parser.write(chunk)
            for event in events.take():
                yield event
    except FormParserError:
        raise _malformed("it does not keep to its boundary, or a part has no proper headers") from None
    if not events.complete:
        raise _malformed("it ends too early")


async def read_fields(content_type: str, stream: AsyncIterator[bytes]) -> list[tuple[str, str]]:
    """The fields of a form without files. Raises as ``read_parts`` does, and ``invalid_argument`` for a file."""
    fields: list[tuple[str, bytearray]] = []
    async for event in read_parts(content_type, stream):
        if isinstance(event, bytes):
            fields[-1][1].extend(event)
        elif event.file_name is not None:
            raise wrong_type(event.name, "a field, not a file")
        else:
            fields.append((event.name, bytearray()))
    return [(name, decode_field(content)) for name, content in fields]


def decode_field(content: bytes | bytearray) -> str:
    """Raises InvalidArgument (``malformed_form``) for what is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _malformed("it must be UTF-8") from None


@dataclass(slots=True)
class _Events:
    """What the parser reported and nobody took yet; pieces that follow each other are one."""

    complete: bool = False
    _waiting: list[PartHead | bytearray] = field(default_factory=list)
    _parts: int = 0
    _header_name: bytearray = field(default_factory=bytearray)
    _header_value: bytearray = field(default_factory=bytearray)
    _disposition: str = ""

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }

    def take(self) -> list[PartHead | bytes]:
        taken: list[PartHead | bytes] = [
            bytes(event) if isinstance(event, bytearray) else event for event in self._waiting
        ]
        self._waiting.clear()
        return taken

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_ARGUMENTS:
            raise too_many_arguments("the form")
        self._disposition = ""

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = decode_field(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        kind, options = _parse_disposition(self._disposition)
        if kind != "form-data" or "name" not in options:
            raise _malformed("a part has no name")
        self._waiting.append(PartHead(options["name"], options.get("filename")))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._waiting and isinstance(self._waiting[-1], bytearray):
            self._waiting[-1] += data[start:end]
        else:
            self._waiting.append(bytearray(data[start:end]))

    def _on_end(self) -> None:
        self.complete = True


def _parse_disposition(header: str) -> tuple[str, dict[str, str]]:
    # The library works on Latin-1, browsers write UTF-8: there and back the bytes are the same.
    kind, options = parse_options_header(header.encode().decode("latin-1"))
    return kind.decode("latin-1"), {decode_field(name): decode_field(value) for name, value in options.items()}


def _malformed(why: str) -> InvalidArgument:
    return InvalidArgument(f"the form cannot be read: {why}", code="malformed_form")
