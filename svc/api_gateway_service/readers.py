"""The arguments of an operation, out of a request: strictly, and from wherever they may stand."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from starlette.requests import Request

from pkg.object_model.errors import InvalidArgument, UnsupportedMedia
from svc.api_gateway_service.arguments import Argument, check_text, conflicting_argument, unknown_argument
from svc.api_gateway_service.bodies import parse_form, parse_json, parse_query
from svc.api_gateway_service.multipart import MULTIPART, PartHead, decode_field, read_fields, read_parts
from svc.api_gateway_service.request_head import RequestHead

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
FILE_FIELD: Final = "file"
#: Bytes of a field that stands before a file.
_MAX_FIELD: Final = 1_024


class Received(NamedTuple):
    arguments: dict[str, Any]
    #: The file that came along, still on its way.
    content: AsyncIterator[bytes] | None = None


class Reader(Protocol):
    """What an operation reads. ``arguments`` are those that may stand in the query."""

    @property
    def arguments(self) -> Sequence[Argument]: ...

    async def read(self, http: Request, head: RequestHead, operation: str) -> Received:
        """``operation`` is its name in messages."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments in the query, in a form or in a JSON body, as the caller likes, or spread over them."""

    arguments: tuple[Argument, ...] = ()

    async def read(self, http: Request, head: RequestHead, operation: str) -> Received:
        collected = _Collected(operation, self.arguments)
        if query := http.scope["query_string"]:
            collected.take_texts(parse_query(query))
        if head.has_body:
            await _read_body(collected, http, head)
        return Received(collected.finish())


@dataclass(frozen=True, slots=True)
class Upload:
    """A file: the whole body, whatever its Content-Type says, or the field ``file`` of a form, after the others."""

    arguments: tuple[Argument, ...]

    async def read(self, http: Request, head: RequestHead, operation: str) -> Received:
        collected = _Collected(operation, self.arguments)
        if query := http.scope["query_string"]:
            collected.take_texts(parse_query(query))
        if media_type(head.content_type) != MULTIPART:
            return Received(collected.finish(), http.stream())
        parts = read_parts(head.content_type, http.stream())
        collected.take_texts(await _fields_before_file(parts))
        return Received(collected.finish(), _file_content(parts))


class _Collected:
    """The arguments found so far."""

    def __init__(self, operation: str, arguments: Iterable[Argument]) -> None:
        self._operation = operation
        self._known = {argument.name: argument for argument in arguments}
        self._found: dict[str, Any] = {}

    def take_texts(self, pairs: Iterable[tuple[str, str]]) -> None:
        for name, text in pairs:
            argument = self._argument(name)
            if text or argument.keeps_empty:
                self._take(name, argument.kind.read_text(name, text))

    def take_json(self, fields: Mapping[str, object]) -> None:
        for name, value in fields.items():
            argument = self._argument(name)
            if value is not None and (value != "" or argument.keeps_empty):
                self._take(name, argument.kind.read_json(name, value))

    def finish(self) -> dict[str, Any]:
        for name, argument in self._known.items():
            if argument.required and name not in self._found:
                raise InvalidArgument(f"{name} is missing; {self._operation} needs it", code="missing_argument")
        return self._found

    def _argument(self, name: str) -> Argument:
        argument = self._known.get(name)
        if argument is None:
            raise unknown_argument(name, self._operation, self._known)
        return argument

    def _take(self, name: str, value: object) -> None:
        if self._found.setdefault(name, value) != value:
            raise conflicting_argument(name)


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def read_path(http: Request) -> dict[str, Any]:
    """Raises InvalidArgument (``invalid_text``)."""
    return {name: check_text(name, value) for name, value in http.path_params.items()}


async def _read_body(collected: _Collected, http: Request, head: RequestHead) -> None:
    kind = media_type(head.content_type)
    if kind == MULTIPART:
        collected.take_texts(await read_fields(head.content_type, http.stream()))
        return
    body = await http.body()
    if not body:
        return
    match kind:
        # The original's clients do not always say what they send.
        case "" | "application/json":
            collected.take_json(parse_json(body))
        case "application/x-www-form-urlencoded":
            collected.take_texts(parse_form(body))
        case _:
            raise UnsupportedMedia(f"a body must be {JSON}, {FORM} or {MULTIPART}; say so in Content-Type")


async def _fields_before_file(parts: AsyncIterator[PartHead | bytes]) -> list[tuple[str, str]]:
    """Reads up to where the file begins."""
    fields: list[tuple[str, bytearray]] = []
    async for event in parts:
        if isinstance(event, bytes):
            content = fields[-1][1]
            content += event
            if len(content) > _MAX_FIELD:
                raise InvalidArgument(f"{fields[-1][0][:64]!a} is longer than any argument here; shorten it")
        elif event.name == FILE_FIELD:
            return [(name, decode_field(content)) for name, content in fields]
        else:
            fields.append((event.name, bytearray()))
    raise InvalidArgument(f"{FILE_FIELD} is missing; send the bookmarks file as that field", code="missing_argument")


async def _file_content(parts: AsyncIterator[PartHead | bytes]) -> AsyncIterator[bytes]:
    async for event in parts:
        if isinstance(event, bytes):
            yield event
        elif event.name == FILE_FIELD:
            raise conflicting_argument(FILE_FIELD)
        else:
            # It could change what was done with the file, which is on its way already.
            raise InvalidArgument(f"{event.name[:64]!a} comes after the file; send it before the file, or in the query")
