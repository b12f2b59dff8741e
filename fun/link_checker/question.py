"""What the function is asked: about one link, or about many in one call, each of which costs only itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from pkg.object_model.errors import DelinkciousError, Internal, InvalidArgument, TooLarge
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import CheckLinkRequest
from pkg.object_model.wire import verdict_to_wire
from pkg.runtime.arguments import read_object
from pkg.runtime.json import decode, encode
from pkg.runtime.logs import describe_exception, get_logger

#: Checks in one call.
MAX_BATCH: Final = 32
#: Bytes: as many URLs as the dispatcher asks about at once, of any length that is taken, and what is around them.
MAX_REQUEST_BYTES: Final = 256 * 1024
JSON: Final = "application/json"
#: A JSON object a line (https://github.com/ndjson/ndjson-spec).
LINES: Final = "application/x-ndjson"

type Answer = dict[str, Any]

_log = get_logger(__name__)


class Form(Enum):
    #: Both as in the contract of old.
    ONE = auto()
    #: A list, answered by a list.
    LIST = auto()
    #: ``{"Checks": [...]}``, answered by ``{"checks": [...], "err": ""}``.
    OBJECT = auto()
    #: Likewise with ``"Lines": true``; the answer has a line for each, with its ``Index``, in the order of their ends.
    LINES = auto()


@dataclass(frozen=True)
class Question:
    form: Form
    #: Or why one cannot be asked.
    checks: Sequence[CheckLinkRequest | InvalidArgument]

    @property
    def content_type(self) -> str:
        return LINES if self.form is Form.LINES else JSON


def read_question(body: object) -> Question:
    """``body``: as it came, or decoded already, as Nuclio does with what says of itself that it is JSON.

    Raises:
        InvalidArgument: it is none of the forms, or too many checks.
        TooLarge: it is too long to be read.
    """
    if isinstance(body, bytes | str):
        if len(body) > MAX_REQUEST_BYTES:
            raise TooLarge(f"the body is larger than {MAX_REQUEST_BYTES} bytes, the most that is taken here")
        body = decode(body)
    if isinstance(body, list):
        return Question(Form.LIST, _read_many(body))
    if isinstance(body, dict) and "Checks" in body:
        form = Form.LINES if body.get("Lines") is True else Form.OBJECT
        return Question(form, _read_many(body["Checks"]))
    return Question(Form.ONE, [_read_one(body)])


def _read_one(sent: object) -> CheckLinkRequest:
    request = read_object(CheckLinkRequest, sent)
    for name, value in (("Username", request.username), ("Url", request.url)):
        if not value:
            raise InvalidArgument(f"{name} is empty; send it")
    return request


def _read_many(sent: object) -> list[CheckLinkRequest | InvalidArgument]:
    if not isinstance(sent, list) or not 0 < len(sent) <= MAX_BATCH:
        raise InvalidArgument(f"Checks must be a list of 1 to {MAX_BATCH} checks")
    checks: list[CheckLinkRequest | InvalidArgument] = []
    for one in sent:
        try:
            checks.append(_read_one(one))
        except InvalidArgument as fault:
            checks.append(fault)
    return checks


async def answer(question: Question, checker: LinkChecker) -> bytes:
    """
    Raises:
        DelinkciousError: of a question about one link, why there is no answer. Of many each says so itself.
    """
    match question.form:
        case Form.ONE:
            (request,) = question.checks
            return encode(await _check(checker, request))
        case Form.LINES:
            return b"".join([line async for line in answer_lines(question, checker)])
        case form:
            found: list[Answer] = [{}] * len(question.checks)
            async for place, said in _answer_each(question, checker):
                found[place] = said
            return encode(found if form is Form.LIST else {"checks": found, "err": ""})


async def answer_lines(question: Question, checker: LinkChecker) -> AsyncIterator[bytes]:
    async for place, said in _answer_each(question, checker):
        yield encode({"Index": place, **said}) + b"\n"


async def _answer_each(question: Question, checker: LinkChecker) -> AsyncIterator[tuple[int, Answer]]:
    async def check(place: int, request: CheckLinkRequest | InvalidArgument) -> tuple[int, Answer]:
        try:
            return place, await _check(checker, request)
        except DelinkciousError as fault:
            return place, _refusal(request, fault)
        except Exception as fault:  # noqa: BLE001  # of many, one that fails must not take the others along
            _log.error("unexpected error", exception=describe_exception(fault))
            return place, _refusal(request, Internal("something went wrong on our side; try again"))

    checks = [asyncio.create_task(check(*numbered)) for numbered in enumerate(question.checks)]
    try:
        for ended in asyncio.as_completed(checks):
            yield await ended
    finally:
        # Whoever asked may have gone.
        for task in checks:
            task.cancel()


async def _check(checker: LinkChecker, request: CheckLinkRequest | InvalidArgument) -> Answer:
    if isinstance(request, InvalidArgument):
        raise request
    return verdict_to_wire(request, await checker.check_link(request))


def _refusal(request: CheckLinkRequest | InvalidArgument, fault: DelinkciousError) -> Answer:
    asked = request.to_wire() if isinstance(request, CheckLinkRequest) else {}
    return {**asked, "err": fault.message, "code": fault.code, "kind": fault.kind}
