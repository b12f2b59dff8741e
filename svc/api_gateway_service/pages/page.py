"""What every page has: the frame, the policy that the browser holds it to, and what is shown when it cannot be."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pkg.object_model.errors import DelinkciousError, InvalidArgument, Unauthenticated
from pkg.runtime.context import current_context
from pkg.runtime.errors import retry_after_seconds, status_of
from svc.api_gateway_service.bodies import parse_form
from svc.api_gateway_service.operation import dispatch
from svc.api_gateway_service.readers import FORM, media_type

#: Where people go who did not say.
HOME: Final = "/account"
LOGIN: Final = "/login"
STYLE: Final = "/pages/style.css"

_FOLDER: Final = Path(__file__).parent
_HTML: Final = "text/html; charset=utf-8"
#: No script at all, nothing inline, nothing from elsewhere, and no form that leads away.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: With "no-referrer" browsers say "Origin: null" with a form, and without TLS that is all that they say of its origin.
_REFERRER_POLICY: Final = "same-origin"
_MAX_TARGET: Final = 2_048

type Handler = Callable[[Request], Awaitable[Response]]
#: Names and values, in the order of the form.
type Fields = Sequence[tuple[str, str]]


class Pages:
    """Templates, by name. Whatever is put into one is escaped."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["moment"] = _moment

    def show(
        self,
        template: str,
        *,
        status: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        **values: Any,  # noqa: ANN401  # whatever the template shows
    ) -> Response:
        content = self._environment.get_template(f"{template}.html").render(values)
        policies = {"Content-Security-Policy": _POLICY, "Referrer-Policy": _REFERRER_POLICY}
        return Response(content, status_code=status, media_type=_HTML, headers=policies | dict(headers or {}))

    def show_error(self, error: DelinkciousError) -> Response:
        status = status_of(error).http
        retry_after = retry_after_seconds(error)
        context = current_context()
        return self.show(
            "error",
            status=status,
            headers=None if retry_after is None else {"Retry-After": str(retry_after)},
            message=error.message,
            code=error.code,
            request_id=context.request_id if context else "",
        )

    def guard(self, handler: Handler) -> Handler:
        """The one place where what a page's handler raises becomes a page."""

        async def serve(http: Request) -> Response:
            try:
                return await handler(http)
            except Unauthenticated as error:
                if error.code not in ("missing_token", "invalid_token"):
                    return self.show_error(error)
                target = http.url.path if http.method == "GET" else HOME
                return see_other(f"{LOGIN}?{urlencode({'next': target})}")
            except DelinkciousError as error:
                return self.show_error(error)

        return serve


def page_route(path: str, **by_method: Handler) -> Route:
    """``page_route("/login", GET=..., POST=...)``."""
    return Route(path, dispatch(by_method), methods=list(by_method))


def see_other(location: str) -> RedirectResponse:
    return RedirectResponse(location, status_code=HTTPStatus.SEE_OTHER)


async def read_fields(http: Request) -> Fields:
    """
    Raises:
        InvalidArgument: the body is no form, or one that cannot be read.
    """
    if media_type(http.headers.get("content-type", "")) != FORM:
        raise InvalidArgument(f"send a form, as {FORM}")
    return parse_form(await http.body())


def field(fields: Fields, name: str) -> str:
    """The last of that name; empty if there is none."""
    return dict(fields).get(name, "")


def local_target(target: str) -> str:
    """``target`` if it is a path of ours, else HOME: nobody is led elsewhere by a link to our login."""
    # Browsers read "//" and "/\" as another host, and leave out what is not printable.
    ours = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if ours and len(target) <= _MAX_TARGET and target.isascii() and target.isprintable() else HOME


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def style_route() -> Route:
    content = (_FOLDER / "style.css").read_bytes()

    async def serve(_http: Request) -> Response:
        return Response(content, media_type="text/css; charset=utf-8", headers={"Cache-Control": "public, max-age=300"})

    return Route(STYLE, serve)
