"""The function as Nuclio calls it (https://docs.nuclio.io): ``init_context`` once a worker, ``handler`` each request.

A request is a POST of ``{"Username", "Url"}``. The answer is a 200 with ``{"Username", "Url", "Status", "Reason",
"Transient", "err"}`` whatever came of the link, and a 4xx or 5xx in the usual form for what is wrong with the request
or with us. Many are asked about at once in the forms of ``question.Form``; one that fails has ``err``, ``code`` and
``kind`` in the place of its answer.
"""

import os
from collections.abc import Mapping
from typing import Any, Final

from fun.link_checker.question import JSON, Question, answer, read_question
from fun.link_checker.settings import LinkCheckFunctionSettings
from fun.link_checker.wiring import close_checker, open_checker
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import DelinkciousError, Internal
from pkg.runtime.context import RequestContext, current_context, use_context
from pkg.runtime.errors import error_body, status_of
from pkg.runtime.logs import configure_logs, describe_exception, get_logger
from pkg.runtime.peers import check_callers
from pkg.runtime.settings import read_settings
from pkg.runtime.tracing import child_traceparent

OPERATION: Final = "links.check"

_log = get_logger(__name__)


def init_context(context: Any) -> None:  # noqa: ANN401  # Nuclio's, which is not installed here
    """
    Raises:
        StartError: a setting is missing or wrong; Nuclio then tells it and does not start the worker.
    """
    settings = read_settings(LinkCheckFunctionSettings, os.environ)
    configure_logs(settings.service_name, settings.log_level)
    prepare(context, settings)


def prepare(context: Any, settings: LinkCheckFunctionSettings) -> None:  # noqa: ANN401  # as above
    """What the worker keeps between requests."""
    mutual_auth = context.user_data.mutual_auth = settings.load_mutual_auth()
    context.user_data.caller_auth = check_callers(settings, mutual_auth, SystemClock())
    context.user_data.checker, context.user_data.leases = open_checker(settings)


async def close(context: Any) -> None:  # noqa: ANN401  # as above
    """Nuclio ends its workers without a word; others call it."""
    await close_checker(context.user_data.checker, context.user_data.leases)


async def handler(context: Any, event: Any) -> Any:  # noqa: ANN401  # as above
    headers = read_headers(event.headers)
    own = current_context() or RequestContext(
        headers.get("X-Request-Id") or os.urandom(16).hex(), child_traceparent(headers.get("Traceparent"))
    )
    content_type = JSON
    with use_context(own):
        try:
            question = receive(context.user_data, headers, event.body)
            status, body = 200, await answer(question, context.user_data.checker)
            content_type = question.content_type
        except DelinkciousError as error:
            status, body = _render(error, own)
        except Exception as error:  # noqa: BLE001  # what leaves the function becomes a stack trace in the answer
            _log.error("unexpected error", exception=describe_exception(error))
            status, body = _render(Internal("something went wrong on our side; try again"), own)
    return context.Response(body=body.decode(), headers={}, content_type=content_type, status_code=status)


def receive(user_data: Any, headers: Mapping[str, str], body: object) -> Question:  # noqa: ANN401  # as above
    """What is asked, if the caller may ask.

    Raises:
        DelinkciousError: they may not, or it is no question.
    """
    # Nobody looks between two requests.
    user_data.mutual_auth.look()
    user_data.caller_auth.authorize(headers, OPERATION)
    return read_question(body)


def read_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """By name in the form that all of them have in Go, which is Nuclio's."""
    return {_text(name).title(): _text(value) for name, value in headers.items()}


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _render(error: DelinkciousError, context: RequestContext) -> tuple[int, bytes]:
    return status_of(error).http, error_body(error.message, error.code, context.request_id)
